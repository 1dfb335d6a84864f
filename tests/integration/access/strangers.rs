//! What one tenant has does not exist for another, whichever way it asks.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;
use crate::support::stack::patiently;

/// Each method as a stranger calls it, with what is another's put in for the words in capitals.
/// A method may have several rows; each must have one.
const ROWS: [(&str, &str); 24] = [
    (
        "CheckDevices",
        r#"{"product_key": "a1Simulator", "devices": [{"device_name": "mine-1"}], "request_id": "CHECKED"}"#,
    ),
    (
        "CheckDevices",
        r#"{"product_key": "a1Simulator", "devices": [{"device_name": "NAME"}], "validate_only": true}"#,
    ),
    ("UploadDevices", r#"[{"start": {"apply_id": APPLY}}]"#),
    (
        "UploadDevices",
        r#"[{"start": {"apply_id": APPLY}}, {"seal": {"total": 2}}]"#,
    ),
    ("Register", r#"{"apply_id": APPLY}"#),
    (
        "Register",
        r#"{"apply_id": APPLY, "skip_invalid": true, "request_id": "REGISTERED"}"#,
    ),
    ("Register", r#"{"apply_id": APPLY, "retry_failed": true}"#),
    ("Reconcile", r#"{"apply_id": APPLY}"#),
    ("CancelApply", r#"{"apply_id": APPLY}"#),
    (
        "CancelApply",
        r#"{"apply_id": APPLY, "request_id": "REGISTERED"}"#,
    ),
    ("WatchApply", r#"{"apply_id": APPLY}"#),
    (
        "WatchApply",
        r#"{"apply_id": APPLY, "after_revision": 1000}"#,
    ),
    ("GetApply", r#"{"apply_id": APPLY, "include_lists": true}"#),
    (
        "ListApplies",
        r#"{"product_key": "a1Simulator", "labels": {"lot": "LABEL"}}"#,
    ),
    (
        "ListApplies",
        r#"{"page_size": 1, "page_token": "APPLIES"}"#,
    ),
    ("ListDevices", r#"{"apply_id": APPLY}"#),
    (
        "ListDevices",
        r#"{"apply_id": APPLY, "page_size": 1, "page_token": "DEVICES"}"#,
    ),
    ("ExportDevices", r#"{"apply_id": APPLY}"#),
    (
        "ExportDevices",
        r#"{"apply_id": APPLY, "credentials": true}"#,
    ),
    (
        "ExportDevices",
        r#"{"apply_id": APPLY, "from_ordinal": 1000}"#,
    ),
    ("FindDevice", r#"{"device_name": "NAME"}"#),
    (
        "FindDevice",
        r#"{"device_name": "light-1", "page_size": 1, "page_token": "FOUND"}"#,
    ),
    (
        "ExplainApply",
        r#"{"apply_id": APPLY, "page_size": 1, "page_token": "HISTORY"}"#,
    ),
    ("GetQuota", "{}"),
];

/// What differs from call to call.
const VARIES: [&str; 6] = [
    "applyId",
    "createTime",
    "updateTime",
    "callsLastMinute",
    "roundsDue",
    "counts",
];

/// What the words in the rows stand for.
type Words = [(&'static str, String); 9];

fn words(apply: &str, name: &str, requests: [&str; 2], tokens: [String; 4]) -> Words {
    let [applies, devices, found, history] = tokens;
    let [checked, registered] = requests.map(str::to_owned);
    [
        ("APPLY", apply.into()),
        ("NAME", name.into()),
        ("LABEL", format!("lot-{name}")),
        ("CHECKED", checked),
        ("REGISTERED", registered),
        ("APPLIES", applies),
        ("DEVICES", devices),
        ("FOUND", found),
        ("HISTORY", history),
    ]
}

/// What a method answers, without what differs from call to call or is another's.
async fn answer(api: &mut Api, method: &str, row: &str, words: &Words) -> String {
    let filled = words
        .iter()
        .fold(row.to_owned(), |text, (word, is)| text.replace(word, is));
    let request: Value = serde_json::from_str(&filled).unwrap();
    let answered = api.call(method, &request).await;
    let text = match answered {
        Ok(mut answers) => {
            answers.iter_mut().for_each(forget);
            format!("{answers:?}")
        }
        Err(status) => format!(
            "{:?} {} {:?}",
            status.code(),
            status.message(),
            status.get_error_details_vec()
        ),
    };
    words
        .iter()
        .fold(text, |text, (word, is)| text.replace(is, word))
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !VARIES.contains(&name.as_str()));
            fields.values_mut().for_each(forget);
        }
        Value::Array(all) => all.iter_mut().for_each(forget),
        _ => {}
    }
}

async fn one(api: &mut Api, method: &str, request: Value) -> Value {
    let answers = patiently(api.call(method, &request)).await;
    answers.unwrap().pop().unwrap()
}

async fn page_token(api: &mut Api, method: &str, request: Value) -> String {
    let answer = one(api, method, request).await;
    answer["nextPageToken"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_a_stranger_as_if_there_were_nothing() {
    let ((ours, hash), (theirs, other)) = (token(), token());
    let access = [
        entry("one", "a", ALL, "*", &[&hash]),
        entry("other", "b", ALL, "*", &[&other]),
    ];
    let stack = Stack::with(&access.concat()).await;
    let (mut owner, mut stranger) = (stack.api(Some(&ours)).await, stack.api(Some(&theirs)).await);
    // A number that stands for nothing else in an answer.
    let number = "ALTER TABLE applies ALTER apply_id RESTART WITH 123456789";
    sqlx::raw_sql(number)
        .execute(&stack.database.pool)
        .await
        .unwrap();
    let submit = |request_id: &str| {
        json!({
            "product_key": "a1Simulator", "request_id": request_id, "labels": {"lot": "lot-light-1"},
            "devices": [{"device_name": "light-1"}, {"device_name": "light-2"}],
        })
    };
    one(&mut owner, "CheckDevices", submit("the-first")).await;
    let apply = one(&mut owner, "CheckDevices", submit("the-second")).await;
    let id = apply["apply"]["applyId"].as_str().unwrap().to_owned();
    let of_it = |size: i32| json!({"apply_id": id, "page_size": size});
    one(&mut owner, "WatchApply", json!({"apply_id": id})).await;
    one(
        &mut owner,
        "Register",
        json!({"apply_id": id, "request_id": "registered"}),
    )
    .await;
    let end = json!({"apply_id": id, "until": "WATCH_UNTIL_CREATED"});
    let before = one(&mut owner, "WatchApply", end).await;
    let tokens = [
        page_token(&mut owner, "ListApplies", json!({"page_size": 1})).await,
        page_token(&mut owner, "ListDevices", of_it(1)).await,
        page_token(
            &mut owner,
            "FindDevice",
            json!({"device_name": "light-1", "page_size": 1}),
        )
        .await,
        page_token(&mut owner, "ExplainApply", of_it(1)).await,
    ];
    let real = words(&id, "light-1", ["the-second", "registered"], tokens);
    let none = ["none-1", "none-2", "none-3", "none-4"].map(str::to_owned);
    let never = words("987654321", "dark-1", ["never-was", "nor-was-this"], none);

    let mut called = BTreeSet::new();
    for (method, row) in ROWS {
        let of_theirs = patiently(answer(&mut stranger, method, row, &real)).await;
        let of_nothing = patiently(answer(&mut stranger, method, row, &never)).await;

        assert_eq!(of_theirs, of_nothing, "{method} {row}");
        called.insert(method.to_owned());
    }

    let all: BTreeSet<_> = owner.methods().collect();
    assert_eq!(called, all, "each method needs a row that tells nothing");
    // The words do stand for something: their owner is answered otherwise.
    for (method, row) in ROWS
        .iter()
        .filter(|(method, row)| *method != "GetQuota" && !row.contains("validate"))
    {
        let of_ours = patiently(answer(&mut owner, method, row, &real)).await;
        let of_nothing = patiently(answer(&mut owner, method, row, &never)).await;
        assert_ne!(of_ours, of_nothing, "{method} {row}");
    }
    let now = one(&mut owner, "GetApply", json!({"apply_id": id})).await;
    assert_eq!(now["apply"]["revision"], before["apply"]["revision"]);
    assert_eq!(now["apply"]["status"], "APPLY_STATUS_CREATE_SUCCESS");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_gets_no_further_and_health_and_reflection_stay_open() {
    let ((_, hash), (unknown, _)) = (token(), token());
    let stack = Stack::with(&entry("one", "a", ALL, "*", &[&hash])).await;

    for (given, expected) in [
        (None, "NO_CREDENTIALS"),
        (Some(&*unknown), "UNKNOWN_CREDENTIALS"),
    ] {
        let mut api = stack.api(given).await;
        for method in api.methods().collect::<Vec<_>>() {
            let refused = api.call(&method, &json!({})).await.unwrap_err();
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::Unauthenticated, expected)
            );
        }
    }
    let url = format!("http://{}", stack.server.address);
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest::default();
    assert!(health.check(request).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_does_what_it_has_the_right_to_with_the_products_it_may_use() {
    let (token, hash) = token();
    let stack = Stack::with(&entry("one", "a", "submit read", "a1Sim*", &[&hash])).await;
    let mut api = stack.api(Some(&token)).await;
    let submit = |product: &str, after: &str| json!({"product_key": product, "devices": [{"device_name": "light-1"}], "after_check": after});
    let stop = "AFTER_CHECK_STOP";

    one(&mut api, "CheckDevices", submit("a1Simulator", stop)).await;
    for (method, request, expected, what) in [
        (
            "CheckDevices",
            submit("b1", stop),
            "PRODUCT_NOT_ALLOWED",
            "b1",
        ),
        (
            "CheckDevices",
            submit("a1Simulator", "AFTER_CHECK_REGISTER_VALID"),
            "RIGHT_MISSING",
            "register",
        ),
        (
            "Register",
            json!({"apply_id": 1}),
            "RIGHT_MISSING",
            "register",
        ),
        (
            "CancelApply",
            json!({"apply_id": 1}),
            "RIGHT_MISSING",
            "cancel",
        ),
    ] {
        let refused = api.call(method, &request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{method}");
        assert_eq!(reason(&refused), expected);
        let info = refused.get_details_error_info().unwrap();
        assert!(
            info.metadata.values().any(|value| value == what),
            "{info:?}"
        );
    }

    // What it has stored is not there for it once it may not use the product any more.
    stack.replace("access.toml", &entry("one", "a", "read", "b1", &[&hash]));
    let gone = until(async || api.call("GetApply", &json!({"apply_id": 1})).await.err()).await;
    assert_eq!(
        (gone.code(), reason(&gone).as_str()),
        (Code::NotFound, "APPLY_NOT_FOUND")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_soon_after_its_caller_may_not_watch_any_more() {
    let (token, hash) = token();
    let with = |rights: &str, hashes: &[&str]| entry("one", "a", rights, "*", hashes);
    for after in [with("read", &[]), with("submit", &[&hash])] {
        let stack = Stack::with(&with(ALL, &[&hash])).await;
        let mut api = stack.api(Some(&token)).await;
        let request =
            json!({"product_key": "a1Simulator", "devices": [{"device_name": "light-1"}]});
        one(&mut api, "CheckDevices", request).await;
        let watch = json!({"apply_id": 1, "until": "WATCH_UNTIL_FOREVER"});
        one(&mut api, "WatchApply", json!({"apply_id": 1})).await;

        let removed = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stack.replace("access.toml", &after);
        };
        let (ended, ()) = tokio::join!(patiently(api.call("WatchApply", &watch)), removed);

        let ended = ended.unwrap_err();
        assert_eq!(
            (ended.code(), reason(&ended).as_str()),
            (Code::Unauthenticated, "CREDENTIALS_REVOKED")
        );
        assert_eq!(
            ended.get_details_error_info().unwrap().metadata["after_revision"],
            "2"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_in_a_log_however_much_is_logged() {
    let ((known, hash), (unknown, _)) = (token(), token());
    let access = entry("one", "a", "read", "*", &[&hash]);
    let flags = [
        "--access-file",
        "DIR/access.toml",
        "--log",
        "debug,h2=trace,hyper=trace,tonic=trace",
    ];
    let stack = Stack::start(&[("access.toml", &access)], &flags).await;
    for token in [&known, &unknown] {
        let mut api = stack.api(Some(token)).await;
        for method in ["GetQuota", "Register", "ListApplies", "GetApply"] {
            drop(api.call(method, &json!({})).await);
        }
    }
    // One that stands where its hash belongs is no less secret.
    stack.replace(
        "access.toml",
        &format!("{access}tokens = [{known:?}]\n[[{unknown}"),
    );
    let log = until(async || {
        Some(stack.server.log().text()).filter(|log| log.contains("not as it should be"))
    })
    .await;

    assert!(
        log.contains("\"level\":\"DEBUG\"") || log.contains("\"level\":\"TRACE\""),
        "it logs little"
    );
    for secret in [&known, &unknown, &hash[7..].to_owned()] {
        assert!(!log.contains(secret.as_str()), "a secret is logged");
    }
    assert_eq!(log.matches("not as it should be").count(), 1);
}
