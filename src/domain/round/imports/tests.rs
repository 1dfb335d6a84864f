use super::*;
use crate::domain::round::{Event, Part, ends::FRUITLESS_AT_MOST};

mod paths;

const OPEN: [Ordinal; 3] = [0, 1, 2];

fn round(phase: Phase) -> Round {
    Round {
        phase,
        import: true,
        resent: false,
        restored: false,
        accepted: true,
        upstream_apply: None,
        nameless: 0,
        fruitless: 0,
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
        fruitless: 0,
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
fn an_import_that_is_taken_and_never_carried_out_is_made_anew_so_often_and_no_more() {
    let absent = || looked_up(&[], &[], &OPEN, true);
    let taken = Round {
        upstream_apply: Some(7),
        ..round(Phase::Lookup)
    };
    for restored in [false, true] {
        let mut at = Round {
            restored,
            ..taken.clone()
        };
        for times in 1..FRUITLESS_AT_MOST {
            let change = at.clone().on(absent(), &OPEN).unwrap();
            let [part] = &change.parts[..] else {
                panic!("after {times}: {change:?}");
            };
            assert_eq!(part.fruitless, times);
            at.fruitless = part.fruitless;
        }
        let end = at.clone().on(absent(), &OPEN).unwrap();
        assert_eq!((end.round.phase, end.parts.len()), (Phase::Ended, 0));
        assert_eq!(outcomes(&end), OPEN.map(|at| (at, Outcome::Failed)));

        // One that is found proves that the upstream is at work.
        let some = at.on(looked_up(&[0], &[], &[1, 2], true), &OPEN).unwrap();
        assert_eq!(some.parts[0].fruitless, 0);
    }

    // What was not taken, as far as is known, tells nothing of the upstream.
    let unheard = Round {
        fruitless: 3,
        ..round(Phase::Lookup)
    };
    let again = unheard.on(absent(), &OPEN).unwrap().round;
    assert_eq!((again.phase, again.fruitless), (Phase::CheckImport, 3));
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
