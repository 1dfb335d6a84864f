use super::*;
use AfterCheck::*;

fn standing(status: ApplyStatus, after_check: AfterCheck, counts: [i32; 7]) -> Standing {
    let counts = Counts::from_array(counts);
    Standing {
        status,
        after_check,
        sealed: true,
        cancelling: false,
        counts,
    }
}

/// pending, valid, invalid, created, failed, unknown, cancelled
fn decision(after: AfterCheck, counts: [i32; 7], rounds: [i64; 3]) -> (ApplyStatus, bool) {
    let [checking, held, moving] = rounds;
    let rounds = Rounds {
        checking,
        held,
        moving,
    };
    let Decision { status, release } = decide(&standing(ApplyStatus::Check, after, counts), rounds);
    (status, release)
}

#[test]
fn a_check_ends_when_its_last_round_is_in() {
    for after in [Stop, RegisterIfAllValid] {
        assert_eq!(
            decision(after, [1, 1, 0, 0, 0, 0, 0], [1, 1, 0]),
            (ApplyStatus::Check, false)
        );
    }
    assert_eq!(
        decision(Stop, [0, 2, 0, 0, 0, 0, 0], [0, 1, 0]),
        (ApplyStatus::CheckSuccess, false)
    );
    assert_eq!(
        decision(Stop, [0, 1, 1, 0, 0, 0, 0], [0, 1, 0]),
        (ApplyStatus::CheckFailed, false)
    );
}

#[test]
fn register_if_all_are_valid_registers_all_or_waits() {
    assert_eq!(
        decision(RegisterIfAllValid, [0, 2, 0, 0, 0, 0, 0], [0, 2, 0]),
        (ApplyStatus::Create, true)
    );
    assert_eq!(
        decision(RegisterIfAllValid, [0, 1, 1, 0, 0, 0, 0], [0, 1, 0]),
        (ApplyStatus::CheckFailed, false)
    );
}

#[test]
fn register_the_valid_ones_lets_each_round_go_on_when_its_check_is_in() {
    assert_eq!(
        decision(RegisterValid, [1, 1, 0, 0, 0, 0, 0], [1, 1, 0]),
        (ApplyStatus::Check, true)
    );
    assert_eq!(
        decision(RegisterValid, [0, 1, 1, 1, 0, 0, 0], [0, 1, 0]),
        (ApplyStatus::Create, true)
    );
    assert_eq!(
        decision(RegisterValid, [0, 0, 1, 2, 0, 0, 0], [0, 0, 0]),
        (ApplyStatus::CreateSuccess, false)
    );
    assert_eq!(
        decision(RegisterValid, [0, 0, 3, 0, 0, 0, 0], [0, 0, 0]),
        (ApplyStatus::CheckFailed, false)
    );
}

#[test]
fn nothing_is_registered_before_the_apply_is_sealed() {
    let rounds = Rounds {
        held: 1,
        ..Rounds::default()
    };
    let valid = standing(ApplyStatus::Check, RegisterValid, [0, 1, 0, 0, 0, 0, 0]);

    let decision = decide(
        &Standing {
            sealed: false,
            ..valid
        },
        rounds,
    );

    assert_eq!(
        decision,
        Decision {
            status: ApplyStatus::Check,
            release: false
        }
    );
}

#[test]
fn a_creation_ends_when_nothing_moves_and_an_unknown_device_is_not_known_to_exist() {
    let end = |counts, moving| {
        let rounds = Rounds {
            moving,
            ..Rounds::default()
        };
        decide(&standing(ApplyStatus::Create, Stop, counts), rounds).status
    };

    assert_eq!(end([0, 1, 0, 1, 0, 0, 0], 1), ApplyStatus::Create);
    assert_eq!(end([0, 0, 1, 1, 0, 0, 0], 0), ApplyStatus::CreateSuccess);
    assert_eq!(end([0, 0, 0, 1, 1, 0, 0], 0), ApplyStatus::CreateFailed);
    assert_eq!(end([0, 0, 0, 1, 0, 1, 0], 1), ApplyStatus::Create);
    assert_eq!(end([0, 0, 0, 1, 0, 1, 0], 0), ApplyStatus::CreateFailed);
}

