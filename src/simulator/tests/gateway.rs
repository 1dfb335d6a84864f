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
    let fits = "x=".to_owned() + &"y".repeat((8 << 20) - 2);
    let check = || Call::new("BatchCheckDeviceNames", "ProductKey=a1Simulator");

    let (status, answer) = server
        .send(Call {
            body: fits,
            ..check()
        })
        .await;

    assert_eq!(
        (status, &answer["Code"]),
        (200, &json!("iot.device.NoneDeviceNameElement"))
    );
    server.stop().await;
}
