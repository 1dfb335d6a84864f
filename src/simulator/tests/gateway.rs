//! What the gateway refuses.

use serde_json::json;

use super::*;

#[tokio::test]
async fn the_gateway_refuses_what_is_not_well_signed() {
    let server = Server::instant().await;
    let status = || {
        Call::new(
            "QueryBatchRegisterDeviceStatus",
            "ProductKey=a1Simulator&ApplyId=1",
        )
    };
    let refused = async |call: Call<'_>| {
        let (status, answer) = server.send(call).await;
        let keys: Vec<_> = answer.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            keys,
            ["Code", "HostId", "Message", "Recommend", "RequestId"]
        );
        (status, answer["Code"].as_str().unwrap().to_owned())
    };

    let wrong = refused(Call {
        secret: "wrong",
        ..status()
    })
    .await;
    assert_eq!(wrong, (400, "SignatureDoesNotMatch".into()));
    let unknown = refused(Call {
        key_id: "nobody",
        ..status()
    })
    .await;
    assert_eq!(unknown, (404, "InvalidAccessKeyId.NotFound".into()));
    let stale = refused(Call {
        late: Duration::minutes(16),
        ..status()
    })
    .await;
    assert_eq!(stale, (400, "InvalidTimeStamp.Expired".into()));
    let early = refused(Call {
        late: Duration::minutes(-16),
        ..status()
    })
    .await;
    assert_eq!(early, (400, "InvalidTimeStamp.Expired".into()));
    server
        .send(Call {
            nonce: Some("once"),
            ..status()
        })
        .await;
    let replayed = refused(Call {
        nonce: Some("once"),
        ..status()
    })
    .await;
    assert_eq!(replayed, (400, "SignatureNonceUsed".into()));
    let other = refused(Call {
        action: "Pub",
        ..status()
    })
    .await;
    assert_eq!(other, (404, "InvalidAction.NotFound".into()));
    let codes: Vec<_> = server
        .lines("ledger")
        .await
        .iter()
        .map(|line| line["code"].clone())
        .collect();
    assert_eq!(codes[0], "SignatureDoesNotMatch");
    assert_eq!(
        codes.len(),
        7,
        "every call is in the ledger, the refused ones too"
    );
    server.stop().await;
}

#[tokio::test]
async fn calls_above_the_quota_are_throttled_and_ill_signed_ones_do_not_count() {
    let qps = vec![(Action::QueryProduct, 1)];
    let server = Server::start(Options {
        qps,
        ..Options::default()
    })
    .await;
    let call = || Call::new("QueryProduct", "ProductKey=a1Simulator");
    let mut throttled = None;
    for _ in 0..1000 {
        let wrong = Call {
            secret: "wrong",
            ..call()
        };
        assert_eq!(server.send(wrong).await.1["Code"], "SignatureDoesNotMatch");
        let (status, answer) = server.send(call()).await;
        if status != 200 {
            throttled = Some((status, answer["Code"].clone()));
            break;
        }
    }

    assert_eq!(throttled, Some((400, json!("Throttling.User"))));
    server.stop().await;
}

#[tokio::test]
async fn a_body_above_the_bound_is_refused() {
    let server = Server::instant().await;
    let body = |length: usize| "x=".to_owned() + &"y".repeat(length - 2);
    let code = async |length| {
        let call = Call {
            body: body(length),
            ..Call::new("BatchCheckDeviceNames", "ProductKey=a1Simulator")
        };
        let (status, answer) = server.send(call).await;
        (status, answer["Code"].clone())
    };

    let none = (200, json!("iot.device.NoneDeviceNameElement"));
    assert_eq!(code(8 << 20).await, none);
    let too_large = (413, json!("RequestEntityTooLarge"));
    assert_eq!(code((8 << 20) + 1).await, too_large);
    server.stop().await;
}

#[tokio::test]
async fn the_status_of_throttling_and_its_header_are_switches() {
    let gateway = GatewayOptions {
        throttling_status: ThrottlingStatus::TooManyRequests,
        retry_after: Some(std::time::Duration::from_millis(250)),
        ..GatewayOptions::default()
    };
    let server = Server::start(Options {
        qps: vec![(Action::QueryProduct, 1)],
        gateway,
        ..Options::default()
    })
    .await;
    let header = |response: &reqwest::Response| {
        let value = response.headers().get("x-acs-retry-after");
        value.map(|value| value.to_str().unwrap().to_owned())
    };

    let throttled = loop {
        let call = Call::new("QueryProduct", "ProductKey=a1Simulator");
        let response = server.request(call).send().await.unwrap();
        if response.status() != 200 {
            break response;
        }
        assert_eq!(header(&response), None);
    };

    assert_eq!(throttled.status(), 429);
    assert_eq!(header(&throttled).as_deref(), Some("250"));
    assert!(throttled.text().await.unwrap().contains("Throttling.User"));
    server.stop().await;
}

#[tokio::test]
async fn a_simulator_that_remembers_no_nonce_takes_it_twice() {
    let gateway = GatewayOptions {
        nonce_memory: std::time::Duration::ZERO,
        ..GatewayOptions::default()
    };
    let server = Server::start(Options {
        gateway,
        ..Options::default()
    })
    .await;

    for _ in 0..2 {
        let call = Call {
            nonce: Some("once"),
            ..Call::new("QueryProduct", "ProductKey=a1Simulator")
        };
        assert_eq!(server.send(call).await.1["Success"], true);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_temporary_key_needs_its_token() {
    let server = Server::instant().await;
    let code = async |key_id, secret, token: Option<&str>| {
        let query = "ProductKey=a1Simulator";
        let call = Call {
            key_id,
            secret,
            token,
            ..Call::new("QueryProduct", query)
        };
        server.send(call).await.1["Code"].clone()
    };
    let (id, secret) = (STS_ACCESS_KEY_ID, STS_ACCESS_KEY_SECRET);

    assert_eq!(code(id, secret, Some("simulator-token")).await, Value::Null);
    assert_eq!(code(id, secret, None).await, "MissingSecurityToken");
    let malformed = "InvalidSecurityToken.Malformed";
    assert_eq!(code(id, secret, Some("other")).await, malformed);
    let wrong = code(id, ACCESS_KEY_SECRET, Some("simulator-token")).await;
    assert_eq!(wrong, "SignatureDoesNotMatch");
    let mismatch = code(ACCESS_KEY_ID, ACCESS_KEY_SECRET, Some("x")).await;
    assert_eq!(mismatch, "InvalidSecurityToken.MismatchWithAccessKey");
    server.stop().await;
}
