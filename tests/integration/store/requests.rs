use registrar::domain::{ApplyStatus, Counts, Fingerprint, Outcome, RequestKey};

use super::*;

fn key(id: &str, content: &str) -> RequestKey {
    let fingerprint = Fingerprint::of("test", [content.as_bytes()]);
    RequestKey {
        id: id.to_owned(),
        fingerprint,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_sent_many_times_at_once_makes_one_apply_and_gets_one_answer() {
    let (store, database) = store().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        calls.spawn(async move {
            let submission = devices("light", 10, AfterCheck::Stop);
            store
                .submit(&ANYONE, &submission, Some(&key("r-1", "ten")))
                .await
                .unwrap()
        });
    }
    let answers = calls.join_all().await;

    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let applies: i64 = sqlx::query_scalar("SELECT count(*) FROM applies")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(applies, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_first_answer_although_the_apply_went_on() {
    let (store, _database) = store().await;
    let submission = devices("light", 2, AfterCheck::Stop);
    let submit = key("r-1", "two");
    let first = store
        .submit(&ANYONE, &submission, Some(&submit))
        .await
        .unwrap();
    pass_check(&store, 7).await;
    let accept = key("r-2", "register");
    let registered = store
        .accept(&ANYONE, first.0.id, Wish::default(), Some(&accept))
        .await
        .unwrap();
    create(&store).await;

    assert_eq!(
        store
            .submit(&ANYONE, &submission, Some(&submit))
            .await
            .unwrap(),
        first
    );
    let again = store
        .accept(&ANYONE, first.0.id, Wish::default(), Some(&accept))
        .await
        .unwrap();
    assert_eq!(again, registered);
    assert_eq!(again.1.status, ApplyStatus::Create);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_with_other_content_is_refused() {
    let (store, _database) = store().await;
    let (apply, _) = store
        .submit(
            &ANYONE,
            &devices("light", 2, AfterCheck::Stop),
            Some(&key("r-1", "two")),
        )
        .await
        .unwrap();

    let other = store
        .submit(
            &ANYONE,
            &devices("light", 3, AfterCheck::Stop),
            Some(&key("r-1", "three")),
        )
        .await;
    let another = store
        .cancel(&ANYONE, apply.id, Some(&key("r-1", "cancel")))
        .await;

    assert!(matches!(other, Err(Error::RequestReused { .. })));
    assert!(matches!(another, Err(Error::RequestReused { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_what_was_not_asked_to_register_and_fences_its_leases() {
    let (store, _database) = store().await;
    let submission = devices("light", 30_000, AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    pass_check(&store, 7).await;
    let registering = step(&store, Lane::Register, Event::RegisterAccepted).await;
    let checking = claim(&store, Lane::Check).await.unwrap();

    let (_, now) = store.cancel(&ANYONE, apply.id, None).await.unwrap();

    assert!(now.cancelling && now.status == ApplyStatus::Check);
    let late = meet(
        &store,
        &checking,
        Event::CheckAccepted { upstream_apply: 8 },
    )
    .await;
    assert!(matches!(late, Err(Error::LeaseLost { .. })));
    assert!(claim(&store, Lane::Check).await.is_none());
    // What was asked to register goes on to its end.
    step(&store, Lane::Status, Event::CreateSucceeded).await;
    let counting = claim_page(&store).await;
    assert_eq!(counting.round_no, registering.round_no);
    meet(&store, &counting, Event::Counted { total: 10_000 })
        .await
        .unwrap();

    let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(end.status, ApplyStatus::Cancelled);
    assert_eq!(
        end.counts,
        Counts::from_array([0, 0, 0, 10_000, 0, 0, 20_000])
    );
    let page = store
        .devices(&ANYONE, apply.id, 0, &[Outcome::Cancelled], 1)
        .await
        .unwrap();
    assert_eq!(page.devices[0].ordinal, 10_000);
    assert_eq!(store.cancel(&ANYONE, apply.id, None).await.unwrap().1, end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_when_its_apply_is_cancelled_is_asked_after_and_not_sent_again() {
    let (store, _database) = store().await;
    let submission = devices("light", 2, AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    pass_check(&store, 7).await;
    let claim = claim(&store, Lane::Register).await.unwrap();
    store.cancel(&ANYONE, apply.id, None).await.unwrap();

    let unheard = Record {
        intent_open: true,
        ..after(&claim, Event::RegisterUnheard, &[0, 1])
    };
    store.record(&claim, &[0, 1], &unheard).await.unwrap();
    assert!(super::claim(&store, Lane::Register).await.is_none());
    assert_eq!(
        store.apply(&ANYONE, apply.id).await.unwrap().1.status,
        ApplyStatus::Create
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_apply_is_cancelled_at_once_and_keeps_what_it_has() {
    let (store, _database) = store().await;
    let (apply, _) = store
        .submit(&ANYONE, &devices("light", 3, AfterCheck::Stop), None)
        .await
        .unwrap();
    step(&store, Lane::Check, failed(&[1], [])).await;
    pass_check(&store, 7).await;

    let (_, end) = store.cancel(&ANYONE, apply.id, None).await.unwrap();

    assert_eq!(end.status, ApplyStatus::Cancelled);
    assert_eq!(end.counts, Counts::from_array([0, 0, 1, 0, 0, 0, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_devices_of_all_chunks_are_sent_again_in_as_few_rounds_as_fit() {
    let (store, _database) = store().await;
    let submission = devices("light", 30_000, AfterCheck::RegisterIfAllValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    for upstream_apply in [7, 8, 9] {
        pass_check(&store, upstream_apply).await;
    }
    for chunk in 0..3 {
        let first = chunk * 10_000;
        step(&store, Lane::Register, Event::RegisterAccepted).await;
        let event = Event::CreateFailed {
            created: (first + 100..first + 10_000).collect(),
            refused: (first..first + 100).map(exists).collect(),
        };
        step(&store, Lane::Status, event).await;
    }
    let (_, before) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(before.status, ApplyStatus::CreateFailed);
    assert_eq!(
        store.accept(&ANYONE, apply.id, SKIP, None).await.unwrap().1,
        before
    );

    let (_, now) = store.accept(&ANYONE, apply.id, RETRY, None).await.unwrap();

    assert_eq!(now.status, ApplyStatus::Create);
    assert_eq!(now.counts, Counts::from_array([300, 0, 0, 29_700, 0, 0, 0]));
    let page = store
        .devices(&ANYONE, apply.id, 0, &[Outcome::Pending], 500)
        .await
        .unwrap();
    assert!(page.devices.iter().all(|device| device.reason.is_none()));
    let packed = claim(&store, Lane::Check).await.unwrap();
    assert!(claim(&store, Lane::Check).await.is_none());
    assert_eq!(store.members(&packed).await.unwrap().ordinals.len(), 300);
    meet(&store, &packed, Event::CheckAccepted { upstream_apply: 10 })
        .await
        .unwrap();
    step(&store, Lane::Status, Event::CheckPassed).await;
    create(&store).await;
    assert_eq!(
        store.apply(&ANYONE, apply.id).await.unwrap().1.status,
        ApplyStatus::CreateSuccess
    );
}
