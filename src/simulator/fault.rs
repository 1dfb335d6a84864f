//! What a fault is, and how it is written: as JSON, in settings and in calls to set one.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::answers::Refusal;
use super::product::Product;

/// A body that sets a fault is no longer than this; names for a whole check fit.
pub(super) const MAX_JSON: usize = 1 << 20;
/// What a refusal says beside its code.
const TOLD: &str = "The simulator was told to refuse this.";

/// A fault with the name it is lifted by; written `NAME=JSON`.
#[derive(Debug, Clone)]
pub struct NamedFault {
    pub(super) name: String,
    pub(super) fault: Fault,
}

/// One way in which the upstream can be out of order.
///
/// Where `names`, `product` or `action` may be left out, all are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Fault {
    /// These names, and this share of all, are not created. It is decided when a creation begins,
    /// by product and name, so that a name fails each time or never.
    FailCreates {
        #[serde(skip_serializing_if = "Option::is_none")]
        share: Option<Share>,
        #[serde(skip_serializing_if = "Option::is_none")]
        names: Option<Names>,
        #[serde(skip_serializing_if = "Option::is_none")]
        product: Option<Product>,
    },
    /// Every call is refused once its signature was found right. It spends no quota.
    BlockAccount {
        #[serde(default = "bill_is_overdue")]
        code: Code,
    },
    /// Every call of the action is refused once its signature was found right. It spends no quota.
    BlockAction {
        action: Action,
        #[serde(default = "permission_deny")]
        code: Code,
    },
    /// Calls for the product, and for the devices of its applies, are refused. What they are for
    /// is read by the service and not by the gateway, so they have spent their quota.
    BlockProduct {
        product: Product,
        #[serde(default = "not_existed_product")]
        code: Code,
    },
    /// A check that begins with one of these names ends in CHECK_FAILED without a word why.
    NamelessCheckFailure {
        #[serde(skip_serializing_if = "Option::is_none")]
        names: Option<Names>,
    },
    /// Checks or creations, those under way too, do not end before this is lifted.
    Stuck {
        phase: Stage,
        #[serde(skip_serializing_if = "Option::is_none")]
        product: Option<Product>,
        #[serde(skip_serializing_if = "Option::is_none")]
        names: Option<Names>,
    },
    /// The call is done, whatever its outcome, and the connection closed without an answer.
    NoAnswer {
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<Action>,
        #[serde(default)]
        share: Share,
    },
    /// The call is answered as a proxy without a server behind it does: no signature is looked at,
    /// no quota spent, and the body is HTML.
    Unavailable {
        #[serde(default)]
        status: Status,
        #[serde(skip_serializing_if = "Option::is_none")]
        action: Option<Action>,
    },
}

/// What can get stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Stage {
    Check,
    Create,
}

/// From 0 to 1; 1 if left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub(super) struct Share(f64);

/// At least one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<String>")]
pub(super) struct Names(BTreeSet<String>);

/// An error's code: of the service if it starts with `iot.`, in upper case or lower, else of the
/// gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Code(String);

/// An HTTP status from 500 to 599; 503 if left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub(super) struct Status(u16);

impl Fault {
    /// Reads a fault; the error says what is allowed.
    pub(super) fn parse(json: &str) -> Result<Fault, String> {
        let fault = serde_json::from_str(json).map_err(|error| error.to_string())?;
        match fault {
            Fault::FailCreates {
                share: None,
                names: None,
                ..
            } => Err("`fail-creates` needs a `share`, `names` or both".into()),
            fault => Ok(fault),
        }
    }
}

impl Code {
    /// The refusal with this code; HTTP 200 stands for one by the service.
    pub(super) fn refusal(&self) -> Refusal {
        let code = self.0.as_str();
        let status = if code.to_ascii_lowercase().starts_with("iot.") {
            200
        } else {
            match code {
                "InvalidAccessKeyId.NotFound" | "InvalidAction.NotFound" => 404,
                "Forbidden.RAM" => 403,
                "InternalError" | "UnknownError" => 500,
                "ServiceUnavailable" => 503,
                _ => 400,
            }
        };
        Refusal::new(status, self.0.clone(), TOLD)
    }
}

