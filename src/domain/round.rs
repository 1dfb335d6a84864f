//! A round: a set of devices on its way through one upstream apply, and what each answer makes of it.

mod change;

use super::{Corrupt, Lane, Ordinal, Outcome, Reason, ReasonCode, SMALL_ROUND, outcome::words};

pub use change::{Change, Part, Settle};

use change::Named;

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
        /// Nothing is left to do.
        Ended = "ENDED",
    }
}

impl Phase {
    /// The upstream action that takes a round of this phase further; none if it rests.
    pub fn lane(self) -> Option<Lane> {
        match self {
            Self::Check => Some(Lane::Check),
            Self::Checking | Self::Registering | Self::Creating => Some(Lane::Status),
            Self::Register => Some(Lane::Register),
            Self::Counting | Self::Listing => Some(Lane::Page),
            Self::Held | Self::Ended => None,
        }
    }

    /// The phase while a step is under way: one that registers is taken for asked from its claim
    /// on, so that a crash leaves behind a question and not a second request.
    pub fn claimed(self) -> Self {
        match self {
            Self::Register => Self::Registering,
            other => other,
        }
    }
}

/// A round as far as its course depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// What it does next.
    pub phase: Phase,
    /// Whether its devices are accepted for registration. What is refused from then on has FAILED.
    pub accepted: bool,
    /// The upstream's ApplyId, while there is a usable one.
    pub upstream_apply: Option<i64>,
    /// Failures in a row that named no device.
    pub nameless: i16,
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
}

/// An event that cannot happen to a round in this phase.
#[derive(Debug, thiserror::Error)]
#[error("a round in {phase} cannot take {event}")]
pub struct IllegalTransition {
    phase: Phase,
    event: String,
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
            (P::Checking, E::CheckPassed) => {
                let next = if self.accepted { P::Register } else { P::Held };
                Self {
                    nameless: 0,
                    ..self.goes(next)
                }
                .settling(Settle::Open(Outcome::Valid))
            }
            (
                P::Check | P::Checking,
                E::CheckFailed {
                    refused,
                    valid,
                    said,
                },
            ) => self.check_failed(refused, valid, said, open),
            (P::Check, E::TooLarge) if open.len() < 2 => {
                let text = "the upstream takes no list of names, however short";
                let said = Reason::local(ReasonCode::Refused, text.to_owned());
                let alone = open.iter().map(|at| (*at, said.clone())).collect();
                self.check_failed(alone, Vec::new(), said, open)
            }
            (P::Check, E::TooLarge) => {
                let size = SMALL_ROUND.min(open.len().div_ceil(2));
                self.parted(open, size, Settle::Nothing)
            }
            (P::Check, E::NothingLeft) => self.goes(P::Ended).alone(),
            (P::Checking | P::Registering, E::ApplyGone) | (P::Registering, E::Stale) => {
                self.again().alone()
            }
            (P::Registering, E::RegisterAccepted) => self.goes(P::Creating).alone(),
            (P::Registering, E::RegisterUnheard | E::NotRegistered) => {
                self.goes(P::Register).alone()
            }
            (P::Registering, E::RegisterRefused) => self.goes(P::Checking).alone(),
            // A refused request is followed up as a check, which may find the devices created.
            (P::Checking, E::RegisterAccepted) if self.accepted => self.goes(P::Creating).alone(),
            (P::Checking | P::Registering | P::Creating, E::CreateSucceeded) if self.accepted => {
                self.goes(P::Counting).alone()
            }
            (P::Checking | P::Registering | P::Creating, E::CreateFailed { created, refused })
                if self.accepted =>
            {
                self.create_failed(created, refused, open)
            }
            (P::Counting, E::Counted { total }) if total >= open.len() as u64 => {
                self.goes(P::Ended).settling(Settle::Open(Outcome::Created))
            }
            (P::Counting, E::Counted { .. }) => self.goes(P::Listing).alone(),
            (P::Listing, E::Listed { present }) => self.listed(present, open),

