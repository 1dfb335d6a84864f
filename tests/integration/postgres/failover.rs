//! The primary is lost, and its synchronous standby takes over.

use registrar::proto::ApplyStatus as S;

use super::{uploading::Uploading, *};
use crate::support::{
    address::Open,
    load::{Load, nothing_is_lost},
    stack::watch,
};

/// A primary that acknowledges what its standby has, and the standby.
async fn pair() -> (Cluster, Cluster) {
    let primary = Cluster::start(&[]).await;
    let standby = primary.standby("other");
    // Before it has its standby, every commit would wait for one.
    primary
        .tell("ALTER SYSTEM SET synchronous_standby_names = 'other'; SELECT pg_reload_conf()")
        .await;
    let state = "SELECT coalesce(max(sync_state), '') FROM pg_stat_replication";
    primary.until(state, "sync").await;
    (primary, standby)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_synchronous_standby_loses_nothing_that_was_acknowledged() {
    let (mut former, standby) = pair().await;
    let stack = Stack::of(&former, &[]).await;
    let load = Load::start(&stack.both(), 8).await;
    let upload = Uploading::start(&stack.servers[0]).await;
    load.go_on_for(16).await;

    former.kill();
    load.until_refused(4).await;
    standby.tell("SELECT pg_promote()").await;
    stack.address.lead_to(standby.socket_dir(), Open::Cut);
    stack.until_ready_is(200, "ready").await;
    load.go_on_for(8).await;
    // The former primary comes back, takes writes, and is nobody's any more.
    former.start_again();
    load.go_on_for(8).await;

    upload.end(&mut stack.client().await).await;
    let seen = load.end().await;
    nothing_is_lost(&seen, &mut stack.client().await, &stack.upstream).await;
    let sessions = "SELECT count(*)::text FROM pg_stat_activity
                    WHERE backend_type = 'client backend' AND application_name <> 'test'";
    assert_eq!(former.ask(sessions).await, "0");
    stack.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_no_standby_confirms_is_not_acknowledged_and_its_repeat_is() {
    let (primary, standby) = pair().await;
    let stack = Stack::of(&primary, &[]).await;
    let mut client = stack.client().await;

    standby.halt();
    refused(client.check_devices(submission("unconfirmed")).await);
    standby.go_on();

    let answer = patiently(async {
        loop {
            match client.check_devices(submission("unconfirmed")).await {
                Ok(answer) => return answer.into_inner().apply.unwrap(),
                Err(status) => assert!(is_to_be_repeated(&status), "{status:?}"),
            }
        }
    })
    .await;
    assert_eq!(answer.apply_id, 1);
    let seen = watch(&mut client, answer.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CheckSuccess);
    stack.ends_well();
}