impl Names {
    pub(super) fn have(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

impl Share {
    /// Whether something whose lot is `lot`, from 0 up to but not 1, is part of it.
    pub(super) fn has(self, lot: f64) -> bool {
        lot < self.0
    }
}

impl Default for Share {
    fn default() -> Share {
        Share(1.0)
    }
}

impl Default for Status {
    fn default() -> Status {
        Status(503)
    }
}

impl FromStr for NamedFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, json) = text.trim().split_once('=').ok_or("expected NAME=JSON")?;
        Ok(NamedFault {
            name: name.into(),
            fault: Fault::parse(json)?,
        })
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;

    fn try_from(share: f64) -> Result<Share, Self::Error> {
        let allowed = (0.0..=1.0).contains(&share);
        allowed
            .then_some(Share(share))
            .ok_or("a share is from 0 to 1")
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> f64 {
        share.0
    }
}

impl TryFrom<BTreeSet<String>> for Names {
    type Error = &'static str;

    fn try_from(names: BTreeSet<String>) -> Result<Names, Self::Error> {
        let some = !names.is_empty();
        some.then_some(Names(names))
            .ok_or("`names` needs at least one; leave it out to mean all")
    }
}

impl TryFrom<String> for Code {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Code, Self::Error> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let allowed = (1..=100).contains(&code.len()) && code.bytes().all(legal);
        allowed
            .then_some(Code(code))
            .ok_or("a code is 1 to 100 letters, digits, `.`, `_` and `-`")
    }
}

impl TryFrom<u16> for Status {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Status, Self::Error> {
        let allowed = (500..=599).contains(&status);
        allowed
            .then_some(Status(status))
            .ok_or("a status is from 500 to 599")
    }
}

impl From<Status> for u16 {
    fn from(status: Status) -> u16 {
        status.0
    }
}

fn bill_is_overdue() -> Code {
    Code("Iot.system.BillIsOverDue".into())
}

fn permission_deny() -> Code {
    Code("iot.common.RamActionPermissionDeny".into())
}

fn not_existed_product() -> Code {
    Code("iot.prod.NotExistedProduct".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        let read = |json: &str| serde_json::to_value(Fault::parse(json).unwrap()).unwrap();

        let account = json!({"kind": "block-account", "code": "Iot.system.BillIsOverDue"});
        assert_eq!(read(r#"{"kind":"block-account"}"#), account);
        let no_answer = json!({"kind": "no-answer", "share": 1.0});
        assert_eq!(read(r#"{"kind":"no-answer"}"#), no_answer);
        let unavailable = json!({"kind": "unavailable", "status": 503});
        assert_eq!(read(r#"{"kind":"unavailable"}"#), unavailable);
    }

    #[test]
    fn what_is_unknown_is_refused_with_what_is_allowed() {
        let cases = [
            (r#"{"kind":"fire"}"#, "`nameless-check-failure`"),
            (r#"{"kind":"fail-creates"}"#, "`share`"),
            (r#"{"kind":"fail-creates","share":1.1}"#, "from 0 to 1"),
            (r#"{"kind":"fail-creates","names":[]}"#, "at least one"),
            (r#"{"kind":"block-account","colour":1}"#, "`code`"),
            (r#"{"kind":"block-account","code":""}"#, "1 to 100"),
            (
                r#"{"kind":"block-product","product":"a1"}"#,
                "`a1SimulatorX`",
            ),
            (r#"{"kind":"block-product"}"#, "`product`"),
            (
                r#"{"kind":"block-action","action":"Pub"}"#,
                "`QueryProduct`",
            ),
            (r#"{"kind":"stuck","phase":"OPEN"}"#, "`CREATE`"),
            (r#"{"kind":"unavailable","status":200}"#, "from 500 to 599"),
            (r#"{"share":1}"#, "`kind`"),
            ("{", "EOF"),
        ];
        for (json, allowed) in cases {
            let said = Fault::parse(json).unwrap_err();
            assert!(said.contains(allowed), "{json}: {said}");
        }
    }

    #[test]
    fn a_code_tells_who_refuses_and_how() {
        let status = |code: &str| Code(code.into()).refusal().status;

        assert_eq!(status("iot.common.InvalidTenant"), 200);
        assert_eq!(status("Iot.system.BillIsOverDue"), 200);
        assert_eq!(status("InvalidAccessKeyId.Inactive"), 400);
        assert_eq!(status("Forbidden.RAM"), 403);
        assert_eq!(status("Whatever"), 400);
    }
}
