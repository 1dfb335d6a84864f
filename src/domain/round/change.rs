//! What an event did: the round after it, its devices, and rounds that take over some of them.

use std::collections::HashSet;

use super::{Phase, Round};
use crate::domain::{Ordinal, Outcome, Reason};

/// What becomes of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Nothing new.
    Nothing,
    /// All open devices of the round have this outcome now.
    Open(Outcome),
    /// These devices have these outcomes now.
    Each(Vec<(Ordinal, Outcome, Option<Reason>)>),
}

impl Settle {
    /// Whether a device has its last outcome by this.
    pub(super) fn settles_any(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Open(outcome) => !outcome.is_open(),
            Self::Each(each) => each.iter().any(|(_, outcome, _)| !outcome.is_open()),
        }
    }
}

/// The round after an event, and what the event did besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The round from now on.
    pub round: Round,
    /// What became of its devices.
    pub settle: Settle,
    /// Rounds that take over the devices that are still open; they begin with a check.
    pub parts: Vec<Part>,
}

/// A round that takes over some devices of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its devices.
    pub ordinals: Vec<Ordinal>,
    /// Failures in a row that named none of them.
    pub nameless: i16,
    /// Upstream applies that were taken and created nobody since a device of them was last settled.
    pub fruitless: i16,
}

impl Change {
    /// The same for an apply that is being cancelled: nothing that was not asked to be registered
    /// goes on. `intent_open`: a request to register may be under way, and is asked after.
    pub fn when_cancelling(self, intent_open: bool) -> Self {
        let phase = match self.round.phase {
            Phase::Check
            | Phase::Checking
            | Phase::CheckImport
            // One that may be under way is IMPORTING.
            | Phase::Import
            | Phase::Held => Phase::Ended,
            // Nothing of it was sent, as far as is known.
            Phase::Lookup if !self.round.accepted => Phase::Ended,
            Phase::Register if intent_open => Phase::Registering,
            Phase::Register => Phase::Ended,
            phase @ (Phase::Registering
            | Phase::Creating
            | Phase::Counting
            | Phase::Listing
            | Phase::Unknown
            | Phase::Unresolved
            | Phase::Importing
            | Phase::Imported
            | Phase::ListImported
            | Phase::Lookup
            | Phase::Ended) => phase,
        };
        Self {
            round: Round {
                phase,
                ..self.round
            },
            settle: self.settle,
            parts: Vec::new(),
        }
    }
}

/// Which open devices an answer leaves open, and which of those it does not name.
pub(super) struct Named {
    pub(super) open: Vec<Ordinal>,
    pub(super) rest: Vec<Ordinal>,
}

impl Named {
    pub(super) fn new(open: &[Ordinal], refused: &[(Ordinal, Reason)], fine: &[Ordinal]) -> Self {
        let refused: HashSet<Ordinal> = refused.iter().map(|(at, _)| *at).collect();
        let fine: HashSet<Ordinal> = fine.iter().copied().collect();
        let open: Vec<_> = open
            .iter()
            .copied()
            .filter(|at| !refused.contains(at))
            .collect();
        let rest = open
            .iter()
            .copied()
            .filter(|at| !fine.contains(at))
            .collect();
        Self { open, rest }
    }
}
