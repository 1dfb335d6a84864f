//! The client over a real socket.

mod codes;
pub(super) mod far_end;
mod fuzz;
mod imports;
mod secrets;
mod vectors;

use std::time::Duration;

use time::macros::datetime;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

use self::far_end::{FarEnd, SECRET, TOKEN, Turn, answer, client, soon};
use crate::upstream::{
    Action, Answer, Error, Kind, Phase, Product, Refused, Scope, Verdict, call::MAX_ANSWER,
};

const PRODUCT: Product<'_> = Product {
    product_key: "a1BwAGVtest",
    iot_instance_id: Some("iot-cn-1"),
};

/// Asks the far end that takes this one turn for a status.
async fn error_after(turn: Turn) -> Answer<Error> {
    let far = FarEnd::new([turn]).await;
    let answer = far.client.status(PRODUCT, 7).send(soon(), None).await;
    let error = answer.outcome.unwrap_err();
    let printed = format!("{error} {error:?}");
    assert!(
        !printed.contains("canary") && !printed.contains("a1BwAGVtest"),
        "{printed}"
    );
    Answer {
        outcome: Ok(error),
        request_id: answer.request_id,
        http_status: answer.http_status,
        took: answer.took,
        at: time::OffsetDateTime::UNIX_EPOCH,
        skew: answer.skew,
    }
}

async fn verdict_after(turn: Turn) -> (Verdict, Scope) {
    let error = error_after(turn).await.outcome.unwrap();
    (error.verdict, error.scope)
}

#[tokio::test]
async fn a_call_goes_out_as_the_sdk_would_send_it_and_each_send_has_its_own_nonce() {
    let body = r#"{"Success":true,"RequestId":"R-1","Data":{"Status":"CREATE"}}"#;
    let mut far = FarEnd::new([answer(200, "", body), answer(200, "", body)]).await;
    let call = far.client.status(PRODUCT, 1295006);

    let first = call
        .send(soon(), Some(datetime!(2026-01-02 03:04:05 UTC)))
        .await;
    let second = call.send(soon(), None).await;

    assert_eq!(call.action(), Action::QueryBatchRegisterDeviceStatus);
    assert_eq!(first.outcome.unwrap().phase, Phase::Create);
    assert_eq!(
        (first.request_id.as_deref(), first.http_status),
        (Some("R-1"), Some(200))
    );
    assert!(second.outcome.is_ok());
    let (one, two) = (far.heard(), far.heard());
    assert!(one.starts_with(
        "POST /?ApplyId=1295006&IotInstanceId=iot-cn-1&ProductKey=a1BwAGVtest HTTP/1.1\r\n"
    ));
    let count = |text: &str| one.matches(text).count();
    assert_eq!(count("\r\nhost: 127.0.0.1:"), 1);
    assert_eq!(count("\r\naccept: "), 1);
    assert_eq!(count("\r\nuser-agent: registrar/"), 1);
    assert_eq!(count("\r\ncontent-length: 0\r\n"), 1);
    assert_eq!(count("\r\nx-acs-date: 2026-01-02T03:04:05Z\r\n"), 1);
    assert_eq!(count("\r\nx-acs-credentials-provider: static_sts\r\n"), 1);
    assert_eq!(count("content-type"), 0);
    assert!(!one.contains(SECRET));
    let nonce = |request: &str| {
        let line = request
            .lines()
            .find_map(|line| line.strip_prefix("x-acs-signature-nonce: "));
        line.unwrap().to_owned()
    };
    assert_ne!(nonce(&one), nonce(&two));
}

