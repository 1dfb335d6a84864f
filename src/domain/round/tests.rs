use super::*;

mod restored;

fn round(phase: Phase) -> Round {
    Round {
        phase,
        import: false,
        resent: false,
        restored: false,
        accepted: false,
        upstream_apply: Some(7),
        nameless: 0,
        fruitless: 0,
    }
}

fn accepted(phase: Phase) -> Round {
    Round {
        accepted: true,
        ..round(phase)
    }
}

fn why() -> Reason {
    Reason::local(ReasonCode::Exists, "it exists".into())
}

fn check_failed(refused: &[Ordinal], valid: &[Ordinal]) -> Event {
    Event::CheckFailed {
        refused: refused.iter().map(|at| (*at, why())).collect(),
        valid: valid.to_vec(),
        said: Reason::local(ReasonCode::Refused, "CHECK_FAILED".into()),
    }
}

fn outcomes(change: &Change) -> Vec<(Ordinal, Outcome)> {
    match &change.settle {
        Settle::Each(each) => each
            .iter()
            .map(|(at, outcome, _)| (*at, *outcome))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_passed_check_waits_unless_the_round_is_accepted() {
    let waiting = round(Phase::Checking).on(Event::CheckPassed, &[]).unwrap();
    let going = accepted(Phase::Checking)
        .on(Event::CheckPassed, &[])
        .unwrap();

    assert_eq!(waiting.round.phase, Phase::Held);
    assert_eq!(going.round.phase, Phase::Register);
    assert_eq!(waiting.settle, Settle::Open(Outcome::Valid));
    assert_eq!(waiting.round.upstream_apply, Some(7));
}

#[test]
fn a_failed_check_that_names_everyone_holds_the_valid_rest_without_an_upstream_apply() {
    let change = round(Phase::Checking)
        .on(check_failed(&[1], &[0, 2]), &[0, 1, 2])
        .unwrap();

    assert_eq!(
        change.round,
        Round {
            upstream_apply: None,
            ..round(Phase::Held)
        }
    );
    assert_eq!(
        outcomes(&change),
        [
            (1, Outcome::Invalid),
            (0, Outcome::Valid),
            (2, Outcome::Valid)
        ]
    );
}

#[test]
fn the_rest_of_a_failed_check_is_checked_again_when_it_is_to_be_registered() {
    let change = accepted(Phase::Checking)
        .on(check_failed(&[1], &[0, 2]), &[0, 1, 2])
        .unwrap();

    assert_eq!(change.round.phase, Phase::Check);
    assert_eq!(change.round.upstream_apply, None);
    assert_eq!(outcomes(&change)[0], (1, Outcome::Failed));
}

#[test]
fn a_refusal_that_names_only_the_bad_ones_has_the_others_asked_about_again() {
    let change = round(Phase::Check)
        .on(check_failed(&[1], &[]), &[0, 1, 2])
        .unwrap();

    assert_eq!(change.round.phase, Phase::Check);
    assert_eq!(outcomes(&change), [(1, Outcome::Invalid)]);
}

#[test]
fn a_round_whose_devices_are_all_refused_has_ended() {
    let change = round(Phase::Checking)
        .on(check_failed(&[0, 1], &[]), &[0, 1])
        .unwrap();

    assert_eq!(change.round.phase, Phase::Ended);
    assert!(change.parts.is_empty());
}

#[test]
fn rows_that_a_failed_check_lost_go_on_in_small_rounds() {
    let open: Vec<Ordinal> = (0..2_500).collect();
    let valid: Vec<Ordinal> = (1..1_000).collect();

    let change = round(Phase::Checking)
        .on(check_failed(&[0], &valid), &open)
        .unwrap();

    assert_eq!(change.round.phase, Phase::Ended);
    let sizes: Vec<_> = change
        .parts
        .iter()
        .map(|part| part.ordinals.len())
        .collect();
    assert_eq!(sizes, [1_000, 1_000, 499]);
}

#[test]
fn a_failed_check_that_names_nobody_is_made_again_and_then_halved_down_to_the_culprit() {
    let once = round(Phase::Checking)
        .on(check_failed(&[], &[]), &[0, 1, 2])
        .unwrap();
    assert_eq!((once.round.phase, once.round.nameless), (Phase::Check, 1));
    assert_eq!(once.settle, Settle::Nothing);

    let again = Round {
        phase: Phase::Checking,
        ..once.round
    };
    let twice = again.on(check_failed(&[], &[]), &[0, 1, 2]).unwrap();
    assert_eq!(twice.round.phase, Phase::Ended);
    assert_eq!(
        twice.parts,
        [
            Part {
                ordinals: vec![0, 1],
                nameless: 1,
                fruitless: 0,
            },
            Part {
                ordinals: vec![2],
                nameless: 1,
                fruitless: 0,
            }
        ]
    );

    let alone = Round {
        nameless: 1,
        ..round(Phase::Checking)
    };
    let culprit = alone.on(check_failed(&[], &[]), &[2]).unwrap();
    assert_eq!(outcomes(&culprit), [(2, Outcome::Invalid)]);
    assert_eq!(culprit.round.phase, Phase::Ended);
}

#[test]
fn a_list_that_is_too_large_is_sent_in_parts() {
    let open: Vec<Ordinal> = (0..10_000).collect();
    let change = round(Phase::Check).on(Event::TooLarge, &open).unwrap();
    assert_eq!(change.parts.len(), 10);

    let change = round(Phase::Check)
        .on(Event::TooLarge, &open[..600])
        .unwrap();
    assert_eq!(change.parts.len(), 2);
}

#[test]
fn a_claim_takes_what_is_to_be_sent_for_sent_and_changes_nothing_else() {
    for &phase in Phase::ALL {
        let expected = match phase {
            Phase::Register => Phase::Registering,
            Phase::Import => Phase::Importing,
            other => other,
        };
        assert_eq!(phase.claimed(), expected);
    }
}

#[test]
fn a_request_to_register_that_may_have_been_heard_keeps_its_upstream_apply() {
    for event in [Event::RegisterUnheard, Event::NotRegistered] {
        let change = accepted(Phase::Registering).on(event, &[]).unwrap();
        assert_eq!(change.round, accepted(Phase::Register));
    }
    let gone = accepted(Phase::Registering)
        .on(Event::ApplyGone, &[])
        .unwrap();
    assert_eq!(
        gone.round,
        Round {
            upstream_apply: None,
            ..accepted(Phase::Check)
        }
    );
}

#[test]
fn devices_are_created_when_the_count_proves_it() {
    let counting = accepted(Phase::Creating)
        .on(Event::CreateSucceeded, &[])
        .unwrap();
    assert_eq!(counting.round.phase, Phase::Counting);

    let proven = counting
        .round
        .clone()
        .on(Event::Counted { total: 2 }, &[0, 1])
        .unwrap();
    assert_eq!(proven.settle, Settle::Open(Outcome::Created));
    assert_eq!(proven.round.phase, Phase::Ended);

    let short = counting
        .round
        .on(Event::Counted { total: 1 }, &[0, 1])
        .unwrap();
    assert_eq!(short.round.phase, Phase::Listing);
    assert_eq!(short.settle, Settle::Nothing);
}

#[test]
fn rows_that_a_creation_lost_enter_new_rounds() {
    let change = accepted(Phase::Listing)
        .on(
            Event::Listed {
                present: vec![0, 2],
            },
            &[0, 1, 2],
        )
        .unwrap();

    assert_eq!(
        outcomes(&change),
        [
            (0, Outcome::Created),
            (2, Outcome::Created),
            (1, Outcome::Pending)
        ]
    );
    assert_eq!(
        change.parts,
        [Part {
            ordinals: vec![1],
            nameless: 0,
            fruitless: 0,
        }]
    );
}

#[test]
fn a_failed_creation_settles_whom_it_names() {
    let event = Event::CreateFailed {
        created: vec![0],
        refused: vec![(1, why())],
    };
    let change = accepted(Phase::Creating).on(event, &[0, 1]).unwrap();

    assert_eq!(
        outcomes(&change),
        [(1, Outcome::Failed), (0, Outcome::Created)]
    );
    assert_eq!(change.round.phase, Phase::Ended);
}

#[test]
fn a_failed_creation_that_names_nobody_is_read_from_the_result() {
    let event = Event::CreateFailed {
        created: vec![],
        refused: vec![],
    };
    let listing = accepted(Phase::Creating).on(event, &[0, 1]).unwrap();
    assert_eq!(listing.round.phase, Phase::Listing);

    let end = listing
        .round
        .on(Event::Listed { present: vec![1] }, &[0, 1])
        .unwrap();

    assert_eq!(
        outcomes(&end),
        [(1, Outcome::Created), (0, Outcome::Failed)]
    );
    assert!(end.parts.is_empty());
}

#[test]
fn nothing_is_created_that_was_not_accepted() {
    for phase in [Phase::Checking, Phase::Creating] {
        assert!(round(phase).on(Event::CreateSucceeded, &[]).is_err());
    }
    assert!(accepted(Phase::Ended).on(Event::CheckPassed, &[]).is_err());
    assert!(round(Phase::Held).on(Event::CheckPassed, &[]).is_err());
}

#[test]
fn a_cancelled_round_goes_on_only_if_it_may_have_been_asked_to_register() {
    let parted = Part {
        ordinals: vec![1],
        nameless: 0,
        fruitless: 0,
    };
    for &phase in Phase::ALL {
        for intent_open in [false, true] {
            let change = Change {
                round: accepted(phase),
                settle: Settle::Open(Outcome::Valid),
                parts: vec![parted.clone()],
            };
            let after = change.when_cancelling(intent_open);
            let expected = match phase {
                Phase::Registering
                | Phase::Creating
                | Phase::Counting
                | Phase::Listing
                | Phase::Unknown
                | Phase::Unresolved
                | Phase::Importing
                | Phase::Imported
                | Phase::ListImported
                | Phase::Lookup => phase,
                Phase::Register if intent_open => Phase::Registering,
                _ => Phase::Ended,
            };
            assert_eq!(after.round.phase, expected);
            assert!(after.parts.is_empty());
            assert_eq!(after.settle, Settle::Open(Outcome::Valid));
        }
    }
}
