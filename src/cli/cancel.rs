//! `registrar cancel`: has nothing more sent for an apply.

use std::{io::Write, time::Instant};

use anyhow::Context as _;
use clap::Args;

use super::{
    Ended,
    client::{self, Calls},
    end::End,
    numbering::Numbering,
    options::{Connection, DEVICES_CODES, Repeat, Stay},
    parting::Parting,
    printer::Printer,
};
use crate::proto::CancelApplyRequest;

/// Settings of `cancel`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DEVICES_CODES)]
pub struct Cancel {
    /// The apply
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub apply_id: i64,

    /// How the request is named.
    #[command(flatten)]
    pub repeat: Repeat,

    /// Whether to watch.
    #[command(flatten)]
    pub stay: Stay,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Cancel {
    pub(super) async fn run(
        self,
        out: &mut impl Write,
        parting: &Parting,
    ) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let mut client = client::connect(&self.connection.server).await?;
        let started = Instant::now();
        let request = CancelApplyRequest {
            apply_id: self.apply_id,
            request_id: self.repeat.id(),
        };
        let call = |mut calls: Calls, request| async move { calls.cancel_apply(request).await };
        let answer = client::ask(&client, "cancelling the apply", &request, call).await?;
        let apply = answer
            .apply
            .context("the server answered without an apply")?;
        let end = End {
            parting,
            started,
            lines: &Numbering::default(),
        };
        end.stay(self.stay, &mut printer, &mut client, apply).await
    }
}
