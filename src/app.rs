//! Builds the rooms and joins them; the only file that knows all of them.

mod dev;
mod essentials;
mod files;

use std::{
    io::{BufWriter, Write as _},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
};
use tokio_util::sync::CancellationToken;

use self::essentials::{Essentials, endless};
use crate::{
    admin, cli,
    config::{Command, Config, Doctor, Migrate, Reconcile, Serve, Simulate},
    credentials::Credentials,
    doctor,
    hub::Hub,
    lanes::Lanes,
    service::{self, Access, Health, Means, Service, Tls},
    simulator::Simulator,
    store::{self, Store},
    telemetry::{self, Exporting, metrics},
    upstream::Client,
    vault::Vault,
    worker::Worker,
};

/// How often readiness is looked at.
const READINESS: Duration = Duration::from_secs(1);

/// Does what the command line says, until it is done or told to stop, and gives the code to exit
/// with.
pub fn run(config: Config) -> ExitCode {
    let ended = begin(&config).map(|(runtime, exporting)| {
        let result = runtime.block_on(perform(config.command));
        if let Err(error) = &result {
            tracing::error!("{error:#}");
        }
        exporting.stop();
        // What has not ended by now was given its time.
        runtime.shutdown_timeout(Duration::from_millis(100));
        result.unwrap_or(ExitCode::FAILURE)
    });
    ended.unwrap_or_else(|error| {
        // Nothing is logged yet.
        writeln!(std::io::stderr(), "error: {error:#}").ok();
        ExitCode::FAILURE
    })
}

/// A runtime, and what is exported from it.
fn begin(config: &Config) -> anyhow::Result<(Runtime, Exporting)> {
    let default = match &config.command {
        Command::Dev(_) => "warn,registrar::app=info",
        Command::Serve(_) | Command::Migrate(_) | Command::Simulate(_) => "info",
        Command::Reconcile(settings) if settings.restored => "info",
        Command::Doctor(_) | Command::Token(_) | Command::Client(_) | Command::Reconcile(_) => {
            "error"
        }
    };
    let serves = match &config.command {
        Command::Serve(settings) => Some(&settings.export),
        Command::Dev(settings) => Some(&settings.serve.export),
        Command::Migrate(_)
        | Command::Simulate(_)
        | Command::Token(_)
        | Command::Doctor(_)
        | Command::Reconcile(_)
        | Command::Client(_) => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let exporting = {
        let _within = runtime.enter();
        telemetry::start(&config.telemetry, default, serves)?
    };
    Ok((runtime, exporting))
}

async fn perform(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(settings) => serve(*settings, &stop_on_signal()?, None).await?,
        Command::Migrate(settings) => migrate(&settings).await?,
        Command::Reconcile(settings) if settings.restored => restored(&settings).await?,
        Command::Reconcile(settings) => {
            let command = cli::Command::Reconcile(settings.asks);
            return Ok(client(command, stop_on_signal()?).await);
        }
        Command::Simulate(settings) => simulate(*settings, stop_on_signal()?).await?,
        Command::Dev(settings) => dev::run(*settings, stop_on_signal()?).await?,
        Command::Token(settings) => make_token(&settings)?,
        Command::Doctor(settings) => return examine(*settings).await,
        // What it watches goes on without it.
        Command::Client(command) => return Ok(client(*command, stop_on_signal()?).await),
    }
    Ok(ExitCode::SUCCESS)
}

/// The first SIGINT or SIGTERM asks for a stop; the second one ends the process.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = stop.clone();
    let wait = async move {
        for asked_before in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked_before {
                std::process::exit(130);
            }
            token.cancel();
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the process; nobody waits for it"
    )]
    tokio::spawn(wait);
    Ok(stop)
}

fn open_store(options: &store::Options) -> anyhow::Result<Store> {
    let url = options.database_url.as_deref().context(
        "no database is given: set --database-url or REGISTRAR_DATABASE_URL, or run `registrar dev`",
    )?;
    let connect = url.parse().context("the database URL is not one")?;
    Ok(
        Store::new(connect, options.database_connections, &options.account)
            .with_patience(options.database_timeout)
            .with_max_queued(options.max_queued_devices),
    )
}

/// A client command, which tells people what went wrong in the way that wrong usage is told.
async fn client(command: cli::Command, stop: CancellationToken) -> ExitCode {
    let mut out = BufWriter::new(std::io::stdout());
    match cli::run(command, &mut out, stop.cancelled()).await {
        Ok(ended) => ended.into(),
        Err(error) => {
            // What is already found out stands before what went wrong, where both can be told.
            drop((out.flush(), writeln!(std::io::stderr(), "error: {error:#}")));
            ExitCode::FAILURE
        }
    }
}

/// Looks at the upstream account; the code says whether something is to be mended.
async fn examine(settings: Doctor) -> anyhow::Result<ExitCode> {
    let rates = settings.lanes.rates();
    let json = settings.output == cli::Output::Json;
    let mut out = BufWriter::new(std::io::stdout());
    let (options, upstream) = (&settings.doctor, &settings.upstream);
    let report = doctor::run(options, upstream, &rates, json, &mut out).await?;
    Ok(ExitCode::from(u8::from(!report.is_well())))
}

async fn migrate(settings: &Migrate) -> anyhow::Result<()> {
    let store = open_store(&settings.store)?;
    store.migrate().await?;
    tracing::info!("the schema is up to date");
    Ok(())
}

