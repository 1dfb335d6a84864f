//! A round: a set of devices on its way through one upstream apply, and what each answer makes of it.

mod change;
mod ends;
mod imports;
mod lists;

use super::{Corrupt, Lane, Ordinal, Outcome, Reason, ReasonCode, SMALL_ROUND, outcome::words};

pub use change::{Change, Part, Settle};

words! {
    /// What a round does next.
    pub enum Phase ("a phase") {
        /// Its devices are to be checked.
        Check = "CHECK",
        /// The upstream checks them; ask for the result.
        Checking = "CHECKING",
        /// Checked; the apply decides whether it goes on.
        Held = "HELD",
        /// To be registered.
        Register = "REGISTER",
        /// It was, or is about to be, asked to be registered; find out whether it was heard.
        Registering = "REGISTERING",
        /// The upstream creates the devices; ask for the result.
        Creating = "CREATING",
        /// The upstream says all are created; prove the count.
        Counting = "COUNTING",
        /// The count falls short; read page by page which were created.
        Listing = "LISTING",
        /// What became of its devices is not known; ask now and then.
        Unknown = "UNKNOWN",
        /// Asked after for long enough; asked again when a caller wants it.
        Unresolved = "UNRESOLVED",
        /// Its devices bring their own secrets; whether they may be imported is to be asked.
        CheckImport = "CHECK_IMPORT",
        /// To be imported.
        Import = "IMPORT",
        /// It was, or is about to be, sent for import; the same request may be sent again.
        Importing = "IMPORTING",
        /// The import is taken, and its status is not told; count what it lists.
        Imported = "IMPORTED",
        /// The count falls short; read page by page which were created.
        ListImported = "LIST_IMPORTED",
        /// What became of its devices is not known, or somebody may have made them that is forgotten;
        /// look each of them up.
        Lookup = "LOOKUP",
        /// Nothing is left to do.
        Ended = "ENDED",
    }
}

impl Phase {
    /// What a round begins with, whose devices bring their own secrets or do not.
    pub fn first(import: bool) -> Self {
        match import {
            true => Self::CheckImport,
            false => Self::Check,
        }
    }

    /// The upstream action that takes a round of this phase further; none if it rests.
    pub fn lane(self) -> Option<Lane> {
        match self {
            Self::Check => Some(Lane::Check),
            Self::Checking | Self::Registering | Self::Creating | Self::Unknown => {
                Some(Lane::Status)
            }
            Self::Register => Some(Lane::Register),
            Self::Counting | Self::Listing => Some(Lane::Page),
            Self::CheckImport => Some(Lane::CheckImport),
            Self::Import | Self::Importing => Some(Lane::Import),
            Self::Imported | Self::ListImported => Some(Lane::Imported),
            Self::Lookup => Some(Lane::Details),
            Self::Held | Self::Unresolved | Self::Ended => None,
        }
    }

    /// The phase while a step is under way: one that registers or imports is taken for asked from
    /// its claim on, so that a crash leaves behind a question and not a second request.
    pub fn claimed(self) -> Self {
        match self {
            Self::Register => Self::Registering,
            Self::Import => Self::Importing,
            other => other,
        }
    }
}

/// A round as far as its course depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// What it does next.
    pub phase: Phase,
    /// Whether its devices bring their own secrets.
    pub import: bool,
    /// Whether its request to import may have been sent more than once: a refusal may then be of the
    /// second what the first did.
    pub resent: bool,
    /// Whether the database was restored to an older state since its apply came: devices that exist
    /// may be of an upstream apply of ours that is forgotten, and are looked up before they are
    /// refused.
    pub restored: bool,
    /// Whether its devices are accepted for registration. What is refused from then on has FAILED.
    pub accepted: bool,
    /// The upstream's ApplyId, while there is a usable one.
    pub upstream_apply: Option<i64>,
    /// Failures in a row that named no device.
    pub nameless: i16,
    /// Upstream applies that were taken and created nobody since a device of the round was last
    /// settled.
    pub fruitless: i16,
}

