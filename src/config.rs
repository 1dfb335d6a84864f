//! Every setting, from flags and from the environment. No room reads the environment itself.

mod reach;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{ArgGroup, Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use crate::{
    breaking, cli, credentials, dev, doctor, hub, lanes, service, simulator, store, telemetry,
    upstream, vault, worker,
};

/// Registers IoT devices in bulk on Alibaba Cloud IoT Platform, without losing one.
#[derive(Debug, Parser)]
#[command(name = "registrar", version, about, max_term_width = 100)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// What is logged.
    #[command(flatten)]
    pub telemetry: telemetry::Options,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API and work the lanes, against a database and an upstream
    Serve(Box<Serve>),
    /// Bring the schema of the database up to date
    Migrate(Migrate),
    /// Have UNKNOWN devices asked after at once; or, of a database that was restored to an older
    /// state, have everything under way asked about before anything of it is sent
    Reconcile(Box<Reconcile>),
    /// Serve the upstream's HTTP API without the upstream, for tests and development
    Simulate(Box<Simulate>),
    /// Serve everything in one process: a private PostgreSQL, the simulator and the service
    Dev(Box<Dev>),
    /// Make a token for a caller, and the lines for the access file
    Token(service::Token),
    /// Look at the upstream account before its first use: key, clock, region, instance, product,
    /// quotas and permissions, each with what to do. Changes nothing
    Doctor(Box<Doctor>),
    /// Speak to the service as a client.
    #[command(flatten)]
    Client(Box<cli::Command>),
}

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// Where the gRPC API listens
    #[arg(long, env = "REGISTRAR_LISTEN", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,

    /// Where health and metrics are told over HTTP
    #[arg(long, env = "REGISTRAR_ADMIN_LISTEN", default_value = "127.0.0.1:9464")]
    pub admin_listen: SocketAddr,

    /// How long the process serves on once it is told to stop and not ready any more, so that
    /// balancers notice. It takes no new steps meanwhile
    #[arg(long, env = "REGISTRAR_DRAIN_DELAY", default_value = "1s",
          value_parser = humantime::parse_duration)]
    pub drain_delay: Duration,

    /// How long calls and steps in flight may take to finish after that
    #[arg(long, env = "REGISTRAR_GRACE", default_value = "10s",
          value_parser = humantime::parse_duration)]
    pub grace: Duration,

    /// Listen beyond loopback although there is no access file: everyone who reaches the port may do
    /// everything, and in plain text unless there is a certificate
    #[arg(long, env = "REGISTRAR_OPEN_TO_EVERYONE")]
    pub open_to_everyone: bool,

    /// Listen beyond loopback without TLS: everyone on the way can read tokens and secrets, unless
    /// something in front of this does TLS
    #[arg(long, env = "REGISTRAR_PLAIN_TEXT")]
    pub plain_text: bool,

    /// What is exported.
    #[command(flatten)]
    pub export: telemetry::Export,

    /// The rooms.
    #[command(flatten)]
    pub rooms: Rooms,
}

/// Settings of the rooms that make up the service.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "each room documents its own")]
pub struct Rooms {
    #[command(flatten)]
    pub store: store::Options,
    #[command(flatten)]
    pub retention: store::Retention,
    #[command(flatten)]
    pub upstream: upstream::Options,
    #[command(flatten)]
    pub lanes: lanes::Options,
    #[command(flatten)]
    pub vault: vault::Options,
    #[command(flatten)]
    pub worker: worker::Options,
    #[command(flatten)]
    pub credentials: credentials::Options,
    #[command(flatten)]
    pub hub: hub::Options,
    #[command(flatten)]
    pub service: service::Options,
    #[command(flatten)]
    pub access: service::AccessOptions,
    #[command(flatten)]
    pub tls: service::TlsOptions,
}

/// Settings of `migrate`.
#[derive(Clone, Debug, Args)]
pub struct Migrate {
    /// The database.
    #[command(flatten)]
    pub store: store::Options,
}

/// Settings of `reconcile`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").args(["apply_id", "all", "restored"]).required(true))]
pub struct Reconcile {
    /// Tell the database, and no server, that it was restored to an older state: to be done before
    /// replicas serve on it
    #[arg(long, env = "REGISTRAR_RESTORED")]
    pub restored: bool,

    /// What a server is asked for.
    #[command(flatten)]
    pub asks: cli::Reconcile,

    /// The database.
    #[command(flatten)]
    pub store: store::Options,
}

/// Settings of `simulate`.
#[derive(Clone, Debug, Args)]
pub struct Simulate {
    /// Where the simulator listens
    #[arg(
        long,
        env = "REGISTRAR_SIMULATOR_LISTEN",
        default_value = "127.0.0.1:8090"
    )]
    pub listen: SocketAddr,

    /// The simulator.
    #[command(flatten)]
    pub simulator: simulator::Options,
}

/// Settings of `dev`.
#[derive(Clone, Debug, Args)]
pub struct Dev {
    /// Where the simulator listens
    #[arg(
        long,
        env = "REGISTRAR_SIMULATOR_LISTEN",
        default_value = "127.0.0.1:8090"
    )]
    pub simulator_listen: SocketAddr,

    /// Submit this CSV file as a client would, watch it, have its valid devices registered, and
    /// print what became of it
    #[arg(long, env = "REGISTRAR_SUBMIT", value_name = "FILE")]
    pub submit: Option<PathBuf>,

    /// Stop when the submitted apply has settled
    #[arg(long, env = "REGISTRAR_EXIT", requires = "submit")]
    pub exit: bool,

    /// Where everything is kept.
    #[command(flatten)]
    pub dev: dev::Options,

    /// The service.
    #[command(flatten)]
    pub serve: Serve,

    /// The simulator.
    #[command(flatten)]
    pub simulator: simulator::Options,
}

