//! `registrar quota`: the level and use of each quota.

use std::io::Write;

use clap::Args;

use super::{
    Ended,
    client::{self, Calls},
    json,
    options::{Connection, OTHER_CODES},
    printer::{Printer, Table},
    shown,
};
use crate::proto::GetQuotaRequest;

const HEAD: [&str; 6] = [
    "action",
    "calls a second",
    "last minute",
    "rounds due",
    "slowed",
    "blocked",
];

/// Settings of `quota`.
#[derive(Clone, Debug, Args)]
#[command(after_help = OTHER_CODES)]
pub struct Quota {
    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Quota {
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let client = client::connect(&self.connection).await?;
        let call = |mut calls: Calls, ask| async move { calls.get_quota(ask).await };
        let request = GetQuotaRequest {};
        let answer = client::ask(&client, "reading the quotas", &request, call).await?;
        let mut table = Table::new(&HEAD);
        printer.page(&mut table, &answer.quotas, row, json::quota)?;
        Ok(Ended::Well)
    }
}

fn row(quota: &crate::proto::Quota) -> Vec<String> {
    vec![
        shown::escaped(&quota.action),
        quota.rate.to_string(),
        quota.calls_last_minute.to_string(),
        quota.rounds_due.to_string(),
        format!("x{}", quota.slowed),
        shown::escaped(&quota.blocked),
    ]
}