/// Has what is under way asked about, since the database may be older than what was sent.
async fn restored(settings: &Reconcile) -> anyhow::Result<()> {
    let store = open_store(&settings.store)?;
    // Marked first: the pool has no connection before all is marked, and waits less long for that.
    let marked = store.restored().await;
    if marked.is_err() {
        store.check_schema().await?;
    }
    let store::Marked { applies, rounds } = marked?;
    tracing::info!(
        applies,
        rounds,
        "what is under way is asked about before anything of it is sent"
    );
    Ok(())
}

/// The token alone on standard output, so that it can go into a file; the rest beside it.
fn make_token(settings: &service::Token) -> anyhow::Result<()> {
    let (token, lines) = service::make_token(settings);
    writeln!(std::io::stdout(), "{token}")?;
    writeln!(std::io::stderr(), "\n{lines}")?;
    Ok(())
}

async fn simulate(settings: Simulate, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = bind(settings.listen, "--listen").await?;
    let simulator = Simulator::open(&settings.simulator)?;
    tracing::info!(listen = %listener.local_addr()?, "the simulator listens");
    simulator.serve(listener, stop).await
}

/// Serves until `stop`, and on until balancers have noticed. Tells `ready` where, once calls can be
/// served.
async fn serve(
    settings: Serve,
    stop: &CancellationToken,
    ready: Option<oneshot::Sender<SocketAddr>>,
) -> anyhow::Result<()> {
    let rooms = settings.rooms;
    let database_connections = rooms.store.database_connections;
    files::allow(rooms.service.max_connections, database_connections);
    let store = open_store(&rooms.store)?.with_blocking(rooms.worker.blocking());
    store.check_schema().await?;
    let upstream = Client::new(&rooms.upstream)?;
    let vault = Vault::open(&rooms.vault).await?;
    let access = Access::open(&rooms.access)?;
    let tls = Tls::open(&rooms.tls)?;
    let listener = bind(settings.listen, "--listen").await?;
    let admin_listener = bind(settings.admin_listen, "--admin-listen").await?;
    let (address, admin) = (listener.local_addr()?, admin_listener.local_addr()?);

    let mut tasks = Essentials::new(stop);
    // Asked for later than `stop`, once nobody sends new calls any more.
    let end = CancellationToken::new();
    let hub = Hub::new(store.clone(), &rooms.hub);
    let (rates, probe_every) = (rooms.lanes.rates(), rooms.worker.probe_every);
    metrics().known(rates.iter().map(|(lane, rate)| (lane.as_str(), *rate)));
    let lanes = Lanes::new(store.clone(), rooms.lanes);
    let worker = Worker::new(
        store.clone(),
        upstream.clone(),
        vault.clone(),
        lanes.clone(),
        rooms.worker,
        hub.moved(),
    );
    let credentials = Credentials::new(
        store.clone(),
        upstream,
        lanes.clone(),
        rooms.credentials,
        probe_every,
    );
    let means = Means {
        store: store.clone(),
        hub: hub.clone(),
        vault: vault.clone(),
        credentials,
        access: access.clone(),
    };
    let service = Service::new(means, rates, &rooms.service, end.clone());
    let health = Health::new().await;
    let clock = lanes.clock_is_accepted();
    let readiness = tell_readiness(store.clone(), clock.clone(), health.clone(), stop.clone());
    tasks.spawn("readiness", endless(readiness));
    let bell = store.clone();
    let rings = end.clone();
    tasks.spawn(
        "bell",
        endless(async move { bell.pass_rings_on(rings).await }),
    );
    let (retained, retention, until) = (store.clone(), rooms.retention, stop.clone());
    tasks.spawn(
        "retention",
        endless(async move { retained.retain(&retention, &until).await }),
    );
    tasks.spawn("vault", endless(vault.watch(stop.clone())));
    tasks.spawn("hub", endless(hub.run(end.clone())));
    tasks.spawn("worker", endless(worker.run(stop.clone())));
    let tell = admin::tell_state(store.clone(), settings.export.metrics_every, end.clone());
    tasks.spawn("state", endless(tell));
    let health_over_http = admin::Health::new(store.clone(), clock, stop.clone());
    tasks.spawn(
        "admin",
        admin::serve(admin_listener, health_over_http, end.clone()),
    );
    tasks.spawn(
        "service",
        service::serve(
            service,
            listener,
            tls.clone(),
            health.clone(),
            settings.grace,
        ),
    );
    let files = service::keep_fresh(access, tls, stop.clone());
    tasks.spawn("files", endless(files));
    tracing::info!(listen = %address, admin = %admin, "registrar serves");
    if let Some(ready) = ready {
        // Nobody may be waiting any more.
        let _ = ready.send(address);
    }

    stop.cancelled().await;
    tracing::info!("not ready any more: the process drains");
    health.set_ready(false).await;
    tokio::time::sleep(settings.drain_delay).await;
    end.cancel();
    let ended = tokio::time::timeout(settings.grace, tasks.wait()).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), store.close()).await;
    ended.unwrap_or_else(|_| {
        tracing::warn!("the grace is over; what is in flight is left to the leases");
        Ok(())
    })
}

/// Ready is who reaches the database and has a clock that the upstream accepts.
async fn tell_readiness(
    store: Store,
    clock: watch::Receiver<bool>,
    health: Health,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let ready = admin::obstacle(&store, &clock).await.is_none();
        if stop.is_cancelled() {
            return;
        }
        health.set_ready(ready).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(READINESS) => {}
        }
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
}
