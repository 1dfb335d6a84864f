use registrar::{
    domain::{
        Apply,
        waiting::{FailureScope as S, WaitKind},
    },
    store::{Blocking, CallMade},
};
use sqlx::PgPool;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn call(lane: Lane, scope: Option<S>) -> CallMade {
    CallMade {
        lane,
        upstream_apply: None,
        took: Duration::ZERO,
        result: scope.map_or("OK", |_| "Forbidden.RAM").into(),
        message: scope.map(|_| "not permitted".into()),
        request_id: None,
        scope,
        judged: true,
    }
}

/// Has the upstream refuse a claimed round for a reason that reaches so far.
async fn refuse(store: &Store, claim: &Claim, lane: Lane, scope: S) {
    let unchanged = Change {
        round: claim.round.clone(),
        settle: registrar::domain::round::Settle::Nothing,
        parts: Vec::new(),
    };
    let refused = Record {
        call: Some(call(lane, Some(scope))),
        ..record(unchanged)
    };
    store.record(claim, &[], &refused).await.unwrap();
}

/// Has the upstream take a claimed check.
async fn take(store: &Store, claim: &Claim) {
    let accepted = Record {
        call: Some(call(Lane::Check, None)),
        ..after(claim, Event::CheckAccepted { upstream_apply: 7 }, &[])
    };
    store.record(claim, &[], &accepted).await.unwrap();
}

async fn probe_is_due(pool: &PgPool) {
    sqlx::query("UPDATE blocks SET probe_at = now() WHERE lifted_at IS NULL")
        .execute(pool)
        .await
        .unwrap();
}

async fn standing(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("SELECT scope FROM blocks WHERE lifted_at IS NULL ORDER BY scope")
        .fetch_all(pool)
        .await
        .unwrap()
}

