//! `registrar explain`: the history of an apply, and what it waits for.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::{
    Ended,
    client::{self, Calls},
    counts, json,
    options::{Connection, OTHER_CODES},
    printer::{Printer, Table},
    progress,
    report::PAGE,
    shown, time, words,
};
use crate::proto::{Apply, ExplainApplyRequest, HistoryEntry, UpstreamCall, history_entry::What};

const HEAD: [&str; 6] = ["time", "what", "took", "result", "RequestId", "message"];

/// Settings of `explain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = OTHER_CODES)]
pub struct Explain {
    /// The apply
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub apply_id: i64,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Explain {
    /// In JSON each entry is a line, and the last line is the apply with what it waits for.
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let client = client::connect(&self.connection).await?;
        let mut request = ExplainApplyRequest {
            apply_id: self.apply_id,
            page_size: PAGE,
            page_token: String::new(),
        };
        let mut table = Table::new(&HEAD);
        let last = loop {
            let call = |mut calls: Calls, ask| async move { calls.explain_apply(ask).await };
            let page = client::ask(&client, "explaining the apply", &request, call).await?;
            printer.page(&mut table, &page.entries, row, json::entry)?;
            if !client::turn(&mut request.page_token, page.next_page_token)? {
                break (page.apply.unwrap_or_default(), page.waiting_for);
            }
        };
        let (apply, waiting_for) = last;
        let text = || {
            let waits = waiting_for.as_ref().map(progress::waits);
            let waits = waits.unwrap_or_else(|| "waits for nothing".into());
            let status = words::status(apply.status);
            format!("apply {}  {status}  {waits}\n", apply.apply_id)
        };
        let json = || {
            json!({
                "apply": json::apply(&apply),
                "waiting_for": waiting_for.as_ref().map(json::waiting_for),
            })
        };
        printer.print(text, json)?;
        Ok(Ended::Well)
    }
}

fn row(entry: &HistoryEntry) -> Vec<String> {
    let mut row = vec![time::milliseconds(entry.time.as_ref())];
    match &entry.what {
        Some(What::Event(apply)) => row.extend(event(apply)),
        Some(What::Call(made)) => row.extend(call(made)),
        // What a newer server has to tell beyond these two.
        None => row.push("-".into()),
    }
    row
}

fn event(apply: &Apply) -> [String; 3] {
    let counts = counts::counts(&apply.counts.unwrap_or_default());
    let mut what = format!(
        "{}, revision {}",
        words::status(apply.status),
        apply.revision
    );
    if apply.cancelling {
        what.push_str(", being cancelled");
    }
    [what, String::new(), counts]
}

fn call(call: &UpstreamCall) -> [String; 5] {
    let mut what = format!("{}, round {}", shown::escaped(&call.action), call.round);
    if call.upstream_apply_id != 0 {
        what.push_str(&format!(", ApplyId {}", call.upstream_apply_id));
    }
    [
        what,
        format!("{} ms", call.took_ms),
        shown::escaped(&call.result),
        shown::escaped(&call.request_id),
        shown::escaped(&call.message),
    ]
}
