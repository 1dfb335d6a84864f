use std::collections::{BTreeSet, HashSet, VecDeque};

use super::*;
use crate::domain::round::{Event, Part};

const OPEN: [Ordinal; 3] = [0, 1, 2];

fn round(phase: Phase) -> Round {
    Round {
        phase,
        import: true,
        resent: false,
        accepted: true,
        upstream_apply: None,
        nameless: 0,
    }
}

fn why() -> Reason {
    Reason::local(ReasonCode::Refused, "because".into())
}

fn refused(devices: &[Ordinal]) -> Vec<(Ordinal, Reason)> {
    devices.iter().map(|at| (*at, why())).collect()
}

fn looked_up(ours: &[Ordinal], others: &[Ordinal], absent: &[Ordinal], proven: bool) -> Event {
    Event::LookedUp {
        ours: ours.to_vec(),
        others: refused(others),
        absent: absent.to_vec(),
        proven,
    }
}

fn outcomes(change: &Change) -> Vec<(Ordinal, Outcome)> {
    match &change.settle {
        Settle::Nothing => Vec::new(),
        Settle::Open(outcome) => OPEN.iter().map(|at| (*at, *outcome)).collect(),
        Settle::Each(each) => each.iter().map(|(at, to, _)| (*at, *to)).collect(),
    }
}

fn on(phase: Phase, event: Event) -> Change {
    round(phase).on(event, &OPEN).unwrap()
}

#[test]
fn an_import_goes_from_its_check_to_its_count() {
    let held = Round {
        accepted: false,
        ..round(Phase::CheckImport)
    };
    let held = held.on(Event::CheckPassed, &OPEN).unwrap();
    assert_eq!(held.round.phase, Phase::Held);
    assert_eq!(held.settle, Settle::Open(Outcome::Valid));

    let accepted = on(Phase::CheckImport, Event::CheckPassed);
    assert_eq!(accepted.round.phase, Phase::Import);
    let taken = on(
        Phase::Importing,
        Event::ImportAccepted { upstream_apply: 7 },
    );
    assert_eq!(taken.round.phase, Phase::Creating);
    assert_eq!(taken.round.upstream_apply, Some(7));
    assert_eq!(
        on(Phase::Creating, Event::NoStatus).round.phase,
        Phase::Imported
    );
    let told = on(Phase::Creating, Event::CreateSucceeded);
    assert_eq!(told.round.phase, Phase::Imported);
    let counted = on(Phase::Imported, Event::Counted { total: 3 });
    assert_eq!(counted.round.phase, Phase::Ended);
    assert_eq!(counted.settle, Settle::Open(Outcome::Created));
}

#[test]
fn what_a_count_lacks_is_listed_and_what_the_list_lacks_is_looked_up() {
    let short = on(Phase::Imported, Event::Counted { total: 2 });
    assert_eq!(short.round.phase, Phase::ListImported);
    let late = on(Phase::Imported, Event::TimedOut);
    assert_eq!(late.round.phase, Phase::ListImported);

    let listed = on(
        Phase::ListImported,
        Event::Listed {
            present: vec![0, 2],
        },
    );

    assert_eq!(listed.round.phase, Phase::Lookup);
    let told = [
        (0, Outcome::Created),
        (2, Outcome::Created),
        (1, Outcome::Unknown),
    ];
    assert_eq!(outcomes(&listed), told);
}

#[test]
fn a_name_that_exists_is_looked_up_once_before_its_device_has_failed() {
    let exists = |devices: &[Ordinal]| {
        let why = Reason::local(ReasonCode::Exists, "it exists".into());
        devices.iter().map(|at| (*at, why.clone())).collect()
    };
    let check = || Event::CheckFailed {
        refused: exists(&[1]),
        valid: vec![],
        said: why(),
    };
    let refused = Event::ImportRefused {
        refused: exists(&[1]),
        said: why(),
    };
    let created = Event::CreateFailed {
        created: vec![0, 2],
        refused: exists(&[1]),
    };
    for (phase, event) in [
        (Phase::CheckImport, check()),
        (Phase::Importing, refused),
        (Phase::Creating, created),
    ] {
        let change = on(phase, event);
        assert_eq!(change.round.phase, Phase::Lookup);
        assert_eq!(outcomes(&change)[0], (1, Outcome::Unknown));
    }

    // The upstream contradicts itself; and what was not accepted was never sent.
    let again = Round {
        nameless: 1,
        ..round(Phase::CheckImport)
    };
    let again = again.on(check(), &OPEN).unwrap();
    assert_eq!(outcomes(&again), [(1, Outcome::Failed)]);
    let first = Round {
        accepted: false,
        ..round(Phase::CheckImport)
    };
    let first = first.on(check(), &OPEN).unwrap();
    assert_eq!(outcomes(&first), [(1, Outcome::Invalid)]);
}