async fn submit(store: &Store, prefix: &str, count: usize) -> Apply {
    let submission = devices(prefix, count, AfterCheck::Stop);
    store.submit(&ANYONE, &submission, None).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_account_lets_one_round_through_at_a_time_and_the_first_that_passes_lifts_it() {
    let (store, database) = store().await;
    for n in 0..5 {
        submit(&store, &format!("light{n}"), 1).await;
    }
    let first = claim(&store, Lane::Check).await.unwrap();
    refuse(&store, &first, Lane::Check, S::Account).await;

    assert!(claim(&store, Lane::Check).await.is_none());
    let looks = store.looks(&[Lane::Check]).await.unwrap();
    assert_eq!((looks[0].due, looks[0].next), (0, None));

    probe_is_due(&database.pool).await;
    let looks = store.looks(&[Lane::Check]).await.unwrap();
    assert_eq!(looks[0].due, 5);
    let mut claims = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        claims.spawn(async move { claim(&store, Lane::Check).await });
    }
    let probes: Vec<_> = claims.join_all().await.into_iter().flatten().collect();
    assert_eq!(probes.len(), 1);
    assert!(claim(&store, Lane::Check).await.is_none());

    take(&store, &probes[0]).await;
    assert_eq!(standing(&database.pool).await, Vec::<String>::new());
    for _ in 0..4 {
        assert!(claim(&store, Lane::Check).await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_action_stops_its_lane_and_no_other() {
    let (store, _database) = store().await;
    submit(&store, "light", 10_001).await;
    let checked = claim(&store, Lane::Check).await.unwrap();
    take(&store, &checked).await;
    let second = claim(&store, Lane::Check).await.unwrap();
    refuse(&store, &second, Lane::Check, S::Lane).await;

    assert!(claim(&store, Lane::Check).await.is_none());
    assert!(claim(&store, Lane::Status).await.is_some());
}

/// Applies of a product, of a device each.
async fn submit_of(store: &Store, product: &str, count: usize) -> Vec<Apply> {
    let mut applies = Vec::new();
    for n in 0..count {
        let name = (format!("{product}-{n}"), String::new());
        let submission = Submission::judge(
            product.into(),
            String::new(),
            AfterCheck::Stop,
            [name].into_iter(),
        );
        applies.push(store.submit(&ANYONE, &submission, None).await.unwrap().0);
    }
    applies
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_product_stops_all_that_wait_for_it_with_one_probe_and_no_others() {
    let (store, database) = store().await;
    submit_of(&store, "gone", 20).await;
    let there = submit_of(&store, "there", 1).await.remove(0);
    let refused = claim(&store, Lane::Check).await.unwrap();
    assert_eq!(
        (refused.product_key.as_str(), refused.refused_for),
        ("gone", None)
    );
    refuse(&store, &refused, Lane::Check, S::Product).await;

    let other = claim(&store, Lane::Check).await.unwrap();
    assert_eq!(other.apply, there.id);
    assert!(claim(&store, Lane::Check).await.is_none());

    probe_is_due(&database.pool).await;
    assert!(claim(&store, Lane::Check).await.is_some());
    assert!(claim(&store, Lane::Check).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_waited_for_an_hour_from_ones_own_turn_on() {
    let (store, database) = store().await;
    let long = submit_of(&store, "gone", 2).await;
    let refused = claim(&store, Lane::Check).await.unwrap();
    refuse(&store, &refused, Lane::Check, S::Product).await;
    sqlx::raw_sql(
        "UPDATE blocks SET since = now() - interval '61 minutes';
         UPDATE rounds SET turn_at = now() - interval '62 minutes'",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    submit_of(&store, "gone", 1).await;

    for apply in long {
        let last = claim(&store, Lane::Check).await.unwrap();
        assert_eq!(last.apply, apply.id);
        assert!(last.refused_for.unwrap() > HOUR);
    }
    // Who came a moment ago waits for the next probe.
    assert!(claim(&store, Lane::Check).await.is_none());
    probe_is_due(&database.pool).await;
    let probe = claim(&store, Lane::Check).await.unwrap();
    assert!(probe.refused_for.unwrap() < HOUR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_a_narrower_reason_lifts_the_wider_block() {
    let (store, database) = store().await;
    submit(&store, "light", 1).await;
    for (scope, left) in [
        (S::Account, &["ACCOUNT"][..]),
        (S::Lane, &["LANE"]),
        (S::Product, &["PRODUCT"]),
        (S::Account, &["ACCOUNT", "PRODUCT"]),
        // A call that is throttled says nothing of any.
        (S::Clock, &["ACCOUNT", "PRODUCT"]),
        (S::Call, &[]),
    ] {
        probe_is_due(&database.pool).await;
        let probe = claim(&store, Lane::Check).await.unwrap();
        refuse(&store, &probe, Lane::Check, scope).await;
        assert_eq!(standing(&database.pool).await, left, "after {scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_apply_waits_for_is_the_widest_block_on_it() {
    let (store, _database) = store().await;
    let apply = submit(&store, "light", 10_001).await;
    let (_, now) = store.apply(&ANYONE, apply.id).await.unwrap();
    let first = claim(&store, Lane::Check).await.unwrap();
    let second = claim(&store, Lane::Check).await.unwrap();

    refuse(&store, &first, Lane::Check, S::Product).await;
    let waiting = store.waiting(&apply, &now).await.unwrap();
    assert_eq!(waiting.unwrap().kind, WaitKind::BlockedProduct);
    refuse(&store, &second, Lane::Check, S::Account).await;
    let waiting = store.waiting(&apply, &now).await.unwrap();
    let waiting = waiting.unwrap();
    assert_eq!(waiting.kind, WaitKind::BlockedAccount);
    assert!(waiting.text.contains("Forbidden.RAM: not permitted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_for_which_a_round_was_blocked_does_not_count() {
    let (store, database) = store().await;
    let store = store.with_blocking(Blocking::default());
    submit(&store, "light", 1).await;
    step(
        &store,
        Lane::Check,
        Event::CheckAccepted { upstream_apply: 7 },
    )
    .await;
    sqlx::query("UPDATE rounds SET asked_at = now() - interval '5 hours'")
        .execute(&database.pool)
        .await
        .unwrap();
    // Two hours of the account, lifted; one of another lane; of the apply an hour counts.
    sqlx::query(
        "INSERT INTO blocks (account, scope, lane, product, since, lifted_at, probe_at, action,
                             code, message)
         VALUES ('test', 'ACCOUNT', NULL, NULL, now() - interval '7 hours',
                 now() - interval '3 hours', now(), '', '', ''),
                ('test', 'LANE', 'BatchCheckDeviceNames', NULL, now() - interval '2 hours', NULL,
                 now(), '', '', ''),
                ('test', 'PRODUCT', NULL, 'a1/', now() - interval '2 hours', NULL, now(), '', '', '')",
    )
    .execute(&database.pool)
    .await
    .unwrap();

    let asked_ago = claim(&store, Lane::Status)
        .await
        .unwrap()
        .asked_ago
        .unwrap();

    assert_eq!(asked_ago.as_secs() / 60, 120, "{asked_ago:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_probe_is_another_rounds() {
    let (store, database) = store().await;
    let first = submit(&store, "first", 1).await;
    let second = submit(&store, "second", 1).await;
    let probe = claim(&store, Lane::Check).await.unwrap();
    assert_eq!(probe.apply, first.id);
    refuse(&store, &probe, Lane::Check, S::Lane).await;

    probe_is_due(&database.pool).await;

    assert_eq!(claim(&store, Lane::Check).await.unwrap().apply, second.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_last_apply_that_waits_for_a_product_lifts_its_block() {
    let (store, database) = store().await;
    let apply = submit(&store, "light", 1).await;
    let other = submit(&store, "other", 1).await;
    let refused = claim(&store, Lane::Check).await.unwrap();
    refuse(&store, &refused, Lane::Check, S::Product).await;
    assert_eq!(standing(&database.pool).await, ["PRODUCT"]);

    store.cancel(&ANYONE, apply.id, None).await.unwrap();
    assert_eq!(standing(&database.pool).await, ["PRODUCT"]);
    store.cancel(&ANYONE, other.id, None).await.unwrap();

    assert_eq!(standing(&database.pool).await, Vec::<String>::new());
}
