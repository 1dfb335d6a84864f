//! A database that is restored to an older state than the upstream is in.

use registrar::{
    proto::{
        AfterCheck, Apply, ApplyStatus as S, DeviceOutcome as O, ExportDevicesRequest,
        ReasonCode as R, RegisterRequest, WatchApplyRequest,
    },
    simulator::PRODUCT,
};
use sqlx::Row as _;
use time::OffsetDateTime;
use tonic::Code;

use crate::support::{
    command,
    database::database,
    stack::{
        Client, Server, Upstream, check, get, list_devices, named, new_devices, patiently, watch,
    },
};

const REGISTER: &str = "BatchRegisterDeviceWithApplyId";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_database_has_forgotten_is_neither_sent_again_nor_told_wrongly() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;
    let theirs = check(
        &mut client,
        new_devices("old", 1),
        AfterCheck::RegisterValid,
    )
    .await;
    ends_with(&mut client, &theirs, S::CreateSuccess).await;
    next_second().await;

    // One waits for a caller, one is being created, and the others are not checked yet.
    let waiting = check(&mut client, new_devices("waiting", 5), AfterCheck::Stop).await;
    ends_with(&mut client, &waiting, S::CheckSuccess).await;
    upstream
        .set("stuck", r#"{"kind":"stuck","phase":"CREATE"}"#)
        .await;
    let before = upstream.ledger(REGISTER).await.len();
    let creating = check(
        &mut client,
        new_devices("creating", 120),
        AfterCheck::RegisterValid,
    )
    .await;
    reached(&upstream, REGISTER, before + 1).await;
    let deaf = r#"{"kind":"unavailable","action":"BatchCheckDeviceNames"}"#;
    upstream.set("deaf", deaf).await;
    let asked = check(&mut client, new_devices("asked", 7), AfterCheck::Stop).await;
    let accepted = check(
        &mut client,
        new_devices("sent", 150),
        AfterCheck::RegisterIfAllValid,
    )
    .await;
    let mut some = new_devices("some", 3);
    some.push(named("old-000000"));
    let some = check(&mut client, some, AfterCheck::RegisterValid).await;
    assert!(server.terminate());
    let copy = database.copy().await;

    // All of it goes on, and ends.
    upstream.lift("stuck").await;
    upstream.lift("deaf").await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;
    ends_with(&mut client, &asked, S::CheckSuccess).await;
    for apply in [&waiting, &asked] {
        register(&mut client, apply).await;
    }
    let mut latest = 0;
    for apply in [&waiting, &creating, &asked, &accepted, &some] {
        latest = ends_with(&mut client, apply, S::CreateSuccess)
            .await
            .max(latest);
    }
    assert!(server.terminate());
    let sent = upstream.ledger(REGISTER).await.len();

    // And is forgotten.
    command(&["reconcile", "--restored", "--database-url", &copy.url()]);
    let server = Server::start(&copy.url(), &upstream.url, &[]);
    let mut client = server.client().await;
    let future = WatchApplyRequest {
        apply_id: waiting.apply_id,
        after_revision: latest,
        ..Default::default()
    };
    let refused = client.watch_apply(future).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let still = get(&mut client, waiting.apply_id).await.apply.unwrap();
    assert_eq!(still.status(), S::CheckSuccess);
    register(&mut client, &waiting).await;
    for apply in [&waiting, &creating, &asked, &accepted, &some] {
        ends_with(&mut client, apply, S::CreateSuccess).await;
    }

    for apply in [&waiting, &creating, &asked, &accepted] {
        for device in list_devices(&mut client, apply.apply_id).await {
            assert_eq!(device.outcome(), O::Created, "{device:?}");
        }
    }
    let told: Vec<_> = list_devices(&mut client, some.apply_id)
        .await
        .into_iter()
        .map(|device| (device.outcome(), device.reason.map(|why| why.code())))
        .collect();
    let created = (O::Created, None);
    assert_eq!(
        told,
        [created, created, created, (O::Invalid, Some(R::Exists))]
    );
    assert_eq!(upstream.ledger(REGISTER).await.len(), sent);
    for device in upstream.devices(PRODUCT).await {
        assert!(
            device["apply_id"].is_null() || device["created"] == 1,
            "{device}"
        );
    }
    assert_eq!(with_secrets(&mut client, &accepted).await, 150);
    // Numbers that were given out since are not given to others.
    let new = check(&mut client, new_devices("new", 1), AfterCheck::Stop).await;
    assert!(new.apply_id > some.apply_id + 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_keeper_of_the_rows_is_noticed_before_anything_is_sent() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;
    let done = check(
        &mut client,
        new_devices("done", 1),
        AfterCheck::RegisterValid,
    )
    .await;
    ends_with(&mut client, &done, S::CreateSuccess).await;
    let waiting = check(&mut client, new_devices("waiting", 5), AfterCheck::Stop).await;
    ends_with(&mut client, &waiting, S::CheckSuccess).await;
    assert!(server.terminate());
    let marked = "SELECT restored FROM applies ORDER BY apply_id";
    let marked = || sqlx::query_scalar::<_, bool>(marked).fetch_all(&database.pool);
    assert_eq!(marked().await.unwrap(), [false, false]);

    // As a standby that was promoted says it.
    sqlx::query("UPDATE keeper SET timeline = '00FFFFFF'")
        .execute(&database.pool)
        .await
        .unwrap();
    let server = Server::start(&database.url(), &upstream.url, &[]);
    assert!(server.log().text().contains("another server or timeline"));
    assert_eq!(marked().await.unwrap(), [false, true]);

    // It was no older than the upstream, and nothing has failed for it.
    let mut client = server.client().await;
    register(&mut client, &waiting).await;
    ends_with(&mut client, &waiting, S::CreateSuccess).await;
    assert!(server.terminate());
    let server = Server::start(&database.url(), &upstream.url, &[]);
    assert!(!server.log().text().contains("another server or timeline"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_privileges_is_told_who_keeps_the_rows() {
    let database = database().await;
    let mut on = database.pool.acquire().await.unwrap();
    let role = format!("plain_{}", std::process::id());
    let become_plain = format!("CREATE ROLE {role}; SET ROLE {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(become_plain))
        .execute(&mut *on)
        .await
        .unwrap();

    let asked = "SELECT (SELECT system_identifier FROM pg_control_system()),
                        pg_walfile_name(pg_current_wal_lsn())";
    let told = sqlx::query(asked).fetch_one(&mut *on).await.unwrap();

    assert_ne!(told.get::<i64, _>(0), 0);
    let end = format!("RESET ROLE; DROP ROLE {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(end))
        .execute(&mut *on)
        .await
        .unwrap();
}

/// Waits until an apply has settled so; returns its revision.
async fn ends_with(client: &mut Client, apply: &Apply, status: S) -> i64 {
    let seen = patiently(async {
        loop {
            let seen = watch(client, apply.apply_id, 0).await;
            if seen.last().is_some_and(|end| end.status() == status) {
                return seen;
            }
            let end = seen.last().expect("an end");
            assert!(
                matches!(end.status(), S::CheckSuccess | S::CheckFailed),
                "{end:?}"
            );
        }
    });
    seen.await.last().expect("an end").revision
}

async fn register(client: &mut Client, apply: &Apply) {
    let request = RegisterRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    client.register(request).await.expect("accepted");
}

/// How many devices are exported with what they prove themselves by.
async fn with_secrets(client: &mut Client, apply: &Apply) -> usize {
    let request = ExportDevicesRequest {
        apply_id: apply.apply_id,
        credentials: true,
        ..Default::default()
    };
    let mut stream = client.export_devices(request).await.unwrap().into_inner();
    let mut with = 0;
    while let Some(message) = stream.message().await.unwrap() {
        let devices = message.devices.iter();
        with += devices.filter(|one| !one.device_secret.is_empty()).count();
    }
    with
}

/// Waits until so many calls of an action have reached the upstream.
async fn reached(upstream: &Upstream, action: &str, calls: usize) {
    patiently(async {
        while upstream.ledger(action).await.len() < calls {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Dates are compared by the second.
async fn next_second() {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    patiently(async {
        while OffsetDateTime::now_utc().unix_timestamp() == now {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}
