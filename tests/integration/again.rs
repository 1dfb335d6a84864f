//! What callers ask for after the first request: the same again, the failed ones again, and an end.

use std::collections::HashSet;

use registrar::{
    proto::{
        self, AfterCheck, ApplyStatus as S, CancelApplyRequest, DeviceOutcome as O,
        RegisterRequest, WatchUntil,
    },
    simulator::PRODUCT,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    database::database,
    stack::{
        Client, Server, Upstream, check, get, list_devices, new_devices, patiently, statuses, watch,
    },
};

fn register(apply_id: i64, retry_failed: bool) -> RegisterRequest {
    RegisterRequest {
        apply_id,
        retry_failed,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_repeats_to_two_servers_one_of_them_killed_make_one_apply() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let doomed = Server::start(&database.url(), &upstream.url, &[]);
    let other = Server::start(&database.url(), &upstream.url, &[]);
    let request = proto::CheckDevicesRequest {
        product_key: PRODUCT.to_owned(),
        devices: new_devices("light", 20),
        request_id: "order-1".to_owned(),
        ..Default::default()
    };
    let (mut first, mut second) = (doomed.client().await, other.client().await);
    let answer = second
        .check_devices(request.clone())
        .await
        .unwrap()
        .into_inner();

    let mut calls = tokio::task::JoinSet::new();
    for n in 0..1_000 {
        let mut client = if n % 2 == 0 {
            first.clone()
        } else {
            second.clone()
        };
        let request = request.clone();
        calls.spawn(async move { client.check_devices(request).await });
    }
    doomed.kill();
    let answers = calls.join_all().await;

    let mut answered = 0;
    for given in answers {
        match given {
            Ok(given) => {
                answered += 1;
                assert_eq!(given.into_inner(), answer);
            }
            // From the one that was killed.
            Err(status) => assert!(status.get_details_error_info().is_none(), "{status}"),
        }
    }
    assert!(answered >= 500);
    assert!(first.check_devices(request.clone()).await.is_err());
    let applies = second
        .list_applies(proto::ListAppliesRequest::default())
        .await
        .unwrap();
    assert_eq!(applies.into_inner().applies.len(), 1);
    let other = proto::CheckDevicesRequest {
        devices: new_devices("pump", 1),
        ..request
    };
    let refused = second.check_devices(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_devices_that_failed_are_sent_again() {
    let database = database().await;
    let fault = r#"wear={"kind":"fail-creates","share":0.3}"#;
    let upstream = Upstream::start(&["--simulator-speed", "0", "--simulator-fault", fault]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;
    let apply = check(
        &mut client,
        new_devices("light", 1_000),
        AfterCheck::RegisterValid,
    )
    .await;
    let seen = watch(&mut client, apply.apply_id, 0).await;
    let end = seen.last().unwrap();
    assert_eq!(end.status(), S::CreateFailed);
    let lists = get(&mut client, apply.apply_id).await;
    assert_eq!(lists.valid_list.len() + lists.invalid_list.len(), 1_000);
    assert!(
        (200..400).contains(&lists.invalid_list.len()),
        "{}",
        lists.invalid_list.len()
    );

    let plain = client
        .register(register(apply.apply_id, false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(plain.apply.unwrap().revision, end.revision);
    upstream.lift("wear").await;
    client
        .register(register(apply.apply_id, true))
        .await
        .unwrap();
    let seen = watch(&mut client, apply.apply_id, end.revision).await;

    assert_eq!(statuses(&seen), [S::Create, S::CreateSuccess]);
    let failed: HashSet<&str> = lists.invalid_list.iter().map(String::as_str).collect();
    let checks = upstream.ledger("BatchCheckDeviceNames").await;
    let sent: HashSet<&str> = checks.last().unwrap()["name_list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(sent, failed);
    let devices = list_devices(&mut client, apply.apply_id).await;
    assert!(
        devices
            .iter()
            .all(|device| device.outcome() == O::Created && device.reason.is_none())
    );
    assert!(
        upstream
            .devices(PRODUCT)
            .await
            .iter()
            .all(|device| device["created"] == 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_in_the_middle_of_many_rounds_sends_nothing_more() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "2"]).await;
    let flags = ["--check-rate", "2", "--steps", "2"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    let devices = new_devices("light", 100_000);
    let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
    until_some_are_created(&mut client, apply.apply_id).await;

    let request = CancelApplyRequest {
        apply_id: apply.apply_id,
        request_id: "stop".to_owned(),
    };
    client.cancel_apply(request.clone()).await.unwrap();
    let sent = upstream.ledger("BatchCheckDeviceNames").await.len();
    let seen = watch(&mut client, apply.apply_id, 0).await;

    let end = seen.last().unwrap();
    let counts = end.counts.unwrap();
    assert_eq!(end.status(), S::Cancelled);
    assert!(counts.created > 0 && counts.cancelled > 0, "{counts:?}");
    assert_eq!(counts.created + counts.cancelled, 100_000);
    let checks = upstream.ledger("BatchCheckDeviceNames").await.len();
    // Two steps may have been on their way to the upstream.
    assert!(
        checks <= sent + 2,
        "{checks} checks, {sent} when the cancel was answered"
    );
    let there = upstream.devices(PRODUCT).await;
    assert_eq!(there.len() as i64, counts.created);
    let created: HashSet<&str> = there.iter().map(|d| d["name"].as_str().unwrap()).collect();
    for device in list_devices(&mut client, apply.apply_id).await {
        let expected = if created.contains(device.device_name.as_str()) {
            O::Created
        } else {
            O::Cancelled
        };
        assert_eq!(device.outcome(), expected);
    }
}

async fn until_some_are_created(client: &mut Client, apply_id: i64) {
    let request = proto::WatchApplyRequest {
        apply_id,
        ..Default::default()
    };
    let mut stream = client.watch_apply(request).await.unwrap().into_inner();
    let some = async {
        while let Some(message) = stream.message().await.unwrap() {
            if message.apply.unwrap().counts.unwrap().created > 0 {
                return;
            }
        }
    };
    patiently(some).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_until_created_outlasts_the_check_and_shows_signs_of_life() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let server = Server::start(&database.url(), &upstream.url, &["--heartbeat", "100ms"]);
    let mut client = server.client().await;
    let apply = check(&mut client, new_devices("light", 3), AfterCheck::Stop).await;
    let request = proto::WatchApplyRequest {
        apply_id: apply.apply_id,
        until: WatchUntil::Created.into(),
        ..Default::default()
    };
    let mut stream = client
        .clone()
        .watch_apply(request)
        .await
        .unwrap()
        .into_inner();
    let mut seen = Vec::new();
    let mut registered = false;
    while let Some(message) = stream.message().await.unwrap() {
        let now = message.apply.unwrap();
        if message.heartbeat {
            // It waits for a caller, and says so by being there.
            if now.status() == S::CheckSuccess && !std::mem::replace(&mut registered, true) {
                client
                    .register(register(apply.apply_id, false))
                    .await
                    .unwrap();
            }
        } else {
            seen.push(now);
        }
    }

    assert!(registered);
    assert_eq!(
        statuses(&seen),
        [S::Check, S::CheckSuccess, S::Create, S::CreateSuccess]
    );
    assert!(seen.iter().map(|event| event.revision).eq(1..=4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_told_with_what_to_do_and_ends_when_it_is_lifted() {
    let database = database().await;
    let fault = r#"bill={"kind":"block-account"}"#;
    let upstream = Upstream::start(&["--simulator-speed", "0", "--simulator-fault", fault]).await;
    let server = Server::start(
        &database.url(),
        &upstream.url,
        &["--heartbeat", "200ms", "--probe-every", "300ms"],
    );
    let mut client = server.client().await;
    let apply = check(
        &mut client,
        new_devices("light", 3),
        AfterCheck::RegisterValid,
    )
    .await;
    let request = proto::WatchApplyRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    let mut stream = client.watch_apply(request).await.unwrap().into_inner();
    let mut last = apply;
    while let Some(message) = stream.message().await.unwrap() {
        let waits = message.waiting_for.clone();
        if waits.is_some_and(|waits| waits.code() == proto::WaitCode::BlockedAccount) {
            let told = get(&mut client, last.apply_id).await.waiting_for.unwrap();
            assert!(told.message.contains("BillIsOverDue"), "{}", told.message);
            let quotas = client
                .get_quota(proto::GetQuotaRequest {})
                .await
                .unwrap()
                .into_inner();
            assert!(
                quotas.quotas[0].blocked.contains("BillIsOverDue"),
                "{quotas:?}"
            );
            break;
        }
        last = message.apply.unwrap_or(last);
    }
    assert_eq!(last.status(), S::Check);

    upstream.lift("bill").await;
    let seen = watch(&mut client, last.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
}
