//! P7: from a commit in one replica to a watcher of another, against LISTEN and NOTIFY alone.
//!
//! Both are counted from just before the commit, by the database's clock, and both commits are
//! durable. Ours is the cancelling of an upload, which the watcher learns of from another process;
//! the other is a statement that notifies of its own time, one after another in the same way.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use registrar::proto::{CancelApplyRequest, WatchApplyRequest};
use sqlx::postgres::PgListener;

use crate::support::{
    Aim, Database, Row, Setup, Size, Spread, Stack, Stage, median, number, watched::unsealed,
};

/// Commits in one repetition.
const COMMITS: usize = 100;

/// From one to the next: longer than the bell gathers.
const APART: Duration = Duration::from_millis(25);

/// What the bell may gather for, which is not held against us.
const GATHERED: f64 = 10.0;

/// How much slower than a notification alone it may be besides.
const SLOWER: f64 = 3.0;

pub(crate) async fn run(stage: &mut Stage, size: Size) -> anyhow::Result<Vec<Row>> {
    let setup = Setup {
        replicas: 2,
        ..Setup::PUBLISHED
    };
    let stack = Stack::start(stage, setup).await?;
    let mut runs = Vec::new();
    for _ in 0..size.repetitions() {
        runs.push((ours(&stack).await?, raw(&stack.database).await?));
    }
    let [ours, raw] = [|run: &(f64, f64)| run.0, |run: &(f64, f64)| run.1];
    Ok(vec![Row {
        id: "P7",
        what: "from a commit in one replica to a watcher of another".into(),
        ours: format!("{} ms", number(median(runs.iter().map(ours)))),
        peer: format!("LISTEN/NOTIFY {} ms", number(median(runs.iter().map(raw)))),
        ratio: Spread::of(
            runs.iter()
                .map(|(ours, raw)| ours / (GATHERED + SLOWER * raw)),
        ),
        aim: Aim::AtMost(1.0),
        note: "the ratio is to 10 ms, which the bell may gather for, and 3 times theirs".into(),
    }])
}

/// Milliseconds from an event at one replica to its watcher at the other, the median.
async fn ours(stack: &Stack) -> anyhow::Result<f64> {
    let (mut caller, mut watcher) = (stack.client(0).await?.0, stack.client(1).await?.0);
    let mut took = Vec::new();
    for _ in 0..COMMITS {
        let apply_id = unsealed(&stack.replicas[0].address).await?;
        let request = WatchApplyRequest {
            apply_id,
            ..Default::default()
        };
        let mut events = watcher.watch_apply(request).await?.into_inner();
        events.message().await?.context("its first event")?;
        tokio::time::sleep(APART).await;
        let cancel = CancelApplyRequest {
            apply_id,
            ..Default::default()
        };
        let told = async {
            let event = events.message().await?.context("the watch ended")?;
            anyhow::Ok((event, now()))
        };
        let (_, told) = tokio::join!(caller.cancel_apply(cancel), told);
        let (event, at) = told?;
        let written = event.apply.and_then(|apply| apply.update_time);
        let written = written.context("no event")?;
        let written = Duration::new(written.seconds as u64, written.nanos as u32);
        took.push((at.as_secs_f64() - written.as_secs_f64()) * 1e3);
    }
    Ok(median(took))
}

/// The same from a statement that notifies to who listens.
async fn raw(database: &Database) -> anyhow::Result<f64> {
    let mut listener = PgListener::connect(&database.url).await?;
    listener.listen("bench").await?;
    let mut writer = database.connect().await?;
    let mut took = Vec::new();
    for _ in 0..COMMITS {
        tokio::time::sleep(APART).await;
        let notify = "SELECT pg_notify('bench', extract(epoch FROM clock_timestamp())::text)";
        let notify = sqlx::query(notify).execute(&mut writer);
        let told = async {
            let told = listener.recv().await?;
            anyhow::Ok((told.payload().parse::<f64>()?, now()))
        };
        let (sent, told) = tokio::join!(notify, told);
        sent?;
        let (written, at) = told?;
        took.push((at.as_secs_f64() - written) * 1e3);
    }
    Ok(median(took))
}

/// By the clock that the database has too.
fn now() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("it is later than 1970")
}
