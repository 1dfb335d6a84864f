//! Chaos from a seed: replicas, Postgres and connections are killed, paused, cut and held up, clocks
//! are off and the upstream is out of order, while clients go on asking. In the end every promise is
//! looked at. `script/chaos` runs it; without `--seed` it does nothing.
//!
//! All that is done comes from the seed ([`plan`]), and so does what each client does in which order;
//! how they meet in time is new in each run.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the helpers of tests are not seen to be in tests, and their tasks end with the test"
)]

mod caller;
mod clients;
mod database;
mod devices;
mod faults;
mod judge;
mod link;
mod machine;
mod nemesis;
mod plan;
mod record;
mod replica;
mod report;
mod stack;
mod upload;
mod watcher;

#[path = "../integration/support/mod.rs"]
#[allow(dead_code, reason = "only part of it is needed here")]
mod support;

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser as _;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use self::{caller::Caller, clients::Scene, record::Record, stack::Stack};

/// Clients that submit.
const CLIENTS: usize = 5;

/// Chaos for a while, and then what became of it.
#[derive(clap::Parser)]
struct Settings {
    /// What everything random comes from.
    #[arg(long)]
    seed: u64,
    /// How long there is trouble.
    #[arg(long, default_value_t = 0.75)]
    minutes: f64,
    /// Gets the figures, as one more line of JSON.
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    if !std::env::args().any(|arg| arg.starts_with("--seed")) {
        println!("chaos: nothing to do without --seed; see script/chaos");
        return ExitCode::SUCCESS;
    }
    let settings = Settings::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run(&settings)) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The whole of a run; `true` if nothing is wrong.
async fn run(settings: &Settings) -> bool {
    let (seed, time) = (
        settings.seed,
        Duration::from_secs_f64(settings.minutes * 60.0),
    );
    let skews = replica::faketime().is_some();
    if !skews {
        println!("clocks are not skewed, since libfaketime is not here");
    }
    let plan = plan::plan(seed, time, skews);
    println!("seed {seed}, {time:?}; the plan:");
    for event in &plan {
        println!("{event}");
    }
    // Removed in the end, unless there is something to be looked into.
    let dir = tempfile::Builder::new()
        .prefix("registrar-chaos-")
        .tempdir()
        .expect("a directory")
        .keep();
    println!("logs and ledger are in {}", dir.display());
    let record = Arc::new(Record::default());
    let stack = Arc::new(Stack::start(&dir, seed, record.clone()).await);
    tokio::spawn(machine::keeps_time(record.clone()));
    tokio::spawn(machine::postgres_keeps_up(stack.clone()));

    let ends = Instant::now() + time;
    let patience = ends + judge::SETTLE_WITHIN + Duration::from_secs(30);
    let (done, is_done) = watch::channel(false);
    let scene = Scene {
        tasks: TaskTracker::new(),
        watchers: TaskTracker::new(),
        ends,
        done: is_done,
    };
    let caller = |number: usize| {
        let seed = seed.wrapping_mul(1_000).wrapping_add(number as u64);
        Caller::new(stack.addresses.clone(), seed, record.clone(), patience)
    };
    for number in 0..CLIENTS {
        let submitting = clients::submit(caller(number), number, scene.clone());
        scene.tasks.spawn(submitting);
    }
    nemesis::carry_out(stack.clone(), plan).await;
    println!("the trouble is over; waiting for everything to end");
    scene.tasks.close();
    scene.tasks.wait().await;
    let mut judge = caller(CLIENTS);
    judge::all_settle(&mut judge).await;
    println!("all has ended {:?} after the trouble", ends.elapsed());
    done.send_replace(true);
    scene.watchers.close();
    scene.watchers.wait().await;
    judge::judge(&stack, &mut judge).await;

    let report = report::report(seed, time, &record);
    println!("{report}");
    if let Some(path) = &settings.report {
        let file = fs::File::options().create(true).append(true).open(path);
        writeln!(file.expect("the report"), "{report}").expect("the report");
    }
    let violations = record.violations();
    for what in &violations {
        println!("VIOLATION: {what}");
    }
    drop(stack);
    if violations.is_empty() {
        fs::remove_dir_all(dir).ok();
    }
    violations.is_empty()
}
