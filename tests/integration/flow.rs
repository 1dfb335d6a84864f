//! Applies on their whole way: gRPC, PostgreSQL, and the upstream over HTTP.

use std::collections::BTreeMap;

use registrar::{
    proto::{
        AfterCheck, ApplyStatus as S, Device, DeviceOutcome as O, ReasonCode, RegisterRequest,
    },
    simulator::{PRODUCT, PRODUCT_X509},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    database::{Database, database},
    stack::{
        Client, Server, Upstream, check, get, list_devices, named, new_devices, statuses, watch,
    },
};

/// A simulator without delays, a service beside it, and a client.
async fn stack(flags: &[&str]) -> (Upstream, Server, Client, Database) {
    let database = database().await;
    let flags: Vec<_> = ["--simulator-speed", "0"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    let upstream = Upstream::start(&flags).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let client = server.client().await;
    (upstream, server, client, database)
}

fn outcomes(devices: &[Device]) -> BTreeMap<&str, (O, ReasonCode)> {
    devices
        .iter()
        .map(|device| {
            let code = device.reason.as_ref().map(|reason| reason.code());
            let code = code.unwrap_or(ReasonCode::Unspecified);
            (device.device_name.as_str(), (device.outcome(), code))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_names_are_checked_watched_registered_and_watched_again() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;
    let apply = check(&mut client, new_devices("light", 3), AfterCheck::Stop).await;
    assert_eq!(
        (apply.status(), apply.revision, apply.settled),
        (S::Check, 1, false)
    );

    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(statuses(&seen), [S::Check, S::CheckSuccess]);
    assert!(seen.iter().map(|apply| apply.revision).eq(1..=2));

    let request = RegisterRequest {
        apply_id: apply.apply_id,
        skip_invalid: false,
        ..Default::default()
    };
    let created = client
        .register(request.clone())
        .await
        .unwrap()
        .into_inner()
        .apply
        .unwrap();
    assert_eq!((created.status(), created.revision), (S::Create, 3));
    let again = client
        .register(request)
        .await
        .unwrap()
        .into_inner()
        .apply
        .unwrap();
    assert!(again.revision >= created.revision);

    let seen = watch(&mut client, apply.apply_id, 2).await;
    assert_eq!(statuses(&seen), [S::Create, S::CreateSuccess]);
    assert_eq!(seen.last().unwrap().counts.unwrap().created, 3);
    let all = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(
        statuses(&all),
        [S::Check, S::CheckSuccess, S::Create, S::CreateSuccess]
    );
    assert!(watch(&mut client, apply.apply_id, 4).await.is_empty());
    assert_eq!(upstream.devices(PRODUCT).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_invalid_name_among_three_stops_the_apply_until_it_is_skipped() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let devices = vec![named("light-1"), named("bad name"), named("light-2")];
    let apply = check(&mut client, devices, AfterCheck::Stop).await;

    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(statuses(&seen), [S::Check, S::CheckFailed]);
    let lists = get(&mut client, apply.apply_id).await;
    assert_eq!(lists.valid_list, ["light-1", "light-2"]);
    assert_eq!(lists.invalid_list, ["bad name"]);
    let refused = client
        .register(RegisterRequest {
            apply_id: apply.apply_id,
            skip_invalid: false,
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let violations = refused
        .get_details_precondition_failure()
        .unwrap()
        .violations;
    assert!(
        violations[0].description.contains("skip_invalid"),
        "{violations:?}"
    );

    let request = RegisterRequest {
        apply_id: apply.apply_id,
        skip_invalid: true,
        ..Default::default()
    };
    client.register(request).await.unwrap();
    let end = watch(&mut client, apply.apply_id, seen.last().unwrap().revision).await;

    assert_eq!(statuses(&end), [S::Create, S::CreateSuccess]);
    let devices = list_devices(&mut client, apply.apply_id).await;
    let outcomes = outcomes(&devices);
    assert_eq!(outcomes["light-1"], (O::Created, ReasonCode::Unspecified));
    assert_eq!(
        outcomes["bad name"],
        (O::Invalid, ReasonCode::NameCharacter)
    );
    assert_eq!(outcomes["light-2"], (O::Created, ReasonCode::Unspecified));
    let counts = end.last().unwrap().counts.unwrap();
    assert_eq!((counts.total, counts.created, counts.invalid), (3, 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_exists_is_refused_with_the_upstreams_words_and_the_rest_goes_on() {
    for bad_names in ["at-once", "check-failed"] {
        let (upstream, _server, mut client, _database) = stack(&[
            "--simulator-bad-names",
            bad_names,
            "--simulator-exists",
            "a1Simulator/light-000001",
        ])
        .await;

        let apply = check(
            &mut client,
            new_devices("light", 4),
            AfterCheck::RegisterValid,
        )
        .await;
        let seen = watch(&mut client, apply.apply_id, 0).await;

        assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
        let devices = list_devices(&mut client, apply.apply_id).await;
        let reason = devices[1].reason.as_ref().unwrap();
        assert_eq!(
            (devices[1].outcome(), reason.code()),
            (O::Invalid, ReasonCode::Exists)
        );
        assert!(
            reason.message.contains("exists") && !reason.request_id.is_empty(),
            "{reason:?}"
        );
        assert_eq!(
            outcomes(&devices)
                .values()
                .filter(|(o, _)| *o == O::Created)
                .count(),
            3
        );
        let registers = upstream.ledger("BatchRegisterDeviceWithApplyId").await;
        assert_eq!(registers.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_applies_with_one_name_the_second_one_fails_to_create_it() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;
    let first = check(&mut client, new_devices("light", 3), AfterCheck::Stop).await;
    let second = check(&mut client, new_devices("light", 4), AfterCheck::Stop).await;
    for apply in [&first, &second] {
        let seen = watch(&mut client, apply.apply_id, 0).await;
        assert_eq!(seen.last().unwrap().status(), S::CheckSuccess);
    }

    for (apply, end) in [(&first, S::CreateSuccess), (&second, S::CreateFailed)] {
        let request = RegisterRequest {
            apply_id: apply.apply_id,
            skip_invalid: false,
            ..Default::default()
        };
        client.register(request).await.unwrap();
        let seen = watch(&mut client, apply.apply_id, 2).await;
        assert_eq!(seen.last().unwrap().status(), end);
    }

    let lists = get(&mut client, second.apply_id).await;
    assert_eq!(lists.valid_list, ["light-000003"]);
    assert_eq!(lists.invalid_list.len(), 3);
    let devices = list_devices(&mut client, second.apply_id).await;
    assert_eq!(
        outcomes(&devices)["light-000000"],
        (O::Failed, ReasonCode::Exists)
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
async fn rows_that_the_upstream_drops_in_silence_are_found_and_registered() {
    let flags = [
        ["--simulator-qps", "QueryPageByApplyId=0"],
        ["--simulator-auth-type", "hidden"],
    ];
    let (upstream, _server, mut client, _database) = stack(flags.as_flattened()).await;
    let request = registrar::proto::CheckDevicesRequest {
        product_key: PRODUCT_X509.to_owned(),
        iot_instance_id: String::new(),
        devices: new_devices("light", 2_500),
        after_check: AfterCheck::RegisterIfAllValid.into(),
        ..Default::default()
    };
    let apply = client
        .check_devices(request)
        .await
        .unwrap()
        .into_inner()
        .apply
        .unwrap();

    let seen = watch(&mut client, apply.apply_id, 0).await;

    let end = seen.last().unwrap();
    assert_eq!(end.status(), S::CreateSuccess);
    assert_eq!(end.counts.unwrap().created, 2_500);
    let devices = upstream.devices(PRODUCT_X509).await;
    assert_eq!(devices.len(), 2_500);
    assert!(devices.iter().all(|device| device["created"] == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_seen_in_order_by_watchers_of_every_replica() {
    let (upstream, first, mut client, database) = stack(&[]).await;
    let second = Server::start(&database.url(), &upstream.url, &[]);
    let apply = check(
        &mut client,
        new_devices("light", 40_000),
        AfterCheck::RegisterValid,
    )
    .await;

    let mut watchers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let mut client = if n % 2 == 0 {
            first.client().await
        } else {
            second.client().await
        };
        watchers.spawn(async move { watch(&mut client, apply.apply_id, 0).await });
    }
    let seen = watchers.join_all().await;

    let revisions: Vec<_> = seen[0].iter().map(|apply| apply.revision).collect();
    assert!(revisions.iter().copied().eq(1..=revisions.len() as i64));
    assert!(seen.iter().all(|events| *events == seen[0]));
    assert_eq!(seen[0].last().unwrap().counts.unwrap().created, 40_000);
    assert!(seen[0].iter().all(|event| {
        let c = event.counts.unwrap();
        c.pending + c.valid + c.invalid + c.created + c.failed + c.unknown + c.cancelled == c.total
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_watches_with_a_revision_to_resume_from_and_the_process_by_itself() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0.001"]).await;
    let server = Server::start(&database.url(), &upstream.url, &["--grace", "5s"]);
    let mut client = server.client().await;
    let apply = check(&mut client, new_devices("light", 10), AfterCheck::Stop).await;
    let request = registrar::proto::WatchApplyRequest {
        apply_id: apply.apply_id,
        after_revision: 0,
        ..Default::default()
    };
    let mut stream = client.watch_apply(request).await.unwrap().into_inner();
    assert_eq!(
        stream
            .message()
            .await
            .unwrap()
            .unwrap()
            .apply
            .unwrap()
            .revision,
        1
    );

    let ended = tokio::task::spawn_blocking(move || server.terminate());
    let status = stream.message().await.unwrap_err();

    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("revision 1"),
        "{}",
        status.message()
    );
    assert!(status.get_details_retry_info().is_some());
    assert!(ended.await.unwrap());
    upstream.stop().await;
}
