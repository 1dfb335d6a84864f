//! Reconcile: UNKNOWN devices are asked after at once.

use registrar::proto::{AfterCheck, Apply, ApplyStatus as S, ReconcileRequest, ReconcileResponse};
use serde_json::Value;
use sqlx::PgPool;
use tonic::Code;

use crate::support::{
    command,
    database::database,
    stack::{Client, Server, Upstream, check, get, new_devices, patiently, watch},
};

const STUCK: &str = r#"{"kind":"stuck","phase":"CREATE"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn devices_whose_turn_is_far_off_are_asked_after_at_once_and_once() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let flags = ["--create-timeout", "1s"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    upstream.set("stuck", STUCK).await;
    let one = unknown(&mut client, "one").await;
    let two = unknown(&mut client, "two").await;
    let far_off = "UPDATE rounds SET due_at = now() + interval '1 hour'
                   WHERE phase = 'UNKNOWN' AND lease IS NULL";
    // As after a day of asking less and less often. One that is being asked after is none yet.
    patiently(async {
        while sleeping(&database.pool).await < 2 {
            sqlx::query(far_off).execute(&database.pool).await.unwrap();
        }
    })
    .await;
    upstream.lift("stuck").await;

    let all = reconcile(&mut client, 0).await;

    assert_eq!((all.rounds, all.next_after_apply_id), (2, 0));
    assert_eq!(all.apply_ids, [one.apply_id, two.apply_id]);
    assert_eq!(reconcile(&mut client, 0).await.rounds, 0);
    for apply in [&one, &two] {
        let seen = watch(&mut client, apply.apply_id, 0).await;
        assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    }
    let entries = "SELECT count(*) FROM audit WHERE what = 'RECONCILE' AND detail = '1 rounds'";
    let entries: i64 = sqlx::query_scalar(entries)
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(entries, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_nobody_asks_after_any_more_are_asked_after_again() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let flags = ["--create-timeout", "1s", "--reconcile-for", "1s"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    upstream.set("stuck", STUCK).await;
    let apply = check(
        &mut client,
        new_devices("light", 12),
        AfterCheck::RegisterValid,
    )
    .await;
    let seen = watch(&mut client, apply.apply_id, 0).await;
    let end = seen.last().unwrap();
    assert_eq!(
        (end.status(), end.counts.unwrap().unknown),
        (S::CreateFailed, 12)
    );
    upstream.lift("stuck").await;

    let server_url = format!("http://{}", server.address);
    let ask = [
        "reconcile",
        "--all",
        "--output",
        "json",
        "--server",
        &server_url,
    ];
    let told: Value = serde_json::from_str(&command(&ask)).unwrap();

    assert_eq!(told["rounds"], 1);
    assert_eq!(told["apply_ids"][0], apply.apply_id);
    let seen = watch(&mut client, apply.apply_id, end.revision).await;
    assert_eq!(seen.first().unwrap().status(), S::Create);
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    let id = apply.apply_id.to_string();
    let told = command(&["reconcile", &id, "--server", &server_url]);
    assert_eq!(
        told,
        "nothing is UNKNOWN that is not being asked after already\n"
    );
    for (apply_id, after_apply_id, expected) in [
        (987_654, 0, Code::NotFound),
        (-1, 0, Code::InvalidArgument),
        (1, 1, Code::InvalidArgument),
    ] {
        let request = ReconcileRequest {
            apply_id,
            after_apply_id,
        };
        let refused = client.reconcile(request).await.unwrap_err();
        assert_eq!(refused.code(), expected);
    }
}

async fn reconcile(client: &mut Client, apply_id: i64) -> ReconcileResponse {
    let request = ReconcileRequest {
        apply_id,
        after_apply_id: 0,
    };
    client.reconcile(request).await.unwrap().into_inner()
}

/// An apply all of whose devices are UNKNOWN.
async fn unknown(client: &mut Client, prefix: &str) -> Apply {
    let apply = check(client, new_devices(prefix, 12), AfterCheck::RegisterValid).await;
    patiently(async {
        while get(client, apply.apply_id)
            .await
            .apply
            .unwrap()
            .counts
            .unwrap()
            .unknown
            < 12
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    apply
}

/// Rounds that are far from being asked after.
async fn sleeping(pool: &PgPool) -> i64 {
    let sleeping = "SELECT count(*) FROM rounds
                    WHERE phase = 'UNKNOWN' AND lease IS NULL
                      AND due_at > now() + interval '30 minutes'";
    sqlx::query_scalar(sleeping).fetch_one(pool).await.unwrap()
}
