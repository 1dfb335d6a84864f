//! Refusing a caller: what it is told, and what of it is written down.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    domain::{ApplyId, Caller, Right, caller::Act},
    service::{Service, status::info},
    store::AuditEntry,
};

/// Refusals of one caller that are written down in a minute: enough to see what it tries, few
/// enough that it cannot fill the disk.
const WRITTEN: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// Names in a certificate that its owner is told.
const TOLD: usize = 8;

/// How many refusals of each caller were written down lately. There are as many entries as the
/// access files of this process have had callers.
#[derive(Debug, Default)]
pub(in crate::service) struct Refusals(Mutex<HashMap<Arc<str>, (Instant, u32)>>);

impl Refusals {
    fn may_write(&self, caller: &Arc<str>, now: Instant) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = written.entry(caller.clone()).or_insert((now, 0));
        if now - *since >= MINUTE {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= WRITTEN
    }
}

impl Service {
    /// Refuses a caller that lacks a right.
    pub(in crate::service) async fn need(
        &self,
        caller: &Caller,
        right: Right,
    ) -> Result<(), Status> {
        match caller.may(right) {
            true => Ok(()),
            false => Err(self.refuse(caller, right, None).await),
        }
    }

    /// Refuses a caller that lacks a right, or may not use a product with it.
    pub(in crate::service) async fn need_for(
        &self,
        caller: &Caller,
        right: Right,
        product_key: &str,
    ) -> Result<(), Status> {
        self.need(caller, right).await?;
        match caller.products.allow(product_key) {
            true => Ok(()),
            false => Err(self.refuse(caller, right, Some(product_key)).await),
        }
    }

    /// The refusal of a right, or of a product with it. An attempt to change something or to see
    /// secrets is written down.
    pub(super) async fn refuse(
        &self,
        caller: &Caller,
        right: Right,
        product_key: Option<&str>,
    ) -> Status {
        let changes = right != Right::Read;
        if changes && self.refusals.may_write(&caller.name, Instant::now()) {
            let detail = match product_key {
                Some(key) => format!("right {right}, product {key}"),
                None => format!("right {right}"),
            };
            let entry = AuditEntry {
                caller,
                what: Act::Refused,
                apply: None,
                detail: &detail,
            };
            if let Err(error) = self.store.audit(&entry).await {
                // The refusal stands all the same.
                tracing::warn!(
                    error = &error as &dyn StdError,
                    "a refusal is not in the audit"
                );
            }
        }
        match product_key {
            Some(key) => other_product(key),
            None => missing_right(right),
        }
    }
}

fn missing_right(right: Right) -> Status {
    let message = format!(
        "this needs the right {right}, which this caller does not have; whoever runs this server \
         gives it in the access file"
    );
    let metadata = [("right", right.to_string())];
    Status::with_error_details(
        Code::PermissionDenied,
        message,
        info("RIGHT_MISSING", metadata),
    )
}

fn other_product(product_key: &str) -> Status {
    let message = format!(
        "this caller may not use product {product_key}; whoever runs this server allows it in the \
         access file"
    );
    let metadata = [("product_key", product_key.to_owned())];
    Status::with_error_details(
        Code::PermissionDenied,
        message,
        info("PRODUCT_NOT_ALLOWED", metadata),
    )
}

fn unauthenticated(reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(Code::Unauthenticated, message, info(reason, []))
}

/// A call brings nothing that could prove who makes it.
pub(super) fn no_credentials() -> Status {
    unauthenticated(
        "NO_CREDENTIALS",
        "this server wants to know who calls: send a token as `authorization: Bearer TOKEN`, or \
         connect with a certificate that it knows; whoever runs it gives them out",
    )
}

/// A call brings an `authorization` that is no token.
pub(super) fn no_bearer() -> Status {
    unauthenticated(
        "NO_CREDENTIALS",
        "the metadata must have one `authorization`, of the form `Bearer TOKEN`",
    )
}

/// A token stands for nobody.
pub(super) fn unknown_token() -> Status {
    unauthenticated(
        "UNKNOWN_CREDENTIALS",
        "the token is not known here, or not any more; ask whoever runs this server for another",
    )
}

/// The names in a certificate stand for nobody.
pub(super) fn unknown_certificate(names: &[String]) -> Status {
    let mut told = names
        .iter()
        .take(TOLD)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if told.is_empty() {
        told.push_str("no name at all");
    }
    unauthenticated(
        "UNKNOWN_CREDENTIALS",
        format!(
            "the certificate has {told}, which does not stand for one caller here; send a token, or \
             have whoever runs this server put one of its names into the access file"
        ),
    )
}

/// What let a stream in is no longer good.
pub(in crate::service) fn revoked(apply: ApplyId, seen: i64) -> Status {
    let message = format!(
        "what this call was let in with is no longer good for it; with other credentials, watch \
         apply {apply} again with after_revision {seen}, nothing is missed"
    );
    let metadata = [
        ("apply_id", apply.to_string()),
        ("after_revision", seen.to_string()),
    ];
    Status::with_error_details(
        Code::Unauthenticated,
        message,
        info("CREDENTIALS_REVOKED", metadata),
    )
}

/// A call that no guard has seen is refused, whatever led it past.
pub(super) fn unguarded() -> Status {
    tracing::error!("a call came past the guard and is refused");
    Status::with_error_details(Code::Internal, "internal error", info("INTERNAL", []))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_is_missing_and_who_can_help() {
        let right = missing_right(Right::Credentials);
        assert_eq!(
            right.get_details_error_info().unwrap().metadata["right"],
            "credentials"
        );
        let product = other_product("a1");
        assert_eq!(
            product.get_details_error_info().unwrap().metadata["product_key"],
            "a1"
        );

        for refused in [
            right,
            product,
            no_credentials(),
            unknown_token(),
            unknown_certificate(&[]),
        ] {
            assert!(refused.message().contains("whoever runs"), "{refused}");
        }
    }

    #[test]
    fn a_certificate_tells_its_owner_a_few_of_its_names() {
        let names: Vec<_> = (0..20).map(|n| format!("DNS:n{n}")).collect();

        let told = unknown_certificate(&names);

        assert!(told.message().contains("DNS:n7") && !told.message().contains("DNS:n8"));
        assert!(
            unknown_certificate(&[])
                .message()
                .contains("no name at all")
        );
    }

    #[test]
    fn a_caller_cannot_fill_the_audit_with_refusals() {
        let refusals = Refusals::default();
        let (one, other) = ("one".into(), "other".into());
        let begun = Instant::now();
        let written = |caller, now| (0..100).filter(|_| refusals.may_write(caller, now)).count();

        assert_eq!((written(&one, begun), written(&other, begun)), (60, 60));
        assert_eq!(written(&one, begun + MINUTE / 2), 0);
        assert_eq!(written(&one, begun + MINUTE), 60);
    }
}
