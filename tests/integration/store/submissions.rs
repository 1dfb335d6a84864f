use registrar::{
    domain::{AfterCheck, ApplyId, ApplyStatus, Counts, Labels, Outcome, ReasonCode, Submission},
    store::Filter,
};
use sqlx::Row as _;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_stored_whole_with_its_first_event() {
    let (store, database) = store().await;
    let names = ["light-1", "no", "light-2", "light-1"];
    let pairs: Vec<_> = names
        .iter()
        .map(|n| (n.to_string(), String::new()))
        .collect();
    let submission = Submission::judge(
        "a1".into(),
        "iot-1".into(),
        AfterCheck::Stop,
        pairs.into_iter(),
    );

    let (apply, snapshot) = store.submit(&ANYONE, &submission, None).await.unwrap();

    assert_eq!(snapshot.status, ApplyStatus::Check);
    assert_eq!(snapshot.revision, 1);
    assert_eq!(snapshot.counts, Counts::from_array([2, 0, 2, 0, 0, 0, 0]));
    assert_eq!(
        store.apply(&ANYONE, apply.id).await.unwrap(),
        (apply.clone(), snapshot)
    );
    assert_eq!(
        store.events_after(&[(apply.id, 0)]).await.unwrap(),
        [(apply.id, snapshot)]
    );
    let page = store.devices(&ANYONE, apply.id, 0, &[], 10).await.unwrap();
    assert_eq!(
        page.devices
            .iter()
            .map(|d| d.name.as_str())
            .collect::<Vec<_>>(),
        names
    );
    assert_eq!(page.next, None);
    let duplicate = page.devices[3].reason.as_ref().unwrap();
    assert_eq!(
        (duplicate.code, duplicate.first),
        (ReasonCode::Duplicate, Some(0))
    );
    let seen = sqlx::query(
        "SELECT device_name, outcome, reason_code, first_ordinal FROM devices ORDER BY ordinal",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[1].get::<String, _>("reason_code"), "NAME_LENGTH");
    assert_eq!(seen[2].get::<String, _>("outcome"), "PENDING");
    assert_eq!(seen[3].get::<i32, _>("first_ordinal"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_with_no_device_to_send_has_failed_its_check_at_once() {
    let (store, _database) = store().await;
    let pairs = vec![("no".to_owned(), String::new())];
    for after in AfterCheck::ALL {
        let submission = Submission::judge(
            "a1".into(),
            String::new(),
            *after,
            pairs.clone().into_iter(),
        );

        let (_, snapshot) = store.submit(&ANYONE, &submission, None).await.unwrap();

        assert_eq!(snapshot.status, ApplyStatus::CheckFailed);
        assert_eq!(snapshot.revision, 1);
    }
    assert!(claim(&store, Lane::Check).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_listed_page_by_page_across_chunks_and_by_outcome() {
    let (store, _database) = store().await;
    let mut pairs: Vec<_> = (0..20_050)
        .map(|n| (format!("light-{n:05}"), String::new()))
        .collect();
    for bad in [7, 9_999, 10_000, 20_049] {
        pairs[bad].0 = "no".to_owned();
    }
    let submission = Submission::judge(
        "a1".into(),
        String::new(),
        AfterCheck::Stop,
        pairs.into_iter(),
    );
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();

    let mut all = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let page = store
            .devices(&ANYONE, apply.id, from, &[], 3_000)
            .await
            .unwrap();
        all.extend(page.devices.iter().map(|device| device.ordinal));
        next = page.next;
    }
    assert!(all.into_iter().eq(0..20_050));

    let first = store
        .devices(&ANYONE, apply.id, 0, &[Outcome::Invalid], 3)
        .await
        .unwrap();
    assert_eq!(
        first.devices.iter().map(|d| d.ordinal).collect::<Vec<_>>(),
        [7, 9_999, 10_000]
    );
    let rest = store
        .devices(
            &ANYONE,
            apply.id,
            first.next.unwrap(),
            &[Outcome::Invalid],
            3,
        )
        .await
        .unwrap();
    assert_eq!(
        rest.devices.iter().map(|d| d.ordinal).collect::<Vec<_>>(),
        [20_049]
    );
    assert_eq!(rest.next, None);
    assert!(
        store
            .devices(&ANYONE, apply.id, 0, &[Outcome::Created], 3)
            .await
            .unwrap()
            .devices
            .is_empty()
    );
}

fn of_product(key: &str) -> Filter {
    Filter {
        product_key: Some(key.to_owned()),
        ..Filter::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_are_listed_newest_first() {
    let (store, _database) = store().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let submission = devices(&format!("light{n}"), 1, AfterCheck::Stop);
        ids.push(store.submit(&ANYONE, &submission, None).await.unwrap().0.id);
    }
    ids.reverse();

    let first = store
        .applies(&ANYONE, None, &Filter::default(), 3)
        .await
        .unwrap();
    let rest = store
        .applies(&ANYONE, Some(first[2].0.id), &of_product("a1"), 3)
        .await
        .unwrap();

    let listed: Vec<_> = first
        .iter()
        .chain(&rest)
        .map(|(apply, _)| apply.id)
        .collect();
    assert_eq!(listed, ids);
    assert!(
        store
            .applies(&ANYONE, None, &of_product("another"), 3)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_are_listed_by_all_labels_and_any_status_asked_for() {
    let (store, _database) = store().await;
    let mut ids = Vec::new();
    for labels in [
        &[("team", "lights"), ("lot", "7")][..],
        &[("team", "lights")],
        &[("team", "presses"), ("lot", "7")],
        &[],
    ] {
        let mut submission = devices("light", 1, AfterCheck::Stop);
        submission.heading.labels =
            Labels::parse(labels.iter().map(|(k, v)| (k.to_string(), v.to_string()))).unwrap();
        let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
        assert_eq!(
            store.apply(&ANYONE, apply.id).await.unwrap().0.labels,
            submission.heading.labels
        );
        ids.push(apply.id);
    }
    let listed = async |labels: &[(&str, &str)], statuses: &[ApplyStatus]| {
        let filter = Filter {
            labels: Labels::parse(labels.iter().map(|(k, v)| (k.to_string(), v.to_string())))
                .unwrap(),
            statuses: statuses.to_vec(),
            product_key: None,
        };
        let found = store.applies(&ANYONE, None, &filter, 10).await.unwrap();
        found
            .into_iter()
            .map(|(apply, _)| apply.id)
            .collect::<Vec<_>>()
    };
    use ApplyStatus::{Check, CheckFailed};

    assert_eq!(listed(&[("team", "lights")], &[]).await, [ids[1], ids[0]]);
    assert_eq!(listed(&[("lot", "7")], &[Check]).await, [ids[2], ids[0]]);
    assert_eq!(
        listed(&[("team", "lights"), ("lot", "7")], &[]).await,
        [ids[0]]
    );
    assert!(
        listed(&[("team", "lights")], &[CheckFailed])
            .await
            .is_empty()
    );
    assert_eq!(listed(&[], &[CheckFailed, Check]).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_said_not_to() {
    let (store, _database) = store().await;

    assert!(matches!(
        store.apply(&ANYONE, ApplyId(1)).await,
        Err(Error::NoSuchApply(ApplyId(1)))
    ));
    assert!(matches!(
        store.accept(&ANYONE, ApplyId(1), SKIP, None).await,
        Err(Error::NoSuchApply(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_of_a_chunk_have_as_many_elements_as_it_has_devices() {
    let (store, database) = store().await;
    let submission = devices("light", 2, AfterCheck::Stop);
    store.submit(&ANYONE, &submission, None).await.unwrap();

    for change in [
        "UPDATE chunks SET outcomes = 'PPP'",
        "UPDATE chunks SET outcomes = 'P'",
        "UPDATE chunks SET names = ARRAY['light-1']",
        "UPDATE chunks SET nicknames = ARRAY['lamp']",
        "UPDATE chunks SET sns = ARRAY['1', '2', '3']",
        "INSERT INTO chunks (apply_id, chunk_no, names, outcomes)
         SELECT apply_id, 1, names, 'P' FROM chunks",
        "INSERT INTO chunks (apply_id, chunk_no, names, outcomes) SELECT apply_id, 1, '{}', '' FROM chunks",
    ] {
        let refusal = sqlx::query(change)
            .execute(&database.pool)
            .await
            .unwrap_err();
        let refusal = refusal.into_database_error().unwrap();
        assert!(refusal.is_check_violation(), "{change}: {refusal}");
    }
    let as_long = "UPDATE chunks SET outcomes = 'VI', nicknames = ARRAY['lamp', '']";
    sqlx::query(as_long).execute(&database.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_schema_is_refused_with_the_command_that_mends_it() {
    let (store, database) = store().await;
    store.check_schema().await.unwrap();
    sqlx::raw_sql("DROP TABLE _sqlx_migrations")
        .execute(&database.pool)
        .await
        .unwrap();

    let error = store.check_schema().await.unwrap_err();

    assert!(error.to_string().contains("registrar migrate"), "{error}");
}
