//! `registrar watch`: follows an apply that is there already.

use std::{io::Write, ops::ControlFlow, time::Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    Ended, client, counts, end,
    follow::{News, follow},
    get, json,
    numbering::Numbering,
    options::{Connection, DEVICES_CODES},
    parting::Parting,
    patience::Patience,
    printer::Printer,
    progress::Progress,
};
use crate::proto::{Apply, WatchUntil};

/// Settings of `watch`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DEVICES_CODES)]
pub struct Watch {
    /// The apply
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub apply_id: i64,

    /// The last revision already seen; only later changes are told
    #[arg(long, env = "REGISTRAR_AFTER_REVISION", value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(i64).range(0..))]
    pub after_revision: i64,

    /// When to end
    #[arg(long, env = "REGISTRAR_UNTIL", value_enum, default_value_t = Until::Settled)]
    pub until: Until,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

/// When a watch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// When nothing more will happen unless someone asks.
    Settled,
    /// When the apply has been registered or cancelled.
    Created,
    /// When it is interrupted.
    Forever,
}

impl From<Until> for WatchUntil {
    fn from(until: Until) -> Self {
        match until {
            Until::Settled => Self::Settled,
            Until::Created => Self::Created,
            Until::Forever => Self::Forever,
        }
    }
}

impl Watch {
    /// With JSON each message is a line of the answer; text tells how it goes on stderr and, at the
    /// end, what became of the apply.
    pub(super) async fn run(
        self,
        out: &mut impl Write,
        parting: &Parting,
    ) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let mut client = client::connect(&self.connection.server).await?;
        let started = Instant::now();
        let now = get::get(&client, self.apply_id, false).await?.apply;
        let now = now.context("the server answered without an apply")?;
        let mut progress = if printer.is_json() {
            Progress::hidden()
        } else {
            Progress::on_stderr(counts::total(&now))
        };

        // How it stood at another revision is not known, only that later ones are wanted.
        let from = if now.revision == self.after_revision {
            now
        } else {
            Apply {
                apply_id: self.apply_id,
                revision: self.after_revision,
                ..Apply::default()
            }
        };
        parting.watching(&from);
        let mut told = Ok(());
        let tell = |news: News<'_>| {
            progress.show(&news);
            told = line(&mut printer, &news);
            if let (Ok(()), News::Changed(apply)) = (&told, &news) {
                parting.watching(apply);
            }
            match told {
                Ok(()) => ControlFlow::Continue(()),
                // A watch that nobody reads would go on for as long as the apply does.
                Err(_) => ControlFlow::Break(()),
            }
        };
        let watched = follow(&mut client, from, self.until.into(), Patience::new(), tell);
        let apply = watched
            .await
            .map_err(|status| end::unwatched(parting, &status))?;
        told?;
        progress.finish();
        parting.telling(&apply);
        if !printer.is_json() {
            let elapsed = Some(started.elapsed());
            end::report(
                &mut printer,
                &client,
                &apply,
                elapsed,
                &Numbering::default(),
            )
            .await?;
        }
        Ok(end::verdict(&apply))
    }
}

/// A message of the watch as the line that it is in JSON.
fn line<W: Write>(printer: &mut Printer<'_, W>, news: &News<'_>) -> anyhow::Result<()> {
    let (apply, heartbeat, waiting_for) = match news {
        News::Changed(apply) => (apply, false, None),
        News::Waits { apply, waiting_for } => (apply, true, *waiting_for),
        News::Cut { .. } | News::Resumed { .. } => return Ok(()),
    };
    let json = || {
        json!({
            // Absent in a heartbeat that comes before the first change.
            "apply": (apply.revision > 0).then(|| json::apply(apply)),
            "heartbeat": heartbeat,
            "waiting_for": waiting_for.map(json::waiting_for),
        })
    };
    printer.print(String::new, json)?;
    printer.flush()
}
