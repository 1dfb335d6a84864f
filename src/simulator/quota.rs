//! Calls per action, counted over a sliding second.

use std::collections::VecDeque;

use super::action::Action;

/// The span a quota is counted over, in microseconds.
const SECOND: u64 = 1_000_000;

/// Who came within the last second, for each action.
///
/// A call is judged at the instant its head arrives and against those that came before it, however
/// long its body then takes. Memory is bounded by the quotas: only admitted calls are remembered.
#[derive(Debug)]
pub(super) struct Quotas {
    lanes: [Lane; Action::ALL.len()],
}

/// The right of one call to be answered; handed back if the call is refused for another reason.
#[derive(Debug)]
pub(super) struct Ticket {
    action: Action,
    at: u64,
}

#[derive(Debug)]
struct Lane {
    /// 0 means unlimited.
    calls: u32,
    arrivals: VecDeque<u64>,
}

impl Quotas {
    /// The published quotas with these exceptions; the last one for an action counts.
    pub(super) fn new(exceptions: &[(Action, u32)]) -> Quotas {
        let lanes = Action::ALL.map(|action| {
            let exception = exceptions.iter().rev().find(|(named, _)| *named == action);
            let calls = exception.map_or(action.published_qps(), |(_, calls)| *calls);
            Lane {
                calls,
                arrivals: VecDeque::new(),
            }
        });
        Quotas { lanes }
    }

    /// Admits a call that arrives at `at`, or tells that too many came in the second before it.
    pub(super) fn arrive(&mut self, action: Action, at: u64) -> Option<Ticket> {
        let lane = &mut self.lanes[action as usize];
        if lane.calls == 0 {
            return Some(Ticket { action, at });
        }
        // Two connections may stamp their calls in one order and get here in the other.
        let at = lane.arrivals.back().map_or(at, |last| at.max(*last));
        while lane
            .arrivals
            .front()
            .is_some_and(|first| first + SECOND <= at)
        {
            lane.arrivals.pop_front();
        }
        if lane.arrivals.len() >= lane.calls as usize {
            return None;
        }
        lane.arrivals.push_back(at);
        Some(Ticket { action, at })
    }

    /// Forgets an admitted call: one that was never valid does not count.
    pub(super) fn give_back(&mut self, ticket: Ticket) {
        let arrivals = &mut self.lanes[ticket.action as usize].arrivals;
        if let Some(position) = arrivals.iter().rposition(|at| *at == ticket.at) {
            arrivals.remove(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Action = Action::BatchCheckDeviceNames;

    #[test]
    fn the_eleventh_check_within_any_second_is_refused() {
        let mut quotas = Quotas::new(&[]);
        for call in 0..10 {
            assert!(quotas.arrive(CHECK, 5_000_000 + call * 50_000).is_some());
        }

        assert!(quotas.arrive(CHECK, 5_999_999).is_none());
        assert!(
            quotas.arrive(CHECK, 6_000_000).is_some(),
            "the first is a second ago"
        );
        assert!(
            quotas.arrive(CHECK, 6_000_001).is_none(),
            "the second is not"
        );
        assert!(quotas.arrive(CHECK, 6_050_000).is_some());
    }

    #[test]
    fn a_refused_call_does_not_count() {
        let mut quotas = Quotas::new(&[(CHECK, 1)]);
        assert!(quotas.arrive(CHECK, 0).is_some());
        for at in 1..100 {
            assert!(quotas.arrive(CHECK, at * 10_000).is_none());
        }

        assert!(quotas.arrive(CHECK, 1_000_000).is_some());
    }

    #[test]
    fn a_call_given_back_does_not_count() {
        let mut quotas = Quotas::new(&[(CHECK, 1)]);
        let ticket = quotas.arrive(CHECK, 0).unwrap();

        quotas.give_back(ticket);

        assert!(quotas.arrive(CHECK, 1).is_some());
    }

    #[test]
    fn actions_count_apart_and_zero_is_unlimited() {
        let mut quotas = Quotas::new(&[(Action::QueryPageByApplyId, 0), (CHECK, 1)]);
        assert!(quotas.arrive(CHECK, 0).is_some());
        assert!(quotas.arrive(CHECK, 0).is_none());

        assert!(quotas.arrive(Action::QueryProduct, 0).is_some());
        assert!((0..1000).all(|_| quotas.arrive(Action::QueryPageByApplyId, 0).is_some()));
    }
}
