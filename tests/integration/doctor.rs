//! `registrar doctor` as a process of its own, against a simulator in every state that it tells
//! apart.

use registrar::simulator::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, PRODUCT, PRODUCT_X509};
use serde_json::Value;

use crate::support::{
    registrar_binary,
    stack::{PATIENCE, Upstream},
};

/// What it wrote, and the code it exited with.
struct Looked {
    text: String,
    code: Option<i32>,
}

/// Has the doctor look at a simulator with these flags.
async fn look(upstream: &Upstream, secret: &str, flags: &[&str]) -> Looked {
    let mut command = tokio::process::Command::new(registrar_binary());
    command
        .args(["doctor", "--upstream-url", &upstream.url])
        .args(["--upstream-access-key-id", ACCESS_KEY_ID])
        .env("REGISTRAR_UPSTREAM_ACCESS_KEY_SECRET", secret)
        .args(flags)
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("it ends")
        .expect("registrar starts");
    Looked {
        text: String::from_utf8(output.stdout).expect("UTF-8"),
        code: output.status.code(),
    }
}

/// A look at the simulator's product with a fault set.
async fn look_at_fault(upstream: &Upstream, fault: &str) -> Looked {
    let path = "/_simulator/faults/it";
    upstream.send("PUT", path, Some(fault.to_owned())).await;
    let looked = look(upstream, ACCESS_KEY_SECRET, &["--product-key", PRODUCT]).await;
    upstream.lift("it").await;
    looked
}

impl Looked {
    /// How many lines begin with this verdict.
    fn count(&self, verdict: &str) -> usize {
        let lines = self.text.lines();
        lines.filter(|line| line.starts_with(verdict)).count()
    }

    /// The only line with this verdict on this check.
    fn line(&self, verdict: &str, check: &str) -> &str {
        let begin = format!("{verdict:<4}  {check:<10}  ");
        let mut lines = self.text.lines().filter(|line| line.starts_with(&begin));
        let line = lines.next();
        assert!(lines.next().is_none(), "{}", self.text);
        line.unwrap_or_else(|| panic!("no {verdict} of {check}:\n{}", self.text))
    }
}

#[tokio::test]
async fn a_sound_account_passes_and_nothing_is_changed_in_it() {
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;

    let flags = ["--product-key", PRODUCT, "--quota-share", "0.5"];
    let looked = look(&upstream, ACCESS_KEY_SECRET, &flags).await;

    assert_eq!(
        (looked.code, looked.count("fail")),
        (Some(0), 0),
        "{}",
        looked.text
    );
    assert!(looked.text.contains("Nothing was changed upstream."));
    looked.line("ok", "key");
    assert!(looked.line("ok", "product").contains("by secret"));
    let half = "BatchCheckDeviceNames: 5 calls a second at most, of the 10 that are published";
    assert!(looked.text.contains(half), "{}", looked.text);
    let calls = upstream.ledger("").await;
    assert_eq!(calls.len(), 5);
    for call in calls {
        let read = call["action"] == "QueryProduct";
        assert_eq!(call["code"] == "OK", read, "{call}");
    }
    assert!(upstream.devices(PRODUCT).await.is_empty());
    upstream.stop().await;
}

#[tokio::test]
async fn scripts_are_told_one_object_for_each_check() {
    let upstream = Upstream::start(&[]).await;

    let flags = ["--product-key", PRODUCT_X509, "--output", "json"];
    let looked = look(&upstream, ACCESS_KEY_SECRET, &flags).await;

    let lines = looked.text.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.map(|line| line.expect("JSON")).collect();
    let product = lines.iter().find(|line| line["check"] == "product");
    let product = product.expect("a line on the product");
    assert_eq!(product["verdict"], "warn");
    assert!(product["todo"].as_str().expect("advice").contains("1,000"));
    assert_eq!((lines.len(), looked.code), (16, Some(0)));
    upstream.stop().await;
}

#[tokio::test]
async fn what_is_out_of_order_is_named_and_the_rest_is_looked_at() {
    let upstream = Upstream::start(&[]).await;

    let secret = "not-the-secret";
    let wrong = look(&upstream, secret, &["--product-key", PRODUCT]).await;
    assert_eq!((wrong.code, wrong.count("fail")), (Some(1), 1));
    assert!(wrong.line("fail", "key").contains("SignatureDoesNotMatch"));
    assert!(!wrong.text.contains(secret));

    let overdue = look_at_fault(&upstream, r#"{"kind":"block-account"}"#).await;
    assert_eq!((overdue.code, overdue.count("fail")), (Some(1), 1));
    assert!(overdue.line("fail", "account").contains("BillIsOverDue"));
    overdue.line("skip", "permission");

    let forbidden =
        r#"{"kind":"block-action","action":"QueryPageByApplyId","code":"Forbidden.RAM"}"#;
    let forbidden = look_at_fault(&upstream, forbidden).await;
    assert_eq!((forbidden.code, forbidden.count("fail")), (Some(1), 1));
    let line = forbidden.line("fail", "permission");
    assert!(line.contains("allow iot:QueryPageByApplyId"), "{line}");
    forbidden.line("ok", "product");

    let missing = look(
        &upstream,
        ACCESS_KEY_SECRET,
        &["--product-key", "a1Nowhere"],
    )
    .await;
    assert_eq!((missing.code, missing.count("fail")), (Some(1), 1));
    assert!(missing.line("fail", "product").contains("a1Nowhere"));

    let instance = format!(
        r#"{{"kind":"block-product","product":"{PRODUCT}","code":"iot.system.InstanceNotFound"}}"#
    );
    let instance = look_at_fault(&upstream, &instance).await;
    assert_eq!((instance.code, instance.count("fail")), (Some(1), 1));
    instance.line("fail", "instance");

    let away = look_at_fault(&upstream, r#"{"kind":"unavailable"}"#).await;
    assert_eq!((away.code, away.count("fail")), (Some(1), 1));
    assert!(away.line("fail", "reach").contains("HTTP 503"));

    let silent = look_at_fault(&upstream, r#"{"kind":"no-answer"}"#).await;
    assert_eq!(silent.code, Some(1));
    silent.line("fail", "reach");

    let well = look(&upstream, ACCESS_KEY_SECRET, &["--product-key", PRODUCT]).await;
    assert_eq!(well.code, Some(0), "{}", well.text);
    upstream.stop().await;
}

#[tokio::test]
async fn a_key_that_is_not_set_is_asked_for() {
    let upstream = Upstream::start(&[]).await;

    let looked = look(&upstream, "", &[]).await;

    assert_eq!((looked.code, looked.text.as_str()), (Some(1), ""));
    upstream.stop().await;
}