#[tokio::test]
async fn every_action_says_what_the_documents_want() {
    let body = r#"{"Success":true,"Total":1,"Data":{"ApplyId":9}}"#;
    let mut far = FarEnd::new((0..5).map(|_| answer(200, "", body))).await;
    let plain = Product {
        iot_instance_id: None,
        ..PRODUCT
    };

    let checked = far
        .client
        .check_names(plain, [("light:1@a.b", None), ("dev2", None)]);
    assert_eq!(
        checked.send(soon(), None).await.outcome.unwrap().apply_id,
        9
    );
    let nicknamed = far
        .client
        .check_names(plain, [("dev1", None), ("dev2", Some("灯 1"))]);
    assert_eq!(
        nicknamed.send(soon(), None).await.outcome.unwrap().apply_id,
        9
    );
    let registered = far.client.register(plain, 9).send(soon(), None).await;
    assert_eq!(registered.outcome.unwrap().apply_id, Some(9));
    let page = far.client.page(plain, 9, 3).send(soon(), None).await;
    assert_eq!(page.outcome.unwrap().total, 1);
    let product = far.client.product(PRODUCT).send(soon(), None).await;
    assert_eq!(product.outcome.unwrap().auth_type, None);

    let check = far.heard();
    assert!(check.starts_with("POST /?ProductKey=a1BwAGVtest HTTP/1.1\r\n"));
    assert!(check.contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"));
    assert!(check.ends_with("\r\n\r\nDeviceName.1=light%3A1%40a.b&DeviceName.2=dev2"));
    assert!(far.heard().ends_with(
        "\r\n\r\nDeviceNameList.1.DeviceName=dev1&DeviceNameList.2.DeviceName=dev2&DeviceNameList.2.DeviceNickname=%E7%81%AF%201"
    ));
    assert!(
        far.heard()
            .starts_with("POST /?ApplyId=9&ProductKey=a1BwAGVtest HTTP/1.1\r\n")
    );
    assert!(
        far.heard()
            .starts_with("POST /?ApplyId=9&CurrentPage=3&PageSize=50 HTTP/1.1\r\n")
    );
    let product = far.heard();
    assert!(
        product.starts_with("POST /?IotInstanceId=iot-cn-1&ProductKey=a1BwAGVtest HTTP/1.1\r\n")
    );
    assert!(product.contains("\r\nx-acs-action: QueryProduct\r\n"));
}

#[tokio::test]
async fn an_answer_that_is_lost_cut_off_or_garbage_leaves_it_unclear() {
    let unclear = (Verdict::Unclear, Scope::Call);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"Success\":true";
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{";

    assert_eq!(verdict_after(Turn::Cut(Vec::new())).await, unclear);
    assert_eq!(verdict_after(Turn::Cut(head.into())).await, unclear);
    assert_eq!(
        verdict_after(Turn::Cut("SSH-2.0-canary\r\n\r\n".into())).await,
        unclear
    );
    let error = error_after(Turn::Cut(endless.into()))
        .await
        .outcome
        .unwrap();
    assert_eq!((error.verdict, error.scope), unclear);
    assert!(error.message.contains("longer than any answer"), "{error}");
    for (status, body) in [
        (200, ""),
        (200, "<html>canary</html>"),
        (200, "{}"),
        (200, r#"{"Success":true}"#),
        (200, r#"{"Success":"canary","Data":{"Status":"CREATE"}}"#),
        (200, r#"{"Success":true,"Data":{"Status":{"canary":1}}}"#),
        (200, r#"{"Success":false}"#),
        (200, "[true]"),
        (200, r#"{"Success":true,"Data":[7,"CREATE_SUCCESS"]}"#),
        (200, r#"{"Data":{"Status":"CREATE_SUCCESS"}}"#),
        (204, ""),
        (
            302,
            r#"{"Success":true,"Data":{"Status":"CREATE_SUCCESS"}}"#,
        ),
        (
            400,
            r#"{"Success":true,"Data":{"Status":"CREATE_SUCCESS"}}"#,
        ),
        (403, "<html>go away</html>"),
        (502, "<html>bad gateway</html>"),
        (500, r#"{"Code":"SomethingNew"}"#),
    ] {
        let error = error_after(answer(status, "", body)).await;
        assert_eq!(error.http_status, Some(status));
        assert_eq!(
            error.outcome.unwrap().verdict,
            Verdict::Unclear,
            "{status} {body}"
        );
    }
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_while_it_is_read() {
    let mut far = FarEnd::new([Turn::Flood]).await;

    let answer = far.client.status(PRODUCT, 7).send(soon(), None).await;

    let error = answer.outcome.unwrap_err();
    assert_eq!(
        (error.verdict, error.scope),
        (Verdict::Unclear, Scope::Call)
    );
    assert!(error.message.contains("longer than any answer"), "{error}");
    far.heard();
    // What the sockets hold between the two comes on top of what was read.
    let taken: u64 = far.hears().await.parse().unwrap();
    assert!(taken < 4 * MAX_ANSWER, "{taken} bytes");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let turn = answer(302, "location: http://127.0.0.1:1/\r\n", "");

    assert_eq!(error_after(turn).await.http_status, Some(302));
}

#[tokio::test]
async fn what_was_never_sent_may_be_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let call = client(&closed).register(PRODUCT, 7);

    let refused = call.send(soon(), None).await.outcome.unwrap_err();
    let late = call.send(Instant::now(), None).await.outcome.unwrap_err();

    assert_eq!(
        (refused.verdict, refused.scope),
        (Verdict::Again, Scope::Call)
    );
    assert_eq!((late.verdict, late.scope), (Verdict::Again, Scope::Call));
    let printed = format!("{refused} {refused:?} {late:?}");
    assert!(
        !printed.contains("a1BwAGVtest") && !printed.contains("canary"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_is_unclear() {
    let far = FarEnd::new([Turn::Hang]).await;
    let deadline = Instant::now() + Duration::from_millis(100);

    let call = far.client.register(PRODUCT, 7);
    // Spawned, as workers do: a send moves between threads.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { call.send(deadline, None).await });
    let answer = tasks.join_next().await.unwrap().unwrap();

    assert_eq!(answer.outcome.unwrap_err().verdict, Verdict::Unclear);
    assert_eq!(answer.http_status, None);
}

#[tokio::test]
async fn a_throttled_call_says_how_long_to_wait() {
    let body = r#"{"Code":"Throttling.User","Message":"slow","RequestId":"R-2"}"#;
    for (headers, wait) in [
        ("x-acs-retry-after: 1500\r\nretry-after: 9\r\n", Some(1500)),
        ("retry-after: 9\r\n", Some(9000)),
        ("x-acs-retry-after: 99999999999\r\n", Some(3_600_000)),
        ("x-acs-retry-after: soon\r\n", None),
        ("", None),
    ] {
        let answer = error_after(answer(400, headers, body)).await;
        assert_eq!(answer.request_id.as_deref(), Some("R-2"));
        let error = answer.outcome.unwrap();
        assert!(error.throttled());
        assert_eq!(error.verdict, Verdict::Again);
        assert_eq!(
            error.retry_after,
            wait.map(Duration::from_millis),
            "{headers}"
        );
    }
    assert!(
        error_after(answer(429, "", "slow down"))
            .await
            .outcome
            .unwrap()
            .throttled()
    );
}

#[tokio::test]
async fn what_the_upstream_echoes_of_a_secret_is_not_kept() {
    for code in ["SignatureDoesNotMatch", "MissingParameter", "canary-secret"] {
        let body = format!(
            r#"{{"Code":"{code}","Message":"to sign is:POST&SecurityToken%3Dcanary%252Ftoken%253D%253D&{SECRET} {TOKEN}"}}"#
        );

        let error = error_after(answer(400, "", &body)).await.outcome.unwrap();

        assert!(error.message.len() <= 256);
    }
}

#[tokio::test]
async fn a_check_that_is_refused_at_once_names_its_devices() {
    let body = r#"{"Success":false,"Code":"iot.device.InvalidDeviceNickNameExisted","ErrorMessage":"no",
        "Data":{"InvalidDeviceNameList":{"InvalidDeviceName":["dev1"]},
        "InvalidDeviceNicknameList":{"InvalidDeviceNickname":["nick","dev3"]}}}"#;
    let far = FarEnd::new([answer(200, "", body)]).await;
    let devices = [
        ("dev1", None),
        ("dev2", Some("nick")),
        ("dev3", Some("dev3")),
        ("dev4", Some("nick")),
        ("dev5", Some("fine")),
    ];

    let answer = far
        .client
        .check_names(PRODUCT, devices)
        .send(soon(), None)
        .await;

    let error = answer.outcome.unwrap_err();
    assert_eq!((error.verdict, error.scope), (Verdict::Final, Scope::Call));
    let refused = |name: &str, kind| Refused {
        name: name.to_owned(),
        text: None,
        kind,
    };
    assert_eq!(
        error.refused,
        [
            refused("dev1", Kind::Name),
            refused("dev2", Kind::Nickname),
            refused("dev4", Kind::Nickname),
            refused("dev3", Kind::Nickname),
        ]
    );
}

#[tokio::test]
async fn a_refused_clock_is_corrected_once_by_the_date_of_the_answer() {
    let body = r#"{"Code":"InvalidTimeStamp.Expired","Message":"expired"}"#;
    let expired = || answer(400, "date: Fri, 02 Jan 2026 03:04:05 GMT\r\n", body);
    let mut far = FarEnd::new([expired(), expired()]).await;
    let call = far.client.status(PRODUCT, 7);

    let first = call.send(soon(), None).await;
    assert!(first.skew.is_some_and(|skew| skew.whole_minutes() != 0));
    let first = first.outcome.unwrap_err();
    let again = call.send(soon(), None).await.outcome.unwrap_err();

    assert_eq!((first.scope, first.clock_corrected), (Scope::Clock, true));
    assert_eq!((again.scope, again.clock_corrected), (Scope::Clock, false));
    far.heard();
    assert!(far.heard().contains("\r\nx-acs-date: 2026-01-02T03:0"));
}
