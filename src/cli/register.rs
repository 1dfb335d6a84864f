//! `registrar register`: has a checked apply registered.

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
use crate::proto::RegisterRequest;

/// Settings of `register`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DEVICES_CODES)]
pub struct Register {
    /// The apply
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub apply_id: i64,

    /// Where some devices are invalid: register the valid ones and leave the others
    #[arg(long, env = "REGISTRAR_SKIP_INVALID")]
    pub skip_invalid: bool,

    /// Where registering failed for some devices: have these registered again
    #[arg(long, env = "REGISTRAR_RETRY_FAILED")]
    pub retry_failed: bool,

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

impl Register {
    pub(super) async fn run(
        self,
        out: &mut impl Write,
        parting: &Parting,
    ) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let mut client = client::connect(&self.connection.server).await?;
        let started = Instant::now();
        let request = RegisterRequest {
            apply_id: self.apply_id,
            skip_invalid: self.skip_invalid,
            retry_failed: self.retry_failed,
            request_id: self.repeat.id(),
        };
        let call = |mut calls: Calls, request| async move { calls.register(request).await };
        let answer = client::ask(&client, "registering the devices", &request, call).await?;
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
