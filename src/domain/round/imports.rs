//! What becomes of devices that bring their own secrets.
//!
//! An import can neither be repeated nor looked up by a number that was never received. So what may
//! have been sent is asked after device by device, and a device is sent anew only when it is proven
//! not to exist.

use super::{Change, Phase, Round, Settle, change::Named};
use crate::domain::{CHUNK, Ordinal, Outcome, Reason, ReasonCode, SMALL_ROUND};

impl Round {
    /// The upstream would take the import as it is. A refusal that named nobody is not forgotten by
    /// that: it came of the import and not of its check.
    pub(super) fn import_checked(self) -> Change {
        let next = if self.accepted {
            Phase::Import
        } else {
            Phase::Held
        };
        self.goes(next).settling(Settle::Open(Outcome::Valid))
    }

    /// What becomes of devices that are refused because they exist, where we may have made them
    /// ourselves: by an earlier request of an accepted import, however late, or by whatever a restored
    /// database has forgotten. So they are looked up, with whoever else is open; but once only, since
    /// an upstream that contradicts itself would go on for ever. `fine` are named, too, as `to`.
    pub(super) fn exist(
        &self,
        refused: &[(Ordinal, Reason)],
        fine: &[Ordinal],
        to: Outcome,
    ) -> Option<Change> {
        let exists = |why: &Reason| why.code == ReasonCode::Exists;
        let any = refused.iter().any(|(_, why)| exists(why));
        let ours = self.import && self.accepted || self.restored;
        if !(any && ours && self.nameless == 0) {
            return None;
        }
        let mut each = Vec::new();
        for (at, why) in refused {
            let outcome = match exists(why) || self.resent {
                false => self.refusal(),
                true if self.accepted => Outcome::Unknown,
                // It was never sent, as far as is known, and stays what it was.
                true => continue,
            };
            each.push((*at, outcome, Some(why.clone())));
        }
        each.extend(fine.iter().map(|at| (*at, to, None)));
        Some(self.clone().looks_up(Settle::Each(each)))
    }

    /// Looks the open devices up. What a restored round finds was made under a number that nobody
    /// knows any more, so it has none.
    pub(super) fn looks_up(self, settle: Settle) -> Change {
        Self {
            nameless: 1,
            upstream_apply: self.upstream_apply.filter(|_| !self.restored),
            ..self.goes(Phase::Lookup)
        }
        .settling(settle)
    }

    /// The import was refused as a whole: who was named has failed, and the rest is checked anew. One
    /// that names nobody is made once more and then halved down to the culprits.
    pub(super) fn import_refused(
        self,
        refused: Vec<(Ordinal, Reason)>,
        said: Reason,
        open: &[Ordinal],
    ) -> Change {
        if let Some(change) = self.exist(&refused, &[], Outcome::Created) {
            return change;
        }
        let failed = |(at, why)| (at, Outcome::Failed, Some(why));
        match (refused.is_empty(), self.nameless, open) {
            (true, 0, _) => Self {
                nameless: 1,
                ..self.goes(Phase::Import)
            }
            .alone(),
            (true, _, [culprit]) => {
                let each = vec![failed((*culprit, said))];
                self.goes(Phase::Ended).settling(Settle::Each(each))
            }
            (true, _, _) => self.parted(open, open.len().div_ceil(2), Settle::Nothing),
            (false, _, _) => {
                let left = Named::new(open, &refused, &[]).open;
                let each = Settle::Each(refused.into_iter().map(failed).collect());
                match left.is_empty() {
                    true => self.goes(Phase::Ended).settling(each),
                    false => self.again().settling(each),
                }
            }
        }
    }

    /// The upstream does not know the import (any more) that it has taken.
    pub(super) fn unlisted(self, open: &[Ordinal]) -> Change {
        let text = "the upstream has taken the import and does not know its number any more";
        let why = Reason::local(ReasonCode::Unresolved, text.to_owned());
        self.unknown(&why, open)
    }

    /// Why a device is UNKNOWN that its import does not list.
    pub(super) fn not_listed() -> Reason {
        let text = "the upstream has taken the import and does not list the device as created";
        Reason::local(ReasonCode::Unresolved, text.to_owned())
    }

    /// The devices were looked up. A device with the secret that it brought counts as created by
    /// this import: whoever made it, it is what was asked for, and nothing tells it from one that
    /// existed before with the same secret. Of a name alone, one that was made since its apply came
    /// counts, where the database was restored.
    ///
    /// Those that do not exist are sent anew once no import can be under way. Where the import was
    /// taken, or others of the round were created, the upstream lost these, and takes fewer a call.
    pub(super) fn looked_up(
        self,
        ours: Vec<Ordinal>,
        others: Vec<(Ordinal, Reason)>,
        absent: Vec<Ordinal>,
        proven: bool,
        open: &[Ordinal],
    ) -> Change {
        let left = Named::new(open, &others, &ours).rest;
        let no = self.refusal();
        let mut each: Vec<_> = others
            .into_iter()
            .map(|(at, why)| (at, no, Some(why)))
            .collect();
        each.extend(ours.into_iter().map(|at| (at, Outcome::Created, None)));
        if left.is_empty() {
            return self.goes(Phase::Ended).settling(Settle::Each(each));
        }
        if !proven || left != absent {
            return match each.is_empty() {
                true => self.alone(),
                false => self.settling(Settle::Each(each)),
            };
        }
        if self.upstream_apply.is_none() && absent.len() == open.len() {
            return self.again().settling(Settle::Open(Outcome::Pending));
        }
        if self.restored {
            // What is forgotten may be at it still: each look that finds something has earned another.
            let nameless = if each.is_empty() { self.nameless } else { 0 };
            return Self { nameless, ..self }.anew(&absent, CHUNK, each);
        }
        self.anew(&absent, SMALL_ROUND, each)
    }
}

#[cfg(test)]
mod tests;
