use registrar::domain::{ApplyId, ApplyStatus, Counts, Outcome};

use super::*;

/// An apply of two devices whose creation has taken too long.
async fn overdue(store: &Store) -> ApplyId {
    let submission = devices("light", 2, AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    pass_check(store, 7).await;
    step(store, Lane::Register, Event::RegisterAccepted).await;
    step(store, Lane::Status, Event::TimedOut).await;
    apply.id
}

async fn status(store: &Store, id: ApplyId) -> (ApplyStatus, Counts) {
    let (_, now) = store.apply(&ANYONE, id).await.unwrap();
    (now.status, now.counts)
}

async fn reasons(store: &Store, id: ApplyId) -> Vec<Option<ReasonCode>> {
    let page = store.devices(&ANYONE, id, 0, &[], 10).await.unwrap();
    page.devices
        .into_iter()
        .map(|device| device.reason.map(|reason| reason.code))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_takes_too_long_is_asked_after_until_it_ends() {
    let (store, _database) = store().await;
    let id = overdue(&store).await;
    let unknown = Counts::from_array([0, 0, 0, 0, 0, 2, 0]);
    assert_eq!(status(&store, id).await, (ApplyStatus::Create, unknown));
    let told = reasons(&store, id).await;
    assert_eq!(told, [Some(ReasonCode::Unresolved); 2]);

    step(&store, Lane::Status, Event::CreateSucceeded).await;
    let counting = claim_page(&store).await;
    meet(&store, &counting, Event::Counted { total: 2 })
        .await
        .unwrap();

    let created = Counts::from_array([0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(
        status(&store, id).await,
        (ApplyStatus::CreateSuccess, created)
    );
    assert_eq!(reasons(&store, id).await, [None; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_nobody_can_tell_of_fail_their_apply_until_a_retry_asks_once_more() {
    let (store, _database) = store().await;
    let id = overdue(&store).await;
    step(&store, Lane::Status, Event::TimedOut).await;
    let unknown = Counts::from_array([0, 0, 0, 0, 0, 2, 0]);
    assert_eq!(
        status(&store, id).await,
        (ApplyStatus::CreateFailed, unknown)
    );
    assert!(claim(&store, Lane::Status).await.is_none());

    store.accept(&ANYONE, id, RETRY, None).await.unwrap();

    // Nothing is sent again before it is known to be absent.
    assert_eq!(status(&store, id).await, (ApplyStatus::Create, unknown));
    assert!(claim(&store, Lane::Check).await.is_none());
    step(
        &store,
        Lane::Status,
        Event::CreateFailed {
            created: vec![0],
            refused: vec![exists(1)],
        },
    )
    .await;
    let end = Counts::from_array([0, 0, 0, 1, 1, 0, 0]);
    assert_eq!(status(&store, id).await, (ApplyStatus::CreateFailed, end));
    let told = reasons(&store, id).await;
    assert_eq!(told, [None, Some(ReasonCode::Exists)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_no_device_in_two_rounds() {
    let (store, _database) = store().await;
    let submission = devices("light", 4, AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    // The first two fail in a check after they were accepted, the others are never heard of again.
    pass_check(&store, 7).await;
    let register = claim(&store, Lane::Register).await.unwrap();
    meet(&store, &register, Event::RegisterRefused)
        .await
        .unwrap();
    step(&store, Lane::Status, failed(&[0, 1], [])).await;
    pass_check(&store, 8).await;
    step(&store, Lane::Register, Event::RegisterAccepted).await;
    step(&store, Lane::Status, Event::TimedOut).await;
    step(&store, Lane::Status, Event::TimedOut).await;
    let end = Counts::from_array([0, 0, 0, 0, 2, 2, 0]);
    assert_eq!(
        status(&store, apply.id).await,
        (ApplyStatus::CreateFailed, end)
    );

    store.accept(&ANYONE, apply.id, RETRY, None).await.unwrap();

    let again = claim(&store, Lane::Check).await.unwrap();
    assert_eq!(store.members(&again).await.unwrap().ordinals, [0, 1]);
    let asked = claim(&store, Lane::Status).await.unwrap();
    assert_eq!(store.members(&asked).await.unwrap().ordinals, [2, 3]);
    assert!(claim(&store, Lane::Check).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_device_that_is_proven_absent_is_pending_again_without_its_reason() {
    let (store, _database) = store().await;
    let id = overdue(&store).await;

    step(&store, Lane::Status, Event::NotRegistered).await;

    let pending = Counts::from_array([2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(status(&store, id).await, (ApplyStatus::Create, pending));
    assert_eq!(reasons(&store, id).await, [None; 2]);
    let again = claim(&store, Lane::Check).await.unwrap();
    assert_eq!(store.members(&again).await.unwrap().ordinals, [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_waits_for_unknown_devices_until_they_are_given_up() {
    let (store, _database) = store().await;
    let id = overdue(&store).await;

    store.cancel(&ANYONE, id, None).await.unwrap();
    assert_eq!(status(&store, id).await.0, ApplyStatus::Create);
    step(&store, Lane::Status, Event::TimedOut).await;

    let (end, counts) = status(&store, id).await;
    assert_eq!(end, ApplyStatus::Cancelled);
    assert_eq!(counts.of(Outcome::Unknown), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_round_has_failed_is_counted_from_the_first_attempt_and_forgotten_with_them() {
    let (store, database) = store().await;
    let submission = devices("light", 1, AfterCheck::Stop);
    store.submit(&ANYONE, &submission, None).await.unwrap();
    let fail = async |attempts| {
        let claim = claim(&store, Lane::Check).await.unwrap();
        let unchanged = Change {
            round: claim.round.clone(),
            settle: registrar::domain::round::Settle::Nothing,
            parts: Vec::new(),
        };
        let record = Record {
            attempts,
            ..record(unchanged)
        };
        store.record(&claim, &[], &record).await.unwrap();
        claim
    };

    let first = fail(1).await;
    assert_eq!((first.attempts, first.failing_for), (1, None));
    sqlx::query("UPDATE rounds SET failing_since = failing_since - interval '1 hour'")
        .execute(&database.pool)
        .await
        .unwrap();
    let second = fail(2).await;
    assert_eq!(second.attempts, 2);
    assert_eq!(second.failing_for.unwrap().as_secs() / 60, 60);
    fail(0).await;
    let last = fail(1).await;
    assert_eq!((last.attempts, last.failing_for), (1, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_nobody_registers_is_cancelled() {
    let (store, database) = store().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let submission = devices(&format!("light{n}"), 1, AfterCheck::Stop);
        ids.push(store.submit(&ANYONE, &submission, None).await.unwrap().0.id);
        pass_check(&store, n + 1).await;
    }
    store
        .accept(&ANYONE, ids[1], Wish::default(), None)
        .await
        .unwrap();
    sqlx::query("UPDATE applies SET updated_at = now() - interval '8 days' WHERE apply_id <> $1")
        .bind(ids[2].0)
        .execute(&database.pool)
        .await
        .unwrap();
    let week = Duration::from_secs(7 * 86_400);

    assert_eq!(store.cancel_unregistered(week, 100).await.unwrap(), 1);

    let statuses = [
        ApplyStatus::Cancelled,
        ApplyStatus::Create,
        ApplyStatus::CheckSuccess,
    ];
    for (id, expected) in ids.into_iter().zip(statuses) {
        assert_eq!(status(&store, id).await.0, expected);
    }
}
