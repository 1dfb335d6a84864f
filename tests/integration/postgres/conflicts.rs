//! The server rolls back for the sake of others.

use registrar::proto::{AfterCheck, ApplyStatus as S, RegisterRequest};

use super::*;
use crate::support::{
    load::{Load, nothing_is_lost},
    stack::{check, watch},
};

/// What makes the service the one that a deadlock costs its transaction.
const PATIENT: &str = "SET deadlock_timeout = '1h'; BEGIN; SELECT FROM rounds FOR UPDATE";

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_deadlock_costs_its_transaction_is_to_be_repeated() {
    let cluster = Cluster::start(&[]).await;
    let stack = Stack::of(&cluster, &[]).await;
    let mut client = stack.client().await;
    let apply = check(&mut client, new_devices("light", 3), AfterCheck::Stop).await;
    watch(&mut client, apply.apply_id, 0).await;
    let register = RegisterRequest {
        apply_id: apply.apply_id,
        request_id: "once".into(),
        ..Default::default()
    };
    let mut other = cluster.connect().await;
    sqlx::raw_sql(PATIENT).execute(&mut other).await.unwrap();

    let call = tokio::spawn({
        let (mut client, register) = (client.clone(), register.clone());
        async move { client.register(register).await }
    });
    cluster.until(WAITING, "1").await;
    let apply_too = "SELECT FROM applies FOR UPDATE; ROLLBACK";
    sqlx::raw_sql(apply_too).execute(&mut other).await.unwrap();

    refused(call.await.unwrap());
    client.register(register).await.unwrap();
    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    let deadlocks = "SELECT deadlocks::text FROM pg_stat_database WHERE datname = 'postgres'";
    cluster.until(deadlocks, "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_learnt_is_not_lost_to_a_deadlock() {
    let cluster = Cluster::start(&[]).await;
    let stack = Stack::of(&cluster, &[]).await;
    let mut client = stack.client().await;
    let delay = r#"{"kind":"delay","ms":1000,"action":"BatchCheckDeviceNames"}"#;
    stack.upstream.set("slow", delay).await;
    let apply = check(&mut client, new_devices("light", 3), AfterCheck::Stop).await;
    patiently(async {
        while stack
            .upstream
            .ledger("BatchCheckDeviceNames")
            .await
            .is_empty()
        {}
    })
    .await;
    let mut other = cluster.connect().await;
    sqlx::raw_sql(PATIENT).execute(&mut other).await.unwrap();

    // The answer is to be recorded now, for which a step locks the apply and then the round.
    cluster.until(WAITING, "1").await;
    let apply_too = "SELECT FROM applies FOR UPDATE; ROLLBACK";
    sqlx::raw_sql(apply_too).execute(&mut other).await.unwrap();
    let seen = watch(&mut client, apply.apply_id, 0).await;

    assert_eq!(seen.last().unwrap().status(), S::CheckSuccess);
    let checks = stack.upstream.ledger("BatchCheckDeviceNames").await;
    assert_eq!(checks.len(), 1, "{checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_serializes_everything_costs_repeats_and_nothing_else() {
    let cluster = Cluster::start(&[("default_transaction_isolation", "serializable")]).await;
    let stack = Stack::of(&cluster, &[]).await;
    let load = Load::start(&stack.both(), 4).await;
    load.go_on_for(12).await;

    let seen = load.end().await;
    nothing_is_lost(&seen, &mut stack.client().await, &stack.upstream).await;
    stack.ends_well();
}
