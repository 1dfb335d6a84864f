//! What is written down of changes and of what was refused.

use serde_json::json;
use sqlx::Row as _;
use tonic::Code;

use super::*;

/// All entries: what, caller, proof, apply, detail.
pub(super) async fn entries(stack: &Stack) -> Vec<String> {
    let rows = sqlx::query("SELECT * FROM audit ORDER BY entry_no");
    let rows = rows.fetch_all(&stack.database.pool).await.unwrap();
    let told = rows.iter().map(|row| {
        let peer: Option<String> = row.get("peer");
        assert!(peer.unwrap().starts_with("127.0.0.1:"));
        let text = |column: &str| row.get::<String, _>(column);
        let apply: Option<i64> = row.get("apply_id");
        let who = ["what", "tenant", "caller", "proof"].map(text).join(" ");
        format!("{who} {} {}", apply.unwrap_or_default(), text("detail"))
            .trim()
            .to_owned()
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_and_each_refusal_has_one_entry_and_a_repeat_none() {
    let ((one, hash), (reader, other)) = (token(), token());
    let access = [
        entry("press", "a", ALL, "a1Simulator", &[&hash]),
        entry("viewer", "a", "read", "*", &[&other]),
    ];
    let stack = Stack::with(&access.concat()).await;
    let (mut api, mut viewer) = (stack.api(Some(&one)).await, stack.api(Some(&reader)).await);
    let submit = |product: &str| json!({"product_key": product, "devices": [{"device_name": "light-1"}], "request_id": "r-1"});
    let register = json!({"apply_id": 1, "request_id": "r-2"});

    for _ in 0..2 {
        api.call("CheckDevices", &submit("a1Simulator"))
            .await
            .unwrap();
    }
    api.call("WatchApply", &json!({"apply_id": 1}))
        .await
        .unwrap();
    for _ in 0..2 {
        api.call("Register", &register).await.unwrap();
        api.call("Register", &json!({"apply_id": 1})).await.unwrap();
    }
    api.call("CheckDevices", &submit("b1")).await.unwrap_err();
    api.call("GetQuota", &json!({})).await.unwrap();
    viewer.call("Register", &register).await.unwrap_err();
    viewer
        .call("GetApply", &json!({"apply_id": 7}))
        .await
        .unwrap_err();
    stack
        .api(None)
        .await
        .call("Register", &register)
        .await
        .unwrap_err();
    let more = json!({"product_key": "a1Simulator", "devices": [{"device_name": "no"}]});
    let answers = api.call("CheckDevices", &more).await.unwrap();
    let second = answers[0]["apply"]["applyId"].as_str().unwrap();
    for _ in 0..2 {
        api.call("CancelApply", &json!({"apply_id": second}))
            .await
            .unwrap();
    }

    assert_eq!(
        entries(&stack).await,
        [
            "SUBMIT a press TOKEN 1 1 devices, after_check STOP".to_owned(),
            "REGISTER a press TOKEN 1 the valid devices".to_owned(),
            "REFUSED a press TOKEN 0 right submit, product b1".to_owned(),
            "REFUSED a viewer TOKEN 0 right register".to_owned(),
            format!("SUBMIT a press TOKEN {second} 1 devices, after_check STOP"),
            format!("CANCEL a press TOKEN {second}"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_an_upload_over_has_an_entry_also_without_sealing_it() {
    let ((one, hash), (two, other)) = (token(), token());
    let access = [
        entry("press", "a", "submit read", "*", &[&hash]),
        entry("lathe", "a", "submit read", "*", &[&other]),
    ];
    let stack = Stack::with(&access.concat()).await;
    let (mut press, mut lathe) = (stack.api(Some(&one)).await, stack.api(Some(&two)).await);
    let device = json!({"devices": {"devices": [{"device_name": "light-1"}]}});
    let seal = json!({"seal": {"total": 1}});
    let resume = json!({"start": {"apply_id": 1}});

    let begin = json!([{"start": {"product_key": "a1Simulator"}}, device]);
    press.call("UploadDevices", &begin).await.unwrap_err();
    let cut = json!([resume, device]);
    lathe.call("UploadDevices", &cut).await.unwrap_err();
    let whole = json!([resume, device, seal]);
    press.call("UploadDevices", &whole).await.unwrap();
    // What is sealed is not changed any more.
    let again = json!([resume, seal]);
    lathe.call("UploadDevices", &again).await.unwrap();

    assert_eq!(
        entries(&stack).await,
        [
            "SUBMIT a press TOKEN 1 an upload, after_check STOP",
            "SUBMIT a lathe TOKEN 1 an upload, taken over from device 0 on",
            "SUBMIT a press TOKEN 1 an upload, taken over from device 0 on",
            "SUBMIT a press TOKEN 1 1 devices, sealed",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_not_made_without_its_entry() {
    let (token, hash) = token();
    let stack = Stack::with(&entry("press", "a", ALL, "*", &[&hash])).await;
    let mut api = stack.api(Some(&token)).await;
    let submit = json!({"product_key": "a1Simulator", "devices": [{"device_name": "no"}]});
    api.call("CheckDevices", &submit).await.unwrap();
    let full = "ALTER TABLE audit ADD CONSTRAINT no_room CHECK (false) NOT VALID";
    sqlx::raw_sql(full)
        .execute(&stack.database.pool)
        .await
        .unwrap();

    for (method, request) in [
        ("CheckDevices", &submit),
        ("CancelApply", &json!({"apply_id": 1})),
    ] {
        let failed = api.call(method, request).await.unwrap_err();
        assert_eq!(failed.code(), Code::Internal, "{method}");
    }

    let all = api.call("ListApplies", &json!({})).await.unwrap().remove(0);
    assert_eq!(all["applies"].as_array().unwrap().len(), 1);
    assert_eq!(all["applies"][0]["status"], "APPLY_STATUS_CHECK_FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_for_good_unless_retention_says_otherwise() {
    let (token, hash) = token();
    let flags = [
        "--access-file",
        "DIR/access.toml",
        "--retain-audit-for",
        "1h",
        "--retention-every",
        "1s",
    ];
    let access = entry("press", "a", ALL, "*", &[&hash]);
    let stack = Stack::start(&[("access.toml", &access)], &flags).await;
    let mut api = stack.api(Some(&token)).await;
    let submit = json!({"product_key": "a1Simulator", "devices": [{"device_name": "no"}]});
    api.call("CheckDevices", &submit).await.unwrap();

    for sql in [
        "UPDATE audit SET caller = 'nobody'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "TRUNCATE applies CASCADE; DELETE FROM audit",
    ] {
        let refused = sqlx::raw_sql(sql)
            .execute(&stack.database.pool)
            .await
            .unwrap_err();
        assert!(
            refused.to_string().contains("the audit takes no"),
            "{refused}"
        );
    }
    let pool = &stack.database.pool;
    sqlx::query("DELETE FROM applies")
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(entries(&stack).await.len(), 1);

    // An old one, as it would have been written then.
    let old = "INSERT INTO audit (at, tenant, caller, proof, what, apply_id, detail)
               VALUES (now() - interval '2 hours', 'a', 'old', 'TOKEN', 'CANCEL', 9, '')";
    sqlx::query(old).execute(pool).await.unwrap();
    until(async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM audit WHERE caller = 'old'");
        (count.fetch_one(pool).await.unwrap() == 0).then_some(())
    })
    .await;
}
