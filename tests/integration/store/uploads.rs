use std::collections::HashMap;

use registrar::{
    domain::{
        ApplyId, ApplyStatus, CHUNK, Chunk, Counts, Fingerprint, Gathered, Heading, Judge, Labels,
        Outcome, RequestKey, waiting::WaitKind,
    },
    store::Upload,
};
use sqlx::PgPool;

use super::*;

fn heading(after_check: AfterCheck) -> Heading {
    Heading {
        product_key: "a1".into(),
        iot_instance_id: "iot-1".into(),
        after_check,
        import: false,
        data_key: None,
        labels: Labels::default(),
    }
}

fn key(id: &str, heading: &Heading) -> RequestKey {
    RequestKey {
        id: id.into(),
        fingerprint: heading.fingerprint(),
    }
}

async fn begin(store: &Store, after_check: AfterCheck) -> Upload {
    let begun = store
        .begin_upload(&ANYONE, &heading(after_check), None)
        .await;
    begun.expect("it begins").0
}

/// A chunk of these names, judged without regard to those before it.
fn chunk(chunk_no: i32, names: impl IntoIterator<Item = String>) -> Chunk {
    let mut gathered = Gathered::new(chunk_no);
    for name in names {
        gathered.push((name, String::new()));
    }
    Judge::default().judge(gathered, &HashMap::new())
}

fn full(chunk_no: i32) -> Chunk {
    chunk(
        chunk_no,
        (0..CHUNK).map(|n| format!("light-{chunk_no}-{n:05}")),
    )
}

