//! Answers to BatchImportDevice that are lost: no device is imported twice, and none is said to be what
//! it is not.

use super::*;

/// Every way in which the simulator can keep an answer from us, each for the first import alone.
const ONCE: [(&str, &str); 14] = [
    ("no answer after the work", r#""kind":"no-answer""#),
    ("cut before the work", r#""kind":"cut","at":"before""#),
    ("cut in the middle", r#""kind":"cut","at":"middle""#),
    ("cut after the work", r#""kind":"cut","at":"after""#),
    ("500 by a proxy", r#""kind":"unavailable","status":500"#),
    ("502 by a proxy", r#""kind":"unavailable","status":502"#),
    ("503 by a proxy", r#""kind":"unavailable","status":503"#),
    ("garbage", r#""kind":"garbage""#),
    ("truncated", r#""kind":"truncated""#),
    ("later than the timeout", r#""kind":"delay","ms":4000"#),
    (
        "nonce kept, work refused",
        r#""kind":"refuse","code":"InternalError""#,
    ),
    (
        "refused by the service",
        r#""kind":"refuse","code":"iot.system.SystemException""#,
    ),
    ("throttled, 400", r#""kind":"throttle","status":400"#),
    ("throttled, 429", r#""kind":"throttle","status":429"#),
];

async fn set(upstream: &Upstream, fault: &str, calls: &str) {
    let body = format!(r#"{{{fault},"action":"BatchImportDevice"{calls}}}"#);
    upstream
        .send("PUT", "/_simulator/faults/it", Some(body))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_once_costs_nothing_but_time() {
    lost_once("own").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_once_costs_nothing_but_time_where_imports_have_a_status() {
    lost_once("all").await;
}

async fn lost_once(queries: &str) {
    let upstream = [&SHORT_UPSTREAM[..], &["--simulator-import-apply", queries]].concat();
    let mut stack = stack(&upstream, &SHORT).await;
    for (n, (what, fault)) in ONCE.iter().enumerate() {
        set(&stack.upstream, fault, r#","calls":[1]"#).await;
        let prefix = format!("lost{n}");
        let devices = bringing(&prefix, 120);

        let apply = import(&mut stack.client, devices, AfterCheck::RegisterValid).await;

        assert_all_created(&mut stack, &apply, &prefix, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_forgets_nonces_creates_no_device_twice() {
    for queries in ["own", "all"] {
        // The first creation is under way when the second request comes, or has ended.
        for speed in ["0.05", "0"] {
            let upstream = [
                &SHORT_UPSTREAM[..],
                &["--simulator-import-apply", queries],
                &["--simulator-nonce-memory", "0s", "--simulator-speed", speed],
            ]
            .concat();
            let mut stack = stack(&upstream, &SHORT).await;
            set(&stack.upstream, r#""kind":"no-answer""#, r#","calls":[1]"#).await;

            let devices = bringing("light", 120);
            let apply = import(&mut stack.client, devices, AfterCheck::RegisterValid).await;

            let what = format!("{queries}, {speed}");
            assert_all_created(&mut stack, &apply, "light", &what).await;
            assert!(stack.upstream.ledger("BatchImportDevice").await.len() > 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_answer_comes_at_all_the_devices_are_looked_up() {
    let mut stack = stack(&SHORT_UPSTREAM, &SHORT).await;
    set(&stack.upstream, r#""kind":"no-answer""#, "").await;

    let devices = bringing("light", 250);
    let apply = import(&mut stack.client, devices, AfterCheck::RegisterValid).await;

    assert_all_created(&mut stack, &apply, "light", "no answer").await;
    let lookups = stack.upstream.ledger("BatchQueryDeviceDetail").await;
    assert_eq!(lookups.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_carried_out_is_unknown_until_it_is_proven_and_then_sent_anew() {
    let mut stack = stack(&SHORT_UPSTREAM, &SHORT).await;
    // Of these the upstream does nothing, and nobody can tell.
    set(&stack.upstream, r#""kind":"cut","at":"before""#, "").await;
    let devices = bringing("light", 120);
    let apply = import(&mut stack.client, devices, AfterCheck::RegisterValid).await;
    waits_for_unknown(&mut stack.client, &apply, 120).await;

    stack.upstream.lift("it").await;

    assert_all_created(&mut stack, &apply, "light", "cut before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_the_name_with_another_secret_has_failed_and_one_with_the_same_is_created() {
    let mut stack = stack(&SHORT_UPSTREAM, &SHORT).await;
    let devices = bringing("light", 3);
    let apply = import(&mut stack.client, devices.clone(), AfterCheck::Stop).await;
    watch(&mut stack.client, apply.apply_id, 0).await;
    let others = vec![brings("light-000001", "another", ""), devices[2].clone()];
    let others = import(&mut stack.client, others, AfterCheck::RegisterValid).await;
    watch(&mut stack.client, others.apply_id, 0).await;
    set(&stack.upstream, r#""kind":"no-answer""#, "").await;

    let request = registrar::proto::RegisterRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    stack.client.register(request).await.unwrap();
    waits_for_unknown(&mut stack.client, &apply, 1).await;
    stack.upstream.lift("it").await;
    let seen = watch(&mut stack.client, apply.apply_id, 0).await;

    assert_eq!(seen.last().unwrap().status(), S::CreateFailed);
    let told = outcomes(&mut stack.client, &apply).await;
    let created = (O::Created, None);
    assert_eq!(told, [created, (O::Failed, Some(R::Exists)), created]);
    assert_created_once(&stack, "light", 3, "another secret").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_takes_longer_than_anyone_waits_is_not_taken_for_absent_in_the_end() {
    for queries in ["own", "all"] {
        let upstream = [&SHORT_UPSTREAM[..], &["--simulator-import-apply", queries]].concat();
        let mut stack = stack(&upstream, &SHORT).await;
        let stuck = r#"{"kind":"stuck","phase":"CREATE"}"#.to_owned();
        let path = "/_simulator/faults/stuck";
        stack.upstream.send("PUT", path, Some(stuck)).await;
        let devices = bringing("light", 120);
        let apply = import(&mut stack.client, devices, AfterCheck::RegisterValid).await;
        waits_for_unknown(&mut stack.client, &apply, 120).await;
        if queries == "own" {
            // Longer than an absence needs to be believed where no status says otherwise.
            reached(&stack.upstream, "BatchImportDevice", 2).await;
        }

        stack.upstream.lift("stuck").await;

        assert_all_created(&mut stack, &apply, "light", queries).await;
        let sent = stack.upstream.ledger("BatchImportDevice").await.len();
        assert!(queries == "own" || sent == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_tell_fails_and_a_retry_looks_before_it_sends() {
    let flags = [&SHORT[..], &["--reconcile-for", "1s"]].concat();
    let mut stack = stack(&SHORT_UPSTREAM, &flags).await;
    set(&stack.upstream, r#""kind":"no-answer""#, "").await;
    let deaf = r#"{"kind":"unavailable","action":"BatchQueryDeviceDetail"}"#;
    let path = "/_simulator/faults/deaf";
    stack
        .upstream
        .send("PUT", path, Some(deaf.to_owned()))
        .await;
    let devices = bringing("light", 120);
    let apply = import(&mut stack.client, devices, AfterCheck::RegisterValid).await;
    let seen = watch(&mut stack.client, apply.apply_id, 0).await;
    let end = seen.last().unwrap();
    let counts = end.counts.unwrap();
    assert_eq!((end.status(), counts.unknown), (S::CreateFailed, 120));
    let sent = stack.upstream.ledger("BatchImportDevice").await.len();

    stack.upstream.lift("it").await;
    stack.upstream.lift("deaf").await;
    let retry = registrar::proto::RegisterRequest {
        apply_id: apply.apply_id,
        retry_failed: true,
        ..Default::default()
    };
    stack.client.register(retry).await.unwrap();

    let seen = watch(&mut stack.client, apply.apply_id, end.revision).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    assert_created_once(&stack, "light", 120, "retried").await;
    assert_eq!(stack.upstream.ledger("BatchImportDevice").await.len(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_intent_and_answer_loses_nothing_and_repeats_nothing() {
    let mut stack = stack(&SHORT_UPSTREAM, &SHORT).await;
    let delay = r#""kind":"delay","ms":1500"#;
    for n in 0..4 {
        let prefix = format!("kill{n}");
        set(&stack.upstream, delay, r#","calls":[1]"#).await;
        let before = stack.upstream.ledger("BatchImportDevice").await.len();
        let devices = bringing(&prefix, 120);
        let apply = import(&mut stack.client, devices, AfterCheck::RegisterValid).await;
        match n % 2 {
            // With the answer on its way.
            0 => reached(&stack.upstream, "BatchImportDevice", before + 1).await,
            // About when the intent is written.
            _ => reached(&stack.upstream, "BatchCheckImportDevice", n + 1).await,
        }

        stack = stack.restart(&SHORT).await;

        assert_all_created(&mut stack, &apply, &prefix, "killed").await;
    }
}

/// Waits until so many devices of an apply are UNKNOWN.
async fn waits_for_unknown(client: &mut Client, apply: &Apply, count: i64) {
    patiently(async {
        loop {
            let now = crate::support::stack::get(client, apply.apply_id).await;
            if now.apply.unwrap().counts.unwrap().unknown >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
