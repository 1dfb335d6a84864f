//! An apply: what one submission became, and which status follows when its rounds move.

use time::OffsetDateTime;

use super::{Corrupt, Counts, Labels, Outcome, outcome::words};

/// The number that callers know an apply by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApplyId(pub i64);

impl std::fmt::Display for ApplyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

words! {
    /// Where an apply stands. The words are the upstream's, and CANCELLED.
    pub enum ApplyStatus ("a status") {
        /// The devices are being checked.
        Check = "CHECK",
        /// Every device is valid; waits for a caller.
        CheckSuccess = "CHECK_SUCCESS",
        /// At least one device is not valid; waits for a caller.
        CheckFailed = "CHECK_FAILED",
        /// The devices are being registered.
        Create = "CREATE",
        /// Every device that was sent exists.
        CreateSuccess = "CREATE_SUCCESS",
        /// At least one device that was sent does not exist.
        CreateFailed = "CREATE_FAILED",
        /// Nothing more is sent.
        Cancelled = "CANCELLED",
    }
}

impl ApplyStatus {
    /// Whether nothing is in flight and nothing will happen unless someone asks.
    pub fn is_settled(self) -> bool {
        match self {
            Self::Check | Self::Create => false,
            Self::CheckSuccess
            | Self::CheckFailed
            | Self::CreateSuccess
            | Self::CreateFailed
            | Self::Cancelled => true,
        }
    }
}

words! {
    /// What happens once every device of an apply is checked.
    pub enum AfterCheck ("what follows a check") {
        /// It waits for a caller.
        Stop = "STOP",
        /// It is registered if every device is valid.
        RegisterIfAllValid = "REGISTER_IF_ALL_VALID",
        /// Its valid devices are registered, each round as soon as it is checked.
        RegisterValid = "REGISTER_VALID",
    }
}

/// What never changes about an apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apply {
    /// Its number.
    pub id: ApplyId,
    /// The product.
    pub product_key: String,
    /// The instance; empty for none.
    pub iot_instance_id: String,
    /// What was asked for.
    pub after_check: AfterCheck,
    /// Whether its devices bring their own secrets.
    pub import: bool,
    /// What its submitter calls it.
    pub labels: Labels,
    /// When it was submitted.
    pub created_at: OffsetDateTime,
}

/// An apply at one revision: what an event records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How many visible changes there have been, this one included.
    pub revision: i64,
    /// Where it stands.
    pub status: ApplyStatus,
    /// Its devices by outcome.
    pub counts: Counts,
    /// Whether nothing unsent is sent any more.
    pub cancelling: bool,
    /// Whether its last device is stored.
    pub sealed: bool,
    /// When it changed.
    pub at: OffsetDateTime,
}

/// How the rounds of an apply stand, as far as its status depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// Waiting for their first check, or for its result, or looked up because of it.
    pub checking: i64,
    /// Checked and held until the apply decides.
    pub held: i64,
    /// Accepted for registration and not ended.
    pub moving: i64,
}

/// What follows for an apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its status from now on.
    pub status: ApplyStatus,
    /// Whether its held rounds are accepted for registration.
    pub release: bool,
}

/// Where an apply stands, as far as what follows depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its status.
    pub status: ApplyStatus,
    /// What was asked for.
    pub after_check: AfterCheck,
    /// Whether its last device is stored.
    pub sealed: bool,
    /// Whether it is being cancelled.
    pub cancelling: bool,
    /// Its devices by outcome.
    pub counts: Counts,
}

/// The status that follows when a round has moved or the last device has been stored.
///
/// Decided in the transaction that caused it, under the apply's lock; nobody else moves an apply.
pub fn decide(standing: &Standing, rounds: Rounds) -> Decision {
    let Standing {
        status,
        after_check,
        sealed,
        cancelling,
        counts,
    } = standing;
    let stay = Decision {
        status: *status,
        release: false,
    };
    match status {
        ApplyStatus::CreateSuccess | ApplyStatus::Cancelled => stay,
        _ if *cancelling && rounds.moving > 0 => stay,
        _ if *cancelling => Decision {
            status: ApplyStatus::Cancelled,
            release: false,
        },
        ApplyStatus::Check if !sealed => stay,
        ApplyStatus::Check if rounds.checking > 0 => Decision {
            release: releases_early(*after_check, rounds),
            ..stay
        },
        ApplyStatus::Check => after_last_check(*after_check, counts, rounds),
        ApplyStatus::Create if rounds.moving > 0 => stay,
        ApplyStatus::Create => Decision {
            status: created(counts),
            release: false,
        },
        ApplyStatus::CheckSuccess | ApplyStatus::CheckFailed | ApplyStatus::CreateFailed => stay,
    }
}

