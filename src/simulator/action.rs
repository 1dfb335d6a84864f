//! The actions that are spoken, with their published quotas.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The only version of the API.
pub(super) const VERSION: &str = "2018-01-20";

/// An action of the upstream that the simulator answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    BatchCheckDeviceNames,
    BatchRegisterDevice,
    BatchRegisterDeviceWithApplyId,
    QueryBatchRegisterDeviceStatus,
    QueryPageByApplyId,
    BatchCheckImportDevice,
    BatchImportDevice,
    QueryImportedDeviceByApplyId,
    QueryDeviceDetail,
    BatchQueryDeviceDetail,
    DeleteDevice,
    QueryProduct,
}

/// In the order of the enum, so that a variant is an index: the name on the wire, and the calls
/// per second and main account from the help page of each action. Of the two figures for
/// DeleteDevice it is the newer (2023).
const TABLE: [(Action, &str, u32); 12] = [
    (Action::BatchCheckDeviceNames, "BatchCheckDeviceNames", 10),
    (Action::BatchRegisterDevice, "BatchRegisterDevice", 10),
    (
        Action::BatchRegisterDeviceWithApplyId,
        "BatchRegisterDeviceWithApplyId",
        500,
    ),
    (
        Action::QueryBatchRegisterDeviceStatus,
        "QueryBatchRegisterDeviceStatus",
        30,
    ),
    (Action::QueryPageByApplyId, "QueryPageByApplyId", 50),
    (
        Action::BatchCheckImportDevice,
        "BatchCheckImportDevice",
        100,
    ),
    (Action::BatchImportDevice, "BatchImportDevice", 10),
    (
        Action::QueryImportedDeviceByApplyId,
        "QueryImportedDeviceByApplyId",
        50,
    ),
    (Action::QueryDeviceDetail, "QueryDeviceDetail", 50),
    (Action::BatchQueryDeviceDetail, "BatchQueryDeviceDetail", 5),
    (Action::DeleteDevice, "DeleteDevice", 50),
    (Action::QueryProduct, "QueryProduct", 50),
];

impl Action {
    pub(super) const ALL: [Action; TABLE.len()] = {
        let mut all = [Action::QueryProduct; TABLE.len()];
        let mut at = 0;
        while at < TABLE.len() {
            all[at] = TABLE[at].0;
            assert!(
                all[at] as usize == at,
                "the table has the order of the enum"
            );
            at += 1;
        }
        all
    };

    pub(super) fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// Calls per second and main account.
    pub(super) fn published_qps(self) -> u32 {
        TABLE[self as usize].2
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Action::ALL.into_iter().find(|action| action.name() == name);
        known.ok_or_else(|| format!("`{name}` is not an action of the simulator"))
    }
}
