//! What `script/soak-upload` runs: a million devices, cut five times, in bounded memory.

use std::{
    collections::HashMap,
    fs,
    io::{BufWriter, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use registrar::proto::{DeviceOutcome as O, ListAppliesRequest, ReasonCode};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::*;
use crate::support::{
    database::database,
    registrar_binary,
    stack::{Server, Upstream, list_devices},
};

const DEVICES: usize = 1_000_000;

/// Resident memory that the service may have beyond what it has when idle, in KiB.
const BOUND: u64 = 100 << 10;

/// How long all of it may take.
const LASTS: Duration = Duration::from_secs(20 * 60);

#[derive(Clone, Copy, Debug)]
enum Blow {
    ClientKilled,
    ConnectionCut,
    ServiceKilled,
}

/// What the file says, and what it comes to.
struct Rows {
    names: Vec<String>,
    refused: HashMap<usize, (ReasonCode, Option<i64>)>,
}

impl Rows {
    fn new(random: &mut StdRng) -> Self {
        let mut names: Vec<_> = (0..DEVICES).map(|n| format!("soak-{n:07}")).collect();
        let mut refused = HashMap::new();
        for at in 1..DEVICES {
            if at % 5_003 == 0 {
                names[at] = format!("a bad name {at}");
                refused.insert(at, (ReasonCode::NameCharacter, None));
            } else if at % 1_009 == 0 {
                let first = random.random_range(0..at);
                if !refused.contains_key(&first) {
                    names[at] = names[first].clone();
                    refused.insert(at, (ReasonCode::Duplicate, Some(first as i64)));
                }
            }
        }
        Self { names, refused }
    }

    fn file(&self) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut csv = BufWriter::new(&mut file);
        writeln!(csv, "device_name").unwrap();
        for name in &self.names {
            writeln!(csv, "{name}").unwrap();
        }
        drop(csv);
        file
    }
}

/// A way to the service that stays where it is when that is started anew, and can be cut.
struct Line {
    address: String,
    target: watch::Sender<String>,
    cut: watch::Sender<()>,
}

impl Line {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (target, targets) = watch::channel(server.address.clone());
        let (cut, cuts) = watch::channel(());
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (target, mut cuts) = (targets.borrow().clone(), cuts.clone());
                tokio::spawn(async move {
                    cuts.mark_unchanged();
                    let Ok(mut far) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self {
            address,
            target,
            cut,
        }
    }
}

/// Resident memory of a process in KiB, if it runs.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Looks at the memory of one process after the other every 100 ms.
struct Sampler {
    pid: Arc<AtomicU32>,
    peak: Arc<AtomicU64>,
    samples: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Sampler {
    fn of(server: &Server) -> Self {
        let sampler = Self {
            pid: Arc::new(server.child.id().into()),
            peak: Arc::default(),
            samples: Arc::default(),
            stop: Arc::default(),
        };
        let (pid, peak, samples, stop) = (
            sampler.pid.clone(),
            sampler.peak.clone(),
            sampler.samples.clone(),
            sampler.stop.clone(),
        );
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if let Some(resident) = resident(pid.load(Ordering::Relaxed)) {
                    peak.fetch_max(resident, Ordering::Relaxed);
                    samples.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        sampler
    }

    fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn upload(line: &Line, file: &tempfile::NamedTempFile) -> Child {
    Command::new(registrar_binary())
        .arg("upload")
        .arg(file.path())
        .args(["--product-key", PRODUCT, "--after-check", "register-valid"])
        .args(["--server", &format!("http://{}", line.address)])
        .stdout(Stdio::null())
        .spawn()
        .expect("registrar starts")
}

/// How many devices are stored, of the one apply that there may be.
async fn stored(client: &mut Client) -> i64 {
    let applies = client.list_applies(ListAppliesRequest::default()).await;
    let applies = applies.expect("it serves").into_inner().applies;
    assert!(applies.len() <= 1, "one upload is one apply");
    applies
        .first()
        .and_then(|apply| apply.counts)
        .map_or(0, |counts| counts.total)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; script/soak-upload runs it"]
async fn a_million_devices_are_uploaded_in_bounded_memory_although_they_are_cut_off_five_times() {
    tokio::time::timeout(LASTS, soak()).await.expect("in time");
}

async fn soak() {
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    eprintln!("soak-upload: seed {seed}");
    let rows = Rows::new(&mut random);
    let file = rows.file();
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let start = || Server::start(&database.url(), &upstream.url, &["--lease", "5s"]);
    let mut server = start();
    let mut client = server.client().await;
    stored(&mut client).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle = resident(server.child.id()).expect("it runs");
    let sampler = Sampler::of(&server);
    let line = Line::to(&server).await;

    let mut blows = vec![Blow::ClientKilled, Blow::ConnectionCut, Blow::ServiceKilled];
    for _ in 0..2 {
        blows.push(blows[random.random_range(0..3)]);
    }
    blows.shuffle(&mut random);
    let mut moments: Vec<i64> = (0..blows.len())
        .map(|_| random.random_range(20_000..DEVICES as i64 - 50_000))
        .collect();
    moments.sort();
    let begun = Instant::now();
    let mut uploading = upload(&line, &file);
    for (moment, blow) in moments.into_iter().zip(blows) {
        let mut at = stored(&mut client).await;
        while at < moment {
            let early = uploading.try_wait().expect("it is ours");
            assert!(early.is_none(), "it ended early: {early:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            at = stored(&mut client).await;
        }
        eprintln!(
            "soak-upload: {blow:?} at {at} after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        match blow {
            Blow::ClientKilled => {
                uploading.kill().expect("it is ours");
                uploading.wait().expect("it has ended");
                uploading = upload(&line, &file);
            }
            Blow::ConnectionCut => line.cut.send(()).expect("the line is there"),
            Blow::ServiceKilled => {
                server.kill();
                server = start();
                sampler.pid.store(server.child.id(), Ordering::Relaxed);
                line.target.send_replace(server.address.clone());
                client = server.client().await;
            }
        }
    }
    let sealed = loop {
        let applies = client.list_applies(ListAppliesRequest::default()).await;
        let apply = applies.expect("it serves").into_inner().applies.remove(0);
        if apply.sealed {
            break apply;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let (uploaded, peak_uploaded) = (begun.elapsed(), sampler.peak());
    let code = tokio::task::spawn_blocking(move || uploading.wait()).await;
    let settled = begun.elapsed();
    assert_eq!(code.unwrap().unwrap().code(), Some(2), "some are refused");
    let peak = sampler.peak();
    eprintln!(
        "soak-upload: {DEVICES} devices stored and sealed after {:.1} s, settled after {:.1} s; \
         resident memory of the service: idle {} MB, at most {} MB while uploading, {} MB in all \
         ({} samples)",
        uploaded.as_secs_f64(),
        settled.as_secs_f64(),
        idle >> 10,
        peak_uploaded >> 10,
        peak >> 10,
        sampler.samples.load(Ordering::Relaxed),
    );
    drop(sampler);

    let devices = list_devices(&mut client, sealed.apply_id).await;
    assert_eq!(devices.len(), DEVICES);
    for ((at, device), name) in devices.iter().enumerate().zip(&rows.names) {
        let reason = device.reason.as_ref();
        let why = reason.map(|reason| (reason.code(), reason.first_ordinal));
        let outcome = match why {
            None => O::Created,
            Some(_) => O::Invalid,
        };
        assert_eq!((device.ordinal, &device.device_name), (at as i64, name));
        assert_eq!(device.outcome(), outcome, "device {at}");
        assert_eq!(why, rows.refused.get(&at).copied(), "device {at}");
    }
    let created = upstream.devices(PRODUCT).await;
    assert_eq!(created.len(), DEVICES - rows.refused.len());
    assert!(created.iter().all(|device| device["created"] == 1));
    let over = peak.saturating_sub(idle);
    assert!(over <= BOUND, "{} MB over idle", over >> 10);
    eprintln!(
        "soak-upload: one apply, {} created once each, {} refused as expected, same order; {} MB \
         over idle at most",
        created.len(),
        rows.refused.len(),
        over >> 10
    );
}
