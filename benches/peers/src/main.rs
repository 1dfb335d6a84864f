//! What a peer does, as a process of its own: one JSON object on stdout says how long it took.
//!
//! `registrar-peers graphile-worker DATABASE_URL JOBS default|tuned` runs a job that does nothing for
//! each device, from its enqueuing until the queue is empty again.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::Notify;

/// Of both ways; the tuned one has more jobs in flight, as its own benchmark does.
const CONCURRENCY: usize = 16;
const TUNED_CONCURRENCY: usize = 500;

/// Jobs enqueued by one statement.
const BATCH: usize = 1_000;

/// Jobs of the tuned way that are fetched by one statement.
const FETCHED: usize = 5_000;

/// How often the tuned way looks for jobs, and how long it gathers those that are done.
const SHORT: Duration = Duration::from_millis(5);

#[derive(Deserialize, Serialize)]
struct Device {
    name: String,
}

#[derive(Clone, Debug)]
struct Done(Arc<Progress>);

#[derive(Debug)]
struct Progress {
    count: AtomicUsize,
    jobs: usize,
    all: Notify,
}

impl TaskHandler for Device {
    const IDENTIFIER: &'static str = "device";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(Done(done)) = context.get_ext::<Done>()
            && done.count.fetch_add(1, Ordering::Relaxed) + 1 == done.jobs
        {
            done.all.notify_one();
        }
        Ok::<(), String>(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [peer, url, jobs, way] = &arguments[..] else {
        bail!("usage: registrar-peers graphile-worker DATABASE_URL JOBS default|tuned");
    };
    anyhow::ensure!(peer == "graphile-worker", "no such peer: {peer}");
    let jobs: usize = jobs.parse().context("JOBS")?;
    let pool = PgPoolOptions::new()
        .max_connections(CONCURRENCY as u32)
        .connect(url)
        .await?;
    let utils = WorkerUtils::new(pool.clone(), "graphile_worker");
    utils.migrate().await?;

    let began = Instant::now();
    for first in (0..jobs).step_by(BATCH) {
        let batch: Vec<_> = (first..jobs.min(first + BATCH)).map(job).collect();
        utils.add_raw_jobs(&batch).await?;
    }
    let enqueued = began.elapsed();
    match way.as_str() {
        "default" => work(&pool).await?,
        "tuned" => work_tuned(&pool, jobs).await?,
        _ => bail!("neither default nor tuned: {way}"),
    }
    let took = began.elapsed();

    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs")
        .fetch_one(&pool)
        .await?;
    anyhow::ensure!(left == 0, "{left} jobs were left");
    let told = serde_json::json!({
        "seconds": took.as_secs_f64(),
        "enqueue_seconds": enqueued.as_secs_f64(),
    });
    println!("{told}");
    Ok(())
}

fn job(number: usize) -> RawJobSpec {
    RawJobSpec {
        identifier: Device::IDENTIFIER.to_owned(),
        payload: serde_json::json!({ "name": format!("device-{number:013}") }),
        spec: JobSpec::default(),
    }
}

/// `run` takes up only so many jobs a second of those that were there before it, so this is `run_once`.
async fn work(pool: &PgPool) -> anyhow::Result<()> {
    let worker = WorkerOptions::default()
        .pg_pool(pool.clone())
        .concurrency(CONCURRENCY)
        .define_job::<Device>()
        .init()
        .await?;
    worker.run_once().await?;
    Ok(())
}

async fn work_tuned(pool: &PgPool, jobs: usize) -> anyhow::Result<()> {
    let done = Arc::new(Progress {
        count: AtomicUsize::new(0),
        jobs,
        all: Notify::new(),
    });
    let worker = WorkerOptions::default()
        .pg_pool(pool.clone())
        .concurrency(TUNED_CONCURRENCY)
        .poll_interval(SHORT)
        .complete_job_batch_delay(SHORT)
        .local_queue(LocalQueueConfig::default().with_size(FETCHED))
        .add_extension(Done(done.clone()))
        .define_job::<Device>()
        .init()
        .await?;
    let ended = async {
        done.all.notified().await;
        worker.request_shutdown();
    };
    let (run, ()) = tokio::join!(worker.run(), ended);
    run?;
    Ok(())
}
