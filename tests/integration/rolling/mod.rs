//! Replicas that are stopped and replaced one after the other, under load and under watch.

mod clients;

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use registrar::{
    proto::{
        AfterCheck, ApplyStatus as S, CheckDevicesRequest, GetApplyRequest, NewDevice,
        RegisterRequest, UploadDevicesRequest, UploadPart, UploadSeal, UploadStart,
        WatchApplyRequest, registrar_service_client::RegistrarServiceClient,
        upload_devices_request::Part,
    },
    simulator::PRODUCT_X509,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Endpoint};
use tonic_types::StatusExt as _;

use self::clients::*;
use crate::support::{
    database::{Database, database},
    stack::{Client, Log, Server, Upstream, new_devices, patiently},
    truth::{Asked, Truth},
};

const REPLICAS: usize = 3;
const WATCHERS: usize = 1_000;
/// Connections of all clients to each replica.
const CONNECTIONS: usize = 5;
/// Applies that are watched, with so many rounds of 1,000 each.
const WATCHED: usize = 5;
const ROUNDS: usize = 6;
/// Who submits, registers and looks, each again and again.
const SUBMITTERS: usize = 4;
const GRACE: Duration = Duration::from_secs(10);
const DRAIN_DELAY: Duration = Duration::from_millis(700);
/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Longer than the test is patient: whoever had to wait for a step that was left behind would wait
/// in vain.
const LEASE: Duration = Duration::from_secs(10 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_replaced_under_load_and_nobody_loses_more_than_a_retry() {
    let database = database().await;
    let upstream = Upstream::start(&[
        "--simulator-speed",
        "0.2",
        "--simulator-fault",
        // The watched applies do not end before this is lifted.
        r#"hold={"kind":"stuck","phase":"CREATE","names":["watched0-000000","watched1-000000","watched2-000000","watched3-000000","watched4-000000"]}"#,
    ])
    .await;
    let begun = Instant::now();
    let fleet = Arc::new(Fleet::default());
    let mut replicas: Vec<_> = (0..REPLICAS)
        .map(|at| Some(fleet.start(at, Duration::ZERO, &database, &upstream)))
        .collect();

    let mut watched = Vec::new();
    for n in 0..WATCHED {
        let names = new_devices(&format!("watched{n}"), ROUNDS * 1_000);
        watched.push(submit(&fleet, n, names, AfterCheck::RegisterValid).await);
    }
    let (told, mut tells) = watch::channel(0);
    let mut watchers = JoinSet::new();
    for n in 0..WATCHERS {
        let apply_id = watched[n % WATCHED].apply_id;
        let (fleet, told) = (fleet.clone(), told.clone());
        watchers.spawn(async move { watch_to_the_end(&fleet, n, apply_id, Some(&told)).await });
    }
    let (done, mut work) = watch::channel(0);
    let mut loads = JoinSet::new();
    for n in 0..SUBMITTERS {
        loads.spawn(submit_and_register(fleet.clone(), n, done.clone()));
    }
    loads.spawn(upload_again_and_again(fleet.clone(), done.clone()));
    loads.spawn(look_again_and_again(fleet.clone(), watched[0].apply_id));
    patiently(tells.wait_for(|watching| *watching == WATCHERS))
        .await
        .unwrap();

    // One alone, and then all of them, with and without a pause for balancers.
    for (at, next_delay) in [
        (0, DRAIN_DELAY),
        (0, Duration::ZERO),
        (1, DRAIN_DELAY),
        (2, Duration::ZERO),
    ] {
        let server = replicas[at].take().expect("it is there");
        fleet.stop(server).await;
        fleet.some_more(&mut work).await;
        replicas[at] = Some(fleet.start(at, next_delay, &database, &upstream));
        fleet.some_more(&mut work).await;
    }

    upstream.lift("hold").await;
    fleet.enough.store(true, Ordering::Relaxed);
    let mut asked = watched;
    while let Some(load) = patiently(loads.join_next()).await {
        asked.extend(load.unwrap());
    }
    while let Some(resumed) = patiently(watchers.join_next()).await {
        assert!(resumed.unwrap() <= fleet.restarts.load(Ordering::Relaxed));
    }
    for asked in &asked {
        patiently(watch_to_the_end(&fleet, 0, asked.apply_id, None)).await;
    }
    let truth = Truth::read(&upstream, PRODUCT_X509, LEASE).await;
    let mut client = fleet.client(0, 0);
    for asked in &asked {
        let wrong = truth.violations(&mut client, asked).await;
        assert_eq!(wrong, Vec::<String>::new());
    }
    assert_eq!(*fleet.failures.borrow(), Vec::<String>::new());
    let (calls, retried) = (&fleet.calls, &fleet.retried);
    eprintln!(
        "rolling: {} applies, {} calls, {} repaired by a retry, {} resumed watches, exits after \
         {:?}, {:.1} s in all",
        asked.len(),
        calls.load(Ordering::Relaxed),
        retried.load(Ordering::Relaxed),
        fleet.resumed.load(Ordering::Relaxed),
        fleet.exits.lock().unwrap(),
        begun.elapsed().as_secs_f64(),
    );
    for (server, _) in replicas.into_iter().flatten() {
        let (_, metrics) = server.asks("/metrics").await;
        let lost = metrics
            .lines()
            .filter(|line| line.starts_with("registrar_lease_losses_total{"));
        assert!(
            lost.into_iter().all(|line| line.ends_with(" 0")),
            "{metrics}"
        );
    }
}

/// The replicas as clients know them, and what clients have met.
#[derive(Default)]
struct Fleet {
    clients: Mutex<[Vec<Client>; REPLICAS]>,
    restarts: AtomicUsize,
    exits: Mutex<Vec<Duration>>,
    calls: AtomicUsize,
    retried: AtomicUsize,
    resumed: AtomicUsize,
    failures: watch::Sender<Vec<String>>,
    enough: AtomicBool,
}

impl Fleet {
    /// Starts a replica, which clients know from then on.
    fn start(
        &self,
        at: usize,
        drain_delay: Duration,
        database: &Database,
        upstream: &Upstream,
    ) -> (Server, Duration) {
        let delay = format!("{}ms", drain_delay.as_millis());
        let (grace, lease) = (
            format!("{}s", GRACE.as_secs()),
            format!("{}s", LEASE.as_secs()),
        );
        // A replica in a debug build comes late for slots of the usual width.
        let wide = ["--permit-window", "150ms"];
        let flags = [
            "--drain-delay",
            &delay,
            "--grace",
            &grace,
            "--lease",
            &lease,
        ];
        let flags = [&flags[..], &wide].concat();
        let server =
            tokio::task::block_in_place(|| Server::start(&database.url(), &upstream.url, &flags));
        let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
        let client = |_| {
            RegistrarServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(64 << 20)
        };
        self.clients.lock().unwrap()[at] = (0..CONNECTIONS).map(client).collect();
        (server, drain_delay)
    }

    /// Asks a replica to stop and holds its end to what it promises.
    async fn stop(&self, (server, drain_delay): (Server, Duration)) {
        let log: Log = server.log();
        self.restarts.fetch_add(1, Ordering::Relaxed);
        let asked = Instant::now();
        server.ask_to_stop();
        let ended = tokio::task::spawn_blocking(move || server.has_ended());
        assert!(patiently(ended).await.unwrap(), "it ends well");
        let took = asked.elapsed();
        assert!(took < drain_delay + GRACE, "{took:?}");
        self.exits.lock().unwrap().push(took);
        let log = log.text();
        for forced in ["the grace is over", "were cut off by the stop", "ERROR"] {
            assert!(!log.contains(forced), "{log}");
        }
    }

    fn client(&self, at: usize, who: usize) -> Client {
        self.clients.lock().unwrap()[at % REPLICAS][who % CONNECTIONS].clone()
    }

    /// Calls one replica and, if that is unavailable, another one, once.
    async fn call<T, F>(&self, who: usize, what: &str, call: impl Fn(Client) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut first = None;
        for at in [number, number + 1] {
            let answer = tokio::time::timeout(DEADLINE, call(self.client(at, who))).await;
            let status = match answer {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if is_unavailable(&status) && first.is_none() {
                self.retried.fetch_add(1, Ordering::Relaxed);
                first = Some(status);
                continue;
            }
            let failed = format!("{what}: {status:?} after {first:?}");
            self.failures.send_modify(|failures| failures.push(failed));
            break;
        }
        None
    }

    /// Waits until more of the work has been done, or a call has failed twice.
    async fn some_more(&self, work: &mut watch::Receiver<usize>) {
        let before = *work.borrow_and_update();
        let mut failures = self.failures.subscribe();
        let more = async {
            tokio::select! {
                more = work.wait_for(|done| *done >= before + SUBMITTERS) => drop(more.unwrap()),
                failed = failures.wait_for(|failures| !failures.is_empty()) => {
                    panic!("{:?}", *failed.unwrap());
                }
            }
        };
        patiently(more).await;
    }

    fn goes_on(&self) -> bool {
        !self.enough.load(Ordering::Relaxed) && self.failures.borrow().is_empty()
    }
}
