//! The forms in which devices are exported: CSV for spreadsheets, JSON lines for programs.

use std::{io::Write, path::Path};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::{
    cli::{cells::guarded, json, words},
    proto::ExportedDevice,
};

/// Columns of a CSV, in this order. Later versions may add others after them.
pub(super) const COLUMNS: [&str; 9] = [
    "ordinal",
    "device_name",
    "nickname",
    "sn",
    "outcome",
    "reason",
    "message",
    "first_ordinal",
    "request_id",
];

/// Those that follow with credentials.
pub(super) const CREDENTIALS: [&str; 3] = ["iot_id", "device_secret", "credentials_missing"];

/// How devices are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A header and a line for each device. A cell that a spreadsheet would execute begins with an
    /// apostrophe.
    Csv,
    /// A JSON object for each device, with the names of the proto.
    Jsonl,
}

impl Format {
    /// The form that the ending of a file asks for.
    pub(super) fn of(file: &Path) -> Option<Self> {
        let ending = file.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// Writes devices in one of the forms.
pub(super) enum Rows<W: Write> {
    Csv {
        writer: Box<csv::Writer<W>>,
        with_credentials: bool,
    },
    Jsonl(W),
}

impl<W: Write> Rows<W> {
    /// Begins with the header, if the form has one.
    pub(super) fn new(format: Format, out: W, with_credentials: bool) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Jsonl => Self::Jsonl(out),
            Format::Csv => {
                let mut writer = Box::new(csv::Writer::from_writer(out));
                let more = CREDENTIALS.iter().filter(|_| with_credentials);
                let header = writer.write_record(COLUMNS.iter().chain(more));
                header.map_err(unwritten)?;
                Self::Csv {
                    writer,
                    with_credentials,
                }
            }
        })
    }

    pub(super) fn write(&mut self, exported: &ExportedDevice) -> anyhow::Result<()> {
        match self {
            Self::Jsonl(out) => writeln!(out, "{}", json::exported(exported)).context(UNWRITTEN),
            Self::Csv {
                writer,
                with_credentials,
            } => {
                let device = exported.device.clone().unwrap_or_default();
                let reason = device.reason.unwrap_or_default();
                let code = match reason.code {
                    0 => "".into(),
                    code => words::reason(code),
                };
                let first = reason.first_ordinal.map(|first| first.to_string());
                let ordinal = device.ordinal.to_string();
                let outcome = words::outcome(device.outcome);
                let mut row = vec![
                    ordinal.as_str(),
                    &device.device_name,
                    &device.nickname,
                    &device.sn,
                    &outcome,
                    &code,
                    &reason.message,
                    first.as_deref().unwrap_or_default(),
                    &reason.request_id,
                ];
                if *with_credentials {
                    let is_missing = exported.credentials_missing;
                    let missing = if is_missing { "true" } else { "" };
                    row.extend([&exported.iot_id, exported.device_secret.as_str(), missing]);
                }
                let cells = row.into_iter().map(guarded);
                let cells = cells.map(|cell| cell.into_owned().into_bytes());
                writer.write_record(cells).map_err(unwritten)
            }
        }
    }

    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = match self {
            Self::Csv { writer, .. } => writer.flush(),
            Self::Jsonl(out) => out.flush(),
        };
        flushed.context(UNWRITTEN)
    }

    /// What was written to.
    pub(super) fn into_inner(self) -> anyhow::Result<W> {
        match self {
            Self::Csv { writer, .. } => {
                let out = writer.into_inner().map_err(|error| error.into_error());
                out.context(UNWRITTEN)
            }
            Self::Jsonl(out) => Ok(out),
        }
    }
}

const UNWRITTEN: &str = "the devices cannot be written";

/// As the cause that it is, so that a reader who has gone is known for one.
fn unwritten(error: csv::Error) -> anyhow::Error {
    let error = std::io::Error::from(error);
    anyhow::Error::new(error).context(UNWRITTEN)
}
