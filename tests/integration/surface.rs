//! The rest of the API through its socket: labels, generated names, looking things up.

use std::collections::HashMap;

use registrar::{
    proto::{
        Apply, ApplyStatus as S, CheckDevicesRequest, CheckDevicesResponse, DeviceOutcome as O,
        FindDeviceRequest, FoundDevice, GeneratedNames, ListAppliesRequest, ReasonCode,
    },
    simulator::PRODUCT,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    database::{Database, database},
    stack::{Client, Server, Upstream, list_devices, named, new_devices, watch},
};

/// A simulator without delays, a service with these flags beside it, and a client.
pub(crate) async fn stack(flags: &[&str]) -> (Upstream, Server, Client, Database) {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let server = Server::start(&database.url(), &upstream.url, flags);
    let client = server.client().await;
    (upstream, server, client, database)
}

pub(crate) fn request(prefix: &str, count: usize) -> CheckDevicesRequest {
    CheckDevicesRequest {
        product_key: PRODUCT.to_owned(),
        devices: new_devices(prefix, count),
        ..Default::default()
    }
}

fn labelled(labels: &[(&str, &str)]) -> HashMap<String, String> {
    let pairs = labels.iter();
    pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

pub(crate) async fn submit(
    client: &mut Client,
    request: CheckDevicesRequest,
) -> Result<CheckDevicesResponse, Status> {
    Ok(client.check_devices(request).await?.into_inner())
}

pub(crate) async fn accepted(client: &mut Client, request: CheckDevicesRequest) -> Apply {
    let answer = submit(client, request).await.expect("accepted");
    answer.apply.expect("an apply")
}

/// The fields that a request was refused for.
fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|one| one.field).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_are_found_by_label_and_status_page_by_page() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let mut lights = Vec::new();
    for n in 0..5 {
        let team = if n == 2 { "presses" } else { "lights" };
        let apply = accepted(
            &mut client,
            CheckDevicesRequest {
                labels: labelled(&[("team", team), ("lot", &n.to_string())]),
                ..request(&format!("lot{n}"), 1)
            },
        )
        .await;
        assert_eq!(apply.labels["team"], team);
        let seen = watch(&mut client, apply.apply_id, 0).await;
        assert_eq!(seen.last().unwrap().labels, apply.labels);
        if team == "lights" {
            lights.insert(0, apply.apply_id);
        }
    }

    let first = ListAppliesRequest {
        page_size: 3,
        statuses: vec![S::CheckSuccess.into()],
        labels: labelled(&[("team", "lights")]),
        ..Default::default()
    };
    let page = client
        .list_applies(first.clone())
        .await
        .unwrap()
        .into_inner();
    let rest = ListAppliesRequest {
        page_token: page.next_page_token,
        ..first.clone()
    };
    let last = client
        .list_applies(rest.clone())
        .await
        .unwrap()
        .into_inner();

    let found = page.applies.iter().chain(&last.applies);
    assert!(found.map(|apply| apply.apply_id).eq(lights));
    assert_eq!(last.next_page_token, "");
    let other = ListAppliesRequest {
        labels: labelled(&[("team", "presses")]),
        ..rest
    };
    let refused = client.list_applies(other).await.unwrap_err();
    assert_eq!(fields(&refused), ["page_token"]);
    let refused = submit(
        &mut client,
        CheckDevicesRequest {
            labels: labelled(&[("Team", "lights")]),
            ..request("light", 1)
        },
    );
    assert_eq!(fields(&refused.await.unwrap_err()), ["labels"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_may_be_judged_without_being_stored() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;
    let mut bad = request("light", 2);
    bad.devices[1].nickname = "no nickname".into();
    bad.devices.extend((0..1_500).map(|_| named("no")));
    bad.validate_only = true;

    let answer = submit(&mut client, bad.clone()).await.unwrap();

    let apply = answer.apply.unwrap();
    let counts = apply.counts.unwrap();
    assert_eq!(
        (apply.apply_id, apply.status(), apply.revision),
        (0, S::Check, 0)
    );
    assert_eq!(
        (counts.total, counts.pending, counts.invalid),
        (1_502, 1, 1_501)
    );
    assert_eq!(answer.refused.len(), 1_000);
    let first = &answer.refused[0];
    assert_eq!((first.ordinal, first.outcome()), (1, O::Invalid));
    let code = first.reason.as_ref().unwrap().code();
    assert_eq!(code, ReasonCode::NicknameCharacter);
    bad.devices = vec![named("no")];
    let apply = submit(&mut client, bad).await.unwrap().apply.unwrap();
    assert_eq!((apply.status(), apply.settled), (S::CheckFailed, true));
    let all = client.list_applies(ListAppliesRequest::default()).await;
    assert!(all.unwrap().into_inner().applies.is_empty());
    assert!(upstream.ledger("").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_names_go_the_way_of_all_names() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let made = CheckDevicesRequest {
        generated: Some(GeneratedNames {
            count: 12_000,
            pattern: "lot7-{seq:06}".into(),
            first: 0,
        }),
        ..request("", 0)
    };

    let apply = accepted(&mut client, made.clone()).await;

    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CheckSuccess);
    let devices = list_devices(&mut client, apply.apply_id).await;
    let expected = (1..=12_000).map(|n| format!("lot7-{n:06}"));
    assert!(
        devices
            .into_iter()
            .map(|device| device.device_name)
            .eq(expected)
    );
    let both = CheckDevicesRequest {
        devices: new_devices("light", 1),
        ..made
    };
    let refused = submit(&mut client, both).await.unwrap_err();
    assert_eq!(fields(&refused), ["generated"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_found_in_every_apply_it_is_in() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let apply = accepted(&mut client, request("light", 3)).await;
        watch(&mut client, apply.apply_id, 0).await;
        ids.insert(0, apply.apply_id);
    }
    let wanted = FindDeviceRequest {
        device_name: "light-000001".into(),
        page_size: 2,
        ..Default::default()
    };

    let page = client
        .find_device(wanted.clone())
        .await
        .unwrap()
        .into_inner();
    let rest = FindDeviceRequest {
        page_token: page.next_page_token,
        ..wanted.clone()
    };
    let last = client.find_device(rest.clone()).await.unwrap().into_inner();

    let all: Vec<_> = page.found.iter().chain(&last.found).collect();
    let at = |found: &FoundDevice| found.apply.as_ref().unwrap().apply_id;
    assert_eq!(all.iter().map(|found| at(found)).collect::<Vec<_>>(), ids);
    for found in all {
        let device = found.device.as_ref().unwrap();
        assert_eq!((device.ordinal, device.outcome()), (1, O::Valid));
        assert_eq!(device.device_name, "light-000001");
    }
    assert_eq!(last.next_page_token, "");
    for nowhere in [
        FindDeviceRequest {
            device_name: "light-00000".into(),
            ..wanted.clone()
        },
        FindDeviceRequest {
            product_key: "another".into(),
            ..wanted.clone()
        },
    ] {
        let page = client.find_device(nowhere).await.unwrap().into_inner();
        assert!(page.found.is_empty() && page.next_page_token.is_empty());
    }
    let unnamed = FindDeviceRequest::default();
    let refused = client.find_device(unnamed).await.unwrap_err();
    assert_eq!(fields(&refused), ["device_name"]);
}