async fn rows(pool: &PgPool, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_grows_chunk_by_chunk_with_an_event_and_a_round_each_until_it_is_sealed() {
    let (store, _database) = store().await;
    let upload = begin(&store, AfterCheck::Stop).await;

    let first = store.append(&ANYONE, upload, &full(0)).await.unwrap();
    let names = ["light-2", "no", "light-3"].map(str::to_owned);
    let last = store
        .seal(&ANYONE, upload, Some(&chunk(1, names)))
        .await
        .unwrap();

    let pending = Counts::from_array([10_000, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        (first.revision, first.counts, first.sealed),
        (2, pending, false)
    );
    let all = Counts::from_array([10_002, 0, 1, 0, 0, 0, 0]);
    assert_eq!((last.revision, last.counts, last.sealed), (3, all, true));
    let events = store.events_after(&[(upload.apply, 0)]).await.unwrap();
    let totals = events.iter().map(|(_, event)| event.counts.total());
    assert!(totals.eq([0, 10_000, 10_003]));
    assert_eq!(events[2].1, last);
    assert_eq!(store.apply(&ANYONE, upload.apply).await.unwrap().1, last);
    for devices in [10_000, 2] {
        let claim = claim(&store, Lane::Check).await.expect("a round is due");
        assert_eq!(store.members(&claim).await.unwrap().ordinals.len(), devices);
    }
    assert!(claim(&store, Lane::Check).await.is_none());
    let late = store.append(&ANYONE, upload, &full(2)).await;
    assert!(matches!(
        late,
        Err(Error::UploadSealed { total: 10_003, .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_streams_the_later_writes_and_the_earlier_writes_nothing_more() {
    let (store, database) = store().await;
    let earlier = begin(&store, AfterCheck::Stop).await;
    store.append(&ANYONE, earlier, &full(0)).await.unwrap();

    let (later, _, now) = store.resume_upload(&ANYONE, earlier.apply).await.unwrap();
    let lost = store.append(&ANYONE, earlier, &full(1)).await;
    let lost_seal = store.seal(&ANYONE, earlier, Some(&full(1))).await;

    assert_eq!((later.number, now.counts.total()), (2, 10_000));
    assert!(matches!(lost, Err(Error::UploadTakenOver(id)) if id == earlier.apply));
    assert!(matches!(lost_seal, Err(Error::UploadTakenOver(_))));
    for (table, count) in [("chunks", 1), ("rounds", 1), ("events", 2)] {
        assert_eq!(rows(&database.pool, table).await, count, "{table}");
    }
    store.append(&ANYONE, later, &full(1)).await.unwrap();
    let sealed = store.seal(&ANYONE, later, None).await.unwrap();
    assert_eq!(sealed.counts.total(), 20_000);
    // One that comes after the seal finds it as it is, and takes nothing over.
    let (again, _, now) = store.resume_upload(&ANYONE, earlier.apply).await.unwrap();
    assert_eq!((again, now), (later, sealed));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_that_write_at_once_leave_each_chunk_there_once() {
    let (store, database) = store().await;
    for _ in 0..10 {
        let one = begin(&store, AfterCheck::Stop).await;
        let chunk = full(0);
        let other = async {
            let (other, _, now) = store.resume_upload(&ANYONE, one.apply).await.unwrap();
            match now.counts.total() {
                0 => store.append(&ANYONE, other, &chunk).await.map(|_| ()),
                _ => Ok(()),
            }
        };

        let (first, second) = tokio::join!(store.append(&ANYONE, one, &chunk), other);

        second.unwrap();
        assert!(matches!(first, Ok(_) | Err(Error::UploadTakenOver(_))));
        assert_eq!(
            store
                .apply(&ANYONE, one.apply)
                .await
                .unwrap()
                .1
                .counts
                .total(),
            10_000
        );
    }
    assert_eq!(rows(&database.pool, "chunks").await, 10);
    assert_eq!(rows(&database.pool, "rounds").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_start_under_the_same_id_resumes_and_another_one_is_refused() {
    let (store, database) = store().await;
    let stop = heading(AfterCheck::Stop);
    let begin = async |heading: &Heading| {
        let key = key("mine", heading);
        store.begin_upload(&ANYONE, heading, Some(&key)).await
    };

    let (one, other) = tokio::join!(begin(&stop), begin(&stop));
    let (one, other) = (one.unwrap().0, other.unwrap().0);
    let (third, _, _) = begin(&stop).await.unwrap();
    let else_ = begin(&heading(AfterCheck::RegisterValid)).await;
    let submission = devices("light", 1, AfterCheck::Stop);
    let check = RequestKey {
        fingerprint: submission.fingerprint(),
        ..key("mine", &stop)
    };
    let checked = store.submit(&ANYONE, &submission, Some(&check)).await;

    assert_eq!((one.apply, one.apply), (other.apply, third.apply));
    assert_eq!((one.number + other.number, third.number), (3, 3));
    assert!(matches!(else_, Err(Error::RequestReused { .. })));
    assert!(matches!(checked, Err(Error::RequestReused { .. })));
    assert_eq!(rows(&database.pool, "applies").await, 1);
    let nowhere = store.resume_upload(&ANYONE, ApplyId(999)).await;
    assert!(matches!(nowhere, Err(Error::NoSuchApply(ApplyId(999)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_registered_before_the_seal_and_then_all_that_was_checked() {
    let (store, database) = store().await;
    let upload = begin(&store, AfterCheck::RegisterValid).await;
    store.append(&ANYONE, upload, &full(0)).await.unwrap();
    pass_check(&store, 1).await;

    assert!(claim(&store, Lane::Register).await.is_none());
    let (apply, now) = store.apply(&ANYONE, upload.apply).await.unwrap();
    assert_eq!(
        (now.status, now.counts.of(Outcome::Valid)),
        (ApplyStatus::Check, 10_000)
    );
    let waits = store.waiting(&apply, &now).await.unwrap().unwrap();
    assert_eq!((waits.kind, waits.until), (WaitKind::Upload, None));
    let accepted = store.accept(&ANYONE, upload.apply, SKIP, None).await;
    assert!(matches!(accepted, Err(Error::NotAcceptable { .. })));
    for wrong in [
        "UPDATE applies SET status = 'CREATE'",
        "UPDATE applies SET status = 'CHECK_SUCCESS'",
        "UPDATE applies SET valid = valid - 1, created = 1",
    ] {
        let error = sqlx::query(wrong).execute(&database.pool).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("sealed_before_registered"), "{error}");
    }

    let sealed = store.seal(&ANYONE, upload, None).await.unwrap();

    assert_eq!(sealed.status, ApplyStatus::Create);
    assert!(claim(&store, Lane::Register).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_no_device_passes_has_failed_its_check_at_the_seal() {
    for after_check in AfterCheck::ALL {
        let (store, _database) = store().await;
        let upload = begin(&store, *after_check).await;
        let bad = |chunk_no| chunk(chunk_no, vec!["no".to_owned(); CHUNK]);

        let open = store.append(&ANYONE, upload, &bad(0)).await.unwrap();
        let sealed = store.seal(&ANYONE, upload, Some(&bad(1))).await.unwrap();

        assert_eq!(open.status, ApplyStatus::Check);
        assert_eq!(sealed.status, ApplyStatus::CheckFailed);
        assert!(claim(&store, Lane::Check).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_a_name_is_the_first_that_no_local_rule_refused() {
    let (store, _database) = store().await;
    let upload = begin(&store, AfterCheck::Stop).await;
    let mut gathered = Gathered::new(0);
    for n in 0..CHUNK {
        // A bad nickname does not claim the name that it comes with.
        let nickname = if n == 3 { "x" } else { "" };
        let name = match n {
            3 | 5 | 7 => "light-twice".to_owned(),
            _ => format!("light-{n:05}"),
        };
        gathered.push((name, nickname.to_owned()));
    }
    let judged = Judge::default().judge(gathered, &HashMap::new());
    store.append(&ANYONE, upload, &judged).await.unwrap();
    store.append(&ANYONE, upload, &full(1)).await.unwrap();
    // What the upstream refuses had a valid name all the same.
    step(
        &store,
        Lane::Check,
        Event::CheckAccepted { upstream_apply: 1 },
    )
    .await;
    let refused = failed(&[42], (0..10_000).filter(|at| ![3, 7, 42].contains(at)));
    step(&store, Lane::Status, refused).await;

    let names = ["light-twice", "light-00042", "light-1-00001", "light-none"];
    let first = store
        .first_of(upload.apply, &names.map(str::to_owned).into())
        .await
        .unwrap();

    let expected = [
        ("light-twice", 5),
        ("light-00042", 42),
        ("light-1-00001", 10_001),
    ];
    assert_eq!(
        first,
        expected.map(|(name, at)| (name.to_owned(), at)).into()
    );
    let names = store.names(upload.apply, 1).await.unwrap();
    assert_eq!((names.len(), names[1].as_str()), (CHUNK, "light-1-00001"));
    assert!(store.names(upload.apply, 2).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_over_chunks_with_and_without_nicknames_sends_each_device_its_own() {
    let (store, _database) = store().await;
    let upload = begin(&store, AfterCheck::Stop).await;
    store.append(&ANYONE, upload, &full(0)).await.unwrap();
    let mut gathered = Gathered::new(1);
    gathered.push(("light-nick".into(), "nick_name".into()));
    gathered.push(("light-bad".into(), String::new()));
    let last = Judge::default().judge(gathered, &HashMap::new());
    store.seal(&ANYONE, upload, Some(&last)).await.unwrap();
    // One of each is left, so that Register packs the two into one round.
    let all_but_one: Vec<Ordinal> = (0..9_999).collect();
    for (upstream_apply, refused, valid) in [(1, &all_but_one[..], 9_999), (2, &[10_001], 10_000)] {
        step(&store, Lane::Check, Event::CheckAccepted { upstream_apply }).await;
        step(&store, Lane::Status, failed(refused, [valid])).await;
    }
    store
        .accept(&ANYONE, upload.apply, SKIP, None)
        .await
        .unwrap();

    let claim = claim(&store, Lane::Check).await.expect("the packed round");
    let members = store.members(&claim).await.unwrap();

    let devices: Vec<_> = members.devices().collect();
    assert_eq!(
        devices,
        [("light-0-09999", None), ("light-nick", Some("nick_name"))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_a_chunk_and_takes_the_same_one_later() {
    let (store, _database) = store().await;
    let bounded = store.clone().with_max_queued(15_000);
    let upload = begin(&bounded, AfterCheck::Stop).await;
    bounded.append(&ANYONE, upload, &full(0)).await.unwrap();

    let refused = bounded.append(&ANYONE, upload, &full(1)).await;
    assert!(matches!(
        refused,
        Err(Error::QueueFull { queued: 10_000, .. })
    ));
    pass_check(&store, 1).await;
    // The count is good for a second, and then what was checked has made room, sealed or not.
    let taken = async {
        while bounded.append(&ANYONE, upload, &full(1)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    crate::support::stack::patiently(taken).await;

    let (_, now) = store.apply(&ANYONE, upload.apply).await.unwrap();
    assert_eq!(now.counts.total(), 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_cancels_an_upload_of_which_nothing_was_stored_for_long() {
    let (store, database) = store().await;
    let (old, young) = (
        begin(&store, AfterCheck::RegisterValid).await,
        begin(&store, AfterCheck::Stop).await,
    );
    let sealed = begin(&store, AfterCheck::Stop).await;
    store.append(&ANYONE, old, &full(0)).await.unwrap();
    store.seal(&ANYONE, sealed, Some(&full(0))).await.unwrap();
    let age = "UPDATE applies SET stored_at = now() - interval '2 hours' WHERE apply_id <> $1";
    sqlx::query(age)
        .bind(young.apply.0)
        .execute(&database.pool)
        .await
        .unwrap();
    let hour = Duration::from_secs(3600);

    assert_eq!(store.cancel_unsealed(hour, 100).await.unwrap(), 1);
    assert_eq!(store.cancel_unsealed(hour, 100).await.unwrap(), 0);

    let (_, now) = store.apply(&ANYONE, old.apply).await.unwrap();
    let cancelled = Counts::from_array([0, 0, 0, 0, 0, 0, 10_000]);
    assert_eq!(
        (now.status, now.counts, now.sealed),
        (ApplyStatus::Cancelled, cancelled, false)
    );
    for upload in [young, sealed] {
        let (_, now) = store.apply(&ANYONE, upload.apply).await.unwrap();
        assert_eq!(now.status, ApplyStatus::Check);
    }
    let late = store.append(&ANYONE, old, &full(1)).await;
    assert!(matches!(late, Err(Error::UploadCancelled(id)) if id == old.apply));
    let resumed = store.resume_upload(&ANYONE, old.apply).await;
    assert!(matches!(resumed, Err(Error::UploadCancelled(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fingerprint_of_an_upload_is_not_that_of_a_submission() {
    let submission = devices("light", 0, AfterCheck::Stop);

    let upload: Fingerprint = submission.heading.fingerprint();

    assert_ne!(upload, submission.fingerprint());
}
