//! Lanes: each upstream action has a quota of its own.

use super::{Corrupt, outcome::words};

words! {
    /// An upstream action that rounds need, with the quota that it draws on.
    pub enum Lane ("a lane") {
        /// Has names checked.
        Check = "BatchCheckDeviceNames",
        /// Asks how a check or a creation stands.
        Status = "QueryBatchRegisterDeviceStatus",
        /// Has a checked list registered.
        Register = "BatchRegisterDeviceWithApplyId",
        /// Reads what was registered, page by page.
        Page = "QueryPageByApplyId",
    }
}

impl Lane {
    /// Calls a second that the upstream admits per account, all callers together.
    ///
    /// Source: the upstream's help pages of the four actions.
    pub fn published_rate(self) -> f64 {
        match self {
            Self::Check => 10.0,
            Self::Status => 30.0,
            Self::Register => 500.0,
            Self::Page => 50.0,
        }
    }
}