/// What a step learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The upstream has taken the list and checks it.
    CheckAccepted { upstream_apply: i64 },
    /// Every device passed.
    CheckPassed,
    /// The check was refused or failed, naming these devices.
    CheckFailed {
        refused: Vec<(Ordinal, Reason)>,
        valid: Vec<Ordinal>,
        said: Reason,
    },
    /// The upstream takes fewer devices a call than the round has.
    TooLarge,
    /// No device of the round is open any more.
    NothingLeft,
    /// The upstream does not know the apply, and nothing was registered under it.
    ApplyGone,
    /// The upstream apply was checked too long ago; nothing was sent.
    Stale,
    /// The upstream has taken the request to register, or had taken it before.
    RegisterAccepted,
    /// Whether the request to register was heard is not known; the same one may be sent again.
    RegisterUnheard,
    /// The request to register was certainly not carried out, and no earlier one is under way.
    NotRegistered,
    /// The upstream refused to register, finally; ask how the apply stands.
    RegisterRefused,
    /// The upstream says that every device is created.
    CreateSucceeded,
    /// The upstream says that some are not, naming these.
    CreateFailed {
        created: Vec<Ordinal>,
        refused: Vec<(Ordinal, Reason)>,
    },
    /// The upstream's result has so many rows.
    Counted { total: u64 },
    /// The rows of the result are these devices.
    Listed { present: Vec<Ordinal> },
    /// The upstream has taken the import.
    ImportAccepted { upstream_apply: i64 },
    /// The import was refused as a whole, naming these devices, and no earlier request is under way.
    ImportRefused {
        refused: Vec<(Ordinal, Reason)>,
        said: Reason,
    },
    /// The import may have been carried out, and sending it again would tell no more.
    ImportLost { why: Reason },
    /// The upstream tells no status of an import.
    NoStatus,
    /// The devices were looked up: these are ours (they exist with their secrets, or were made since
    /// their apply came), these are others', and these do not exist. `proven`: no import can be under
    /// way any more.
    LookedUp {
        ours: Vec<Ordinal>,
        others: Vec<(Ordinal, Reason)>,
        absent: Vec<Ordinal>,
        proven: bool,
    },
    /// The upstream answers, and has been at it for longer than it may.
    TimedOut,
    /// No usable answer for too long. `sent`: the request to register or import may have been heard.
    GivenUp { why: Reason, sent: bool },
}

/// An event that cannot happen to a round in this phase.
#[derive(Debug, thiserror::Error)]
#[error("a round in {phase} cannot take {event}")]
pub struct IllegalTransition {
    phase: Phase,
    event: String,
}

impl IllegalTransition {
    fn new(phase: Phase, event: &Event) -> Self {
        Self {
            phase,
            event: format!("{event:?}"),
        }
    }
}

