//! Watches through whatever happens to them: cut off, and the service and the database restarted.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use registrar::{
    dev::postgres::{Durability, Options, Postgres},
    proto::{
        AfterCheck, Apply, ApplyStatus as S, CheckDevicesRequest, WatchApplyRequest,
        registrar_service_client::RegistrarServiceClient,
    },
    simulator::PRODUCT_X509,
    store::Store,
};
use tempfile::TempDir;
use tokio::sync::watch::{self, Receiver, Sender};
use tonic::{Code, Status, transport::Endpoint};
use tonic_types::StatusExt as _;

use crate::support::{
    database::database,
    stack::{Server, Upstream, check, new_devices, patiently},
};

const SEED: u64 = 20_261_123;
const CUTS: usize = 50;
/// The upstream takes 1,000 a call, so they go in so many thousands of rounds.
const DEVICES: usize = 40_000;
/// After so many cuts the service, and then the database, are restarted.
const CUTS_BEFORE_SERVICE: usize = 15;
const CUTS_BEFORE_DATABASE: usize = 30;
/// Bytes that a server may send to a client that does not read, and more events than fit in them.
const WINDOW: u32 = 65_535;
const EVENTS: i64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_cut_off_fifty_times_sees_what_one_sees_who_is_not() {
    let directory = directory();
    let postgres = Postgres::start(&options(directory.path())).unwrap();
    let database = postgres.url("postgres");
    let store = Store::new(postgres.connect_options("postgres"), 1, "default");
    store.migrate().await.unwrap();
    store.close().await;
    let upstream = Upstream::start(&[
        "--simulator-speed",
        "0.5",
        "--simulator-surplus",
        "refuse",
        "--simulator-fault",
        // The apply does not end before this is lifted.
        r#"hold={"kind":"stuck","phase":"CREATE","names":["light-000000"]}"#,
    ])
    .await;
    let flags = ["--heartbeat", "250ms", "--lease", "2s"];
    let server = Server::start(&database, &upstream.url, &flags);
    let (moved, address) = watch::channel(server.address.clone());
    let request = CheckDevicesRequest {
        product_key: PRODUCT_X509.to_owned(),
        devices: new_devices("light", DEVICES),
        after_check: AfterCheck::RegisterValid.into(),
        ..Default::default()
    };
    let mut client = server.client().await;
    let apply = client.check_devices(request).await.unwrap().into_inner();
    let apply_id = apply.apply.unwrap().apply_id;

    let (steady_told, mut steady_tells) = watch::channel(Told::default());
    let mut steady = Watcher::new(apply_id, address.clone(), steady_told);
    let (told, tells) = watch::channel(Told::default());
    let mut cut_off = Watcher::new(apply_id, address, told);
    let steady = tokio::spawn(async move {
        while steady.go_on(usize::MAX).await != Left::Ended {}
        steady
    });
    let restarts = tokio::spawn({
        let (upstream, mut tells) = (upstream.url.clone(), tells.clone());
        async move {
            until(&mut tells, |told| told.cuts >= CUTS_BEFORE_SERVICE).await;
            assert!(tokio::task::block_in_place(|| server.terminate()));
            let server = Server::start(&database, &upstream, &flags);
            moved.send(server.address.clone()).unwrap();

            until(&mut tells, |told| told.cuts >= CUTS_BEFORE_DATABASE).await;
            let before = tells.borrow().refused;
            tokio::task::block_in_place(|| drop(postgres));
            until(&mut tells, |told| told.refused > before).await;
            let postgres = tokio::task::block_in_place(|| {
                Postgres::start(&options(directory.path())).unwrap()
            });
            (server, postgres, directory)
        }
    });

    let mut moments = StdRng::seed_from_u64(SEED);
    while cut_off.told.borrow().cuts < CUTS {
        let left = cut_off.go_on(moments.random_range(1..=3)).await;
        assert_ne!(
            left,
            Left::Ended,
            "the apply is held until the cuts are made"
        );
    }
    let (server, _postgres, _directory) = restarts.await.unwrap();
    // What both wait for now is a heartbeat.
    let before = cut_off.told.borrow().heartbeats;
    while cut_off.told.borrow().heartbeats == before {
        cut_off.go_on(1).await;
    }
    until(&mut steady_tells, |told| told.heartbeats > 0).await;
    upstream.lift("hold").await;
    patient(async { while cut_off.go_on(usize::MAX).await != Left::Ended {} }).await;
    let steady = patient(steady).await.unwrap();

    assert!(steady.seen == cut_off.seen);
    let end = steady.seen.last().unwrap();
    assert_eq!(end.status(), S::CreateSuccess);
    assert_eq!(end.counts.unwrap().created, DEVICES as i64);
    assert!(end.revision > CUTS as i64, "{}", end.revision);
    assert!(steady.told.borrow().cut_off > 0);
    assert!(tokio::task::block_in_place(|| server.terminate()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_watcher_that_does_not_read() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0.001"]).await;
    let flags = ["--grace", "1h", "--look-every", "50ms"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let apply = check(
        &mut server.client().await,
        new_devices("light", 1),
        AfterCheck::Stop,
    )
    .await;
    let many =
        "INSERT INTO events SELECT apply_id, n, status, total, valid, invalid, created, failed,
                                          unknown, cancelled, cancelling, sealed, at
                FROM events, generate_series(2, $2) AS n WHERE apply_id = $1 AND revision = 1";
    sqlx::query(many)
        .bind(apply.apply_id)
        .bind(EVENTS)
        .execute(&database.pool)
        .await
        .unwrap();
    let request = WatchApplyRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    let narrow = Endpoint::from_shared(format!("http://{}", server.address))
        .unwrap()
        .initial_stream_window_size(WINDOW);
    let mut unread = RegistrarServiceClient::new(narrow.connect().await.unwrap());
    let mut unread = unread.watch_apply(request).await.unwrap().into_inner();
    let mut read = server.client().await;
    let mut read = read.watch_apply(request).await.unwrap().into_inner();
    for revision in 1..=EVENTS {
        let event = read.message().await.unwrap().unwrap().apply.unwrap();
        assert_eq!(event.revision, revision);
    }

    let ended = tokio::task::spawn_blocking(move || server.terminate());

    let status = read.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["after_revision"], EVENTS.to_string());
    // Before its grace is over.
    assert!(patient(ended).await.unwrap());
    // It had not read until now, and finds less than there was.
    let mut last = 0;
    while let Ok(Some(message)) = unread.message().await {
        last = message.apply.unwrap().revision;
    }
    assert!(last < EVENTS, "{last}");
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// It has told all.
    Ended,
    /// We cut it off.
    Cut,
    /// The service or the way there did.
    Unavailable,
}

/// What others may know of a watcher.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Streams that we cut off.
    cuts: usize,
    /// Streams that the service refused to begin.
    refused: usize,
    /// Streams that the service cut off.
    cut_off: usize,
    /// Heartbeats that repeated an event.
    heartbeats: usize,
}

/// Watches an apply in any number of streams, each from the last event on.
struct Watcher {
    apply_id: i64,
    address: Receiver<String>,
    seen: Vec<Apply>,
    told: Sender<Told>,
}

impl Watcher {
    fn new(apply_id: i64, address: Receiver<String>, told: Sender<Told>) -> Self {
        Self {
            apply_id,
            address,
            seen: Vec::new(),
            told,
        }
    }

    fn revision(&self) -> i64 {
        self.seen.last().map_or(0, |event| event.revision)
    }

    /// Watches on a connection of its own, which is cut off after so many messages.
    async fn go_on(&mut self, messages: usize) -> Left {
        let url = format!("http://{}", *self.address.borrow_and_update());
        let request = WatchApplyRequest {
            apply_id: self.apply_id,
            after_revision: self.revision(),
            ..Default::default()
        };
        let Ok(mut client) = RegistrarServiceClient::connect(url).await else {
            // It has stopped; another one tells where it is once it is there.
            let moved = patient(self.address.changed()).await;
            moved.expect("there will be another");
            return Left::Unavailable;
        };
        let mut stream = match patient(client.watch_apply(request)).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => {
                self.told.send_modify(|told| told.refused += 1);
                return unavailable(&status);
            }
        };
        for _ in 0..messages {
            let message = match patient(stream.message()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Left::Ended,
                Err(status) => {
                    // A database that is away is waited out, so this was a stop of the service.
                    if let Some(info) = status.get_details_error_info() {
                        let resume = info.metadata.get("after_revision");
                        assert_eq!(resume, Some(&self.revision().to_string()), "{status}");
                    }
                    self.told.send_modify(|told| told.cut_off += 1);
                    return unavailable(&status);
                }
            };
            if !message.heartbeat {
                let event = message.apply.expect("an event");
                assert_eq!(event.revision, self.revision() + 1);
                self.seen.push(event);
            } else if let Some(repeated) = message.apply {
                // Before the first event of a stream there may be nothing to repeat.
                assert_eq!(Some(&repeated), self.seen.last());
                self.told.send_modify(|told| told.heartbeats += 1);
            }
        }
        self.told.send_modify(|told| told.cuts += 1);
        Left::Cut
    }
}

/// What the service refuses, it refuses with UNAVAILABLE. The transport's own words are its own.
fn unavailable(status: &Status) -> Left {
    if status.get_details_error_info().is_some() {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    Left::Unavailable
}

async fn until(tells: &mut Receiver<Told>, happened: impl FnMut(&Told) -> bool) {
    let happened = patient(tells.wait_for(happened)).await;
    happened.expect("the watcher is there");
}

async fn patient<F: Future>(event: F) -> F::Output {
    patiently(event).await
}

/// A directory that the server's user can pass through.
fn directory() -> TempDir {
    let directory = TempDir::with_prefix("registrar-watching-").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    directory
}

fn options(root: &Path) -> Options {
    Options {
        root: root.into(),
        bindir: None,
        durability: Durability::Full,
        settings: Vec::new(),
    }
}