#[test]
fn a_refused_import_fails_whom_it_names_and_checks_the_rest_anew() {
    let event = |devices: &[Ordinal]| Event::ImportRefused {
        refused: refused(devices),
        said: why(),
    };

    let some = on(Phase::Importing, event(&[1]));
    assert_eq!(some.round.phase, Phase::CheckImport);
    assert_eq!(outcomes(&some), [(1, Outcome::Failed)]);
    let all = on(Phase::Importing, event(&OPEN));
    assert_eq!(all.round.phase, Phase::Ended);

    // Nobody named: once more, then by halves, down to one.
    let again = on(Phase::Importing, event(&[]));
    assert_eq!(
        (again.round.phase, again.round.nameless),
        (Phase::Import, 1)
    );
    let twice = Round {
        phase: Phase::Importing,
        ..again.round
    };
    let halves = twice.clone().on(event(&[]), &OPEN).unwrap();
    let sizes: Vec<_> = halves
        .parts
        .iter()
        .map(|part| part.ordinals.len())
        .collect();
    assert_eq!(sizes, [2, 1]);
    assert!(halves.parts.iter().all(|part| part.nameless == 1));
    let alone = twice.on(event(&[]), &[2]).unwrap();
    assert_eq!(outcomes(&alone), [(2, Outcome::Failed)]);
}

#[test]
fn a_look_up_settles_what_it_finds_and_sends_anew_what_is_proven_absent() {
    let found = on(Phase::Lookup, looked_up(&[0, 2], &[1], &[], true));
    assert_eq!(found.round.phase, Phase::Ended);
    let told = [
        (1, Outcome::Failed),
        (0, Outcome::Created),
        (2, Outcome::Created),
    ];
    assert_eq!(outcomes(&found), told);

    let none = on(Phase::Lookup, looked_up(&[], &[], &OPEN, true));
    assert_eq!(none.round.phase, Phase::CheckImport);
    assert_eq!(none.settle, Settle::Open(Outcome::Pending));

    // The upstream lost rows: it takes fewer.
    let some = on(Phase::Lookup, looked_up(&[0], &[], &[1, 2], true));
    assert_eq!(some.round.phase, Phase::Ended);
    let part = Part {
        ordinals: vec![1, 2],
        nameless: 0,
    };
    assert_eq!(some.parts, [part]);

    // Not there is not absent while it may be on its way.
    let taken = Round {
        upstream_apply: Some(7),
        ..round(Phase::Lookup)
    };
    let taken = taken.on(looked_up(&[], &[], &OPEN, true), &OPEN).unwrap();
    assert_eq!(
        (taken.round.upstream_apply, taken.parts.len()),
        (Some(7), 1)
    );

    let early = on(Phase::Lookup, looked_up(&[0], &[], &[1, 2], false));
    assert_eq!(early.round.phase, Phase::Lookup);
    assert_eq!(outcomes(&early), [(0, Outcome::Created)]);
}

#[test]
fn of_a_request_sent_twice_a_failed_creation_proves_nothing() {
    let resent = Round {
        resent: true,
        ..round(Phase::Creating)
    };
    let event = Event::CreateFailed {
        created: vec![],
        refused: refused(&OPEN),
    };

    let change = resent.on(event.clone(), &OPEN).unwrap();

    assert_eq!(change.round.phase, Phase::Lookup);
    assert_eq!(outcomes(&change)[0], (0, Outcome::Unknown));
    let once = on(Phase::Creating, event);
    assert_eq!(once.round.phase, Phase::Ended);
    assert_eq!(outcomes(&once)[0], (0, Outcome::Failed));
}

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
