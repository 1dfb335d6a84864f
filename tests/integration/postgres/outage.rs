//! The server is stopped, hangs, or is not to be reached any more.

use std::time::Instant;

use registrar::proto::{AfterCheck, ApplyStatus as S, RegisterRequest};

use super::{uploading::Uploading, *};
use crate::support::{
    address::Open,
    load::{Load, nothing_is_lost},
    stack::{check, watch},
};

/// How many sessions of the service hold what they have locked and do nothing.
const HOLDING: &str = "SELECT count(*)::text FROM pg_stat_activity
                       WHERE state = 'idle in transaction' AND application_name <> 'test'";

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_is_a_pause_for_callers_and_nothing_to_watchers() {
    let mut cluster = Cluster::start(&[]).await;
    let stack = Stack::of(&cluster, &[]).await;
    let load = Load::start(&stack.both(), 6).await;
    load.go_on_for(6).await;

    cluster.stop();
    load.until_refused(4).await;
    stack.until_ready_is(503, "does not answer").await;
    cluster.start_again();
    load.go_on_for(6).await;
    for _ in 0..2 {
        cluster.stop_at_once();
        cluster.start_again();
        load.go_on_for(6).await;
    }

    stack.until_ready_is(200, "ready").await;
    let seen = load.end().await;
    nothing_is_lost(&seen, &mut stack.client().await, &stack.upstream).await;
    stack.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_stop_cuts_off_in_its_transaction_is_to_be_repeated() {
    let mut cluster = Cluster::start(&[]).await;
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
    let locked = sqlx::raw_sql("BEGIN; SELECT FROM rounds FOR UPDATE").execute(&mut other);
    locked.await.unwrap();

    let call = tokio::spawn({
        let (mut client, register) = (client.clone(), register.clone());
        async move { client.register(register).await }
    });
    cluster.until(WAITING, "1").await;
    cluster.stop();

    refused(call.await.unwrap());
    refused(client.register(register.clone()).await);
    cluster.start_again();
    patiently(async { while client.register(register.clone()).await.is_err() {} }).await;
    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_waited_out_and_no_call_waits_for_longer_than_it_may() {
    let cluster = Cluster::start(&[]).await;
    let stack = Stack::of(&cluster, &[]).await;
    let load = Load::start(&stack.both(), 6).await;
    let upload = Uploading::start(&stack.servers[0]).await;
    load.go_on_for(6).await;

    let begun = Instant::now();
    cluster.halt();
    load.until_refused(4).await;
    stack.until_ready_is(503, "does not answer").await;
    // How long it hangs is what is tested.
    tokio::time::sleep(2 * STATEMENT - begun.elapsed().min(2 * STATEMENT)).await;
    cluster.go_on();

    stack.until_ready_is(200, "ready").await;
    load.go_on_for(6).await;
    upload.end(&mut stack.client().await).await;
    let seen = load.end().await;
    assert!(seen.longest < CALL, "{:?}", seen.longest);
    nothing_is_lost(&seen, &mut stack.client().await, &stack.upstream).await;
    stack.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_on_which_everything_vanishes_are_given_up_for_new_ones() {
    let cluster = Cluster::start(&[]).await;
    let stack = Stack::of(&cluster, &[]).await;
    let load = Load::start(&stack.both(), 6).await;
    let upload = Uploading::start(&stack.servers[1]).await;
    load.go_on_for(6).await;

    stack.address.lead_nowhere();
    load.until_refused(4).await;
    // Nothing is heard on the old connections ever again.
    stack.address.lead_to(cluster.socket_dir(), Open::Left);

    stack.until_ready_is(200, "ready").await;
    load.go_on_for(6).await;
    upload.end(&mut stack.client().await).await;
    let seen = load.end().await;
    assert!(seen.longest < CALL, "{:?}", seen.longest);
    nothing_is_lost(&seen, &mut stack.client().await, &stack.upstream).await;
    stack.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_has_locked_that_nobody_hears_any_more_is_free_again() {
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
    let locked = sqlx::raw_sql("BEGIN; SELECT FROM rounds FOR UPDATE").execute(&mut other);
    locked.await.unwrap();
    let call = tokio::spawn({
        let (mut client, register) = (client.clone(), register.clone());
        async move { client.register(register).await }
    });
    cluster.until(WAITING, "1").await;

    // It has the apply; what it waits for is given to it, and it never hears of that.
    stack.address.lead_nowhere();
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    cluster.until(HOLDING, "1").await;
    refused(call.await.unwrap());
    stack.address.lead_to(cluster.socket_dir(), Open::Left);

    patiently(async { while client.register(register.clone()).await.is_err() {} }).await;
    cluster.until(HOLDING, "0").await;
    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
}
