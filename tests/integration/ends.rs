//! Every wait ends: with what the upstream says late, or with an outcome that says that it did not.

use registrar::{
    proto::{
        AfterCheck, ApplyStatus as S, DeviceOutcome as O, ReasonCode as R, RegisterRequest,
        WaitCode,
    },
    simulator::PRODUCT,
};

use crate::support::{
    database::{Database, database},
    stack::{
        Client, Server, Upstream, check, get, list_devices, new_devices, patiently, statuses, watch,
    },
};

async fn stack(fault: &str, flags: &[&str]) -> (Upstream, Server, Client, Database) {
    let database = database().await;
    let fault = format!("it={fault}");
    let upstream = Upstream::start(&["--simulator-speed", "0", "--simulator-fault", &fault]).await;
    let server = Server::start(&database.url(), &upstream.url, flags);
    let client = server.client().await;
    (upstream, server, client, database)
}

/// The outcome and reason that all devices of an apply share.
async fn shared(client: &mut Client, apply_id: i64) -> (O, Option<R>) {
    let devices = list_devices(client, apply_id).await;
    let mut told = devices.iter().map(|device| {
        (
            device.outcome(),
            device.reason.as_ref().map(|why| why.code()),
        )
    });
    let first = told.next().unwrap();
    assert!(told.all(|other| other == first), "{devices:?}");
    first
}

/// Asks until the apply waits for this.
async fn waits_for(client: &mut Client, apply_id: i64, code: WaitCode) {
    patiently(async {
        loop {
            let waiting = get(client, apply_id).await.waiting_for;
            if waiting.is_some_and(|waiting| waiting.code() == code) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn retry(client: &mut Client, apply_id: i64) {
    let request = RegisterRequest {
        apply_id,
        retry_failed: true,
        ..Default::default()
    };
    client.register(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_never_ends_is_made_anew() {
    let fault = r#"{"kind":"stuck","phase":"CHECK"}"#;
    let (upstream, _server, mut client, _database) = stack(fault, &["--check-timeout", "1s"]).await;
    let devices = new_devices("light", 3);
    let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
    patiently(async {
        while upstream.ledger("BatchCheckDeviceNames").await.len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;

    upstream.lift("it").await;
    let seen = watch(&mut client, apply.apply_id, 0).await;

    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    assert_eq!(
        upstream
            .ledger("BatchRegisterDeviceWithApplyId")
            .await
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_ends_late_is_told_when_it_does() {
    let fault = r#"{"kind":"stuck","phase":"CREATE"}"#;
    let flags = ["--create-timeout", "1s"];
    let (upstream, _server, mut client, _database) = stack(fault, &flags).await;
    let devices = new_devices("light", 3);
    let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
    waits_for(&mut client, apply.apply_id, WaitCode::Reconcile).await;
    let told = shared(&mut client, apply.apply_id).await;
    assert_eq!(told, (O::Unknown, Some(R::Unresolved)));
    assert_eq!(
        get(&mut client, apply.apply_id)
            .await
            .apply
            .unwrap()
            .status(),
        S::Create
    );

    upstream.lift("it").await;
    let seen = watch(&mut client, apply.apply_id, 0).await;

    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    assert_eq!(
        shared(&mut client, apply.apply_id).await,
        (O::Created, None)
    );
    assert_eq!(
        upstream
            .ledger("BatchRegisterDeviceWithApplyId")
            .await
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_tell_fails_and_a_retry_asks_before_it_sends() {
    let fault = r#"{"kind":"stuck","phase":"CREATE"}"#;
    let flags = ["--create-timeout", "1s", "--reconcile-for", "1s"];
    let (upstream, _server, mut client, _database) = stack(fault, &flags).await;
    let devices = new_devices("light", 3);
    let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
    let seen = watch(&mut client, apply.apply_id, 0).await;
    let end = seen.last().unwrap();
    assert_eq!(
        (end.status(), end.counts.unwrap().unknown),
        (S::CreateFailed, 3)
    );

    upstream.lift("it").await;
    retry(&mut client, apply.apply_id).await;
    let seen = watch(&mut client, apply.apply_id, end.revision).await;

    assert_eq!(statuses(&seen), [S::Create, S::CreateSuccess]);
    assert_eq!(
        upstream
            .ledger("BatchRegisterDeviceWithApplyId")
            .await
            .len(),
        1
    );
    let there = upstream.devices(PRODUCT).await;
    assert!(there.len() == 3 && there.iter().all(|device| device["created"] == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_gives_no_usable_answer_is_given_up() {
    let fault = r#"{"kind":"unavailable","action":"BatchCheckDeviceNames"}"#;
    let flags = [
        "--attempts",
        "2",
        "--give-up-after",
        "100ms",
        "--give-up-when-down-after",
        "1s",
    ];
    let (_upstream, _server, mut client, _database) = stack(fault, &flags).await;
    let devices = new_devices("light", 3);

    let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
    let seen = watch(&mut client, apply.apply_id, 0).await;

    assert_eq!(seen.last().unwrap().status(), S::CheckFailed);
    let told = shared(&mut client, apply.apply_id).await;
    assert_eq!(told, (O::Invalid, Some(R::UpstreamUnclear)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_stays_away_is_given_up_and_said_so_of_each_device() {
    let fault = format!(r#"{{"kind":"block-product","product":"{PRODUCT}"}}"#);
    let flags = ["--block-for", "1s", "--probe-every", "200ms"];
    let (_upstream, _server, mut client, _database) = stack(&fault, &flags).await;
    let devices = new_devices("light", 20_001);

    let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
    let seen = watch(&mut client, apply.apply_id, 0).await;

    let end = seen.last().unwrap();
    assert_eq!(
        (end.status(), end.counts.unwrap().invalid),
        (S::CheckFailed, 20_001)
    );
    let told = shared(&mut client, apply.apply_id).await;
    assert_eq!(told, (O::Invalid, Some(R::Blocked)));
}
