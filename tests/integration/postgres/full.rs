//! No connection is to be had.

use std::time::Instant;

use registrar::proto::AfterCheck;
use sqlx::Connection as _;

use super::*;
use crate::support::{
    load::{Load, nothing_is_lost},
    stack::check,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_connections_are_all_at_work_refuses_in_time_and_goes_on_afterwards() {
    let cluster = Cluster::start(&[]).await;
    let stack = Stack::of(&cluster, &["--database-connections", "2"]).await;
    let mut client = stack.client().await;
    let apply = check(&mut client, new_devices("light", 3), AfterCheck::Stop).await;
    let mut other = cluster.connect().await;
    let lock = "BEGIN; LOCK applies, rounds, lanes IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();

    let begun = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..40 {
        let mut client = client.clone();
        calls.spawn(async move {
            match n % 2 {
                0 => reads(&mut client, apply.apply_id).await,
                _ => {
                    let submitted = client.check_devices(submission(&format!("n-{n:04}"))).await;
                    submitted.map(|_| ())
                }
            }
        });
    }
    for answer in calls.join_all().await {
        refused(answer);
    }
    assert!(begun.elapsed() < CALL, "{:?}", begun.elapsed());
    other.close().await.unwrap();

    patiently(async { while reads(&mut client, apply.apply_id).await.is_err() {} }).await;
    let load = Load::start(&stack.both(), 4).await;
    load.go_on_for(4).await;
    let seen = load.end().await;
    nothing_is_lost(&seen, &mut client, &stack.upstream).await;
    stack.ends_well();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_too_many_connections_refuses_calls_and_is_waited_for() {
    let cluster = Cluster::start(&[
        ("max_connections", "20"),
        ("superuser_reserved_connections", "0"),
    ])
    .await;
    let stack = Stack::of(&cluster, &["--database-connections", "4"]).await;
    let mut client = stack.client().await;
    let apply = check(&mut client, new_devices("light", 3), AfterCheck::Stop).await;

    // Others take every place, those of the service too.
    let mut others = vec![cluster.connect().await];
    let options = cluster.connect_options();
    while let Ok(other) = sqlx::PgConnection::connect_with(&options).await {
        others.push(other);
    }
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE backend_type = 'client backend' AND application_name <> 'test'";
    patiently(async {
        loop {
            sqlx::raw_sql(end).execute(&mut others[0]).await.unwrap();
            while let Ok(other) = sqlx::PgConnection::connect_with(&options).await {
                others.push(other);
            }
            if others.len() == 20 {
                break;
            }
        }
    })
    .await;
    refused(client.check_devices(submission("no-room")).await);
    refused(reads(&mut client, apply.apply_id).await);
    stack.until_ready_is(503, "does not answer").await;
    drop(others);

    stack.until_ready_is(200, "ready").await;
    client.check_devices(submission("no-room")).await.unwrap();
    reads(&mut client, apply.apply_id).await.unwrap();
    stack.ends_well();
}
