use registrar::{
    domain::ApplyId,
    store::{CallMade, Happened, Place},
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_found_across_chunks_and_applies_from_the_newest() {
    let (store, _database) = store().await;
    let mut expected = Vec::new();
    for n in 0..3 {
        let mut names: Vec<_> = (0..20_001)
            .map(|at| (format!("light{n}-{at:06}"), String::new()))
            .collect();
        // The first of each chunk, one within, and the very last.
        let places = [0, 5, 10_000, 20_000];
        for at in places {
            names[at].0 = "wanted".to_owned();
        }
        let product = if n == 1 { "other" } else { "a1" };
        let submission = Submission::judge(
            product.into(),
            String::new(),
            AfterCheck::Stop,
            names.into_iter(),
        );
        let apply = store.submit(&ANYONE, &submission, None).await.unwrap().0.id;
        for at in places {
            expected.insert(
                0,
                (
                    product,
                    Place {
                        apply,
                        ordinal: at as Ordinal,
                    },
                ),
            );
        }
    }
    let all = async |product: Option<&str>, limit| {
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let page = store
                .find(&ANYONE, "wanted", product, before, limit)
                .await
                .unwrap();
            assert!(page.found.len() <= limit);
            all.extend(page.found.into_iter().map(|found| Place {
                apply: found.apply.id,
                ordinal: found.device.ordinal,
            }));
            before = page.before;
            if before.is_none() {
                return all;
            }
        }
    };

    for limit in [1, 2, 3, 4, 5, 100] {
        let places = expected.iter().map(|(_, place)| *place);
        assert!(all(None, limit).await.into_iter().eq(places), "{limit}");
    }
    let others = expected.iter().filter(|(product, _)| *product == "other");
    let others: Vec<_> = others.map(|(_, place)| *place).collect();
    assert_eq!(all(Some("other"), 3).await, others);
    let none = store.find(&ANYONE, "want", None, None, 10).await.unwrap();
    assert!(none.found.is_empty() && none.before.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_for_a_name_ends_somewhere_and_goes_on_from_there() {
    let (store, database) = store().await;
    let submission = devices("light", 1, AfterCheck::Stop);
    let oldest = store.submit(&ANYONE, &submission, None).await.unwrap().0.id;
    // More applies than one look goes through, each of one other device.
    sqlx::raw_sql(
        "WITH made AS (
             INSERT INTO applies (tenant, account, product_key, iot_instance_id, after_check, status,
                                  sealed, revision, total)
             SELECT '', 'test', 'a1', '', 'STOP', 'CHECK', true, 1, 1 FROM generate_series(1, 10100)
             RETURNING apply_id)
         INSERT INTO chunks (apply_id, chunk_no, names, outcomes)
         SELECT apply_id, 0, ARRAY['other'], 'P' FROM made",
    )
    .execute(&database.pool)
    .await
    .unwrap();

    let first = store
        .find(&ANYONE, "light-000000", None, None, 10)
        .await
        .unwrap();
    assert!(first.found.is_empty());
    let rest = store
        .find(&ANYONE, "light-000000", None, first.before, 10)
        .await
        .unwrap();

    assert!(first.before.is_some());
    assert_eq!(rest.found.len(), 1);
    assert_eq!((rest.found[0].apply.id, rest.before), (oldest, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_events_of_one_moment_have_an_order() {
    let (store, database) = store().await;
    let submission = devices("light", 1, AfterCheck::Stop);
    let id = store.submit(&ANYONE, &submission, None).await.unwrap().0.id;
    let round = claim(&store, Lane::Check).await.unwrap();
    let mut made = after(&round, Event::CheckAccepted { upstream_apply: 7 }, &[0]);
    made.call = Some(CallMade {
        scope: None,
        lane: Lane::Check,
        upstream_apply: Some(7),
        took: Duration::from_millis(12),
        result: "OK".into(),
        message: None,
        request_id: Some("r-1".into()),
        judged: true,
    });
    store.record(&round, &[0], &made).await.unwrap();
    step(&store, Lane::Status, Event::CheckPassed).await;
    sqlx::raw_sql(
        "UPDATE events SET at = '2026-11-22';
         UPDATE calls SET called_at = '2026-11-22';
         INSERT INTO calls (apply_id, round_no, action, called_at, took_ms, result, judged)
         SELECT apply_id, 1, 'QueryPageByApplyId', '2026-11-22', 1, 'NO_ANSWER', false FROM applies",
    )
    .execute(&database.pool)
    .await
    .unwrap();

    let (apply, now, whole) = store.history(&ANYONE, id, None, 10).await.unwrap();
    assert_eq!((apply.id, now.revision), (id, 2));
    let mut told = Vec::new();
    let mut last = None;
    loop {
        let (_, _, page) = store.history(&ANYONE, id, last, 1).await.unwrap();
        let Some(entry) = page.first() else { break };
        assert_eq!(entry.moment, whole[told.len()].moment);
        last = Some(entry.moment);
        told.push(match &entry.what {
            Happened::Call { result, .. } => result.clone(),
            Happened::Event(event) => format!("revision {}", event.revision),
        });
    }

    assert_eq!(told, ["OK", "NO_ANSWER", "revision 1", "revision 2"]);
    assert!(matches!(
        store.history(&ANYONE, ApplyId(99), None, 1).await,
        Err(Error::NoSuchApply(ApplyId(99)))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_lane_is_its_own_accounts() {
    let (store, database) = store().await;
    let other = Store::new(database.url().parse().expect("its own URL"), 5, "other");
    for _ in 0..2 {
        let submission = devices("light", 1, AfterCheck::Stop);
        store.submit(&ANYONE, &submission, None).await.unwrap();
    }
    sqlx::raw_sql(
        "INSERT INTO calls (apply_id, round_no, action, called_at, took_ms, result, judged)
         SELECT apply_id, 1, 'BatchCheckDeviceNames', now() - ago, 1, 'OK', true
         FROM applies, unnest(ARRAY[interval '1 second', interval '2 minutes']) AS ago;
         INSERT INTO lanes (account, action, next_slot, slowed, throttled_at)
         VALUES ('test', 'QueryPageByApplyId', now(), 16, now() - interval '30 seconds'),
                ('test', 'QueryBatchRegisterDeviceStatus', now(), 16, now() - interval '30 days')",
    )
    .execute(&database.pool)
    .await
    .unwrap();

    let uses = store.uses().await.unwrap();
    let others = other.uses().await.unwrap();

    assert!(uses.iter().map(|(lane, _)| lane).eq(Lane::ALL));
    let of = |lane| uses.iter().find(|(of, _)| *of == lane).unwrap().1.clone();
    assert_eq!(of(Lane::Check).calls_last_minute, 2);
    assert_eq!(of(Lane::Check).rounds_due, 2);
    assert!((7.0..=8.0).contains(&of(Lane::Page).slowed), "{uses:?}");
    assert_eq!(of(Lane::Status).slowed, 1.0);
    for (_, used) in others {
        assert_eq!(
            (used.calls_last_minute, used.rounds_due, used.slowed),
            (0, 0, 1.0)
        );
    }
    // A slowdown of long ago is no more, and fails nothing.
    let spacing = Duration::from_millis(100);
    let permits = store
        .permits(Lane::Status, 1, spacing, Duration::ZERO, Duration::ZERO)
        .await;
    assert_eq!(permits.unwrap().spacing, spacing);
}
