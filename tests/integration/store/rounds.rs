use registrar::domain::{ApplyStatus, Counts, Outcome, Phase};

use super::*;
use crate::support::stack::patiently;

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_goes_from_check_to_create_success() {
    let (store, _database) = store().await;
    let (apply, _) = store
        .submit(&ANYONE, &devices("light", 3, AfterCheck::Stop), None)
        .await
        .unwrap();

    pass_check(&store, 7).await;
    assert!(claim(&store, Lane::Register).await.is_none());
    store
        .accept(&ANYONE, apply.id, Wish::default(), None)
        .await
        .unwrap();
    create(&store).await;

    let statuses: Vec<_> = store
        .events_after(&[(apply.id, 0)])
        .await
        .unwrap()
        .into_iter()
        .map(|(_, event)| (event.revision, event.status))
        .collect();
    use ApplyStatus::*;
    assert_eq!(
        statuses,
        [
            (1, Check),
            (2, CheckSuccess),
            (3, Create),
            (4, CreateSuccess)
        ]
    );
    let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(end.counts, Counts::from_array([0, 0, 0, 3, 0, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_valid_rest_of_a_failed_check_is_checked_again_and_registered() {
    let (store, _database) = store().await;
    let submission = devices("light", 3, AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();

    step(
        &store,
        Lane::Check,
        Event::CheckAccepted { upstream_apply: 7 },
    )
    .await;
    step(&store, Lane::Status, failed(&[1], [0, 2])).await;
    let again = step(
        &store,
        Lane::Check,
        Event::CheckAccepted { upstream_apply: 8 },
    )
    .await;
    assert!(again.round.accepted);
    assert_eq!(store.members(&again).await.unwrap().ordinals, [0, 2]);
    step(&store, Lane::Status, Event::CheckPassed).await;
    create(&store).await;

    let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(end.status, ApplyStatus::CreateSuccess);
    assert_eq!(end.counts, Counts::from_array([0, 0, 1, 2, 0, 0, 0]));
    let page = store
        .devices(&ANYONE, apply.id, 0, &[Outcome::Invalid], 10)
        .await
        .unwrap();
    assert_eq!(page.devices[0].reason, Some(exists(1).1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_after_acceptance_fails_the_device() {
    let (store, _database) = store().await;
    let (apply, _) = store
        .submit(&ANYONE, &devices("light", 2, AfterCheck::Stop), None)
        .await
        .unwrap();
    step(
        &store,
        Lane::Check,
        Event::CheckAccepted { upstream_apply: 7 },
    )
    .await;
    step(&store, Lane::Status, failed(&[1], [0])).await;
    store.accept(&ANYONE, apply.id, SKIP, None).await.unwrap();

    step(&store, Lane::Check, failed(&[0], [])).await;

    let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(end.status, ApplyStatus::CreateFailed);
    assert_eq!(end.counts, Counts::from_array([0, 0, 1, 0, 1, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_lost_records_nothing() {
    let (store, _database) = store().await;
    let (apply, before) = store
        .submit(&ANYONE, &devices("light", 2, AfterCheck::Stop), None)
        .await
        .unwrap();
    let first = store
        .claim(Lane::Check, Duration::ZERO, SIGNED_AT)
        .await
        .unwrap()
        .unwrap();
    let second = claim(&store, Lane::Check).await.unwrap();

    let late = meet(&store, &first, failed(&[0, 1], [])).await;

    assert!(matches!(late, Err(Error::LeaseLost { .. })));
    assert_eq!(store.apply(&ANYONE, apply.id).await.unwrap().1, before);
    meet(&store, &second, Event::CheckAccepted { upstream_apply: 7 })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_writes_the_intent_to_register_and_keeps_an_open_one() {
    let (store, _database) = store().await;
    let (apply, _) = store
        .submit(&ANYONE, &devices("light", 2, AfterCheck::Stop), None)
        .await
        .unwrap();
    pass_check(&store, 7).await;
    store
        .accept(&ANYONE, apply.id, Wish::default(), None)
        .await
        .unwrap();

    let first = store
        .claim(Lane::Register, Duration::ZERO, SIGNED_AT)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.round.phase, Phase::Register.claimed());
    let intent = first.intent.unwrap();
    assert!(intent.fresh && intent.signed_at == SIGNED_AT);

    // It died. Whoever takes the round next asks how it stands, and may send the same again.
    assert!(claim(&store, Lane::Register).await.is_none());
    let second = claim(&store, Lane::Status).await.unwrap();
    assert_eq!(second.round.phase, Phase::Registering);
    let open = [0, 1];
    let unheard = Record {
        intent_open: true,
        ..after(&second, Event::RegisterUnheard, &open)
    };
    store.record(&second, &open, &unheard).await.unwrap();
    let later = SIGNED_AT + Duration::from_secs(9);
    let third = store
        .claim(Lane::Register, LEASE, later)
        .await
        .unwrap()
        .unwrap();
    let intent = third.intent.unwrap();
    assert!(!intent.fresh && intent.signed_at == SIGNED_AT);

    // Once it is certain that nothing is under way, the next request has a date of its own.
    meet(&store, &third, Event::NotRegistered).await.unwrap();
    let fourth = store
        .claim(Lane::Register, LEASE, later)
        .await
        .unwrap()
        .unwrap();
    let intent = fourth.intent.unwrap();
    assert!(intent.fresh && intent.signed_at == later);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_apply_passes_a_large_one() {
    let (store, database) = store().await;
    let (large, _) = store
        .submit(&ANYONE, &devices("large", 40_001, AfterCheck::Stop), None)
        .await
        .unwrap();
    let (small, _) = store
        .submit(&ANYONE, &devices("small", 10, AfterCheck::Stop), None)
        .await
        .unwrap();
    // It came right after the first round of the large one, however long that took here.
    sqlx::query(
        "UPDATE rounds SET turn_at = interval '1 millisecond'
             + (SELECT min(turn_at) FROM rounds WHERE apply_id = $1)
         WHERE apply_id = $2",
    )
    .bind(large.id.0)
    .bind(small.id.0)
    .execute(&database.pool)
    .await
    .unwrap();

    let mut turns = Vec::new();
    while let Some(claim) = claim(&store, Lane::Check).await {
        turns.push((claim.apply, claim.round_no));
    }

    assert_eq!(turns.len(), 6);
    let place = turns
        .iter()
        .position(|turn| *turn == (small.id, 1))
        .unwrap();
    assert!(place < 5, "{turns:?}");
    assert_eq!(turns[0], (large.id, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_have_no_gap_when_rounds_end_at_once() {
    let (store, _database) = store().await;
    let (apply, _) = store
        .submit(&ANYONE, &devices("light", 10_000, AfterCheck::Stop), None)
        .await
        .unwrap();
    step(&store, Lane::Check, Event::TooLarge).await;

    let mut rounds = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let store = store.clone();
        rounds.spawn(async move {
            let claim = claim(&store, Lane::Check).await.unwrap();
            let refused = store.members(&claim).await.unwrap().ordinals;
            assert_eq!(refused.len(), 1_000);
            meet(&store, &claim, failed(&refused, [])).await.unwrap();
        });
    }
    rounds.join_all().await;

    let events = store.events_after(&[(apply.id, 0)]).await.unwrap();
    assert!(events.iter().map(|(_, event)| event.revision).eq(1..=11));
    assert!(events.windows(2).all(|pair| {
        let invalid = |n: usize| pair[n].1.counts.of(Outcome::Invalid);
        invalid(1) == invalid(0) + 1_000
    }));
    assert_eq!(events[10].1.status, ApplyStatus::CheckFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_failed_checks_is_packed_into_as_few_rounds_as_fit() {
    let (store, _database) = store().await;
    let (apply, _) = store
        .submit(&ANYONE, &devices("light", 30_000, AfterCheck::Stop), None)
        .await
        .unwrap();
    for chunk in 0..3 {
        let first = chunk * 10_000;
        let refused: Vec<_> = (first + 2_000..first + 10_000).collect();
        step(
            &store,
            Lane::Check,
            Event::CheckAccepted { upstream_apply: 7 },
        )
        .await;
        step(&store, Lane::Status, failed(&refused, first..first + 2_000)).await;
    }

    store.accept(&ANYONE, apply.id, SKIP, None).await.unwrap();

    let packed = claim(&store, Lane::Check).await.unwrap();
    assert!(claim(&store, Lane::Check).await.is_none());
    let members = store.members(&packed).await.unwrap();
    assert_eq!(members.ordinals.len(), 6_000);
    assert_eq!(members.names[5_999], "light-021999");
    assert!(packed.round.accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_creation_lost_are_read_and_enter_new_rounds() {
    let (store, database) = store().await;
    let submission = devices("light", 100, AfterCheck::RegisterIfAllValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    pass_check(&store, 7).await;
    step(&store, Lane::Register, Event::RegisterAccepted).await;
    step(&store, Lane::Status, Event::CreateSucceeded).await;
    step(&store, Lane::Page, Event::Counted { total: 60 }).await;

    let listing = claim(&store, Lane::Page).await.unwrap();
    let names: Vec<_> = (0..50).map(|n| format!("light-{n:06}")).collect();
    let page = Record {
        pages: Pages::Read(names.clone()),
        ..record(Change {
            round: listing.round.clone(),
            settle: registrar::domain::round::Settle::Nothing,
            parts: Vec::new(),
        })
    };
    store.record(&listing, &[], &page).await.unwrap();
    let listing = claim(&store, Lane::Page).await.unwrap();
    assert_eq!(listing.page, 1);
    assert_eq!(store.listed(&listing).await.unwrap(), names);
    let open = store.members(&listing).await.unwrap().ordinals;
    let present = Event::Listed {
        present: (0..60).collect(),
    };
    let folded = Record {
        pages: Pages::Forgotten,
        ..after(&listing, present, &open)
    };
    store.record(&listing, &open, &folded).await.unwrap();

    let (_, now) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(now.counts, Counts::from_array([40, 0, 0, 60, 0, 0, 0]));
    assert_eq!(now.status, ApplyStatus::Create);
    let rest = claim(&store, Lane::Check).await.unwrap();
    assert_eq!(
        store.members(&rest).await.unwrap().ordinals,
        (60..100).collect::<Vec<_>>()
    );
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM listed")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn register_refuses_what_is_not_ready_and_repeats_without_harm() {
    let (store, _database) = store().await;
    let (apply, _) = store
        .submit(&ANYONE, &devices("light", 2, AfterCheck::Stop), None)
        .await
        .unwrap();
    let early = store.accept(&ANYONE, apply.id, Wish::default(), None).await;
    assert!(matches!(
        early,
        Err(Error::NotAcceptable {
            status: ApplyStatus::Check,
            ..
        })
    ));

    pass_check(&store, 7).await;
    let (_, first) = store
        .accept(&ANYONE, apply.id, Wish::default(), None)
        .await
        .unwrap();
    let (_, second) = store.accept(&ANYONE, apply.id, SKIP, None).await.unwrap();

    assert_eq!(first, second);
    assert_eq!(first.status, ApplyStatus::Create);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_reads_a_few_rounds_however_many_are_due() {
    let (store, database) = store().await;
    let pool = &database.pool;
    store
        .submit(&ANYONE, &devices("light", 3, AfterCheck::Stop), None)
        .await
        .unwrap();
    let backlog = "WITH more AS (
                       INSERT INTO applies (tenant, account, product_key, iot_instance_id, after_check,
                                            status, sealed, uploads, revision, total)
                       SELECT tenant, account, product_key, iot_instance_id, after_check, status, sealed,
                              uploads, revision, total
                       FROM applies, generate_series(1, 5000)
                       RETURNING apply_id
                   )
                   INSERT INTO rounds (apply_id, round_no, account, product, phase, accepted, chunk_no,
                                       devices, turn_at, due_at)
                   SELECT more.apply_id, round_no, account, product, phase, accepted, chunk_no, devices,
                          turn_at, due_at
                   FROM rounds, more";
    sqlx::query(backlog).execute(pool).await.unwrap();
    sqlx::query("ANALYZE rounds").execute(pool).await.unwrap();
    // What a connection has read is told by its end at the latest.
    let read = "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables
                WHERE relname = 'rounds'";
    let told = async |least: i64| loop {
        let read: i64 = sqlx::query_scalar(read).fetch_one(pool).await.unwrap();
        if read >= least {
            return read;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    sqlx::query("SELECT pg_stat_force_next_flush()")
        .execute(pool)
        .await
        .unwrap();
    let before = told(0).await;

    for _ in 0..20 {
        claim(&store, Lane::Check).await.unwrap();
    }
    store.close().await;

    let read = patiently(told(before + 20)).await - before;
    assert!(read < 20 * 100, "20 claims read {read} rounds");
}
