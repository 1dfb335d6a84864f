//! Every way that a round of an import can go.

use std::collections::{BTreeSet, HashSet, VecDeque};

use super::*;

/// One of each event, about the devices in `open`.
fn events(open: &[Ordinal]) -> Vec<Event> {
    let (some, rest) = open.split_at(open.len() / 2);
    let mut events = vec![
        Event::CheckPassed,
        Event::TooLarge,
        Event::NothingLeft,
        Event::ApplyGone,
        Event::Stale,
        Event::NotRegistered,
        Event::RegisterAccepted,
        Event::RegisterUnheard,
        Event::RegisterRefused,
        Event::CheckAccepted { upstream_apply: 7 },
        Event::ImportAccepted { upstream_apply: 7 },
        Event::ImportLost { why: why() },
        Event::NoStatus,
        Event::CreateSucceeded,
        Event::Counted { total: 0 },
        Event::Counted { total: 3 },
        Event::TimedOut,
        Event::GivenUp {
            why: why(),
            sent: true,
        },
    ];
    for named in [&[][..], some, open] {
        events.push(Event::CheckFailed {
            refused: refused(named),
            valid: vec![],
            said: why(),
        });
        events.push(Event::ImportRefused {
            refused: refused(named),
            said: why(),
        });
        events.push(Event::Listed {
            present: named.to_vec(),
        });
        for created in [&[][..], rest] {
            events.push(Event::CreateFailed {
                created: created.to_vec(),
                refused: refused(if named == open { rest } else { named }),
            });
        }
        for proven in [false, true] {
            events.push(looked_up(some, &[], rest, proven));
            events.push(looked_up(&[], named, &[], proven));
            events.push(looked_up(&[], &[], open, proven));
        }
    }
    events
}

/// Whether an event says that a request was not carried out, which is known only of the first.
fn is_of_the_first(event: &Event) -> bool {
    matches!(
        event,
        Event::NotRegistered
            | Event::ImportRefused { .. }
            | Event::TooLarge
            | Event::Stale
            | Event::NothingLeft
    )
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Walker {
    phase: Phase,
    resent: bool,
    nameless: bool,
    open: Vec<Ordinal>,
    /// What may have been created, and nothing has proven since that it was not.
    may_exist: BTreeSet<Ordinal>,
}

#[test]
fn no_path_sends_a_device_twice_without_proof_that_it_does_not_exist() {
    let start = Walker {
        phase: Phase::CheckImport,
        resent: false,
        nameless: false,
        open: OPEN.to_vec(),
        may_exist: BTreeSet::new(),
    };
    let (mut seen, mut next) = (HashSet::from([start.clone()]), VecDeque::from([start]));
    let mut sent = 0;
    while let Some(mut at) = next.pop_front() {
        if at.phase == Phase::Import {
            assert!(
                at.open.iter().all(|device| !at.may_exist.contains(device)),
                "{at:?}"
            );
            (at.phase, at.resent) = (Phase::Importing, false);
            sent += 1;
        } else if at.phase == Phase::Importing {
            // A claim after a crash, or after an answer that told nothing.
            at.resent = true;
            at.may_exist.extend(&at.open);
            next.extend(seen.insert(at.clone()).then(|| at.clone()));
        }
        for event in events(&at.open) {
            if at.phase == Phase::Importing && at.resent && is_of_the_first(&event) {
                continue;
            }
            for after in steps(&at, event) {
                next.extend(seen.insert(after.clone()).then_some(after));
            }
        }
    }
    assert!(sent > 1 && seen.len() > 50, "{sent} {}", seen.len());
}

/// Where an event leads: the round, and those that take over from it.
fn steps(at: &Walker, event: Event) -> Vec<Walker> {
    let before = Round {
        resent: at.resent,
        nameless: at.nameless.into(),
        upstream_apply: Some(7),
        ..round(at.phase)
    };
    let Ok(change) = before.on(event.clone(), &at.open) else {
        return Vec::new();
    };
    let mut may_exist = at.may_exist.clone();
    match &event {
        Event::ImportAccepted { .. } | Event::ImportLost { .. } | Event::GivenUp { .. }
            if at.phase == Phase::Importing =>
        {
            may_exist.extend(&at.open);
        }
        Event::LookedUp {
            absent,
            proven: true,
            ..
        } => may_exist.retain(|device| !absent.contains(device)),
        _ => {}
    }
    let mut open = at.open.clone();
    match &change.settle {
        Settle::Nothing => {}
        Settle::Open(outcome) => open.retain(|_| outcome.is_open()),
        Settle::Each(each) => open.retain(|at| {
            let to = each.iter().find(|(device, ..)| device == at);
            to.is_none_or(|(_, outcome, _)| outcome.is_open())
        }),
    }
    let walker = |phase, nameless, open| Walker {
        phase,
        resent: change.round.resent,
        nameless,
        open,
        may_exist: may_exist.clone(),
    };
    let parts = change.parts.iter().map(|part| Walker {
        resent: false,
        ..walker(Phase::CheckImport, part.nameless > 0, part.ordinals.clone())
    });
    let parts: Vec<_> = parts.collect();
    let itself = walker(change.round.phase, change.round.nameless > 0, open);
    match change.round.phase {
        Phase::Ended => parts,
        // Asked for, it is asked after again.
        Phase::Unresolved => vec![Walker {
            phase: Phase::Lookup,
            ..itself
        }],
        _ => vec![itself],
    }
}
