//! A service for the tests of this room: it plays back a history over a real socket, and cuts it
//! where it is told to.

mod service;
mod upload;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;

use super::{Command, Ended, run};
use crate::proto::{
    Apply, ApplyStatus, CancelApplyRequest, CheckDevicesRequest, Device, DeviceCounts,
    DeviceOutcome, ExportedDevice, FindDeviceRequest, FoundDevice, HistoryEntry,
    ListAppliesRequest, ListDevicesRequest, Quota, RegisterRequest, WaitingFor,
    registrar_service_server::RegistrarServiceServer,
};

/// How long a test waits for what is sure to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a command as the command line gives it, against the server; how it ended, and its answer.
pub(super) async fn ran(server: &Server, line: &str) -> (anyhow::Result<Ended>, String) {
    let mut out = Vec::new();
    let ended = run(parsed(server, line), &mut out, std::future::pending()).await;
    (ended, String::from_utf8(out).unwrap())
}

/// A command as the command line gives it, with the server put in.
pub(super) fn parsed(server: &Server, line: &str) -> Command {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }
    let line = ["registrar"].into_iter().chain(line.split(' '));
    Line::parse_from(line.chain(["--server", &server.url])).command
}

/// How one watch ends, after so many changes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// With UNAVAILABLE, as a server that is stopping.
    Unavailable { after: usize },
    /// With OK, as a stream whose trailers were lost.
    End { after: usize },
    /// Not at all, until the connection breaks.
    Hang { after: usize },
}

/// Apply 17 at a revision, with so many devices pending, invalid and created.
pub(super) fn apply_at(revision: i64, status: ApplyStatus, counts: [i64; 3]) -> Apply {
    let [pending, invalid, created] = counts;
    let total = pending + invalid + created;
    Apply {
        apply_id: 17,
        status: status.into(),
        counts: Some(DeviceCounts {
            total,
            pending,
            invalid,
            created,
            ..DeviceCounts::default()
        }),
        revision,
        settled: !matches!(status, ApplyStatus::Check | ApplyStatus::Create),
        ..Apply::default()
    }
}

/// A created device as it is exported.
pub(super) fn exported(ordinal: i64) -> ExportedDevice {
    ExportedDevice {
        device: Some(Device {
            ordinal,
            device_name: format!("pump-{ordinal}"),
            outcome: DeviceOutcome::Created.into(),
            ..Device::default()
        }),
        iot_id: format!("iot-{ordinal}"),
        device_secret: format!("secret-{ordinal}"),
        ..ExportedDevice::default()
    }
}

/// The server. It ends with the value.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: String,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
}

/// What the server has and does, and what it was asked.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The apply, change by change. A call that changes it answers with the first, a call that only
    /// reads it with the last.
    pub(super) history: Vec<Apply>,
    pub(super) devices: Vec<Device>,
    /// What is exported, three a message.
    pub(super) exported: Vec<ExportedDevice>,
    pub(super) applies: Vec<Apply>,
    pub(super) found: Vec<FoundDevice>,
    pub(super) entries: Vec<HistoryEntry>,
    pub(super) quotas: Vec<Quota>,
    /// What the apply waits for: each begins a watch as a heartbeat, the last is what calls tell.
    pub(super) waits: Vec<WaitingFor>,
    pub(super) cuts: Mutex<VecDeque<Cut>>,
    /// How the next calls fail that are not watches.
    pub(super) failures: Mutex<VecDeque<Status>>,
    pub(super) submitted: Mutex<Vec<CheckDevicesRequest>>,
    pub(super) uploaded: Arc<Mutex<upload::Uploaded>>,
    pub(super) asked: Mutex<Vec<Asked>>,
    pub(super) watched_after: Mutex<Vec<i64>>,
    pub(super) listed: AtomicUsize,
}

/// A call that tests want to read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    Register(RegisterRequest),
    Cancel(CancelApplyRequest),
    List(ListAppliesRequest),
    Devices(ListDevicesRequest),
    Find(FindDeviceRequest),
}

impl Server {
    /// Plays `history` to each watch, cut as `cuts` say, one for each watch, and then whole.
    pub(super) async fn start(
        history: Vec<Apply>,
        devices: Vec<Device>,
        cuts: impl IntoIterator<Item = Cut>,
    ) -> Self {
        Self::with(Script {
            history,
            devices,
            cuts: Mutex::new(cuts.into_iter().collect()),
            ..Script::default()
        })
        .await
    }

    pub(super) async fn with(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, script)
    }

    /// One that has nothing, at an address that is free.
    pub(super) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::on(listener, Script::default())
    }

    fn on(listener: TcpListener, script: Script) -> Self {
        let script = Arc::new(script);
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = RegistrarServiceServer::from_arc(script.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self {
            url,
            script,
            _tasks: tasks,
        }
    }

    /// What was asked for by calls other than submissions and watches, in order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }

    pub(super) fn submitted(&self) -> Vec<CheckDevicesRequest> {
        self.script.submitted.lock().unwrap().clone()
    }

    /// The revisions after which was watched, in order.
    pub(super) fn watched_after(&self) -> Vec<i64> {
        self.script.watched_after.lock().unwrap().clone()
    }

    /// What was uploaded.
    pub(super) fn uploaded(&self) -> MutexGuard<'_, upload::Uploaded> {
        self.script.uploaded.lock().unwrap()
    }

    /// How many pages were asked for.
    pub(super) fn listed(&self) -> usize {
        self.script.listed.load(Ordering::Relaxed)
    }
}

/// A line to a server that can be cut, and is there again for the next connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) url: String,
    cut: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Line {
    pub(super) async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let far = server.url.strip_prefix("http://").unwrap().to_owned();
        let cut = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let cut = cut.clone();
            async move {
                loop {
                    let (mut near, _) = listener.accept().await.unwrap();
                    let mut far = TcpStream::connect(&far).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        () = cut.notified() => {}
                    }
                }
            }
        });
        Self {
            url,
            cut,
            _tasks: tasks,
        }
    }

    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }
}
