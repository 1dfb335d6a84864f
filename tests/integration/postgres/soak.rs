//! What `script/soak-postgres` runs: thirty seconds without a database, under load.

use std::time::Instant;

use super::{uploading::Uploading, *};
use crate::support::load::{Load, nothing_is_lost};

const OUTAGE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes: script/soak-postgres runs it"]
async fn thirty_seconds_without_a_database_are_a_pause() {
    let mut cluster = Cluster::start(&[]).await;
    let stack = Stack::of(&cluster, &[]).await;
    let load = Load::start(&stack.both(), 8).await;
    let upload = Uploading::start(&stack.servers[0]).await;
    for outage in ["stopped", "halted"] {
        load.go_on_for(24).await;
        let refused = load.unavailable();
        match outage {
            "stopped" => cluster.stop(),
            _ => cluster.halt(),
        }
        stack.until_ready_is(503, "does not answer").await;
        tokio::time::sleep(OUTAGE).await;
        let told = load.unavailable() - refused;
        match outage {
            "stopped" => cluster.start_again(),
            _ => cluster.go_on(),
        }
        let back = Instant::now();
        stack.until_ready_is(200, "ready").await;
        let ready = back.elapsed();
        load.go_on_for(1).await;
        let acknowledged = back.elapsed();
        eprintln!(
            "{outage} for {OUTAGE:?}: {told} calls were UNAVAILABLE; ready after {ready:.1?}, an \
             apply acknowledged after {acknowledged:.1?}"
        );
    }
    load.go_on_for(24).await;
    upload.end(&mut stack.client().await).await;
    let begun = Instant::now();
    let seen = load.end().await;
    eprintln!(
        "{} applies, all ended {:.1?} after the last was acknowledged; the longest call took {:.1?}",
        seen.applies.len(),
        begun.elapsed(),
        seen.longest
    );
    nothing_is_lost(&seen, &mut stack.client().await, &stack.upstream).await;
    stack.ends_well();
}
