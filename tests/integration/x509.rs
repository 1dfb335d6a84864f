//! Products whose devices authenticate by certificate, and instances that want to be named.

use registrar::{
    proto::{
        self, AfterCheck, Apply, ApplyStatus as S, CheckDevicesRequest, DeviceOutcome as O,
        ExplainApplyRequest, ExportDevicesRequest, ReasonCode, UpstreamCall, history_entry::What,
    },
    simulator::{PRODUCT, PRODUCT_X509},
};
use serde_json::Value;

use crate::support::{
    database::{Database, database},
    stack::{Client, Server, Upstream, list_devices, new_devices, watch},
};

async fn stack(flags: &[&str]) -> (Upstream, Server, Client, Database) {
    let database = database().await;
    let speed = ["--simulator-speed", "0"];
    let pages = ["--simulator-qps", "QueryPageByApplyId=0"];
    let flags: Vec<_> = speed.iter().chain(&pages).chain(flags).copied().collect();
    let upstream = Upstream::start(&flags).await;
    let server = Server::start(&database.url(), &upstream.url, &["--page-rate", "1000"]);
    let client = server.client().await;
    (upstream, server, client, database)
}

/// Submits devices and watches them to their end.
async fn register(client: &mut Client, product: &str, instance: &str, count: usize) -> Apply {
    let request = CheckDevicesRequest {
        product_key: product.to_owned(),
        iot_instance_id: instance.to_owned(),
        devices: new_devices("light", count),
        after_check: AfterCheck::RegisterValid.into(),
        ..Default::default()
    };
    let answer = client.check_devices(request).await.unwrap().into_inner();
    let seen = watch(client, answer.apply.unwrap().apply_id, 0).await;
    seen.last().unwrap().clone()
}

/// How many names each check brought, and how many of them were dropped.
async fn checks(upstream: &Upstream) -> Vec<(u64, u64)> {
    let calls = upstream.ledger("BatchCheckDeviceNames").await;
    let number = |value: &Value| value.as_u64().unwrap();
    let checks = calls.iter();
    checks
        .map(|call| (number(&call["names"]), number(&call["dropped"])))
        .collect()
}

async fn calls_told(client: &mut Client, apply_id: i64) -> Vec<UpstreamCall> {
    let request = ExplainApplyRequest {
        apply_id,
        page_size: 10_000,
        ..Default::default()
    };
    let told = client.explain_apply(request).await.unwrap().into_inner();
    let calls = told
        .entries
        .into_iter()
        .filter_map(|entry| match entry.what {
            Some(What::Call(call)) => Some(call),
            _ => None,
        });
    calls.collect()
}