/// Settings of `doctor`: what to look at, and those of `serve` that say where the upstream is and
/// how fast it is called.
#[derive(Clone, Debug, Args)]
#[command(mut_args(|arg| { let hide = arg.get_id() == IDLE; arg.hide(hide) }))]
pub struct Doctor {
    /// What to look at.
    #[command(flatten)]
    pub doctor: doctor::Options,

    /// How lines are written: for people (`text`), or as one JSON object a line (`json`)
    #[arg(long, env = "REGISTRAR_OUTPUT", value_enum, default_value_t = cli::Output::Text)]
    #[arg(hide_possible_values = true)]
    pub output: cli::Output,

    /// The upstream.
    #[command(flatten)]
    pub upstream: upstream::Options,

    /// The rates.
    #[command(flatten)]
    pub lanes: lanes::Options,
}

/// A setting of the lanes that has no say in their rates, and so none in `doctor`.
const IDLE: &str = "permit_window";

impl Config {
    /// What the command line and the environment say, checked. Help that was asked for comes as an
    /// error, too.
    pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(line)?.checked()
    }

    /// Fills in what the environment says under other names, and refuses settings that are each
    /// fine and together wrong.
    fn checked(mut self) -> Result<Self, clap::Error> {
        match &mut self.command {
            Command::Serve(serve) => {
                surroundings(serve);
                check(orders())?;
                check(serve.rooms.upstream.check())?;
                check(serve.check())?;
            }
            Command::Migrate(migrate) => database_url(&mut migrate.store),
            Command::Reconcile(reconcile) => {
                database_url(&mut reconcile.store);
                reconcile.asks.connection.credentials.token = token();
            }
            Command::Simulate(simulate) => check(simulate.simulator.check())?,
            Command::Dev(dev) => {
                surroundings(&mut dev.serve);
                check(dev.simulator.check())?;
                check(dev.check_submit())?;
                check(dev.serve.check())?;
            }
            Command::Doctor(doctor) => {
                check(doctor.upstream.check())?;
                check(doctor.lanes.check())?;
            }
            Command::Client(client) => client.credentials().token = token(),
            Command::Token(_) => {}
        }
        Ok(self)
    }
}

/// Says what is wrong with the command line, or the help that was asked for, and gives the code to
/// exit with: 1 for what is wrong, since 2 is said of devices.
pub fn refuse(error: &clap::Error) -> ExitCode {
    // Where nobody reads, there is nobody to tell.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

impl Serve {
    fn check(&self) -> Result<(), String> {
        let worker = &self.rooms.worker;
        self.rooms.lanes.check()?;
        worker.check()?;
        self.check_reach()?;
        self.rooms.retention.check()?;
        self.rooms.vault.check()?;
        if self.rooms.store.database_connections < 2 {
            return Err("at least 2 connections to the database are needed".into());
        }
        let service = &self.rooms.service;
        if service.submissions_at_once == 0
            || service.streams_per_connection == 0
            || service.exports_at_once == 0
        {
            return Err("at least one submission, export and stream must be allowed".into());
        }
        let short = Duration::from_millis(1);
        for (name, every) in [
            ("look-every", self.rooms.hub.look_every),
            ("heartbeat", service.heartbeat),
            ("call-timeout", service.call_timeout),
            ("export-patience", self.rooms.credentials.export_patience),
            ("upload-idle", service.upload_idle),
            ("probe-every", worker.probe_every),
            ("metrics-every", self.export.metrics_every),
            ("max-connection-age", service.max_connection_age),
        ] {
            if every < short {
                return Err(format!("--{name} must be at least 1ms"));
            }
        }
        if worker.upstream_time_window <= worker.lease {
            return Err(format!(
                "--upstream-time-window is {:?} and must be longer than --lease, which is {:?}",
                worker.upstream_time_window, worker.lease
            ));
        }
        Ok(())
    }
}

fn check(result: Result<(), String>) -> Result<(), clap::Error> {
    result.map_err(|text| Config::command().error(ErrorKind::ValueValidation, text))
}

/// What a test has told this process to break.
fn orders() -> Result<(), String> {
    let told = |name| std::env::var_os(name).unwrap_or_default();
    let (die_at, faults) = (told("REGISTRAR_DIE_AT"), told("REGISTRAR_FAULTS"));
    breaking::obey(&die_at.to_string_lossy(), &faults.to_string_lossy())
}

/// What the environment says to `serve` under names that are not ours.
fn surroundings(serve: &mut Serve) {
    database_url(&mut serve.rooms.store);
    let collector = std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT");
    serve.export.by_environment = collector.is_some_and(|url| !url.is_empty());
}

/// `DATABASE_URL` is what other tools call it.
fn database_url(store: &mut store::Options) {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the environment is read"
    )]
    let other = || std::env::var("DATABASE_URL").ok();
    store.database_url = store
        .database_url
        .take()
        .filter(|url| !url.is_empty())
        .or_else(other);
}

/// The token of the client, which is no flag: others on the machine could read it.
fn token() -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the environment is read"
    )]
    let token = std::env::var("REGISTRAR_TOKEN").ok();
    token.filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests;
