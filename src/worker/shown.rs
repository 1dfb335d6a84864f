//! What the log of calls shows of an answer.

use crate::{
    domain::waiting::FailureScope,
    upstream::{
        Checked, CheckedImport, Found, Imported, Page, Phase as P, Registered, Scope, Status,
    },
};

/// How far the cause of a failure reaches, as it is stored.
pub(super) fn scope(scope: Scope) -> FailureScope {
    match scope {
        Scope::Call => FailureScope::Call,
        Scope::Apply => FailureScope::Product,
        Scope::Lane => FailureScope::Lane,
        Scope::Account => FailureScope::Account,
        Scope::Clock => FailureScope::Clock,
    }
}

/// An answer that the log of calls can show.
pub(super) trait Shown {
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
        format!("OK, {} of {} pages", self.devices.len(), self.total_pages)
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