impl Round {
    /// The round after `event`, given its open devices (which only the events that name devices
    /// look at).
    pub fn on(self, event: Event, open: &[Ordinal]) -> Result<Change, IllegalTransition> {
        use {Event as E, Phase as P};
        let change = match (self.phase, event) {
            (P::Check, E::CheckAccepted { upstream_apply }) => Self {
                upstream_apply: Some(upstream_apply),
                ..self.goes(P::Checking)
            }
            .alone(),
            (P::CheckImport, E::CheckPassed) => self.import_checked(),
            (P::Checking, E::CheckPassed) => {
                let next = if self.accepted { P::Register } else { P::Held };
                Self {
                    nameless: 0,
                    ..self.goes(next)
                }
                .settling(Settle::Open(Outcome::Valid))
            }
            (
                P::Check | P::Checking | P::CheckImport,
                E::CheckFailed {
                    refused,
                    valid,
                    said,
                },
            ) => self.check_failed(refused, valid, said, open),
            (P::Check | P::CheckImport | P::Importing, E::TooLarge) if open.len() < 2 => {
                let text = "the upstream takes no list of names, however short";
                let said = Reason::local(ReasonCode::Refused, text.to_owned());
                let alone = open.iter().map(|at| (*at, said.clone())).collect();
                self.check_failed(alone, Vec::new(), said, open)
            }
            (P::Check | P::CheckImport | P::Importing, E::TooLarge) => {
                let size = SMALL_ROUND.min(open.len().div_ceil(2));
                self.parted(open, size, Settle::Nothing)
            }
            (P::Check | P::CheckImport | P::Importing | P::Lookup, E::NothingLeft) => {
                self.goes(P::Ended).alone()
            }
            (P::Checking | P::Registering, E::ApplyGone)
            | (P::Registering | P::Importing, E::Stale) => self.again().alone(),
            (P::Registering, E::RegisterAccepted) => self.goes(P::Creating).alone(),
            (P::Registering, E::RegisterUnheard | E::NotRegistered) => {
                self.goes(P::Register).alone()
            }
            (P::Registering, E::RegisterRefused) => self.goes(P::Checking).alone(),
            (P::Importing, E::NotRegistered) => self.goes(P::Import).alone(),
            (P::Importing, E::ImportAccepted { upstream_apply }) => Self {
                upstream_apply: Some(upstream_apply),
                nameless: 0,
                ..self.goes(P::Creating)
            }
            .alone(),
            (P::Importing, E::ImportRefused { refused, said }) => {
                self.import_refused(refused, said, open)
            }
            (P::Importing, E::ImportLost { why }) => self.unknown(&why, open),
            (P::Creating, E::NoStatus) if self.import => self.goes(P::Imported).alone(),
            (P::Unknown, E::NoStatus) if self.import => self.goes(P::Lookup).alone(),
            (P::Imported | P::ListImported, E::ApplyGone) => self.unlisted(open),
            (
                P::Lookup,
                E::LookedUp {
                    ours,
                    others,
                    absent,
                    proven,
                },
            ) => self.looked_up(ours, others, absent, proven, open),
            // A refused request is followed up as a check, which may find the devices created.
            (P::Checking, E::RegisterAccepted) if self.accepted => self.goes(P::Creating).alone(),
            (P::Checking | P::Registering | P::Creating | P::Unknown, E::CreateSucceeded)
                if self.accepted =>
            {
                let next = if self.import {
                    P::Imported
                } else {
                    P::Counting
                };
                self.goes(next).alone()
            }
            (
                P::Checking | P::Registering | P::Creating | P::Unknown,
                E::CreateFailed { created, refused },
            ) if self.accepted => self.create_failed(created, refused, open),
            (P::Counting | P::Imported, E::Counted { total }) if total >= open.len() as u64 => {
                self.goes(P::Ended).settling(Settle::Open(Outcome::Created))
            }
            (P::Counting, E::Counted { .. }) => self.goes(P::Listing).alone(),
            (P::Imported, E::Counted { .. }) => self.goes(P::ListImported).alone(),
            (P::Listing | P::ListImported, E::Listed { present }) => self.listed(present, open),
            (phase, E::TimedOut) => return self.timed_out(phase, open),
            (phase, E::GivenUp { why, sent }) => return self.given_up(phase, why, sent, open),
            // Proven absent: nothing stands against sending it anew.
            (P::Unknown, E::NotRegistered | E::ApplyGone) if !self.import => {
                self.again().settling(Settle::Open(Outcome::Pending))
            }

            (
                phase @ (P::Check
                | P::Checking
                | P::Held
                | P::Register
                | P::Registering
                | P::Creating
                | P::Counting
                | P::Listing
                | P::Unknown
                | P::Unresolved
                | P::CheckImport
                | P::Import
                | P::Importing
                | P::Imported
                | P::ListImported
                | P::Lookup
                | P::Ended),
                event,
            ) => return Err(IllegalTransition::new(phase, &event)),
        };
        Ok(change)
    }

    fn goes(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// Back to the start, under a new upstream apply.
    fn again(self) -> Self {
        let first = Phase::first(self.import);
        Self {
            upstream_apply: None,
            resent: false,
            ..self.goes(first)
        }
    }

    fn alone(self) -> Change {
        self.settling(Settle::Nothing)
    }

    fn settling(self, settle: Settle) -> Change {
        let fruitless = match settle.settles_any() {
            true => 0,
            false => self.fruitless,
        };
        Change {
            round: Self { fruitless, ..self },
            settle,
            parts: Vec::new(),
        }
    }

    /// Ends here; rounds of `size` take over `open`.
    fn parted(self, open: &[Ordinal], size: usize, settle: Settle) -> Change {
        let ended = self.goes(Phase::Ended).settling(settle);
        let parts = open
            .chunks(size.max(1))
            .map(|part| Part {
                ordinals: part.to_vec(),
                nameless: ended.round.nameless,
                fruitless: ended.round.fruitless,
            })
            .collect();
        Change { parts, ..ended }
    }
}

#[cfg(test)]
mod tests;
