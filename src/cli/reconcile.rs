//! `registrar reconcile`: has UNKNOWN devices asked after at once.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::{
    Ended,
    client::{self, Calls},
    options::{Connection, OTHER_CODES},
    printer::Printer,
};
use crate::proto::{ReconcileRequest, ReconcileResponse};

/// Settings of `reconcile`.
#[derive(Clone, Debug, Args)]
#[group(skip)]
#[command(after_help = OTHER_CODES)]
pub struct Reconcile {
    /// The apply
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub apply_id: Option<i64>,

    /// Every apply that the caller sees
    #[arg(long, env = "REGISTRAR_ALL", conflicts_with = "apply_id")]
    pub all: bool,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Reconcile {
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let client = client::connect(&self.connection).await?;
        let call = |mut calls: Calls, ask| async move { calls.reconcile(ask).await };
        let mut request = ReconcileRequest {
            apply_id: self.apply_id.unwrap_or_default(),
            after_apply_id: 0,
        };
        let mut told = ReconcileResponse::default();
        loop {
            let doing = "having the devices asked after";
            let answer = client::ask(&client, doing, &request, call).await?;
            told.rounds += answer.rounds;
            told.apply_ids.extend(answer.apply_ids);
            if answer.next_after_apply_id <= request.after_apply_id {
                break;
            }
            request.after_apply_id = answer.next_after_apply_id;
        }
        let json = json!({"rounds": told.rounds, "apply_ids": told.apply_ids});
        printer.print(|| text(&told), || json)?;
        Ok(Ended::Well)
    }
}

fn text(told: &ReconcileResponse) -> String {
    let ids: Vec<String> = told.apply_ids.iter().map(i64::to_string).collect();
    match (told.rounds, ids.len()) {
        (0, _) => "nothing is UNKNOWN that is not being asked after already\n".to_owned(),
        (rounds, 1) => format!("{rounds} rounds of apply {} are asked after now\n", ids[0]),
        (rounds, _) => format!(
            "{rounds} rounds of the applies {} are asked after now\n",
            ids.join(", ")
        ),
    }
}
