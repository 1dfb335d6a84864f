//! Nouns and rules: what a device, a round and an apply are and how each may change.
//!
//! No I/O, no async, no clock: everything here is a function of its arguments, so that the rules
//! can be read and tested by themselves. The state model is drawn in ARCHITECTURE.md; an apply
//! changes in [`apply`], a round in [`round`], a device in [`outcome`].

pub mod apply;
pub mod device;
pub mod judge;
pub mod labels;
pub mod lane;
pub mod outcome;
pub mod pattern;
pub mod reason;
pub mod request;
pub mod retry;
pub mod round;
pub mod secret;
pub mod submission;
pub mod waiting;

pub use apply::{AfterCheck, Apply, ApplyId, ApplyStatus, Snapshot};
pub use judge::{Chunk, Gathered, Judge};
pub use labels::Labels;
pub use lane::Lane;
pub use outcome::{Counts, Outcome};
pub use reason::{Reason, ReasonCode};
pub use request::{Fingerprint, RequestKey};
pub use round::{Phase, Round};
pub use secret::DeviceSecret;
pub use submission::{Heading, Submission};

/// Devices stored in one row, and the most that the upstream takes in one check.
///
/// Source: BatchCheckDeviceNames, "up to 10,000 names a call".
pub const CHUNK: usize = 10_000;

/// Devices of a round that takes up what an earlier one lost: the smallest limit that the upstream
/// documents for a check (products that authenticate by X.509).
pub const SMALL_ROUND: usize = 1_000;

/// A device's place in its apply, from 0.
pub type Ordinal = i32;

/// A stored value that no rule of the domain allows.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be {value:?}")]
pub struct Corrupt {
    /// The noun.
    pub what: &'static str,
    /// What was stored.
    pub value: String,
}
