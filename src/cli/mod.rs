//! The client side: the commands that speak to the service, over gRPC alone.
//!
//! Nothing here knows more than any other client of the API does. What people watch goes to stderr,
//! what they keep goes to the writer that the caller hands in. Start at [`run`]; each command has a
//! file of its own.

mod address;
mod aside;
mod cancel;
mod cells;
mod check;
mod client;
mod connect;
mod counts;
mod credentials;
mod devices;
mod end;
mod explain;
mod export;
mod failure;
mod file;
mod find;
mod follow;
mod genuine;
mod get;
mod header;
mod health;
mod json;
mod lines;
mod list;
mod next;
mod numbering;
mod options;
mod parting;
mod patience;
mod printer;
mod probe;
mod progress;
mod quota;
mod recognize;
mod reconcile;
mod register;
mod report;
mod rows;
mod shown;
mod submit;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod time;
mod upload;
mod watch;
mod words;

use std::{future::Future, io::Write, process::ExitCode};

use clap::Subcommand;

use self::{parting::Parting, printer::Printer};

pub use self::{
    cancel::Cancel,
    check::Check,
    credentials::Credentials,
    devices::Devices,
    explain::Explain,
    export::{Export, Format},
    find::Find,
    get::Get,
    health::Health,
    list::List,
    options::{Connection, Output, Repeat, Stay},
    quota::Quota,
    reconcile::Reconcile,
    register::Register,
    submit::{Submit, Summary},
    upload::Upload,
    watch::Watch,
};

/// A command of the client.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit devices, watch them being checked, and tell which were refused
    Check(Check),
    /// Submit any number of devices, in a way that goes on where it was cut off, and watch them being
    /// checked
    Upload(Upload),
    /// Have the valid devices of a checked apply registered, and watch that
    Register(Register),
    /// Watch an apply
    Watch(Watch),
    /// Show an apply as it stands
    Get(Get),
    /// List applies, the newest first
    List(List),
    /// List the devices of an apply, each with its outcome and reason
    Devices(Devices),
    /// Export the devices of an apply to a file, with their credentials when asked for
    Export(Export),
    /// Find the applies that a device is in, the newest first
    Find(Find),
    /// Cancel an apply, and watch what is in flight finish
    Cancel(Cancel),
    /// Have UNKNOWN devices asked after at once. On the command line it shares its name with what is
    /// done to a database, and so stands beside these.
    #[command(skip)]
    Reconcile(Reconcile),
    /// Tell the history of an apply, every upstream call included, and what it waits for
    Explain(Explain),
    /// Tell the level and use of each quota
    Quota(Quota),
    /// Tell whether a server is ready for calls, in one line and by the exit code
    Health(Health),
}

impl Command {
    /// Who the client is, whichever command it is.
    pub fn credentials(&mut self) -> &mut Credentials {
        let connection = match self {
            Self::Check(it) => &mut it.connection,
            Self::Upload(it) => &mut it.connection,
            Self::Export(it) => &mut it.connection,
            Self::Register(it) => &mut it.connection,
            Self::Watch(it) => &mut it.connection,
            Self::Get(it) => &mut it.connection,
            Self::List(it) => &mut it.connection,
            Self::Devices(it) => &mut it.connection,
            Self::Find(it) => &mut it.connection,
            Self::Cancel(it) => &mut it.connection,
            Self::Reconcile(it) => &mut it.connection,
            Self::Explain(it) => &mut it.connection,
            Self::Quota(it) => &mut it.connection,
            Self::Health(it) => &mut it.connection,
        };
        &mut connection.credentials
    }
}

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is amiss: no device has failed to make it.
    Well,
    /// Some devices did not make it, or the one looked for is nowhere.
    Short,
    /// Nobody reads the answer any more, so it was not told to its end.
    Unread,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Well => Self::SUCCESS,
            Ended::Unread => Self::FAILURE,
            Ended::Short => Self::from(2),
        }
    }
}

/// Does what the command says and writes the answer to `out`, unless `interrupt` is over first.
///
/// # Errors
///
/// A file that cannot be read as devices, a server that stays out of reach, a call it refuses, an
/// interruption, or an `out` that takes no more for another reason than that its reader has gone.
/// The text says what to do next.
pub async fn run(
    command: Command,
    out: &mut impl Write,
    interrupt: impl Future<Output = ()>,
) -> anyhow::Result<Ended> {
    let parting = Parting::default();
    tokio::select! {
        ended = done(command, out, &parting) => ended,
        () = interrupt => Err(parting.interrupted()),
    }
}

async fn done(command: Command, out: &mut impl Write, parting: &Parting) -> anyhow::Result<Ended> {
    let ended = match command {
        Command::Check(check) => check.run(out, parting).await,
        Command::Upload(upload) => upload.run(out, parting).await,
        Command::Register(register) => register.run(out, parting).await,
        Command::Watch(watch) => watch.run(out, parting).await,
        Command::Get(get) => get.run(out).await,
        Command::List(list) => list.run(out).await,
        Command::Devices(devices) => devices.run(out).await,
        Command::Export(export) => export.run(out, parting).await,
        Command::Find(find) => find.run(out).await,
        Command::Cancel(cancel) => cancel.run(out, parting).await,
        Command::Reconcile(reconcile) => reconcile.run(out).await,
        Command::Explain(explain) => explain.run(out).await,
        Command::Quota(quota) => quota.run(out).await,
        Command::Health(health) => health.run(out).await,
    };
    let ended = ended.and_then(|ended| Printer::new(out, Output::Text).flush().map(|()| ended));
    match ended {
        Err(error) if printer::is_broken_pipe(&error) => Ok(Ended::Unread),
        ended => ended,
    }
}
