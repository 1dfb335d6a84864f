//! Rounds of a database that was restored to an older state.

use super::*;

fn restored(round: Round) -> Round {
    Round {
        restored: true,
        ..round
    }
}

fn looked_up(ours: &[Ordinal], others: &[Ordinal], absent: &[Ordinal]) -> Event {
    Event::LookedUp {
        ours: ours.to_vec(),
        others: others.iter().map(|at| (*at, why())).collect(),
        absent: absent.to_vec(),
        proven: true,
    }
}

#[test]
fn names_that_exist_are_looked_up_before_they_are_refused() {
    let event = check_failed(&[1], &[0]);
    let asked = restored(round(Phase::Checking)).on(event.clone(), &[0, 1]);
    let asked = asked.unwrap();
    assert_eq!(asked.round.phase, Phase::Lookup);
    assert_eq!(asked.round.upstream_apply, None);
    // As far as is known it was not sent, so it is not UNKNOWN.
    assert_eq!(outcomes(&asked), [(0, Outcome::Valid)]);

    let sent = restored(accepted(Phase::Checking)).on(event.clone(), &[0, 1]);
    assert_eq!(
        outcomes(&sent.unwrap()),
        [(1, Outcome::Unknown), (0, Outcome::Valid)]
    );

    let other = round(Phase::Checking).on(event, &[0, 1]).unwrap();
    assert_eq!(outcomes(&other)[0], (1, Outcome::Invalid));
}

#[test]
fn a_creation_that_met_a_forgotten_one_is_looked_up() {
    let event = Event::CreateFailed {
        created: vec![0],
        refused: vec![(1, why())],
    };
    let change = restored(accepted(Phase::Creating)).on(event, &[0, 1]);
    let change = change.unwrap();

    assert_eq!(change.round.phase, Phase::Lookup);
    assert_eq!(
        outcomes(&change),
        [(1, Outcome::Unknown), (0, Outcome::Created)]
    );
}

#[test]
fn what_was_made_since_is_created_what_was_there_is_refused_and_the_rest_goes_on() {
    let asked = check_failed(&[0, 1], &[]);
    let asked = restored(round(Phase::Checking)).on(asked, &[0, 1, 2]);
    let change = asked
        .unwrap()
        .round
        .on(looked_up(&[0], &[1], &[2]), &[0, 1, 2]);
    let change = change.unwrap();

    assert_eq!(change.round.phase, Phase::Ended);
    assert_eq!(
        outcomes(&change),
        [
            (1, Outcome::Invalid),
            (0, Outcome::Created),
            (2, Outcome::Pending)
        ]
    );
    // It may be about to exist, and is looked up again then.
    let [part] = &change.parts[..] else {
        panic!("{:?}", change.parts)
    };
    assert_eq!((&part.ordinals[..], part.nameless), (&[2][..], 0));
}

#[test]
fn an_upstream_that_contradicts_itself_is_believed_the_second_time() {
    let asked = restored(round(Phase::Checking)).on(check_failed(&[0], &[]), &[0]);
    let absent = asked.unwrap().round.on(looked_up(&[], &[], &[0]), &[0]);
    let absent = absent.unwrap().round;
    assert_eq!(absent.phase, Phase::Check);

    let again = absent.on(check_failed(&[0], &[]), &[0]).unwrap();

    assert_eq!(again.round.phase, Phase::Ended);
    assert_eq!(outcomes(&again), [(0, Outcome::Invalid)]);
}

#[test]
fn a_check_that_fails_and_names_nobody_has_all_looked_up() {
    let asked = restored(round(Phase::Checking)).on(check_failed(&[], &[]), &[0, 1]);
    let asked = asked.unwrap();
    assert_eq!(asked.round.phase, Phase::Lookup);
    assert_eq!(asked.settle, Settle::Nothing);

    let sent = restored(accepted(Phase::Checking)).on(check_failed(&[], &[]), &[0, 1]);
    let unknown = [(0, Outcome::Unknown), (1, Outcome::Unknown)];
    assert_eq!(outcomes(&sent.unwrap()), unknown);
}

#[test]
fn a_look_that_takes_too_long_ends_without_leaving_a_device_open() {
    let ends = |round: Round| {
        let change = restored(round).on(Event::TimedOut, &[0]).unwrap();
        (change.round.phase, outcomes(&change))
    };

    assert_eq!(
        ends(accepted(Phase::Lookup)),
        (Phase::Unresolved, vec![(0, Outcome::Unknown)])
    );
    assert_eq!(
        ends(round(Phase::Lookup)),
        (Phase::Ended, vec![(0, Outcome::Invalid)])
    );
}

#[test]
fn a_look_at_what_was_not_accepted_ends_when_its_apply_is_cancelled() {
    let phase = |round: Round| restored(round).alone().when_cancelling(false).round.phase;

    assert_eq!(phase(round(Phase::Lookup)), Phase::Ended);
    assert_eq!(phase(accepted(Phase::Lookup)), Phase::Lookup);
}
