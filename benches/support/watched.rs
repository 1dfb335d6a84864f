//! A server with something to watch, ours or a peer, and its watchers.
//!
//! The same client opens one stream per watcher over ten connections to ours, to etcd and to a bare
//! tonic broadcast, and counts the time from just before an event is written until each watcher
//! has it. Our events are written as another process writes them: the rows of a record transaction,
//! committed durably, and then the bell. So the rate is ours to choose, nothing else runs in the
//! server, and its CPU is that of telling alone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream::BoxStream};
use prost::Message as _;
use registrar::proto::{
    self as pb, RegisterRequest, WatchApplyRequest,
    registrar_service_client::RegistrarServiceClient as Client, upload_devices_request::Part,
};
use sqlx::PgConnection;
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tonic::transport::Channel;

use super::{
    bare::{self, Bare},
    board::Board,
    etcd::{self, Etcd},
    process,
    stack::{Setup, Stack},
    stage::Stage,
};

/// Connections that the watchers share.
const CONNECTIONS: usize = 10;

/// How long all events may take to reach all watchers.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whom the watchers watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Registrar,
    Etcd,
    Bare,
}

/// A server with something to watch.
pub(crate) struct Watched {
    source: Source,
    address: String,
    /// The number of the latest event.
    number: i64,
}

#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum Source {
    Registrar {
        stack: Stack,
        apply: i64,
        writer: PgConnection,
    },
    Etcd {
        server: Etcd,
        writer: Channel,
    },
    Bare {
        server: Bare,
        writer: Client<Channel>,
    },
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Self::Registrar { .. } => "registrar",
            Self::Etcd { .. } => "etcd",
            Self::Bare { .. } => "bare tonic",
        }
    }
}

