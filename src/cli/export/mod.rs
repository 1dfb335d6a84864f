//! `registrar export`: the devices of an apply in a file, with credentials when asked for.

mod follow;
mod progress;
mod rows;
mod whole;

use std::{
    io::{self, IsTerminal as _, Write},
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use clap::Args;

use self::{
    follow::{Failed, News, follow},
    progress::Progress,
    rows::Rows,
    whole::WholeFile,
};
use super::{
    Ended, aside,
    client::{self, Client},
    counts, failure, get,
    options::{Connection, EXPORT_CODES, Output, outcome},
    parting::Parting,
    patience::Patience,
};
use crate::proto::{Apply, DeviceOutcome, ExportDevicesRequest};

pub use self::rows::Format;

/// Settings of `export`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXPORT_CODES)]
pub struct Export {
    /// The apply
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub apply_id: i64,

    /// The file to write. It is there when it is whole. Without it, standard output
    #[arg(short = 'o', long, env = "REGISTRAR_TO", value_name = "FILE")]
    pub to: Option<PathBuf>,

    /// The form of the file: csv (the default), or jsonl as an ending .jsonl or --output json asks
    /// for
    #[arg(long, env = "REGISTRAR_FORMAT", value_enum)]
    pub format: Option<Format>,

    /// Export IotId and DeviceSecret of the created devices, too. Nobody but its owner may read the
    /// file
    #[arg(long, env = "REGISTRAR_CREDENTIALS")]
    pub credentials: bool,

    /// Write credentials although standard output is a terminal
    #[arg(long, env = "REGISTRAR_TO_TERMINAL", requires = "credentials")]
    pub to_terminal: bool,

    /// Only devices with this outcome, such as created. May be repeated, or hold several between
    /// commas
    #[arg(long, env = "REGISTRAR_OUTCOME", value_parser = outcome, value_delimiter = ',')]
    pub outcome: Vec<DeviceOutcome>,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

/// What was exported.
#[derive(Debug, Default)]
struct Exported {
    devices: u64,
    missing: u64,
}

impl Export {
    pub(super) async fn run(
        self,
        out: &mut impl Write,
        parting: &Parting,
    ) -> anyhow::Result<Ended> {
        self.refuse_terminal(io::stdout().is_terminal())?;
        let mut client = client::connect(&self.connection.server).await?;
        let apply = get::get(&client, self.apply_id, false).await?.apply;
        let apply = apply.context("the server answered without an apply")?;
        let exported = match &self.to {
            None => {
                parting.exporting("what was written is not all of it");
                let (exported, _) = self.write(&mut client, &apply, out).await?;
                exported
            }
            Some(target) => {
                parting.exporting("no file was written");
                let (file, was_left) = WholeFile::begin(target, self.credentials)?;
                if was_left {
                    let target = target.display();
                    aside::say(&format!(
                        "an earlier export to {target} was cut short and is begun anew"
                    ));
                }
                let (exported, file) = self.write(&mut client, &apply, file).await?;
                file.finish()?;
                exported
            }
        };
        self.tell(&exported);
        Ok(match exported.missing {
            0 => Ended::Well,
            _ => Ended::Short,
        })
    }

    /// Secrets on a screen stay in its history.
    fn refuse_terminal(&self, is_terminal: bool) -> anyhow::Result<()> {
        if is_terminal && self.credentials && self.to.is_none() && !self.to_terminal {
            bail!(
                "credentials are not written to a terminal; name a file with --to, or say \
                 --to-terminal"
            );
        }
        Ok(())
    }

    fn format(&self) -> Format {
        let of_file = || self.to.as_deref().and_then(Format::of);
        self.format
            .or_else(of_file)
            .unwrap_or(match self.connection.output {
                Output::Text => Format::Csv,
                Output::Json => Format::Jsonl,
            })
    }

    /// Writes all devices, and gives back what they were written to.
    async fn write<W: Write>(
        &self,
        client: &mut Client,
        apply: &Apply,
        out: W,
    ) -> anyhow::Result<(Exported, W)> {
        let mut rows = Rows::new(self.format(), out, self.credentials)?;
        let mut progress = Progress::on_stderr(self.apply_id, counts::total(apply));
        let mut exported = Exported::default();
        let request = ExportDevicesRequest {
            apply_id: self.apply_id,
            from_ordinal: 0,
            credentials: self.credentials,
            outcomes: self.outcome.iter().map(|one| (*one).into()).collect(),
        };
        let tell = |news: News<'_>| {
            if let News::Came(devices, _) = &news {
                for device in *devices {
                    rows.write(device)?;
                    exported.devices += 1;
                    exported.missing += u64::from(device.credentials_missing);
                }
                rows.flush()?;
            }
            progress.show(&news);
            Ok(())
        };
        let end = follow(client, request, Patience::new(), tell).await;
        progress.finish();
        end.map_err(|failed| match failed {
            Failed::Call(status) => failure::while_doing("exporting the devices", &status),
            Failed::Put(error) => error,
        })?;
        rows.flush()?;
        Ok((exported, rows.into_inner()?))
    }

    fn tell(&self, exported: &Exported) {
        let Exported { devices, missing } = exported;
        let id = self.apply_id;
        let place = match &self.to {
            Some(file) => format!(" to {}", file.display()),
            None => String::new(),
        };
        aside::say(&format!("apply {id}  {devices} devices exported{place}"));
        if *missing > 0 {
            aside::say(&format!(
                "apply {id}  the upstream lists {missing} created devices no more, so their \
                 credentials are missing; look for them in its console"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
