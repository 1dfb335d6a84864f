//! Hostile clients beside those who work: `script/soak-hostile` lets them for ten minutes.

mod kinds;
mod wire;

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use registrar::proto::{AfterCheck, ApplyStatus as S, GetApplyRequest, WatchApplyRequest};
use tokio::task::JoinSet;
use tonic::{Request, Status};

use self::kinds::Target;
use crate::{
    support::{
        database::database,
        stack::{Client, Server, Upstream, check, new_devices, patiently},
        upstream::http,
    },
    surface,
};

/// Who works beside them, at a time.
const WORKERS: usize = 2;
/// How long a call may take. Nothing is measured by it.
const DEADLINE: Duration = Duration::from_secs(60);
/// Resident memory that the service may have beyond what it has when idle, in KiB.
const BOUND: u64 = 256 << 10;
/// How often each of them gets a submission through at least, however slow the machine is.
const GETS_THROUGH_EVERY: Duration = Duration::from_secs(10);
/// Files that may be open afterwards beyond those before: pools breathe.
const FILES: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_of_all_kinds_keep_nobody_from_working() {
    beside_hostile_clients(Duration::from_secs(15), 900, &["--max-connections", "600"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; script/soak-hostile runs it"]
async fn hostile_clients_of_all_kinds_keep_nobody_from_working_for_long() {
    let seconds = std::env::var("REGISTRAR_SOAK_SECONDS").unwrap_or_else(|_| "600".into());
    let lasts = Duration::from_secs(seconds.parse().expect("seconds"));
    beside_hostile_clients(lasts, 6_000, &[]).await;
}

async fn beside_hostile_clients(lasts: Duration, idle: usize, flags: &[&str]) {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let server = Server::start(&database.url(), &upstream.url, flags);
    let mut client = server.client().await;
    let held = r#"{"kind":"stuck","phase":"CHECK","names":["held-000000"]}"#;
    upstream.set("held", held).await;
    let apply = check(&mut client, new_devices("held", 1), AfterCheck::Stop).await;
    let load = Load::default();
    // Once as warm as it gets.
    load.work(&mut client, "warm").await.unwrap();
    load.calls.lock().unwrap().clear();
    let process = Process(server.child.id());
    let before = (process.resident(), process.files());

    let sampler = Sampler::of(process);
    let target = Target {
        api: server.address.clone(),
        admin: server.admin.clone(),
        apply_id: apply.apply_id,
    };
    let over = Instant::now() + lasts;
    let hostile = thread::spawn(move || be_hostile(&target, idle, over));
    let load = Arc::new(load);
    let mut workers = JoinSet::new();
    for n in 0..WORKERS {
        let (load, mut client) = (load.clone(), server.client().await);
        workers.spawn(async move {
            let mut done = 0;
            while Instant::now() < over {
                let worked = load.work(&mut client, &format!("light{n}-{done}")).await;
                load.note(worked);
                done += 1;
            }
        });
    }
    let asked = load.clone();
    let admin = async {
        let mut pace = tokio::time::interval(Duration::from_secs(1));
        while Instant::now() < over {
            pace.tick().await;
            let began = Instant::now();
            // As supervisors do: who is not answered asks again.
            while let Err(why) = is_answered(&server.admin).await {
                eprintln!("hostile: readyz after {:.1?}: {why}", began.elapsed());
                if began.elapsed() > DEADLINE {
                    asked.note(Err(Status::unavailable(why)));
                    break;
                }
            }
            asked.took("readyz", began);
        }
    };
    let (_, ()) = tokio::join!(workers.join_all(), admin);
    let tried = tokio::task::spawn_blocking(move || hostile.join().unwrap());
    let tried = patiently(tried).await.unwrap();
    let peak = sampler.peak();
    drop(sampler);
    // Connections whose peers are gone are seen to be, whatever they had open.
    patiently(async {
        while process.files() > before.1 + FILES {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;

    let (idle, after) = (before.0, process.resident());
    eprintln!("hostile: {:.0} s: {tried:?}", lasts.as_secs_f64());
    eprintln!("hostile: beside them {load}");
    eprintln!(
        "hostile: resident memory idle {} MB, at most {} MB, {} MB after; files {} before, {} after",
        idle >> 10,
        peak >> 10,
        after >> 10,
        before.1,
        process.files()
    );
    assert_eq!(*load.failures.lock().unwrap(), Vec::<String>::new());
    assert!(tried.values().all(|(begun, _)| *begun > 0), "{tried:?}");
    let through = load.calls.lock().unwrap()["GetApply"].len();
    let least = WORKERS * (lasts.div_duration_f64(GETS_THROUGH_EVERY) as usize);
    assert!(through >= least, "only {through} submissions got through");
    assert!(peak <= idle + BOUND, "{} MB over idle", (peak - idle) >> 10);
    let log = server.log();
    upstream.lift("held").await;
    assert!(tokio::task::block_in_place(|| server.terminate()));
    let log = log.text();
    assert!(
        !log.contains("\"ERROR\"") && !log.contains("panicked"),
        "{log}"
    );
}

/// Is hostile in every way until this is over, from one thread, and returns how many connections of
/// each kind began and how many of these were hung up on.
fn be_hostile(target: &Target, idle: usize, over: Instant) -> BTreeMap<&'static str, (u64, u64)> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let tried: Arc<Mutex<BTreeMap<_, (u64, u64)>>> = Arc::default();
    runtime.block_on(async {
        let mut attacks = JoinSet::new();
        for kind in kinds::all(idle) {
            for n in 0..kind.at_once {
                let (target, tried) = (target.clone(), tried.clone());
                attacks.spawn(async move {
                    // One after the other, not all in one moment.
                    tokio::time::sleep(Duration::from_millis(3 * n as u64)).await;
                    loop {
                        tried.lock().unwrap().entry(kind.name).or_default().0 += 1;
                        let ended = (kind.attack)(target.clone()).await;
                        tried.lock().unwrap().entry(kind.name).or_default().1 +=
                            u64::from(ended.is_err());
                        tokio::time::sleep(kind.pause).await;
                    }
                });
            }
        }
        tokio::time::sleep_until(over.into()).await;
        attacks.shutdown().await;
    });
    drop(runtime);
    Arc::into_inner(tried).unwrap().into_inner().unwrap()
}

/// Whether the admin port answers; that the database is slow is an answer, too.
async fn is_answered(admin: &str) -> Result<(), String> {
    let asked = http()
        .get(format!("http://{admin}/readyz"))
        .timeout(DEADLINE);
    match asked.send().await {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => {
            eprintln!("hostile: readyz says {}", answer.status());
            Ok(())
        }
        Err(error) => Err(format!("{error:?}")),
    }
}

/// What those who work have met.
#[derive(Default)]
struct Load {
    calls: Mutex<BTreeMap<&'static str, Vec<Duration>>>,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Submits ten devices, watches them to the end and looks at them.
    async fn work(&self, client: &mut Client, prefix: &str) -> Result<(), Status> {
        let began = Instant::now();
        let devices = within(surface::request(prefix, 10));
        let apply = client.check_devices(devices).await?.into_inner();
        let apply_id = apply.apply.expect("an apply").apply_id;
        self.took("CheckDevices", began);
        let began = Instant::now();
        let watched = within(WatchApplyRequest {
            apply_id,
            ..Default::default()
        });
        let mut stream = client.watch_apply(watched).await?.into_inner();
        self.took("WatchApply, to its opening", began);
        while stream.message().await?.is_some() {}
        let began = Instant::now();
        let looked = within(GetApplyRequest {
            apply_id,
            ..Default::default()
        });
        let apply = client.get_apply(looked).await?.into_inner().apply;
        self.took("GetApply", began);
        assert_eq!(apply.expect("an apply").status(), S::CheckSuccess);
        Ok(())
    }

    fn took(&self, what: &'static str, began: Instant) {
        let mut calls = self.calls.lock().unwrap();
        calls.entry(what).or_default().push(began.elapsed());
    }

    fn note(&self, worked: Result<(), Status>) {
        if let Err(status) = worked {
            self.failures.lock().unwrap().push(format!("{status:?}"));
        }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (what, times) in &*self.calls.lock().unwrap() {
            let mut times = times.clone();
            times.sort();
            let part = |of: usize| times[(times.len() * of / 100).min(times.len() - 1)];
            let (half, most) = (part(50), part(99));
            write!(
                f,
                "{} of {what} (p50 {half:.0?}, p99 {most:.0?}), ",
                times.len()
            )?;
        }
        write!(f, "{} failed", self.failures.lock().unwrap().len())
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// A process that runs.
#[derive(Clone, Copy)]
struct Process(u32);

impl Process {
    /// Resident memory in KiB.
    fn resident(self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Files that it has open, connections among them.
    fn files(self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.0));
        files.expect("it runs").count()
    }
}

/// Looks at the memory of a process every 100 ms.
struct Sampler {
    state: Arc<(AtomicBool, Mutex<u64>)>,
}

impl Sampler {
    fn of(process: Process) -> Self {
        let state = Arc::new((AtomicBool::new(true), Mutex::new(0)));
        let kept = state.clone();
        thread::spawn(move || {
            while kept.0.load(Ordering::Relaxed) {
                let resident = process.resident();
                let mut peak = kept.1.lock().unwrap();
                *peak = resident.max(*peak);
                drop(peak);
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self { state }
    }

    fn peak(&self) -> u64 {
        *self.state.1.lock().unwrap()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.state.0.store(false, Ordering::Relaxed);
    }
}
