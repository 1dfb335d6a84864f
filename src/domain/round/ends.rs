//! How waits end: a round that the upstream keeps too long, or that it gives no usable answer about.

use super::{Change, Event, IllegalTransition, Phase, Round, Settle};
use crate::domain::{Ordinal, Outcome, Reason, ReasonCode};

/// How many upstream applies in a row may take devices and settle none of them.
///
/// One that lost rows has created others, or creates them once it has fewer a call, which the next
/// one sees to. The rest is patience with an upstream that is out of order for a while: each waits for
/// a check and a creation, and that of an import for an hour and more.
pub(super) const FRUITLESS_AT_MOST: i16 = 8;

impl Round {
    /// The upstream answers, and has not finished in time. A check that was never asked to register
    /// is abandoned for a new one; a creation may still end, and is asked after seldom.
    pub(super) fn timed_out(
        self,
        phase: Phase,
        open: &[Ordinal],
    ) -> Result<Change, IllegalTransition> {
        match phase {
            Phase::Checking => Ok(self.again().alone()),
            Phase::Registering | Phase::Creating => {
                let text = "the upstream has not said in time whether the device was created";
                let why = Reason::local(ReasonCode::Unresolved, text.to_owned());
                Ok(self.unknown(&why, open))
            }
            // Created, says the upstream, and does not let it be counted.
            Phase::Counting | Phase::Listing => {
                let text = "the upstream says that all are created and does not list them";
                let why = Reason::local(ReasonCode::Unresolved, text.to_owned());
                let change = self.unknown(&why, open);
                Ok(Change {
                    round: change.round.goes(Phase::Unresolved),
                    ..change
                })
            }
            // Who is listed by now was created, and the others are looked up.
            Phase::Imported => Ok(self.goes(Phase::ListImported).alone()),
            Phase::Unknown => Ok(self.goes(Phase::Unresolved).alone()),
            Phase::Lookup => {
                let text = "the device could not be looked up in time";
                let why = Reason::local(ReasonCode::Unresolved, text.to_owned());
                let (next, to) = match self.accepted {
                    true => (Phase::Unresolved, Outcome::Unknown),
                    false => (Phase::Ended, Outcome::Invalid),
                };
                let all = open.iter().map(|at| (*at, to, Some(why.clone())));
                let settle = Settle::Each(all.collect());
                Ok(self.goes(next).settling(settle))
            }
            Phase::Check
            | Phase::Held
            | Phase::Register
            | Phase::CheckImport
            | Phase::Import
            | Phase::Importing
            | Phase::ListImported
            | Phase::Unresolved
            | Phase::Ended => Err(IllegalTransition::new(phase, &Event::TimedOut)),
        }
    }

    /// No usable answer for too long. What was certainly not registered is refused; of what may
    /// have been, nothing is known until the upstream says so.
    pub(super) fn given_up(
        self,
        phase: Phase,
        why: Reason,
        sent: bool,
        open: &[Ordinal],
    ) -> Result<Change, IllegalTransition> {
        match (phase, sent) {
            (Phase::Check | Phase::Checking | Phase::CheckImport, _)
            | (Phase::Registering | Phase::Unknown | Phase::Importing, false) => {
                let no = self.refusal();
                let all = open.iter().map(|at| (*at, no, Some(why.clone()))).collect();
                Ok(self.goes(Phase::Ended).settling(Settle::Each(all)))
            }
            // Its pages may tell what its status does not.
            (Phase::Creating, _) if self.import => Ok(self.goes(Phase::Imported).alone()),
            (Phase::Registering | Phase::Importing, true)
            | (Phase::Creating | Phase::Counting | Phase::Listing, _)
            | (Phase::Imported | Phase::ListImported, _) => Ok(self.unknown(&why, open)),
            // It is asked after for as long as it may be.
            (Phase::Unknown, true) | (Phase::Lookup, _) => Ok(self.alone()),
            (
                Phase::Held | Phase::Register | Phase::Import | Phase::Unresolved | Phase::Ended,
                _,
            ) => Err(IllegalTransition::new(phase, &Event::GivenUp { why, sent })),
        }
    }

