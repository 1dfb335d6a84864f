//! Faults that keep a call from its work or from its answer.

use serde_json::json;

use super::*;

const STATUS: &str = "QueryBatchRegisterDeviceStatus";
const REGISTER: &str = "BatchRegisterDeviceWithApplyId";

#[tokio::test]
async fn a_blocked_account_refuses_well_signed_calls_and_spends_no_quota() {
    let qps = vec![(Action::QueryProduct, 1)];
    let server = Server::start(Options {
        qps,
        ..Options::default()
    })
    .await;
    server.set("b", json!({"kind": "block-account"})).await;

    let overdue = (200, json!("Iot.system.BillIsOverDue"));
    assert_eq!(server.code("QueryProduct").await, overdue);
    assert_eq!(server.code(STATUS).await, overdue);
    let line = server.ledger_line().await;
    assert_eq!(
        (&line["code"], &line["http_status"]),
        (&overdue.1, &json!(200))
    );
    let wrong = Call {
        secret: "wrong",
        ..Call::new(STATUS, "")
    };
    assert_eq!(server.send(wrong).await.1["Code"], "SignatureDoesNotMatch");
    let inactive = json!({"kind": "block-account", "code": "InvalidAccessKeyId.Inactive"});
    server.set("b", inactive).await;
    assert_eq!(
        server.code(STATUS).await,
        (400, json!("InvalidAccessKeyId.Inactive"))
    );
    server.lift("b").await;
    assert_eq!(server.code("QueryProduct").await, (200, Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn a_blocked_action_leaves_the_others_alone() {
    let server = Server::instant().await;
    server.checked(&["dev1"]).await;
    server
        .set("b", json!({"kind": "block-action", "action": REGISTER}))
        .await;

    let deny = (200, json!("iot.common.RamActionPermissionDeny"));
    assert_eq!(server.code(REGISTER).await, deny);
    assert_eq!(server.code(STATUS).await, (200, Value::Null));
    let code = "Forbidden.RAM";
    let forbidden = json!({"kind": "block-action", "action": REGISTER, "code": code});
    server.set("b", forbidden).await;
    assert_eq!(server.code(REGISTER).await, (403, json!(code)));
    server.lift("b").await;
    assert_eq!(server.code(REGISTER).await, (200, Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn a_blocked_product_refuses_the_pages_of_its_applies_too() {
    let server = Server::instant().await;
    let apply = server.checked(&["dev1"]).await;
    server.registered(apply).await;
    let block = |code: &str| json!({"kind": "block-product", "product": PRODUCT, "code": code});
    server
        .set("b", json!({"kind": "block-product", "product": PRODUCT}))
        .await;

    let gone = (200, json!("iot.prod.NotExistedProduct"));
    for action in [
        "BatchCheckDeviceNames",
        REGISTER,
        STATUS,
        "QueryPageByApplyId",
        "QueryProduct",
    ] {
        assert_eq!(server.code(action).await, gone, "{action}");
    }
    server
        .send(Call::check("ProductKey=a1Simulator", ["dev2"]))
        .await;
    let line = server.lines("ledger?names=true").await.pop().unwrap();
    assert_eq!(
        (&line["code"], &line["name_list"]),
        (&gone.1, &json!(["dev2"]))
    );
    let other = server.ask("QueryProduct", "ProductKey=a1SimulatorX").await;
    assert_eq!(other["Success"], true);
    server.set("b", block("Forbidden.RAM")).await;
    assert_eq!(
        server.code("QueryPageByApplyId").await,
        (403, json!("Forbidden.RAM"))
    );
    server.lift("b").await;
    assert_eq!(server.code(STATUS).await, (200, Value::Null));
    server.stop().await;
}

#[tokio::test]
async fn a_call_without_an_answer_was_done_and_is_in_the_ledger() {
    let server = Server::instant().await;
    let check = || Call::check("ProductKey=a1Simulator", ["dev1"]);
    let fault = json!({"kind": "no-answer", "action": "BatchCheckDeviceNames"});
    server.set("n", fault).await;

    let lost = server.request(check()).send().await;

    let why = lost.expect_err("the connection is closed before a byte of the answer");
    assert!(!why.is_timeout() && !why.is_connect(), "{why:?}");
    let calls = server.lines("ledger").await;
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (&calls[0]["code"], &calls[0]["answered"]),
        (&json!("OK"), &json!(false))
    );
    assert_eq!(
        server.phase(calls[0]["apply_id"].as_u64().unwrap()).await,
        "CHECK_SUCCESS"
    );
    let answered = server.ledger_line().await;
    assert_eq!(answered.get("answered"), None);
    server
        .set("n", json!({"kind": "no-answer", "share": 0.0}))
        .await;
    assert_eq!(server.send(check()).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn an_unavailable_upstream_speaks_html_and_does_nothing() {
    let qps = vec![(Action::BatchCheckDeviceNames, 1)];
    let server = Server::start(Options {
        qps,
        speed: 0.0,
        ..Options::default()
    })
    .await;
    let check = || Call::check("ProductKey=a1Simulator", ["dev1"]);
    let fault = json!({"kind": "unavailable", "status": 502, "action": "BatchCheckDeviceNames"});
    server.set("u", fault).await;

    let refused = server.request(check()).send().await.unwrap();

    assert_eq!(refused.status().as_u16(), 502);
    assert_eq!(refused.headers()["content-type"], "text/html");
    assert!(refused.text().await.unwrap().starts_with("<html>"));
    let line = server.ledger_line().await;
    assert_eq!(
        (&line["code"], &line["http_status"], &line["apply_id"]),
        (&json!("Unavailable"), &json!(502), &Value::Null)
    );
    server.lift("u").await;
    let (status, answer) = server.send(check()).await;
    assert_eq!(
        (status, &answer["Data"]),
        (200, &json!({"ApplyId": 1})),
        "neither an apply nor quota was taken before"
    );
    server.stop().await;
}
