//! Exports while the upstream, the server or the caller is out of order.

use std::time::Duration;

use tonic::Code;

use super::*;

/// A client that takes no more than it reads, but for a message.
async fn narrow(server: &Server) -> Client {
    let url = format!("http://{}", server.address);
    let endpoint = tonic::transport::Endpoint::from_shared(url).unwrap();
    let narrow = endpoint.initial_stream_window_size(64 * 1024);
    Client::new(narrow.connect().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_waits_out_what_the_upstream_does_to_its_pages() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;
    let apply_id = registered(&mut client, 2_000).await;
    for fault in [
        r#"{"kind":"throttle","retry_after_ms":10"#,
        r#"{"kind":"unavailable""#,
        r#"{"kind":"no-answer""#,
        r#"{"kind":"garbage""#,
        r#"{"kind":"truncated""#,
        r#"{"kind":"cut","at":"before""#,
    ] {
        let before = pages_read(&upstream).await;
        let json = format!(r#"{fault},"action":"QueryPageByApplyId","share":0.1}}"#);
        upstream.set("it", &json).await;

        let told = export(&mut client, with_credentials(apply_id), usize::MAX).await;

        upstream.lift("it").await;
        assert_equal(&told, &upstream, 0..2_000).await;
        assert!(pages_read(&upstream).await - before > 40, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_upstream_lists_no_more_is_said_to_be_missing_and_the_export_goes_on() {
    let (upstream, _server, mut client, database) = stack(&[]).await;
    let few = r#"{"kind":"fail-creates","names":["light-000050"]}"#;
    upstream.set("wear", few).await;
    let apply_id = registered(&mut client, 60).await;
    // As if it had been created and deleted since.
    sqlx::query(r#"UPDATE chunks SET outcomes = replace(outcomes, 'F', 'C') WHERE apply_id = $1"#)
        .bind(apply_id)
        .execute(&database.pool)
        .await
        .unwrap();

    let told = export(&mut client, with_credentials(apply_id), usize::MAX).await;

    assert!(told.complete);
    let missing = told.devices.iter().filter(|one| one.credentials_missing);
    let missing: Vec<_> = missing.collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].device.as_ref().unwrap().ordinal, 50);
    assert_eq!((&*missing[0].iot_id, &*missing[0].device_secret), ("", ""));
    let there = told.devices.iter().filter(|one| !one.iot_id.is_empty());
    assert_eq!(there.count(), 59);

    let gone = r#"{"kind":"refuse","action":"QueryPageByApplyId",
                   "code":"iot.device.DeviceApplyIsNotFound"}"#;
    upstream.set("gone", gone).await;
    let told = export(&mut client, with_credentials(apply_id), usize::MAX).await;
    assert!(told.complete);
    assert!(told.devices.iter().all(|one| one.credentials_missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_export_gives_signs_of_life_beyond_any_call_and_goes_on_when_it_is_lifted() {
    let flags = [
        ["--heartbeat", "100ms"],
        ["--call-timeout", "200ms"],
        ["--probe-every", "100ms"],
        ["--exports-at-once", "1"],
    ];
    let (upstream, _server, mut client, _database) = stack(flags.as_flattened()).await;
    let apply_id = registered(&mut client, 100).await;
    let block = r#"{"kind":"block-action","action":"QueryPageByApplyId","code":"Forbidden.RAM"}"#;
    upstream.set("it", block).await;

    let request = with_credentials(apply_id);
    let mut stream = client.export_devices(request).await.unwrap().into_inner();
    for _ in 0..5 {
        let sign = patiently(stream.message()).await.unwrap().unwrap();
        assert_eq!((sign.devices.len(), sign.next_ordinal), (0, 0));
    }
    let second = export(&mut client, with_credentials(apply_id), usize::MAX).await;
    assert_eq!(second.reason(), "TOO_MANY_EXPORTS");
    assert_eq!(second.error.unwrap().code(), Code::ResourceExhausted);
    upstream.lift("it").await;

    let devices = patiently(async {
        loop {
            let message = stream.message().await.unwrap().unwrap();
            if !message.devices.is_empty() {
                return message.devices;
            }
        }
    });
    assert_eq!(devices.await.len(), 100);
    assert!(patiently(stream.message()).await.unwrap().unwrap().complete);
    // Its place is free again.
    let after = patiently(async {
        loop {
            let after = export(&mut client, with_credentials(apply_id), usize::MAX).await;
            if after.error.is_none() {
                return after;
            }
        }
    });
    assert_equal(&after.await, &upstream, 0..100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_gives_nothing_for_too_long_ends_the_export_where_it_may_go_on() {
    let flags = ["--export-patience", "300ms"];
    let (upstream, _server, mut client, _database) = stack(&flags).await;
    let apply_id = registered(&mut client, 100).await;
    for (fault, said) in [
        (r#"{"kind":"unavailable","#, "HTTP 503"),
        // The lane itself has no turn before that.
        (
            r#"{"kind":"throttle","retry_after_ms":3600000,"#,
            "Throttling",
        ),
    ] {
        let json = format!(r#"{fault}"action":"QueryPageByApplyId"}}"#);
        upstream.set("it", &json).await;

        let told = export(&mut client, with_credentials(apply_id), usize::MAX).await;

        assert_eq!((told.devices.len(), told.complete), (0, false));
        assert_eq!(told.reason(), "CREDENTIALS_UNAVAILABLE");
        let error = told.error.unwrap();
        assert_eq!(error.code(), Code::Unavailable);
        assert!(error.message().contains(said), "{error}");
        let details = error.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["from_ordinal"], "0");
        assert!(details.retry_info().is_some());
    }
    upstream.lift("it").await;
    let no_turn = export(&mut client, with_credentials(apply_id), usize::MAX).await;
    let said = "the call had no turn";
    assert!(no_turn.error.unwrap().message().contains(said));
    // Without credentials nothing is asked of the upstream.
    let request = ExportDevicesRequest {
        credentials: false,
        ..with_credentials(apply_id)
    };
    let plain = export(&mut client, request, usize::MAX).await;
    assert_eq!((plain.devices.len(), plain.complete), (100, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_where_another_goes_on() {
    // At once, or the export would be over before the server stops.
    let (upstream, server, mut client, database) = stack(&["--drain-delay", "0s"]).await;
    let apply_id = registered(&mut client, 20_000).await;
    let mut client = narrow(&server).await;
    let request = with_credentials(apply_id);
    let mut stream = client.export_devices(request).await.unwrap().into_inner();
    let first = patiently(stream.message()).await.unwrap().unwrap();

    let stopped = tokio::task::spawn_blocking(move || server.terminate());
    let mut told = Told {
        devices: first.devices,
        next: first.next_ordinal,
        ..Told::default()
    };
    let error = patiently(async {
        loop {
            match stream.message().await {
                Ok(message) => {
                    let message = message.expect("no good end");
                    told.devices.extend(message.devices);
                    told.next = message.next_ordinal;
                }
                Err(status) => return status,
            }
        }
    });
    let error = error.await;
    assert_eq!(error.code(), Code::Unavailable);
    let info = error.get_details_error_info().unwrap();
    assert_eq!(info.reason, "SERVER_STOPPING");
    assert_eq!(info.metadata["from_ordinal"], told.next.to_string());
    assert!(stopped.await.unwrap());

    let other = Server::start(&database.url(), &upstream.url, &FAST);
    let rest = ExportDevicesRequest {
        from_ordinal: told.next,
        ..with_credentials(apply_id)
    };
    let rest = export(&mut other.client().await, rest, usize::MAX).await;
    let from = told.devices.len() as i64;
    assert_equal(&rest, &upstream, from..20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_read_holds_up_nobody_and_is_told_so_in_the_end() {
    let flags = ["--export-patience", "1s", "--exports-at-once", "1"];
    let (upstream, server, mut client, _database) = stack(&flags).await;
    let apply_id = registered(&mut client, 20_000).await;
    let mut slow = narrow(&server).await;
    let request = with_credentials(apply_id);
    let mut unread = slow.export_devices(request).await.unwrap().into_inner();

    let told = patiently(async {
        loop {
            let told = export(&mut client, with_credentials(apply_id), usize::MAX).await;
            if told.error.is_none() {
                return told;
            }
            assert_eq!(told.reason(), "TOO_MANY_EXPORTS");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_equal(&told.await, &upstream, 0..20_000).await;

    let (error, next) = patiently(async {
        let mut next = 0;
        loop {
            match unread.message().await {
                Ok(message) => next = message.expect("no good end").next_ordinal,
                Err(status) => return (status, next),
            }
        }
    })
    .await;
    assert_eq!(error.code(), Code::Aborted);
    let info = error.get_details_error_info().unwrap();
    assert_eq!(info.reason, "STREAM_NOT_READ");
    assert_eq!(info.metadata["from_ordinal"], next.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exports_and_the_counting_of_others_share_the_published_rate() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let servers = [(); 2].map(|()| Server::start(&database.url(), &upstream.url, &[]));
    let mut client = servers[0].client().await;
    let apply_id = registered(&mut client, 5_000).await;

    let mut exports = tokio::task::JoinSet::new();
    for server in &servers {
        let mut client = server.client().await;
        exports.spawn(
            async move { export(&mut client, with_credentials(apply_id), usize::MAX).await },
        );
    }
    let mut others = tokio::task::JoinSet::new();
    for n in 0..20 {
        let mut client = client.clone();
        others.spawn(async move {
            let devices = new_devices(&format!("other-{n:02}"), 3);
            let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
            let seen = watch(&mut client, apply.apply_id, 0).await;
            assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
        });
    }
    others.join_all().await;
    let exports = exports.join_all().await;

    for told in &exports {
        let light = told.devices.len() as i64;
        assert_equal(told, &upstream, 0..light).await;
        assert_eq!(light, 5_000);
    }
    // The simulator holds the rate itself: it refuses the call that is one too many in any second.
    let pages = upstream.ledger("QueryPageByApplyId").await;
    let refused = pages.iter().filter(|call| call["code"] != "OK").count();
    // A machine that stalls between slot and arrival may be too late with one now and then.
    assert!(refused * 100 <= pages.len(), "{refused} of {}", pages.len());
    assert!(pages.len() >= 200 + 20);
}
