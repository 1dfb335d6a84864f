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
    /// When it changed.
    pub at: OffsetDateTime,
}

/// How the rounds of an apply stand, as far as its status depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    /// Waiting for their first check, or for its result.
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

/// The status that follows when a round has moved or the last device has been stored.
///
/// Decided in the transaction that caused it, under the apply's lock; nobody else moves an apply.
pub fn decide(
    status: ApplyStatus,
    after_check: AfterCheck,
    sealed: bool,
    counts: &Counts,
    rounds: Rounds,
) -> Decision {
    let stay = Decision {
        status,
        release: false,
    };
    match status {
        ApplyStatus::Check if !sealed => stay,
        ApplyStatus::Check if rounds.checking > 0 => Decision {
            status,
            release: releases_early(after_check, rounds),
        },
        ApplyStatus::Check => after_last_check(after_check, counts, rounds),
        ApplyStatus::Create if rounds.moving > 0 => stay,
        ApplyStatus::Create => Decision {
            status: created(counts),
            release: false,
        },
        ApplyStatus::CheckSuccess
        | ApplyStatus::CheckFailed
        | ApplyStatus::CreateSuccess
        | ApplyStatus::CreateFailed
        | ApplyStatus::Cancelled => stay,
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

/// The status once nothing moves any more. A device that is not known to exist keeps it open.
fn created(counts: &Counts) -> ApplyStatus {
    if counts.of(Outcome::Unknown) > 0 {
        ApplyStatus::Create
    } else if counts.of(Outcome::Failed) > 0 {
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
    /// It is being registered or was; nothing changes.
    Unchanged,
    /// It cannot be registered as it stands.
    Refuse(Refusal),
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
    /// The apply was cancelled.
    Cancelled,
}

/// Judges a Register request.
pub fn accept(status: ApplyStatus, counts: &Counts, skip_invalid: bool) -> Acceptance {
    use {Acceptance as A, ApplyStatus as S};
    match status {
        S::CheckSuccess => A::Accept,
        S::CheckFailed if counts.of(Outcome::Valid) == 0 => A::Refuse(Refusal::NothingValid),
        S::CheckFailed if skip_invalid => A::Accept,
        S::CheckFailed => A::Refuse(Refusal::HasInvalid),
        S::Create | S::CreateSuccess | S::CreateFailed => A::Unchanged,
        S::Check => A::Refuse(Refusal::StillChecking),
        S::Cancelled => A::Refuse(Refusal::Cancelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AfterCheck::*;

    /// pending, valid, invalid, created, failed, unknown, cancelled
    fn decision(after: AfterCheck, counts: [i32; 7], rounds: [i64; 3]) -> (ApplyStatus, bool) {
        let [checking, held, moving] = rounds;
        let rounds = Rounds {
            checking,
            held,
            moving,
        };
        let Decision { status, release } = decide(
            ApplyStatus::Check,
            after,
            true,
            &Counts::from_array(counts),
            rounds,
        );
        (status, release)
    }

    #[test]
    fn a_check_ends_when_its_last_round_is_in() {
        for after in [Stop, RegisterIfAllValid] {
            assert_eq!(
                decision(after, [1, 1, 0, 0, 0, 0, 0], [1, 1, 0]),
                (ApplyStatus::Check, false)
            );
        }
        assert_eq!(
            decision(Stop, [0, 2, 0, 0, 0, 0, 0], [0, 1, 0]),
            (ApplyStatus::CheckSuccess, false)
        );
        assert_eq!(
            decision(Stop, [0, 1, 1, 0, 0, 0, 0], [0, 1, 0]),
            (ApplyStatus::CheckFailed, false)
        );
    }

    #[test]
    fn register_if_all_are_valid_registers_all_or_waits() {
        assert_eq!(
            decision(RegisterIfAllValid, [0, 2, 0, 0, 0, 0, 0], [0, 2, 0]),
            (ApplyStatus::Create, true)
        );
        assert_eq!(
            decision(RegisterIfAllValid, [0, 1, 1, 0, 0, 0, 0], [0, 1, 0]),
            (ApplyStatus::CheckFailed, false)
        );
    }

    #[test]
    fn register_the_valid_ones_lets_each_round_go_on_when_its_check_is_in() {
        assert_eq!(
            decision(RegisterValid, [1, 1, 0, 0, 0, 0, 0], [1, 1, 0]),
            (ApplyStatus::Check, true)
        );
        assert_eq!(
            decision(RegisterValid, [0, 1, 1, 1, 0, 0, 0], [0, 1, 0]),
            (ApplyStatus::Create, true)
        );
        assert_eq!(
            decision(RegisterValid, [0, 0, 1, 2, 0, 0, 0], [0, 0, 0]),
            (ApplyStatus::CreateSuccess, false)
        );
        assert_eq!(
            decision(RegisterValid, [0, 0, 3, 0, 0, 0, 0], [0, 0, 0]),
            (ApplyStatus::CheckFailed, false)
        );
    }

    #[test]
    fn nothing_is_registered_before_the_apply_is_sealed() {
        let rounds = Rounds {
            checking: 0,
            held: 1,
            moving: 0,
        };
        let counts = Counts::from_array([0, 1, 0, 0, 0, 0, 0]);

        let decision = decide(ApplyStatus::Check, RegisterValid, false, &counts, rounds);

        assert_eq!(
            decision,
            Decision {
                status: ApplyStatus::Check,
                release: false
            }
        );
    }

    #[test]
    fn a_creation_ends_when_nothing_moves_and_nothing_is_unknown() {
        let end = |counts, moving| {
            let rounds = Rounds {
                moving,
                ..Rounds::default()
            };
            decide(
                ApplyStatus::Create,
                Stop,
                true,
                &Counts::from_array(counts),
                rounds,
            )
            .status
        };

        assert_eq!(end([0, 1, 0, 1, 0, 0, 0], 1), ApplyStatus::Create);
        assert_eq!(end([0, 0, 1, 1, 0, 0, 0], 0), ApplyStatus::CreateSuccess);
        assert_eq!(end([0, 0, 0, 1, 1, 0, 0], 0), ApplyStatus::CreateFailed);
        assert_eq!(end([0, 0, 0, 1, 1, 1, 0], 0), ApplyStatus::Create);
    }

    #[test]
    fn a_settled_apply_moves_only_when_someone_asks() {
        for &status in ApplyStatus::ALL.iter().filter(|status| status.is_settled()) {
            let rounds = Rounds {
                held: 1,
                ..Rounds::default()
            };
            let decision = decide(status, RegisterValid, true, &Counts::pending(1), rounds);

            assert_eq!(
                decision,
                Decision {
                    status,
                    release: false
                }
            );
        }
    }

    #[test]
    fn register_acts_once_and_says_what_is_missing_otherwise() {
        let all_valid = Counts::from_array([0, 2, 0, 0, 0, 0, 0]);
        let one_invalid = Counts::from_array([0, 1, 1, 0, 0, 0, 0]);
        let none_valid = Counts::from_array([0, 0, 2, 0, 0, 0, 0]);
        use {Acceptance::*, ApplyStatus as S};

        assert_eq!(accept(S::CheckSuccess, &all_valid, false), Accept);
        assert_eq!(
            accept(S::CheckFailed, &one_invalid, false),
            Refuse(Refusal::HasInvalid)
        );
        assert_eq!(accept(S::CheckFailed, &one_invalid, true), Accept);
        assert_eq!(
            accept(S::CheckFailed, &none_valid, true),
            Refuse(Refusal::NothingValid)
        );
        assert_eq!(
            accept(S::Check, &all_valid, true),
            Refuse(Refusal::StillChecking)
        );
        assert_eq!(
            accept(S::Cancelled, &all_valid, true),
            Refuse(Refusal::Cancelled)
        );
        for status in [S::Create, S::CreateSuccess, S::CreateFailed] {
            assert_eq!(accept(status, &one_invalid, true), Unchanged);
        }
    }
}
