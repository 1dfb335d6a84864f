//! The rest of the API through its socket: labels, generated names, looking things up.

use std::collections::HashMap;

use registrar::{
    proto::{
        Apply, ApplyStatus as S, CheckDevicesRequest, CheckDevicesResponse, ListAppliesRequest,
    },
    simulator::PRODUCT,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    database::{Database, database},
    stack::{Client, Server, Upstream, new_devices, watch},
};

/// A simulator without delays, a service with these flags beside it, and a client.
async fn stack(flags: &[&str]) -> (Upstream, Server, Client, Database) {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let server = Server::start(&database.url(), &upstream.url, flags);
    let client = server.client().await;
    (upstream, server, client, database)
}

fn request(prefix: &str, count: usize) -> CheckDevicesRequest {
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

async fn submit(
    client: &mut Client,
    request: CheckDevicesRequest,
) -> Result<CheckDevicesResponse, Status> {
    Ok(client.check_devices(request).await?.into_inner())
}

async fn accepted(client: &mut Client, request: CheckDevicesRequest) -> Apply {
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
