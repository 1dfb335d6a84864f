//! What faults do to single calls: each kind is seen, does what it says and no more, and is lifted.

use serde_json::json;
use time::format_description::well_known::Rfc2822;

use super::*;

const CHECK: &str = "BatchCheckDeviceNames";

fn check() -> Call<'static> {
    Call::check("ProductKey=a1Simulator", ["dev1"])
}

/// One that takes a single check a second, and whose answers to throttled calls say 700 ms.
async fn strict() -> Server {
    Server::switched(|options| {
        options.qps = vec![(Action::BatchCheckDeviceNames, 1)];
        options.gateway.retry_after = Some(std::time::Duration::from_millis(700));
    })
    .await
}

/// The next check is the first that is done.
async fn nothing_was_done(server: &Server) {
    let (status, answer) = server.send(check()).await;
    assert_eq!(
        (status, &answer["Data"]),
        (200, &json!({"ApplyId": 1})),
        "neither an apply nor quota was taken before"
    );
}

/// The only call so far was a check that was done and is not told.
async fn done_and_untold(server: &Server) {
    let calls = server.lines("ledger").await;
    assert_eq!(calls.len(), 1);
    assert_eq!(
        [
            &calls[0]["code"],
            &calls[0]["answered"],
            &calls[0]["apply_id"]
        ],
        [&json!("OK"), &json!(false), &json!(1)]
    );
    assert_eq!(server.phase(1).await, "CHECK_SUCCESS");
}

