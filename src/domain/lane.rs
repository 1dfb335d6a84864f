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
        /// Has devices that bring their secrets checked.
        CheckImport = "BatchCheckImportDevice",
        /// Has them created.
        Import = "BatchImportDevice",
        /// Reads what was imported, page by page.
        Imported = "QueryImportedDeviceByApplyId",
        /// Looks a device up.
        Detail = "QueryDeviceDetail",
        /// Looks several devices up at once.
        Details = "BatchQueryDeviceDetail",
        /// Looks a product up.
        Product = "QueryProduct",
    }
}

impl Lane {
    /// Calls a second that the upstream admits per account, all callers together.
    ///
    /// Source: the upstream's help pages of the actions.
    pub fn published_rate(self) -> f64 {
        match self {
            Self::Check => 10.0,
            Self::Status => 30.0,
            Self::Register => 500.0,
            Self::Page | Self::Imported | Self::Detail | Self::Product => 50.0,
            Self::CheckImport => 100.0,
            Self::Import => 10.0,
            Self::Details => 5.0,
        }
    }
}
