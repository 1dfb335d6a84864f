use registrar::{
    domain::{
        ApplyStatus, Counts, DeviceSecret, Heading, Labels, Outcome,
        device::{Brought, NewDevice},
    },
    store::{Finding, WrappedKey},
};

use super::*;

/// Devices that bring secrets, "sealed" so that a test can read them.
pub(super) fn import(names: &[&str], after_check: AfterCheck) -> Submission {
    let devices: Vec<NewDevice> = names
        .iter()
        .map(|name| NewDevice {
            name: (*name).to_owned(),
            nickname: String::new(),
            brought: Some(Brought {
                secret: DeviceSecret::new(format!("s.{name}")),
                sn: format!("SN_{}", name.len()),
            }),
        })
        .collect();
    let heading = Heading {
        product_key: "a1".into(),
        iot_instance_id: String::new(),
        after_check,
        import: true,
        data_key: None,
        labels: Labels::default(),
    };
    let mut submission = Submission::of(heading, devices.into_iter());
    submission.seal(b"wrapped".to_vec(), |secrets, chunk_no| {
        let texts: Vec<_> = secrets.iter().map(DeviceSecret::reveal).collect();
        format!("{chunk_no}:{}", texts.join(",")).into_bytes()
    });
    submission
}

/// Whether any secret, and the data key, of all applies is kept.
async fn kept(database: &Database) -> (bool, bool) {
    sqlx::query_as(
        "SELECT EXISTS (SELECT FROM chunks WHERE secrets IS NOT NULL),
                EXISTS (SELECT FROM applies WHERE data_key IS NOT NULL)",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap()
}

async fn accepted(store: &Store) {
    step(store, Lane::CheckImport, Event::CheckPassed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_stored_sealed_and_forgotten_when_all_are_created() {
    let (store, database) = store().await;
    let names = ["light-1", "no", "light-22"];
    let submission = import(&names, AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    assert!(apply.import);

    let check = claim(&store, Lane::CheckImport).await.unwrap();
    assert_eq!(check.data_key.as_deref(), Some(&b"wrapped"[..]));
    let members = store.members(&check).await.unwrap();
    let brought = members.brought.unwrap();
    assert_eq!(brought.sns, ["SN_7", "SN_8"]);
    assert_eq!(brought.sealed[0].places, [0, 2]);
    // Of a device that breaks a rule no secret is stored.
    assert_eq!(brought.sealed[0].secrets, b"0:s.light-1,,s.light-22");
    meet(&store, &check, Event::CheckPassed).await.unwrap();
    step(
        &store,
        Lane::Import,
        Event::ImportAccepted { upstream_apply: 7 },
    )
    .await;
    step(&store, Lane::Status, Event::NoStatus).await;
    assert_eq!(kept(&database).await, (true, true));
    step(&store, Lane::Imported, Event::Counted { total: 2 }).await;

    let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(end.status, ApplyStatus::CreateSuccess);
    assert_eq!(end.counts, Counts::from_array([0, 0, 1, 2, 0, 0, 0]));
    assert_eq!(kept(&database).await, (false, false));
    let page = store.devices(&ANYONE, apply.id, 0, &[], 10).await.unwrap();
    assert_eq!(page.devices[2].sn, "SN_8");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_writes_date_and_nonce_of_an_import_and_keeps_them_until_it_was_not_sent() {
    let (store, _database) = store().await;
    let submission = import(&["light-1"], AfterCheck::RegisterValid);
    store.submit(&ANYONE, &submission, None).await.unwrap();
    accepted(&store).await;

    let first = store
        .claim(Lane::Import, Duration::ZERO, SIGNED_AT)
        .await
        .unwrap()
        .unwrap();
    let later = SIGNED_AT + Duration::from_secs(9);
    let second = store.claim(Lane::Import, LEASE, later).await.unwrap();
    let second = second.unwrap();

    assert_eq!(first.round.phase, Phase::Importing);
    let (intent, kept) = (first.intent.unwrap(), second.intent.unwrap());
    assert!(intent.fresh && !kept.fresh && intent.nonce.is_some());
    assert_eq!((kept.signed_at, kept.nonce), (SIGNED_AT, intent.nonce));
    assert!(!first.round.resent && second.round.resent);

    // Certainly not carried out: the next one is another request.
    meet(&store, &second, Event::NotRegistered).await.unwrap();
    let third = store.claim(Lane::Import, LEASE, later).await.unwrap();
    let third = third.unwrap();
    let anew = third.intent.unwrap();
    assert!(anew.fresh && !third.round.resent);
    assert!(anew.signed_at == later && anew.nonce != intent.nonce);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_device_needs_for_a_retry_is_kept_and_ends_with_its_success() {
    let (store, database) = store().await;
    let submission = import(&["light-1", "light-2"], AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    accepted(&store).await;
    let why = Reason::local(ReasonCode::SecretRefused, "no such secret".to_owned());
    let refused = Event::ImportRefused {
        refused: vec![(1, why.clone())],
        said: why,
    };
    step(&store, Lane::Import, refused).await;
    accepted(&store).await;
    step(
        &store,
        Lane::Import,
        Event::ImportAccepted { upstream_apply: 7 },
    )
    .await;
    step(&store, Lane::Status, Event::CreateSucceeded).await;
    step(&store, Lane::Imported, Event::Counted { total: 1 }).await;
    let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(end.status, ApplyStatus::CreateFailed);
    assert_eq!(kept(&database).await, (true, true));

    store.accept(&ANYONE, apply.id, RETRY, None).await.unwrap();

    let again = claim(&store, Lane::CheckImport).await.unwrap();
    assert_eq!(store.members(&again).await.unwrap().ordinals, [1]);
    meet(&store, &again, Event::CheckPassed).await.unwrap();
    step(
        &store,
        Lane::Import,
        Event::ImportAccepted { upstream_apply: 8 },
    )
    .await;
    step(&store, Lane::Status, Event::CreateSucceeded).await;
    step(&store, Lane::Imported, Event::Counted { total: 1 }).await;
    let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(end.status, ApplyStatus::CreateSuccess);
    assert_eq!(kept(&database).await, (false, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_import_forgets_its_secrets_once_nothing_is_under_way() {
    let (store, database) = store().await;
    let submission = import(&["light-1", "light-2"], AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    accepted(&store).await;
    let sent = claim(&store, Lane::Import).await.unwrap();

    let (_, now) = store.cancel(&ANYONE, apply.id, None).await.unwrap();
    assert_eq!(now.status, ApplyStatus::Create);
    assert_eq!(kept(&database).await, (true, true));
    let lost = Event::ImportLost { why: exists(0).1 };
    let open = store.members(&sent).await.unwrap().ordinals;
    let mut kept_open = after(&sent, lost, &open);
    kept_open.intent_open = true;
    store.record(&sent, &open, &kept_open).await.unwrap();

    let look = claim(&store, Lane::Details).await.unwrap();
    assert!(look.cancelling && look.intent.is_some());
    let found = Event::LookedUp {
        ours: vec![0],
        others: vec![],
        absent: vec![1],
        proven: true,
    };
    meet(&store, &look, found).await.unwrap();
    let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(end.status, ApplyStatus::Cancelled);
    assert_eq!(end.counts, Counts::from_array([0, 0, 0, 1, 0, 0, 1]));
    assert_eq!(kept(&database).await, (false, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_checked_long_ago_is_checked_again_unseen() {
    let (store, database) = store().await;
    let submission = import(&["light-1"], AfterCheck::Stop);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    step(&store, Lane::CheckImport, Event::CheckPassed).await;
    sqlx::query("UPDATE rounds SET checked_at = now() - interval '61 minutes'")
        .execute(&database.pool)
        .await
        .unwrap();

    store
        .accept(&ANYONE, apply.id, Wish::default(), None)
        .await
        .unwrap();

    assert!(claim(&store, Lane::Import).await.is_none());
    accepted(&store).await;
    let claim = claim(&store, Lane::Import).await.unwrap();
    assert!(!claim.stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_survive_the_process_and_are_folded_once() {
    let (store, database) = store().await;
    let submission = import(&["light-1", "light-2"], AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    accepted(&store).await;
    step(&store, Lane::Import, Event::ImportLost { why: exists(0).1 }).await;

    let look = store
        .claim(Lane::Details, LEASE, SIGNED_AT)
        .await
        .unwrap()
        .unwrap();
    let found = Record {
        pages: Pages::LookedUp(vec![(0, Finding::Ours)]),
        ..record(Change {
            round: look.round.clone(),
            settle: registrar::domain::round::Settle::Nothing,
            parts: vec![],
        })
    };
    store.record(&look, &[], &found).await.unwrap();

    let look = claim(&store, Lane::Details).await.unwrap();
    assert_eq!(look.page, 1);
    assert_eq!(store.looked_up(&look).await.unwrap(), [(0, Finding::Ours)]);
    let all = Event::LookedUp {
        ours: vec![0],
        others: vec![exists(1)],
        absent: vec![],
        proven: true,
    };
    let open = store.members(&look).await.unwrap().ordinals;
    let folded = Record {
        pages: Pages::Forgotten,
        ..after(&look, all, &open)
    };
    store.record(&look, &open, &folded).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM looked_up")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    let failed = store
        .devices(&ANYONE, apply.id, 0, &[Outcome::Failed], 9)
        .await
        .unwrap();
    assert_eq!(failed.devices[0].ordinal, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_is_stored_anew_only_in_the_place_of_the_one_that_was_read() {
    let (store, _database) = store().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let submission = import(&["light-1"], AfterCheck::Stop);
        ids.push(store.submit(&ANYONE, &submission, None).await.unwrap().0.id);
    }
    let key = |at: usize, wrapped: &[u8]| WrappedKey {
        apply: ids[at],
        wrapped: wrapped.to_vec(),
    };
    let page = store.data_keys(None, 2).await.unwrap();
    assert_eq!(page, [key(0, b"wrapped"), key(1, b"wrapped")]);
    let rest = store.data_keys(Some(ids[1]), 2).await.unwrap();
    assert_eq!(rest, [key(2, b"wrapped")]);

    let changes = [
        (key(0, b"wrapped"), b"anew".to_vec()),
        (key(1, b"of another time"), b"anew".to_vec()),
    ];
    assert_eq!(store.rewrap(&changes).await.unwrap(), 1);

    let all = store.data_keys(None, 9).await.unwrap();
    let expected = [key(0, b"anew"), key(1, b"wrapped"), key(2, b"wrapped")];
    assert_eq!(all, expected);
}