    /// The rest of a round of which these were settled does not exist: it begins anew, in rounds of
    /// `size`, whatever was known of it. Where the upstream has taken it too often for that, it has
    /// failed.
    pub(super) fn anew(
        self,
        rest: &[Ordinal],
        size: usize,
        settled: Vec<(Ordinal, Outcome, Option<Reason>)>,
    ) -> Change {
        let taken = i16::from(self.upstream_apply.is_some());
        let fruitless = match settled.is_empty() {
            true => self.fruitless + taken,
            false => 0,
        };
        let round = Self { fruitless, ..self };
        let mut each = settled;
        if fruitless < FRUITLESS_AT_MOST {
            each.extend(rest.iter().map(|at| (*at, Outcome::Pending, None)));
            return round.parted(rest, size, Settle::Each(each));
        }
        let text =
            format!("the upstream has taken the device {fruitless} times and not created it");
        let why = Reason::local(ReasonCode::Refused, text);
        let failed = |at: &Ordinal| (*at, Outcome::Failed, Some(why.clone()));
        each.extend(rest.iter().map(failed));
        round.goes(Phase::Ended).settling(Settle::Each(each))
    }

    /// What a refused device is: once accepted for registration, it has failed.
    pub(super) fn refusal(&self) -> Outcome {
        if self.accepted {
            Outcome::Failed
        } else {
            Outcome::Invalid
        }
    }

    /// Nobody knows what became of the open devices. A status is asked on; without one, devices
    /// that brought their secrets can be looked up.
    pub(super) fn unknown(self, why: &Reason, open: &[Ordinal]) -> Change {
        let all = unknown(open, why);
        let next = match self.import && self.phase != Phase::Creating {
            true => Phase::Lookup,
            false => Phase::Unknown,
        };
        self.goes(next).settling(Settle::Each(all))
    }
}