#[test]
fn a_settled_apply_moves_only_when_someone_asks() {
    for &status in ApplyStatus::ALL.iter().filter(|status| status.is_settled()) {
        let rounds = Rounds {
            held: 1,
            ..Rounds::default()
        };
        let decision = decide(
            &standing(status, RegisterValid, [1, 0, 0, 0, 0, 0, 0]),
            rounds,
        );

        assert_eq!(
            decision,
            Decision {
                status,
                release: false
            }
        );
    }
}

#[test]
fn an_apply_that_is_cancelled_ends_when_nothing_is_in_flight() {
    for &status in ApplyStatus::ALL {
        let cancelling = Standing {
            cancelling: true,
            ..standing(status, RegisterValid, [1, 0, 0, 0, 0, 0, 0])
        };
        let after = |moving| {
            let decision = decide(
                &cancelling,
                Rounds {
                    moving,
                    ..Rounds::default()
                },
            );
            assert!(!decision.release);
            decision.status
        };
        assert_eq!(after(1), status);
        match status {
            ApplyStatus::CreateSuccess => assert_eq!(after(0), status),
            _ => assert_eq!(after(0), ApplyStatus::Cancelled),
        }
        assert!(!may_cancel(&cancelling));
    }
}

const ALL_VALID: [i32; 7] = [0, 2, 0, 0, 0, 0, 0];
const ONE_INVALID: [i32; 7] = [0, 1, 1, 0, 0, 0, 0];
const NONE_VALID: [i32; 7] = [0, 0, 2, 0, 0, 0, 0];
const ONE_FAILED: [i32; 7] = [0, 0, 0, 1, 1, 0, 0];

#[test]
fn register_acts_once_and_says_what_is_missing_otherwise() {
    use {Acceptance::*, ApplyStatus as S};
    let plain = Wish::default();
    let skip = Wish {
        skip_invalid: true,
        ..plain
    };
    let retry = Wish {
        retry_failed: true,
        ..plain
    };
    let judged = |status, counts, wish| accept(&standing(status, Stop, counts), wish);

    assert_eq!(judged(S::CheckSuccess, ALL_VALID, plain), Accept);
    assert_eq!(
        judged(S::CheckFailed, ONE_INVALID, plain),
        Refuse(Refusal::HasInvalid)
    );
    assert_eq!(
        judged(S::CheckFailed, ONE_INVALID, retry),
        Refuse(Refusal::HasInvalid)
    );
    assert_eq!(judged(S::CheckFailed, ONE_INVALID, skip), Accept);
    assert_eq!(
        judged(S::CheckFailed, NONE_VALID, skip),
        Refuse(Refusal::NothingValid)
    );
    assert_eq!(
        judged(S::Check, ALL_VALID, skip),
        Refuse(Refusal::StillChecking)
    );
    assert_eq!(
        judged(S::Cancelled, ALL_VALID, skip),
        Refuse(Refusal::Cancelled)
    );
    for wish in [plain, skip, retry] {
        assert_eq!(judged(S::Create, ONE_INVALID, wish), Unchanged);
        assert_eq!(judged(S::CreateSuccess, ONE_INVALID, wish), Unchanged);
    }
    assert_eq!(judged(S::CreateFailed, ONE_FAILED, plain), Unchanged);
    assert_eq!(judged(S::CreateFailed, ONE_FAILED, skip), Unchanged);
    assert_eq!(judged(S::CreateFailed, ONE_FAILED, retry), Retry);
    let cancelling = Standing {
        cancelling: true,
        ..standing(S::CreateFailed, Stop, ONE_FAILED)
    };
    assert_eq!(accept(&cancelling, retry), Refuse(Refusal::Cancelled));
}

#[test]
fn a_watch_ends_where_it_was_asked_to() {
    use ApplyStatus::*;
    let ends = |until: Until| -> Vec<ApplyStatus> {
        ApplyStatus::ALL
            .iter()
            .copied()
            .filter(|status| until.ends_at(*status))
            .collect()
    };

    let settled = [
        CheckSuccess,
        CheckFailed,
        CreateSuccess,
        CreateFailed,
        Cancelled,
    ];
    assert_eq!(ends(Until::Settled), settled);
    assert_eq!(
        ends(Until::Created),
        [CreateSuccess, CreateFailed, Cancelled]
    );
    assert_eq!(ends(Until::Forever), []);
}
