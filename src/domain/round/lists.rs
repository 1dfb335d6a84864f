//! What an answer that names devices makes of a round.

use super::{Change, Phase, Round, Settle, change::Named, ends::unknown};
use crate::domain::{Ordinal, Outcome, Reason, ReasonCode, SMALL_ROUND};

impl Round {
    /// A failed check: who was named is refused, who passed is valid, and the rest is asked about
    /// again. One that names nobody is made once more and then halved down to the culprits.
    pub(super) fn check_failed(
        self,
        refused: Vec<(Ordinal, Reason)>,
        valid: Vec<Ordinal>,
        said: Reason,
        open: &[Ordinal],
    ) -> Change {
        let no = self.refusal();
        if let Some(change) = self.exist(&refused, &valid, Outcome::Valid) {
            return change;
        }
        if refused.is_empty() {
            return match (self.nameless, open) {
                // They may be refused because they exist, too.
                (0, _) if self.restored => {
                    let settle = match self.accepted {
                        true => Settle::Each(unknown(open, &said)),
                        false => Settle::Nothing,
                    };
                    self.looks_up(settle)
                }
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
    pub(super) fn create_failed(
        self,
        created: Vec<Ordinal>,
        refused: Vec<(Ordinal, Reason)>,
        open: &[Ordinal],
    ) -> Change {
        if let Some(change) = self.exist(&refused, &created, Outcome::Created) {
            return change;
        }
        let named = Named::new(open, &refused, &created);
        let nobody = refused.is_empty() && created.is_empty();
        let refuses = !refused.is_empty();
        // Of a request that was sent twice the first may have created what the second could not.
        let refusal = match self.resent {
            true => Outcome::Unknown,
            false => Outcome::Failed,
        };
        let mut each: Vec<_> = refused
            .into_iter()
            .map(|(at, why)| (at, refusal, Some(why)))
            .collect();
        each.extend(created.into_iter().map(|at| (at, Outcome::Created, None)));
        let next = match (named.rest.is_empty(), self.import) {
            (true, _) if self.resent && refuses => Phase::Lookup,
            (true, _) => Phase::Ended,
            (false, true) => Phase::ListImported,
            (false, false) => Phase::Listing,
        };
        Self {
            nameless: i16::from(nobody),
            ..self.goes(next)
        }
        .settling(Settle::Each(each))
    }

    /// The result is read: who is in it was created. The upstream lost the others, or, if it said
    /// that creating failed and named nobody, refused them.
    pub(super) fn listed(self, present: Vec<Ordinal>, open: &[Ordinal]) -> Change {
        let named = Named::new(open, &[], &present);
        let mut each: Vec<_> = present
            .into_iter()
            .map(|at| (at, Outcome::Created, None))
            .collect();
        if named.rest.is_empty() {
            self.goes(Phase::Ended).settling(Settle::Each(each))
        } else if self.nameless > 0 && !self.resent {
            each.extend(named.rest.iter().map(|at| {
                let text = "the upstream failed to create the device and did not say why";
                let reason = Reason::local(ReasonCode::Refused, text.to_owned());
                (*at, Outcome::Failed, Some(reason))
            }));
            self.goes(Phase::Ended).settling(Settle::Each(each))
        } else if self.import {
            let why = Self::not_listed();
            let rest = named.rest.iter();
            each.extend(rest.map(|at| (*at, Outcome::Unknown, Some(why.clone()))));
            self.goes(Phase::Lookup).settling(Settle::Each(each))
        } else {
            self.anew(&named.rest, SMALL_ROUND, each)
        }
    }
}
