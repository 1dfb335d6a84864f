//! The server takes no writes.

use registrar::proto::AfterCheck;

use super::*;
use crate::support::{
    address::Open,
    load::Load,
    stack::{check, watch},
};

/// Sessions of the service.
const SESSIONS: &str = "SELECT count(*)::text FROM pg_stat_activity
                        WHERE backend_type = 'client backend' AND application_name <> 'test'";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_made_read_only_refuses_calls_until_it_takes_writes_again() {
    let cluster = Cluster::start(&[]).await;
    let stack = Stack::of(&cluster, &[]).await;
    let load = Load::start(&stack.both(), 4).await;
    load.go_on_for(4).await;

    cluster
        .tell("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
        .await;
    stack.until_ready_is(503, "takes no writes").await;
    load.until_refused(4).await;
    cluster
        .tell("ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()")
        .await;

    stack.until_ready_is(200, "ready").await;
    load.go_on_for(4).await;
    load.end().await;
    stack.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_not_worked_with_and_left_as_soon_as_the_address_leads_to_the_primary() {
    let primary = Cluster::start(&[]).await;
    let standby = primary.standby("other");
    let stack = Stack::of(&primary, &[]).await;
    let mut client = stack.client().await;
    let apply = check(&mut client, new_devices("light", 3), AfterCheck::Stop).await;
    watch(&mut client, apply.apply_id, 0).await;
    let load = Load::start(&stack.both(), 4).await;
    load.go_on_for(4).await;

    stack.address.lead_to(standby.socket_dir(), Open::Cut);
    stack.until_ready_is(503, "takes no writes").await;
    // It may not have heard of everything yet, so it is not read either.
    refused(reads(&mut client, apply.apply_id).await);
    refused(client.check_devices(submission("on-a-standby")).await);
    stack.address.lead_to(primary.socket_dir(), Open::Left);

    stack.until_ready_is(200, "ready").await;
    load.go_on_for(4).await;
    standby.until(SESSIONS, "0").await;
    load.end().await;
    stack.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_former_primary_are_left_once_it_takes_no_writes() {
    let former = Cluster::start(&[]).await;
    let standby = former.standby("other");
    let stack = Stack::of(&former, &[]).await;
    let load = Load::start(&stack.both(), 4).await;
    load.go_on_for(4).await;

    // A switch in the gentle order, by a balancer that leaves connections where they are.
    former
        .tell("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
        .await;
    load.until_refused(2).await;
    standby.tell("SELECT pg_promote()").await;
    stack.address.lead_to(standby.socket_dir(), Open::Left);

    stack.until_ready_is(200, "ready").await;
    load.go_on_for(4).await;
    former.until(SESSIONS, "0").await;
    load.end().await;
    stack.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_reads_leaves_a_former_primary_as_well() {
    let former = Cluster::start(&[]).await;
    let standby = former.standby("other");
    let stack = Stack::of(&former, &[]).await;
    let mut reader = stack.client().await;
    let apply = check(&mut reader, new_devices("light", 3), AfterCheck::Stop).await;
    watch(&mut reader, apply.apply_id, 0).await;

    former
        .tell("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
        .await;
    standby.tell("SELECT pg_promote()").await;
    stack.address.lead_to(standby.socket_dir(), Open::Left);
    let mut writer = stack.servers[1].client().await;
    let later = patiently(async {
        loop {
            if let Ok(answer) = writer.check_devices(submission("later")).await {
                return answer.into_inner().apply.unwrap();
            }
        }
    })
    .await;

    // What was acknowledged by one replica is soon there for who asks the other.
    patiently(async {
        while reads(&mut reader, later.apply_id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    stack.ends_well();
}