#[tokio::test]
async fn a_connection_cut_before_has_nothing_done() {
    let server = strict().await;
    server
        .set("c", json!({"kind": "cut", "at": "before"}))
        .await;

    server.request(check()).send().await.unwrap_err();

    let line = server.ledger_line().await;
    assert_eq!(
        [&line["code"], &line["http_status"], &line["apply_id"]],
        [&json!("Cut"), &json!(0), &Value::Null]
    );
    assert_eq!(line["answered"], false);
    server.lift("c").await;
    nothing_was_done(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_leaves_half_an_answer_and_the_work_done() {
    let server = Server::instant().await;
    server
        .set("c", json!({"kind": "cut", "at": "middle"}))
        .await;

    let mut answer = server.request(check()).send().await.unwrap();

    let length = answer.content_length().unwrap();
    let mut received = Vec::new();
    let why = loop {
        match answer.chunk().await {
            Ok(chunk) => received.extend(chunk.expect("it ends with an error")),
            Err(why) => break why,
        }
    };
    assert!(!why.is_timeout(), "{why:?}");
    assert_eq!(received.len() as u64, length / 2);
    assert_eq!(received.first(), Some(&b'{'));
    server.lift("c").await;
    done_and_untold(&server).await;
    assert_eq!(server.send(check()).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_connection_cut_after_has_all_done() {
    let server = Server::instant().await;
    server.set("c", json!({"kind": "cut", "at": "after"})).await;

    server.request(check()).send().await.unwrap_err();

    server.lift("c").await;
    done_and_untold(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_delayed_answer_comes_after_the_work_was_done() {
    let server = Server::instant().await;
    let delay = |ms| json!({"kind": "delay", "ms": ms, "action": CHECK});
    server.set("d", delay(u32::MAX)).await;
    let done = async {
        while server.lines("ledger").await.is_empty() {
            tokio::task::yield_now().await;
        }
    };

    tokio::select! {
        answer = server.request(check()).send() => panic!("{answer:?}"),
        () = done => {}
    }

    assert_eq!(server.phase(1).await, "CHECK_SUCCESS");
    server.set("d", delay(1)).await;
    assert_eq!(server.send(check()).await.0, 200);
    server.lift("d").await;
    assert_eq!(server.send(check()).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_garbled_answer_is_no_text_and_the_work_done() {
    let server = Server::instant().await;
    server.set("g", json!({"kind": "garbage"})).await;

    let answer = server.request(check()).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], answers::JSON);
    let body = answer.bytes().await.unwrap();
    assert!(std::str::from_utf8(&body).is_err());
    server.lift("g").await;
    done_and_untold(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_truncated_answer_is_half_of_one_in_good_order() {
    let server = Server::instant().await;
    server.set("t", json!({"kind": "truncated"})).await;

    let answer = server.request(check()).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    let text = answer.text().await.expect("it is as long as it says");
    assert!(text.starts_with(r#"{"Data":"#), "{text}");
    assert!(serde_json::from_str::<Value>(&text).is_err());
    server.lift("t").await;
    done_and_untold(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_throttled_call_is_told_when_to_come_back_or_is_not() {
    let server = strict().await;
    let refused = async |fault: Value| {
        server.set("t", fault).await;
        let answer = server.request(check()).send().await.unwrap();
        let after = answer.headers().get("x-acs-retry-after");
        let after = after.map(|after| after.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (status, answer["Code"].clone(), after)
    };

    let code = json!("Throttling.User");
    let plain = refused(json!({"kind": "throttle"})).await;
    assert_eq!(plain, (400, code.clone(), None));
    let told = refused(json!({"kind": "throttle", "status": 429, "retry_after_ms": 250})).await;
    assert_eq!(told, (429, code, Some("250".into())));

    server.lift("t").await;
    nothing_was_done(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn refused_work_is_not_done_and_its_nonce_used_up() {
    let server = strict().await;
    let again = || Call {
        nonce: Some("once"),
        ..check()
    };
    server.set("r", json!({"kind": "refuse"})).await;

    let (status, answer) = server.send(again()).await;

    assert_eq!((status, &answer["Code"]), (500, &json!("InternalError")));
    let fault = json!({"kind": "refuse", "code": "ServiceUnavailable", "action": CHECK});
    server.set("r", fault).await;
    let (status, answer) = server.send(check()).await;
    assert_eq!(
        (status, &answer["Code"]),
        (503, &json!("ServiceUnavailable"))
    );
    server.lift("r").await;
    let (status, answer) = server.send(again()).await;
    assert_eq!(
        (status, &answer["Code"]),
        (400, &json!("SignatureNonceUsed"))
    );
    nothing_was_done(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_off_shows_in_dates_and_judges_by_itself() {
    let server = Server::instant().await;
    let told = async |late: i64| {
        let late = Duration::seconds(late);
        let before = OffsetDateTime::parse(&date(Duration::ZERO), &Rfc3339).unwrap();
        let answer = server
            .request(Call { late, ..check() })
            .send()
            .await
            .unwrap();
        let shown = answer.headers()["date"].to_str().unwrap();
        let shown = OffsetDateTime::parse(shown, &Rfc2822).unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        (answer["Code"].clone(), (shown - before).whole_hours())
    };
    // Half an hour on top, so that a slow test is not an hour off.
    let skew = |hours: i32| json!({"kind": "clock-skew", "seconds": hours * 3600 + 1800});
    let expired = json!("InvalidTimeStamp.Expired");

    server.set("s", skew(2)).await;
    assert_eq!(told(0).await, (expired.clone(), 2));
    assert_eq!(told(-9000).await, (Value::Null, 2));
    server.set("s", skew(-4)).await;
    assert_eq!(told(0).await, (expired, -3));
    assert_eq!(told(12_600).await, (Value::Null, -3));
    server.lift("s").await;
    assert_eq!(told(0).await, (Value::Null, 0));
    server.stop().await;
}

#[tokio::test]
async fn an_unavailable_upstream_has_the_status_it_is_given() {
    let server = Server::instant().await;
    for status in [500, 502, 503] {
        let fault = json!({"kind": "unavailable", "status": status});
        server.set("u", fault).await;
        let answer = server.request(check()).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(answer.text().await.unwrap().starts_with("<html>"));
    }
    server.lift("u").await;
    assert_eq!(server.send(check()).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_fault_is_for_the_calls_with_these_numbers() {
    let server = Server::instant().await;
    let fault = json!({"kind": "refuse", "action": CHECK, "calls": [2, 3]});
    server.set("r", fault.clone()).await;
    let listed = json!({"name": "r", "fault": {
        "kind": "refuse", "code": "InternalError", "action": CHECK, "calls": [2, 3],
    }});
    assert_eq!(server.lines("faults").await, [listed]);

    let mut seen = Vec::new();
    for round in 0..4 {
        seen.push(server.send(check()).await.0);
        server.ask("QueryProduct", "ProductKey=a1Simulator").await;
        let other = json!({"kind": "stuck", "phase": "CREATE"});
        server.set(&format!("other-{round}"), other).await;
    }

    assert_eq!(seen, [200, 500, 500, 200]);
    server.set("r", fault).await;
    assert_eq!(server.send(check()).await.0, 200, "it counts anew");
    assert_eq!(server.send(check()).await.0, 500);
    server.lift("r").await;
    assert_eq!(server.send(check()).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_fault_is_for_a_share_of_the_calls_by_the_seed() {
    let seen = async |seed| {
        let server = Server::switched(|options| {
            options.seed = seed;
            options.faults = vec![r#"u={"kind":"unavailable","share":0.5}"#.parse().unwrap()];
            options.qps = Action::ALL.map(|action| (action, 0)).to_vec();
        })
        .await;
        let mut seen = Vec::new();
        for _ in 0..32 {
            let call = Call::new("QueryProduct", "ProductKey=a1Simulator");
            let answer = server.request(call).send().await.unwrap();
            seen.push(answer.status().as_u16());
        }
        server.stop().await;
        seen
    };

    let once = seen(7).await;

    assert!(once.contains(&200) && once.contains(&503), "{once:?}");
    assert_eq!(once, seen(7).await);
    assert_ne!(once, seen(8).await);
}
