//! Logs.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, fmt};

/// What is logged, and how.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct Options {
    /// What is logged, such as `info` or `warn,registrar::worker=debug`. `dev` logs where it
    /// serves and warnings, the client errors, the others information, unless this says otherwise
    #[arg(long, env = "REGISTRAR_LOG", global = true)]
    pub log: Option<EnvFilter>,

    /// How log lines look
    #[arg(long, env = "REGISTRAR_LOG_FORMAT", value_enum, default_value_t = Format::Text,
          global = true)]
    pub log_format: Format,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for people.
    Text,
    /// An object for machines.
    Json,
}

/// Logs to standard error from now on.
pub fn start(options: Options, default: &str) {
    let filter = options.log.unwrap_or_else(|| EnvFilter::new(default));
    let lines = fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // An error only says that a subscriber is there already.
    let _ = match options.log_format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
}