            (
                phase @ (P::Check
                | P::Checking
                | P::Held
                | P::Register
                | P::Registering
                | P::Creating
                | P::Counting
                | P::Listing
                | P::Ended),
                event,
            ) => {
                return Err(IllegalTransition {
                    phase,
                    event: format!("{event:?}"),
                });
            }
        };
        Ok(change)
    }

    /// A failed check: who was named is refused, who passed is valid, and the rest is asked about
    /// again. One that names nobody is made once more and then halved down to the culprits.
    fn check_failed(
        self,
        refused: Vec<(Ordinal, Reason)>,
        valid: Vec<Ordinal>,
        said: Reason,
        open: &[Ordinal],
    ) -> Change {
        let no = if self.accepted {
            Outcome::Failed
        } else {
            Outcome::Invalid
        };
        if refused.is_empty() {
            return match (self.nameless, open) {
                (0, _) => Self {
                    nameless: 1,
                    ..self.again()
                }
                .alone(),
                (_, [culprit]) => {
                    self.goes(Phase::Ended)
                        .settling(Settle::Each(vec![(*culprit, no, Some(said))]))
                }
                (_, _) => self.parted(open, open.len().div_ceil(2), Settle::Nothing),
            };
        }
        let named = Named::new(open, &refused, &valid);
        let mut each: Vec<_> = refused
            .into_iter()
            .map(|(at, why)| (at, no, Some(why)))
            .collect();
        each.extend(valid.iter().map(|at| (*at, Outcome::Valid, None)));
        let settle = Settle::Each(each);
        let round = Self {
            nameless: 0,
            ..self
        };
        match (valid.is_empty(), named.rest.is_empty()) {
            (true, true) => round.goes(Phase::Ended).settling(settle),
            (_, true) if !round.accepted => Self {
                upstream_apply: None,
                ..round.goes(Phase::Held)
            }
            .settling(settle),
            // The lists of the others prove that the upstream lost rows: it takes fewer a call.
            (false, false) => round.parted(&named.open, SMALL_ROUND, settle),
            (false, true) | (true, false) => round.again().settling(settle),
        }
    }

    /// A failed creation: who was named is settled, and the result pages tell of the rest.
    fn create_failed(
        self,
        created: Vec<Ordinal>,
        refused: Vec<(Ordinal, Reason)>,
        open: &[Ordinal],
    ) -> Change {
        let named = Named::new(open, &refused, &created);
        let nobody = refused.is_empty() && created.is_empty();
        let mut each: Vec<_> = refused
            .into_iter()
            .map(|(at, why)| (at, Outcome::Failed, Some(why)))
            .collect();
        each.extend(created.into_iter().map(|at| (at, Outcome::Created, None)));
        let next = if named.rest.is_empty() {
            Phase::Ended
        } else {
            Phase::Listing
        };
        Self {
            nameless: i16::from(nobody),
            ..self.goes(next)
        }
        .settling(Settle::Each(each))
    }

    /// The result is read: who is in it was created. The upstream lost the others, or, if it said
    /// that creating failed and named nobody, refused them.
    fn listed(self, present: Vec<Ordinal>, open: &[Ordinal]) -> Change {
        let named = Named::new(open, &[], &present);
        let mut each: Vec<_> = present
            .into_iter()
            .map(|at| (at, Outcome::Created, None))
            .collect();
        if named.rest.is_empty() {
            self.goes(Phase::Ended).settling(Settle::Each(each))
        } else if self.nameless > 0 {
            each.extend(named.rest.iter().map(|at| {
                let text = "the upstream failed to create the device and did not say why";
                let reason = Reason::local(ReasonCode::Refused, text.to_owned());
                (*at, Outcome::Failed, Some(reason))
            }));
            self.goes(Phase::Ended).settling(Settle::Each(each))
        } else {
            self.parted(&named.rest, SMALL_ROUND, Settle::Each(each))
        }
    }

    fn goes(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// Back to the start, under a new upstream apply.
    fn again(self) -> Self {
        Self {
            upstream_apply: None,
            ..self.goes(Phase::Check)
        }
    }

    fn alone(self) -> Change {
        self.settling(Settle::Nothing)
    }

    fn settling(self, settle: Settle) -> Change {
        Change {
            round: self,
            settle,
            parts: Vec::new(),
        }
    }

    /// Ends here; rounds of `size` take over `open`.
    fn parted(self, open: &[Ordinal], size: usize, settle: Settle) -> Change {
        let nameless = self.nameless;
        let parts = open
            .chunks(size.max(1))
            .map(|part| Part {
                ordinals: part.to_vec(),
                nameless,
            })
            .collect();
        Change {
            round: self.goes(Phase::Ended),
            settle,
            parts,
        }
    }
}

#[cfg(test)]
mod tests;
