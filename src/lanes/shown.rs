//! What the log of calls shows of an answer.

use crate::{
    domain::{
        Lane,
        waiting::{FailureScope, NO_ANSWER},
    },
    store::CallMade,
    upstream::{
        Answer, Checked, CheckedImport, Credentials, Found, Imported, Page, Phase as P,
        ProductInfo, Registered, Scope, Status, Verdict,
    },
};

/// A call as it is stored. `upstream_apply` is the one that it was about or made.
pub fn made<T: Shown>(lane: Lane, upstream_apply: Option<i64>, answer: &Answer<T>) -> CallMade {
    let (result, message, scope) = match &answer.outcome {
        Ok(ok) => (ok.result(), None, None),
        Err(error) => (
            error.code.clone().unwrap_or_else(|| NO_ANSWER.to_owned()),
            Some(error.message.clone()),
            Some(scope(error.scope)),
        ),
    };
    CallMade {
        lane,
        upstream_apply,
        took: answer.took,
        result,
        message,
        request_id: answer.request_id.clone(),
        scope,
        judged: match &answer.outcome {
            Ok(_) => true,
            Err(error) => error.verdict == Verdict::Final,
        },
    }
}

/// How far the cause of a failure reaches, as it is stored.
fn scope(scope: Scope) -> FailureScope {
    match scope {
        Scope::Call => FailureScope::Call,
        Scope::Apply => FailureScope::Product,
        Scope::Lane => FailureScope::Lane,
        Scope::Account => FailureScope::Account,
        Scope::Clock => FailureScope::Clock,
    }
}

/// An answer that the log of calls can show.
pub trait Shown {
    /// It in a word.
    fn result(&self) -> String;
}

impl Shown for Checked {
    fn result(&self) -> String {
        "OK".to_owned()
    }
}

impl Shown for CheckedImport {
    fn result(&self) -> String {
        match self.refused.len() {
            0 => "OK".to_owned(),
            refused => format!("OK, {refused} refused"),
        }
    }
}

impl Shown for Imported {
    fn result(&self) -> String {
        format!(
            "OK, {} on a page of {}",
            self.devices.len(),
            self.total_pages
        )
    }
}

impl Shown for Vec<Found> {
    fn result(&self) -> String {
        format!("OK, {} exist", self.len())
    }
}

impl Shown for Registered {
    fn result(&self) -> String {
        "OK".to_owned()
    }
}

impl Shown for Page {
    fn result(&self) -> String {
        format!("OK, {} in all", self.total)
    }
}

impl Shown for Credentials {
    fn result(&self) -> String {
        format!("OK, {} in all", self.total)
    }
}

impl Shown for ProductInfo {
    fn result(&self) -> String {
        match &self.auth_type {
            Some(auth_type) => format!("OK, {auth_type}"),
            None => "OK".to_owned(),
        }
    }
}

impl Shown for Status {
    fn result(&self) -> String {
        match &self.phase {
            P::Check => "CHECK",
            P::CheckSuccess => "CHECK_SUCCESS",
            P::CheckFailed => "CHECK_FAILED",
            P::Create => "CREATE",
            P::CreateSuccess => "CREATE_SUCCESS",
            P::CreateFailed => "CREATE_FAILED",
            P::Other(word) => word,
        }
        .to_owned()
    }
}
