//! What can be asked, and of which product.

/// What the upstream can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    BatchCheckDeviceNames,
    QueryBatchRegisterDeviceStatus,
    BatchRegisterDeviceWithApplyId,
    QueryPageByApplyId,
    QueryProduct,
    BatchCheckImportDevice,
    BatchImportDevice,
    QueryImportedDeviceByApplyId,
    QueryDeviceDetail,
    BatchQueryDeviceDetail,
}

/// Which product a call is about.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a> {
    pub product_key: &'a str,
    /// Of the instance that the product lives in; old public instances have none.
    pub iot_instance_id: Option<&'a str>,
}

impl Action {
    /// Whether a call of it holds device secrets.
    pub(super) fn brings_secrets(self) -> bool {
        matches!(self, Self::BatchCheckImportDevice | Self::BatchImportDevice)
    }

    /// As the upstream spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchCheckDeviceNames => "BatchCheckDeviceNames",
            Self::QueryBatchRegisterDeviceStatus => "QueryBatchRegisterDeviceStatus",
            Self::BatchRegisterDeviceWithApplyId => "BatchRegisterDeviceWithApplyId",
            Self::QueryPageByApplyId => "QueryPageByApplyId",
            Self::QueryProduct => "QueryProduct",
            Self::BatchCheckImportDevice => "BatchCheckImportDevice",
            Self::BatchImportDevice => "BatchImportDevice",
            Self::QueryImportedDeviceByApplyId => "QueryImportedDeviceByApplyId",
            Self::QueryDeviceDetail => "QueryDeviceDetail",
            Self::BatchQueryDeviceDetail => "BatchQueryDeviceDetail",
        }
    }
}