/// All of these are UNKNOWN.
pub(super) fn unknown(open: &[Ordinal], why: &Reason) -> Vec<(Ordinal, Outcome, Option<Reason>)> {
    let all = open.iter();
    all.map(|at| (*at, Outcome::Unknown, Some(why.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Lane, round::Part};

    const PHASES: [Phase; 9] = [
        Phase::Check,
        Phase::Checking,
        Phase::Register,
        Phase::Registering,
        Phase::Creating,
        Phase::Counting,
        Phase::Listing,
        Phase::Unknown,
        Phase::Unresolved,
    ];

    fn round(phase: Phase, accepted: bool) -> Round {
        Round {
            phase,
            import: false,
            resent: false,
            restored: false,
            accepted,
            upstream_apply: Some(7),
            nameless: 0,
            fruitless: 0,
        }
    }

    fn given_up(sent: bool) -> Event {
        let why = Reason::local(ReasonCode::UpstreamUnclear, "no answer".into());
        Event::GivenUp { why, sent }
    }

    fn ends(phase: Phase, accepted: bool, event: Event) -> (Phase, Option<Outcome>) {
        let change = round(phase, accepted).on(event, &[3]).unwrap();
        assert_eq!(change.parts, Vec::<Part>::new());
        let outcome = match change.settle {
            Settle::Nothing => None,
            Settle::Open(outcome) => Some(outcome),
            Settle::Each(each) => {
                let [(3, outcome, Some(_))] = each[..] else {
                    panic!("{each:?}");
                };
                Some(outcome)
            }
        };
        (change.round.phase, outcome)
    }

    #[test]
    fn a_check_that_takes_too_long_is_made_anew() {
        let change = round(Phase::Checking, false)
            .on(Event::TimedOut, &[3])
            .unwrap();

        assert_eq!(change.round.phase, Phase::Check);
        assert_eq!(change.round.upstream_apply, None);
        assert_eq!(change.settle, Settle::Nothing);
    }

    #[test]
    fn a_creation_that_takes_too_long_is_unknown_and_asked_after_under_its_number() {
        for phase in [Phase::Registering, Phase::Creating] {
            let told = ends(phase, true, Event::TimedOut);
            assert_eq!(told, (Phase::Unknown, Some(Outcome::Unknown)));
        }
        assert_eq!(Phase::Unknown.lane(), Some(Lane::Status));
        assert_eq!(
            ends(Phase::Unknown, true, Event::TimedOut),
            (Phase::Unresolved, None)
        );
        for phase in [Phase::Counting, Phase::Listing] {
            let told = ends(phase, true, Event::TimedOut);
            assert_eq!(told, (Phase::Unresolved, Some(Outcome::Unknown)));
        }
    }

    #[test]
    fn what_was_not_sent_is_refused_when_it_is_given_up() {
        let checks = [Phase::Check, Phase::Checking];
        for phase in checks {
            let told = ends(phase, false, given_up(false));
            assert_eq!(told, (Phase::Ended, Some(Outcome::Invalid)));
        }
        for phase in [
            Phase::Check,
            Phase::Checking,
            Phase::Registering,
            Phase::Unknown,
        ] {
            let told = ends(phase, true, given_up(false));
            assert_eq!(told, (Phase::Ended, Some(Outcome::Failed)));
        }
    }

    #[test]
    fn what_may_have_been_sent_is_unknown_when_it_is_given_up() {
        for phase in [
            Phase::Registering,
            Phase::Creating,
            Phase::Counting,
            Phase::Listing,
        ] {
            let told = ends(phase, true, given_up(true));
            assert_eq!(told, (Phase::Unknown, Some(Outcome::Unknown)));
        }
        assert_eq!(
            ends(Phase::Unknown, true, given_up(true)),
            (Phase::Unknown, None)
        );
    }

    #[test]
    fn an_unknown_device_that_is_proven_absent_is_sent_anew() {
        for event in [Event::NotRegistered, Event::ApplyGone] {
            let change = round(Phase::Unknown, true).on(event, &[3]).unwrap();

            assert_eq!(change.round.phase, Phase::Check);
            assert_eq!(change.round.upstream_apply, None);
            assert_eq!(change.settle, Settle::Open(Outcome::Pending));
        }
    }

    #[test]
    fn names_that_the_upstream_takes_and_never_lists_are_sent_anew_so_often_and_no_more() {
        let nobody = || Event::Listed { present: vec![] };
        let mut at = round(Phase::Listing, true);
        for taken in 1..FRUITLESS_AT_MOST {
            let change = at.clone().on(nobody(), &[3]).unwrap();
            let [part] = &change.parts[..] else {
                panic!("after {taken}: {change:?}");
            };
            assert_eq!(part.fruitless, taken);
            at.fruitless = part.fruitless;
        }
        let Settle::Each(each) = at.clone().on(nobody(), &[3]).unwrap().settle else {
            panic!("nothing settled");
        };
        let [(3, Outcome::Failed, Some(why))] = &each[..] else {
            panic!("{each:?}");
        };
        assert_eq!(why.code, ReasonCode::Refused);
        let text = "the upstream has taken the device 8 times and not created it";
        assert_eq!(why.text, text);

        // One that is created proves that the upstream is at work.
        let some = Event::Listed { present: vec![4] };
        let change = at.on(some, &[3, 4]).unwrap();
        assert_eq!(change.parts[0].fruitless, 0);
    }

    #[test]
    fn an_unknown_device_that_was_created_is_counted_like_any_other() {
        let change = round(Phase::Unknown, true)
            .on(Event::CreateSucceeded, &[3])
            .unwrap();

        assert_eq!(change.round.phase, Phase::Counting);
    }

    #[test]
    fn a_round_that_rests_waits_for_nothing_that_could_end() {
        for phase in PHASES.into_iter().filter(|phase| phase.lane().is_none()) {
            assert!(round(phase, true).on(Event::TimedOut, &[]).is_err());
            assert!(round(phase, true).on(given_up(true), &[]).is_err());
        }
    }

    #[test]
    fn a_cancelled_apply_still_waits_for_word_of_what_may_have_been_sent() {
        for phase in [Phase::Unknown, Phase::Unresolved] {
            let change = round(phase, true).alone().when_cancelling(true);
            assert_eq!(change.round.phase, phase);
        }
        // What turns out absent is not sent any more.
        let absent = round(Phase::Unknown, true).on(Event::NotRegistered, &[3]);
        let absent = absent.unwrap().when_cancelling(false);
        assert_eq!(absent.round.phase, Phase::Ended);
    }
}
