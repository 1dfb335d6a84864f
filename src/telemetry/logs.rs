//! Log lines on standard error.

use std::{error::Error, fmt::Debug, io::IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{
        self, FmtContext, FormatFields,
        format::{FormatEvent, Writer},
    },
    registry::LookupSpan,
};

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
        Format::Json => Box::new(
            lines
                .json()
                .flatten_event(true)
                .map_event_format(WithSources),
        ),
    }
}

/// Lines of JSON that tell what an error comes from, as `error.sources`. The lines for people do by
/// themselves.
struct WithSources<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithSources<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut sources = Sources::default();
        event.record(&mut sources);
        if sources.0.is_empty() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let sources = serde_json::Value::from(sources.0);
        match line.trim_end().strip_suffix('}') {
            Some(object) => writeln!(writer, r#"{object},"error.sources":{sources}}}"#),
            None => writer.write_str(&line),
        }
    }
}

/// What the error of an event comes from, the nearest first.
#[derive(Default)]
struct Sources(Vec<String>);

impl Visit for Sources {
    fn record_error(&mut self, _: &Field, error: &(dyn Error + 'static)) {
        let mut source = error.source();
        while let Some(error) = source {
            self.0.push(error.to_string());
            source = error.source();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_json_tells_what_an_error_comes_from() {
        let written = Written::default();
        let writer = written.clone();
        let lines = fmt::layer()
            .with_writer(move || writer.clone())
            .json()
            .flatten_event(true)
            .map_event_format(WithSources);
        let cause = io::Error::other("the \"cable\" is out");
        let outer = anyhow::Error::new(cause).context("it is not reachable");

        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::error!(error = outer.as_ref() as &dyn Error, "it failed");
            tracing::info!("nothing failed");
        });

        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let told: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(told[0]["error"], "it is not reachable");
        let sources = serde_json::json!(["the \"cable\" is out"]);
        assert_eq!(told[0]["error.sources"], sources);
        assert_eq!(told[1].get("error.sources"), None);
    }
}