impl Watched {
    /// A fresh server; its first event is there.
    pub(crate) async fn start(kind: Kind, stage: &mut Stage) -> anyhow::Result<Self> {
        let (source, address) = match kind {
            Kind::Registrar => {
                let stack = Stack::start(stage, Setup::PUBLISHED).await?;
                let address = stack.replicas[0].address.clone();
                let apply = unsealed(&address).await?;
                let writer = stack.database.connect().await?;
                let source = Source::Registrar {
                    stack,
                    apply,
                    writer,
                };
                (source, address)
            }
            Kind::Etcd => {
                let server = Etcd::start().await?;
                let address = server.address.clone();
                let writer = connect(&address).await?;
                (Source::Etcd { server, writer }, address)
            }
            Kind::Bare => {
                let server = Bare::start(None)?;
                let address = server.address.clone();
                let writer = Client::new(connect(&address).await?);
                (Source::Bare { server, writer }, address)
            }
        };
        Ok(Self {
            source,
            address,
            number: 1,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.source {
            Source::Registrar { stack, .. } => stack.replicas[0].pid(),
            Source::Etcd { server, .. } => server.pid(),
            Source::Bare { server, .. } => server.pid(),
        }
    }

    /// So many watchers, each of which has had an event, on connections of their own.
    pub(crate) async fn watchers(&mut self, count: usize) -> anyhow::Result<Watchers> {
        let board = Arc::new(Board::default());
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(connect(&self.address).await?);
        }
        let mut opening = JoinSet::new();
        for n in 0..count {
            let (channel, after) = (channels[n % CONNECTIONS].clone(), self.number);
            match &self.source {
                Source::Registrar { apply, .. } => {
                    opening.spawn(watch(channel, *apply, after));
                }
                Source::Bare { .. } => {
                    opening.spawn(watch(channel, 1, after));
                }
                Source::Etcd { .. } => {
                    opening.spawn(async move { Ok(etcd::watch(&channel).await?.boxed()) });
                }
            }
        }
        let mut tasks = JoinSet::new();
        while let Some(numbers) = opening.join_next().await {
            let (mut numbers, board) = (numbers??, board.clone());
            tasks.spawn(async move {
                while let Some(number) = numbers.next().await {
                    board.delivered(number);
                }
            });
        }
        let watchers = Watchers {
            count,
            board,
            _tasks: tasks,
        };
        self.publish(&watchers, 1, None).await?;
        Ok(watchers)
    }

    /// Publishes events, `every` so often or each after the last, until all watchers have them.
    pub(crate) async fn publish(
        &mut self,
        watchers: &Watchers,
        events: usize,
        every: Option<Duration>,
    ) -> anyhow::Result<Told> {
        let board = &watchers.board;
        board.clear(self.number + 1);
        let mut ticks = every.map(tokio::time::interval);
        if let Some(ticks) = &mut ticks {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let (cpu, begun) = (process::cpu(self.pid()), Instant::now());
        for _ in 0..events {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            self.number += 1;
            board.publishes(self.number);
            self.write().await?;
        }
        let deliveries = (events * watchers.count) as u64;
        let all = async {
            while board.count() < deliveries {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let all = tokio::time::timeout(PATIENCE, all).await;
        all.with_context(|| {
            let (who, told) = (self.source.name(), board.count());
            format!("{told} of {deliveries} deliveries by {who}")
        })?;
        let took = begun.elapsed();
        let cpu = process::cpu(self.pid()) - cpu;
        Ok(Told {
            p50: board.quantile(0.5),
            p99: board.quantile(0.99),
            per_second: deliveries as f64 / took.as_secs_f64(),
            cpu: cpu / deliveries as f64,
        })
    }

    /// Writes the next event; returns once it is acknowledged.
    async fn write(&mut self) -> anyhow::Result<()> {
        match &mut self.source {
            Source::Registrar { apply, writer, .. } => {
                sqlx::query(EVENT)
                    .bind(*apply)
                    .execute(&mut *writer)
                    .await?;
                sqlx::query("SELECT pg_notify('registrar', 'bench')")
                    .execute(&mut *writer)
                    .await?;
            }
            Source::Etcd { writer, .. } => {
                etcd::put(writer, bare::event(self.number).encode_to_vec()).await?;
            }
            Source::Bare { writer, .. } => {
                let request = RegisterRequest {
                    apply_id: self.number,
                    ..Default::default()
                };
                writer.register(request).await?;
            }
        }
        Ok(())
    }
}

/// What a record transaction leaves: the apply as it stands now, and the same as its next event.
const EVENT: &str = "WITH now_is AS (
        UPDATE applies SET revision = revision + 1, updated_at = clock_timestamp()
        WHERE apply_id = $1 RETURNING *)
    INSERT INTO events (apply_id, revision, status, total, valid, invalid, created, failed,
                        unknown, cancelled, cancelling, sealed, at)
    SELECT apply_id, revision, status, total, valid, invalid, created, failed, unknown, cancelled,
           cancelling, sealed, updated_at
    FROM now_is";

/// An upload that waits for more devices: an apply that no worker moves.
pub(crate) async fn unsealed(address: &str) -> anyhow::Result<i64> {
    let start = pb::UploadStart {
        product_key: "a1BenchWatch".into(),
        ..Default::default()
    };
    let start = pb::UploadDevicesRequest {
        part: Some(Part::Start(start)),
    };
    let parts = futures_util::stream::iter([start]);
    let mut client = Client::new(connect(address).await?);
    let mut answers = client.upload_devices(parts).await?.into_inner();
    let begun = answers.message().await?.context("no answer")?;
    Ok(begun.apply.context("no apply")?.apply_id)
}

pub(crate) async fn connect(address: &str) -> anyhow::Result<Channel> {
    Ok(Channel::from_shared(format!("http://{address}"))?
        .connect()
        .await?)
}

async fn watch(
    channel: Channel,
    apply_id: i64,
    after_revision: i64,
) -> anyhow::Result<BoxStream<'static, i64>> {
    let request = WatchApplyRequest {
        apply_id,
        after_revision,
        ..Default::default()
    };
    let events = Client::new(channel)
        .watch_apply(request)
        .await?
        .into_inner();
    Ok(events
        .filter_map(async |message| {
            let message = message.ok().filter(|message| !message.heartbeat)?;
            message.apply.map(|apply| apply.revision)
        })
        .boxed())
}

/// Open watches; they end with this value.
pub(crate) struct Watchers {
    count: usize,
    board: Arc<Board>,
    _tasks: JoinSet<()>,
}

/// How events were told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) per_second: f64,
    /// Seconds of the server for each delivery.
    pub(crate) cpu: f64,
}
