//! What each switch can be set to.

/// What a call says that lacks the IotInstanceId of its product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum WithoutInstance {
    /// `iot.prod.NotExistedProduct`: the product is looked for in the public instance.
    NoProduct,
    /// `iot.system.InstanceNotFound`.
    NoInstance,
}

/// Where devices above a maximum show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OverCap {
    /// The call that asks for too many is refused.
    Refuse,
    /// The creation makes as many as fit and ends in CREATE_FAILED.
    CreateFailed,
}

/// Which queries take the ApplyId of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ImportApply {
    /// QueryImportedDeviceByApplyId alone.
    Own,
    /// QueryBatchRegisterDeviceStatus and QueryPageByApplyId, too.
    All,
}

/// What RepeatedDeviceNameList holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Repeated {
    /// Names that the request holds twice.
    Request,
    /// Names that devices have already. A check of names tells of them at once, too.
    Existing,
    /// Both.
    Both,
}

/// Whether something is in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shown {
    /// It is.
    Shown,
    /// It is not.
    Hidden,
}

/// What becomes of a register at a time of which nothing is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Register {
    /// It is refused: with `iot.device.CreateDeviceTaskIsRunning` during a creation, with
    /// `iot.device.IncorrentDeviceApplyInfo` else.
    Refuse,
    /// It is answered like any other.
    Accept,
}

/// What pages show before the creation has finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EarlyPages {
    /// No rows.
    Empty,
    /// The devices that are created so far.
    Partial,
    /// They are refused with `iot.device.QueryDeviceApplyActionError`.
    Refuse,
}

/// The order of the rows of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PageOrder {
    /// That of the request.
    Request,
    /// The last of the request first.
    Reverse,
}

/// What becomes of a PageSize above 50.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PageSizes {
    /// It is taken as 50.
    Clamp,
    /// It is refused with `iot.common.InvalidPageParams`.
    Refuse,
    /// Up to 200 are given, as a production service found in 2020; above that it is taken as 200.
    Upto200,
}

/// Whether names that passed a check are kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum CheckedNames {
    /// Another check of them passes, too.
    Free,
    /// Until the ApplyId ends, other checks find them taken.
    Reserved,
}

/// What becomes of a list whose numbers have a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Gaps {
    /// Nothing: only the order counts.
    Accept,
    /// What comes after the first gap is not seen.
    Cut,
    /// The call fails with `iot.common.InvalidFormattedParameter`.
    Refuse,
}

/// What becomes of spaces before and after a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Spaces {
    /// They make it illegal.
    Keep,
    /// They are taken away.
    Trim,
}

/// Whether case tells names apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LetterCase {
    /// It does.
    Exact,
    /// It does not.
    Ignore,
}

/// What a creation leaves behind that fails for some of its devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FailedCreations {
    /// The devices that were created stay.
    Keep,
    /// None of its devices is created.
    Undo,
}
