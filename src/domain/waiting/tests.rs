use super::*;

fn at(seconds: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

fn phase(phase: Phase, failing: i64, due: i64) -> InPhase {
    InPhase {
        phase,
        rounds: 2,
        failing,
        due_at: at(due),
        since: None,
    }
}

fn failure(scope: FailureScope) -> LastFailure {
    LastFailure {
        action: "BatchCheckDeviceNames".into(),
        code: "Odd".into(),
        message: "not today".into(),
        scope,
    }
}

#[test]
fn an_apply_waits_for_what_will_move_it_first() {
    let phases = [phase(Phase::Check, 0, 20), phase(Phase::Creating, 0, 10)];

    let told = waiting(ApplyStatus::Create, &Counts::default(), &phases, None, None).unwrap();

    assert_eq!((told.kind, told.until), (WaitKind::Upstream, at(10)));
}

#[test]
fn a_block_is_named_with_its_scope() {
    let phases = [phase(Phase::Check, 0, 20)];
    for (scope, kind) in [
        (FailureScope::Account, WaitKind::BlockedAccount),
        (FailureScope::Lane, WaitKind::BlockedAction),
        (FailureScope::Product, WaitKind::BlockedProduct),
    ] {
        let block = Block {
            scope,
            action: "BatchCheckDeviceNames".into(),
            code: "Forbidden.RAM".into(),
            message: "not permitted".into(),
            since: at(10).unwrap(),
            probe_at: at(40).unwrap(),
        };
        let told = waiting(
            ApplyStatus::Check,
            &Counts::default(),
            &phases,
            Some(&block),
            Some(&failure(scope)),
        )
        .unwrap();
        assert_eq!((told.kind, told.until), (kind, at(40)));
        assert!(told.text.contains("Forbidden.RAM: not permitted"));

        // A refusal that is lifted is not waited for.
        let told = waiting(
            ApplyStatus::Check,
            &Counts::default(),
            &phases,
            None,
            Some(&failure(scope)),
        )
        .unwrap();
        assert_eq!(told.kind, WaitKind::Quota);
    }
}

#[test]
fn a_failure_that_is_over_is_not_waited_for() {
    let failure = failure(FailureScope::Call);
    let told = |failing| {
        let phases = [phase(Phase::Check, failing, 20)];
        waiting(
            ApplyStatus::Check,
            &Counts::default(),
            &phases,
            None,
            Some(&failure),
        )
        .unwrap()
        .kind
    };

    assert_eq!(told(0), WaitKind::Quota);
    assert_eq!(told(1), WaitKind::Retry);
}

#[test]
fn a_throttled_apply_waits_for_the_quota_although_no_attempt_was_in_vain() {
    let failure = LastFailure {
        code: "Throttling.User".into(),
        ..failure(FailureScope::Call)
    };
    let phases = [phase(Phase::Check, 0, 20)];

    let told = after_failure(&phases, &failure).unwrap();

    assert_eq!((told.kind, told.until), (WaitKind::Quota, at(20)));
    assert!(told.text.contains("--quota-share"));
}

#[test]
fn a_wait_for_the_upstream_says_since_when() {
    let waits = InPhase {
        since: at(86_400 + 3_660),
        ..phase(Phase::Checking, 0, 20)
    };

    let (_, text) = goes_on(&waits);

    assert!(text.contains("since 1970-01-02 01:01 UTC"), "{text}");
}

#[test]
fn a_settled_apply_waits_for_a_caller_or_for_nothing() {
    for &status in ApplyStatus::ALL.iter().filter(|status| status.is_settled()) {
        let kind = waiting(status, &Counts::default(), &[], None, None).map(|told| told.kind);
        let expected = match status {
            ApplyStatus::CreateSuccess | ApplyStatus::Cancelled => None,
            _ => Some(WaitKind::Caller),
        };
        assert_eq!(kind, expected, "{status}");
    }
}

#[test]
fn what_a_caller_can_do_is_said_of_these_devices() {
    let told = |status, counts| {
        let waiting = waiting(status, &Counts::from_array(counts), &[], None, None);
        waiting.unwrap().text
    };

    assert!(told(ApplyStatus::CheckFailed, [0, 1, 1, 0, 0, 0, 0]).contains("skip_invalid"));
    assert!(!told(ApplyStatus::CheckFailed, [0, 0, 2, 0, 0, 0, 0]).contains("skip_invalid"));
    assert!(told(ApplyStatus::CreateFailed, [0, 0, 0, 0, 0, 2, 0]).contains("asked once more"));
}