fn releases_early(after_check: AfterCheck, rounds: Rounds) -> bool {
    after_check == AfterCheck::RegisterValid && rounds.held > 0
}

fn after_last_check(after_check: AfterCheck, counts: &Counts, rounds: Rounds) -> Decision {
    let all_valid = counts.of(Outcome::Invalid) == 0;
    let wait = Decision {
        status: if all_valid {
            ApplyStatus::CheckSuccess
        } else {
            ApplyStatus::CheckFailed
        },
        release: false,
    };
    if rounds.held + rounds.moving == 0 && counts.of(Outcome::Created) > 0 {
        // Of a restored database alone: they were found to be registered, and nobody is left to be.
        return Decision {
            status: created(counts),
            release: false,
        };
    }
    let nothing_to_register = counts.of(Outcome::Invalid) == counts.total();
    match after_check {
        AfterCheck::Stop => wait,
        AfterCheck::RegisterIfAllValid if !all_valid => wait,
        AfterCheck::RegisterValid if nothing_to_register => wait,
        AfterCheck::RegisterIfAllValid | AfterCheck::RegisterValid => Decision {
            status: match rounds.held + rounds.moving {
                0 => created(counts),
                _ => ApplyStatus::Create,
            },
            release: rounds.held > 0,
        },
    }
}

/// The status once nothing moves any more. By then an UNKNOWN device has been asked after for long
/// enough.
fn created(counts: &Counts) -> ApplyStatus {
    if counts.of(Outcome::Failed) + counts.of(Outcome::Unknown) > 0 {
        ApplyStatus::CreateFailed
    } else {
        ApplyStatus::CreateSuccess
    }
}

/// What a Register request means for an apply in some status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The checked rounds are accepted, and the apply goes to CREATE.
    Accept,
    /// The failed devices are sent again, the unknown ones asked after, and the apply goes to CREATE.
    Retry,
    /// It is being registered or was; nothing changes.
    Unchanged,
    /// It cannot be registered as it stands.
    Refuse(Refusal),
}

/// What a Register request says besides which apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Invalid devices are left out.
    pub skip_invalid: bool,
    /// Failed devices are sent again.
    pub retry_failed: bool,
}

/// Why an apply cannot be registered as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The check is still running.
    StillChecking,
    /// Some devices are invalid and the caller has not said to skip them.
    HasInvalid,
    /// No device is valid.
    NothingValid,
    /// The apply was cancelled, or is about to be.
    Cancelled,
}

/// Judges a Register request.
pub fn accept(standing: &Standing, wish: Wish) -> Acceptance {
    use {Acceptance as A, ApplyStatus as S};
    let of = |outcome| standing.counts.of(outcome);
    match standing.status {
        S::Cancelled => A::Refuse(Refusal::Cancelled),
        S::CreateSuccess => A::Unchanged,
        _ if standing.cancelling => A::Refuse(Refusal::Cancelled),
        S::CheckSuccess => A::Accept,
        S::CheckFailed if of(Outcome::Valid) == 0 => A::Refuse(Refusal::NothingValid),
        S::CheckFailed if wish.skip_invalid => A::Accept,
        S::CheckFailed => A::Refuse(Refusal::HasInvalid),
        S::CreateFailed if wish.retry_failed && of(Outcome::Failed) + of(Outcome::Unknown) > 0 => {
            A::Retry
        }
        S::Create | S::CreateFailed => A::Unchanged,
        S::Check => A::Refuse(Refusal::StillChecking),
    }
}

/// When a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When nothing will happen unless someone asks.
    Settled,
    /// When it was registered or cancelled.
    Created,
    /// When the caller hangs up.
    Forever,
}

impl Until {
    /// Whether a watch ends at an apply in this status.
    pub fn ends_at(self, status: ApplyStatus) -> bool {
        match self {
            Self::Settled => status.is_settled(),
            Self::Created => matches!(
                status,
                ApplyStatus::CreateSuccess | ApplyStatus::CreateFailed | ApplyStatus::Cancelled
            ),
            Self::Forever => false,
        }
    }
}

/// Whether a CancelApply request changes anything.
pub fn may_cancel(standing: &Standing) -> bool {
    !standing.cancelling
        && !matches!(
            standing.status,
            ApplyStatus::CreateSuccess | ApplyStatus::Cancelled
        )
}

#[cfg(test)]
mod tests;
