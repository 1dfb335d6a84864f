//! Every setting, from flags and from the environment. No room reads the environment itself.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use crate::{cli, dev, doctor, hub, service, simulator, store, telemetry, upstream, worker};

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
    /// Serve the upstream's HTTP API without the upstream, for tests and development
    Simulate(Box<Simulate>),
    /// Serve everything in one process: a private PostgreSQL, the simulator and the service
    Dev(Box<Dev>),
    /// Look at the upstream account before its first use: key, clock, region, instance, product,
    /// quotas and permissions, each with what to do. Changes nothing
    Doctor(Box<Doctor>),
    /// Speak to the service as a client.
    #[command(flatten)]
    Client(cli::Command),
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
    pub worker: worker::Options,
    #[command(flatten)]
    pub hub: hub::Options,
    #[command(flatten)]
    pub service: service::Options,
}

/// Settings of `migrate`.
#[derive(Clone, Debug, Args)]
pub struct Migrate {
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
#[command(mut_args(|arg| { let hide = IDLE.contains(&arg.get_id().as_str()); arg.hide(hide) }))]
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
    pub worker: worker::Options,
}

/// Settings of the workers that have no say in their rates, and so none in `doctor`.
const IDLE: [&str; 5] = [
    "lease",
    "steps",
    "permit_window",
    "probe_every",
    "upstream_time_window",
];

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
                check(serve.rooms.upstream.check())?;
                check(serve.check())?;
            }
            Command::Migrate(migrate) => database_url(&mut migrate.store),
            Command::Simulate(simulate) => check(simulate.simulator.check())?,
            Command::Dev(dev) => {
                surroundings(&mut dev.serve);
                check(dev.simulator.check())?;
                check(dev.serve.check())?;
            }
            Command::Doctor(doctor) => {
                check(doctor.upstream.check())?;
                check(doctor.worker.check())?;
            }
            Command::Client(_) => {}
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
        worker.check()?;
        self.rooms.retention.check()?;
        if self.rooms.store.database_connections < 2 {
            return Err("at least 2 connections to the database are needed".into());
        }
        let service = &self.rooms.service;
        if service.submissions_at_once == 0 || service.streams_per_connection == 0 {
            return Err("at least one submission and one stream must be allowed".into());
        }
        let short = Duration::from_millis(1);
        for (name, every) in [
            ("look-every", self.rooms.hub.look_every),
            ("heartbeat", service.heartbeat),
            ("call-timeout", service.call_timeout),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_a_flag_with_a_variable_and_stands_in_the_readme() {
        let readme = include_str!("../README.md");
        let mut command = Config::command();
        command.build();
        for subcommand in command
            .get_subcommands()
            .filter(|one| one.get_name() != "help")
        {
            let settings = subcommand
                .get_arguments()
                .filter(|arg| !arg.is_positional())
                .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()));
            for setting in settings {
                let flag = setting.get_long().expect("every setting is a flag");
                let variable = setting.get_env().expect(flag).to_str().expect("text");
                assert!(variable.starts_with("REGISTRAR_"), "{variable}");
                let row = format!("| `--{flag}` | `{variable}` |");
                assert!(readme.contains(&row), "README.md lacks {row}");
            }
        }
    }

    #[test]
    fn settings_that_disagree_are_refused() {
        let parse = |flags: &[&str]| {
            let base = ["registrar", "dev"].iter().chain(flags);
            Config::read(base.map(OsString::from))
        };
        assert!(parse(&[]).is_ok());
        for flags in [
            &["--exit"][..],
            &["--check-rate", "0"],
            &["--quota-share", "1.5"],
            &["--database-connections", "1"],
            &["--lease", "20m"],
            &["--look-every", "0s"],
            &["--submissions-at-once", "0"],
            &["--retain-for", "0s"],
            &["--max-queued-devices", "99999"],
            &["--simulator-exists", "nonsense"],
        ] {
            assert!(parse(flags).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn a_wrong_command_line_exits_with_1_and_help_with_0() {
        let read = |line: &str| Config::read(line.split(' ').map(OsString::from));
        for line in [
            "registrar",
            "registrar nonsense",
            "registrar check --product-key a1",
            "registrar check devices.csv",
            "registrar check devices.csv --product-key a1 --generate p-{seq} --count 3",
            "registrar check --product-key a1 --generate p-{seq}",
            "registrar check devices.csv --product-key a1 --label lot",
            "registrar get seventeen",
            "registrar get 0",
            "registrar list --status done",
            "registrar list --limit 0",
            "registrar watch 17 --after-revision=-1",
        ] {
            let error = read(line).expect_err(line);
            assert_eq!(refuse(&error), ExitCode::FAILURE, "{line}");
        }
        for line in [
            "registrar --help",
            "registrar check --help",
            "registrar --version",
        ] {
            let error = read(line).expect_err(line);
            assert_eq!(refuse(&error), ExitCode::SUCCESS, "{line}");
        }
        for line in [
            "registrar check - --product-key a1 --label lot=7 --label shift=late --no-watch",
            "registrar check --product-key a1 --generate p-{seq} --count 3 --validate-only",
            "registrar list --status check-failed,CREATE_FAILED --label lot=7",
            "registrar devices 17 --outcome invalid --outcome failed",
        ] {
            assert!(read(line).is_ok(), "{line}");
        }
    }
}
