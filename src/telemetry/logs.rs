//! Log lines on standard error.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry::LookupSpan};

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

/// Writes log lines.
pub(super) fn lines<S>(format: Format) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        Format::Text => Box::new(lines),
        Format::Json => Box::new(lines.json().flatten_event(true)),
    }
}