async fn assert_all_created_once(upstream: &Upstream, product: &str, count: usize) {
    let devices = upstream.devices(product).await;
    assert_eq!(devices.len(), count);
    assert!(devices.iter().all(|device| device["created"] == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_and_a_half_thousand_names_of_an_x509_product_go_in_three_rounds() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;

    let end = register(&mut client, PRODUCT_X509, "", 2_500).await;

    assert_eq!(end.status(), S::CreateSuccess);
    let mut checks = checks(&upstream).await;
    checks.sort_unstable();
    assert_eq!(checks, [(500, 0), (1_000, 0), (1_000, 0)]);
    assert_all_created_once(&upstream, PRODUCT_X509, 2_500).await;
    let calls = calls_told(&mut client, end.apply_id).await;
    let asked: Vec<_> = calls
        .iter()
        .filter(|call| call.action == "QueryProduct")
        .collect();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].result.as_str(), asked[0].round), ("OK, x509", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_asked_for_once_by_all_that_wait_and_by_a_later_process_after_a_day() {
    let (upstream, server, mut client, database) = stack(&[]).await;
    let request = |n: usize| CheckDevicesRequest {
        product_key: PRODUCT.to_owned(),
        devices: new_devices(&format!("light-{n}"), 1_001),
        after_check: AfterCheck::RegisterValid.into(),
        ..Default::default()
    };
    let mut applies = Vec::new();
    for n in 0..5 {
        let answer = client.check_devices(request(n)).await.unwrap().into_inner();
        applies.push(answer.apply.unwrap().apply_id);
    }
    for apply_id in applies {
        let seen = watch(&mut client, apply_id, 0).await;
        assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    }
    assert!(server.terminate());
    let later = Server::start(&database.url(), &upstream.url, &[]);
    let end = register(&mut later.client().await, PRODUCT, "", 1_001).await;

    assert_eq!(end.status(), S::CreateSuccess);
    assert_eq!(upstream.ledger("QueryProduct").await.len(), 1);
    let checks = checks(&upstream).await;
    assert!(checks.iter().all(|(names, _)| *names == 1_001));
    assert!(later.terminate());
    sqlx::query("UPDATE products SET learned_at = learned_at - interval '24 hours'")
        .execute(&database.pool)
        .await
        .unwrap();
    let tomorrow = Server::start(&database.url(), &upstream.url, &[]);
    let end = register(&mut tomorrow.client().await, PRODUCT, "", 1_002).await;
    assert_eq!(end.counts.unwrap().total, 1_002);
    assert_eq!(upstream.ledger("QueryProduct").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_where_the_product_may_not_be_asked_for_and_rows_are_dropped() {
    for fault in [
        r#"it={"kind":"block-action","action":"QueryProduct","code":"Forbidden.RAM"}"#,
        r#"it={"kind":"no-answer","action":"QueryProduct"}"#,
    ] {
        let flags = ["--simulator-surplus", "drop", "--simulator-fault", fault];
        let (upstream, _server, mut client, _database) = stack(&flags).await;

        let end = register(&mut client, PRODUCT_X509, "", 2_500).await;

        assert_eq!(end.status(), S::CreateSuccess, "{fault}");
        assert_eq!(checks(&upstream).await[0], (2_500, 1_500));
        assert_all_created_once(&upstream, PRODUCT_X509, 2_500).await;
        // It was asked for once, and that is told.
        assert_eq!(upstream.ledger("QueryProduct").await.len(), 1);
        let calls = calls_told(&mut client, end.apply_id).await;
        let asked = calls.iter().filter(|call| call.action == "QueryProduct");
        assert_eq!(asked.count(), 1);
        let request = ExportDevicesRequest {
            apply_id: end.apply_id,
            credentials: true,
            ..Default::default()
        };
        let mut stream = client.export_devices(request).await.unwrap().into_inner();
        let mut exported = 0;
        while let Some(message) = stream.message().await.unwrap() {
            let devices = message.devices.iter();
            exported += devices.filter(|one| !one.iot_id.is_empty()).count();
        }
        assert_eq!(exported, 2_500);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_of_shanghai_x509_devices_end_with_what_to_do() {
    let (_upstream, _server, mut client, _database) =
        stack(&["--simulator-region", "ap-southeast-1"]).await;

    for count in [2, 1_500] {
        let end = register(&mut client, PRODUCT_X509, "", count).await;

        assert_eq!(end.status(), S::CheckFailed);
        for device in list_devices(&mut client, end.apply_id).await {
            assert_eq!(device.outcome(), O::Invalid);
            let why = device.reason.unwrap();
            assert_eq!(why.code(), ReasonCode::Refused);
            assert!(why.message.contains("cn-shanghai only"), "{}", why.message);
            assert!(why.message.contains("iot.device.RegionNotSupportX509"));
            assert!(!why.request_id.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_names_the_instance_that_wants_to_be_named() {
    let instance = format!("{PRODUCT}=iot-060a0bgd");
    let (upstream, _server, mut client, _database) =
        stack(&["--simulator-instance", &instance]).await;
    let some = r#"{"kind":"fail-creates","names":["light-000007"]}"#;
    upstream.set("wear", some).await;

    let end = register(&mut client, PRODUCT, "iot-060a0bgd", 1_001).await;
    assert_eq!(end.status(), S::CreateFailed);
    upstream.lift("wear").await;
    let request = proto::RegisterRequest {
        apply_id: end.apply_id,
        retry_failed: true,
        ..Default::default()
    };
    client.register(request).await.unwrap();
    let seen = watch(&mut client, end.apply_id, end.revision).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    let request = ExportDevicesRequest {
        apply_id: end.apply_id,
        credentials: true,
        ..Default::default()
    };
    let mut stream = client.export_devices(request).await.unwrap().into_inner();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(message.devices.iter().all(|one| !one.iot_id.is_empty()));
    }

    let calls = upstream.ledger("").await;
    assert!(calls.iter().all(|call| call["code"] == "OK"), "{calls:?}");
    for action in [
        "BatchCheckDeviceNames",
        "BatchRegisterDeviceWithApplyId",
        "QueryBatchRegisterDeviceStatus",
        "QueryPageByApplyId",
        "QueryProduct",
    ] {
        assert!(
            calls.iter().any(|call| call["action"] == action),
            "{action}"
        );
    }
}
