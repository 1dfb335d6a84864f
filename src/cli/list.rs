//! `registrar list`: applies, the newest first.

use std::io::Write;

use clap::Args;

use super::{
    Ended, aside,
    client::{self, Calls},
    get, json,
    options::{Connection, OTHER_CODES, label, status},
    printer::{Printer, Table},
    report::PAGE,
    shown, time, words,
};
use crate::proto::{Apply, ApplyStatus, ListAppliesRequest};

const HEAD: [&str; 10] = [
    "apply",
    "product",
    "status",
    "devices",
    "created",
    "invalid",
    "failed",
    "unknown",
    "submitted",
    "labels",
];

/// Settings of `list`.
#[derive(Clone, Debug, Args)]
#[command(after_help = OTHER_CODES)]
pub struct List {
    /// Only applies of this product
    #[arg(long, env = "REGISTRAR_PRODUCT_KEY", value_name = "KEY")]
    pub product_key: Option<String>,

    /// Only applies in this status, such as check-failed. May be repeated, or hold several between
    /// commas
    #[arg(long, env = "REGISTRAR_STATUS", value_parser = status, value_delimiter = ',')]
    pub status: Vec<ApplyStatus>,

    /// Only applies with this label, as KEY=VALUE. May be repeated; the variable holds one
    #[arg(long, env = "REGISTRAR_LABEL", value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,

    /// At most so many
    #[arg(long, env = "REGISTRAR_LIMIT", value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl List {
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let client = client::connect(&self.connection).await?;
        let mut request = ListAppliesRequest {
            product_key: self.product_key.unwrap_or_default(),
            statuses: self.status.into_iter().map(i32::from).collect(),
            labels: self.label.into_iter().collect(),
            ..Default::default()
        };
        let mut left = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut table = Table::new(&HEAD);
        loop {
            request.page_size = i32::try_from(left).unwrap_or(PAGE).min(PAGE);
            let call = |mut calls: Calls, ask| async move { calls.list_applies(ask).await };
            let page = client::ask(&client, "listing the applies", &request, call).await?;
            let applies = &page.applies[..page.applies.len().min(left)];
            printer.page(&mut table, applies, row, json::apply)?;
            left -= applies.len();
            let is_last = !client::turn(&mut request.page_token, page.next_page_token)?;
            if left == 0 && !is_last {
                let limit = self.limit;
                aside::say(&format!("there are more than these {limit}; see --limit"));
            }
            if left == 0 || is_last {
                return Ok(Ended::Well);
            }
        }
    }
}

fn row(apply: &Apply) -> Vec<String> {
    let counts = apply.counts.unwrap_or_default();
    vec![
        apply.apply_id.to_string(),
        shown::name(&apply.product_key),
        words::status(apply.status).into_owned(),
        counts.total.to_string(),
        counts.created.to_string(),
        counts.invalid.to_string(),
        counts.failed.to_string(),
        counts.unknown.to_string(),
        time::seconds(apply.create_time.as_ref()),
        get::labels(apply),
    ]
}
