//! The actions that are spoken, with their published quotas.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The only version of the API.
pub(super) const VERSION: &str = "2018-01-20";

/// An action of the upstream that the simulator answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    BatchCheckDeviceNames,
    BatchRegisterDeviceWithApplyId,
    QueryBatchRegisterDeviceStatus,
    QueryPageByApplyId,
    QueryProduct,
}

impl Action {
    pub(super) const ALL: [Action; 5] = [
        Action::BatchCheckDeviceNames,
        Action::BatchRegisterDeviceWithApplyId,
        Action::QueryBatchRegisterDeviceStatus,
        Action::QueryPageByApplyId,
        Action::QueryProduct,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Action::BatchCheckDeviceNames => "BatchCheckDeviceNames",
            Action::BatchRegisterDeviceWithApplyId => "BatchRegisterDeviceWithApplyId",
            Action::QueryBatchRegisterDeviceStatus => "QueryBatchRegisterDeviceStatus",
            Action::QueryPageByApplyId => "QueryPageByApplyId",
            Action::QueryProduct => "QueryProduct",
        }
    }

    /// Calls per second and main account, from the help page of each action.
    pub(super) fn published_qps(self) -> u32 {
        match self {
            Action::BatchCheckDeviceNames => 10,
            Action::BatchRegisterDeviceWithApplyId => 500,
            Action::QueryBatchRegisterDeviceStatus => 30,
            Action::QueryPageByApplyId => 50,
            Action::QueryProduct => 50,
        }
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Action::ALL.into_iter().find(|action| action.name() == name);
        known.ok_or_else(|| format!("`{name}` is not an action of the simulator"))
    }
}
