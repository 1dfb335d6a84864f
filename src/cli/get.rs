//! `registrar get`: an apply as it stands.

use std::io::Write;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::{
    Ended,
    client::{self, Calls, Client},
    counts, end, json, next,
    options::{Connection, DEVICES_CODES},
    printer::Printer,
    progress, shown, time, words,
};
use crate::proto::{Apply, GetApplyRequest, GetApplyResponse, WaitingFor};

/// Settings of `get`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DEVICES_CODES)]
pub struct Get {
    /// The apply
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub apply_id: i64,

    /// Also list which names passed and which did not, as the upstream does; the first 10,000 each
    #[arg(long, env = "REGISTRAR_LISTS")]
    pub lists: bool,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Get {
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let client = client::connect(&self.connection).await?;
        let answer = get(&client, self.apply_id, self.lists).await?;
        let apply = answer.apply.as_ref();
        let apply = apply.context("the server answered without an apply")?;
        printer.print(|| text(apply, &answer), || json(apply, &answer))?;
        next::tell(&mut printer, apply)?;
        Ok(end::verdict(apply))
    }
}

/// The apply as it stands, with its lists on request.
pub(super) async fn get(
    client: &Client,
    apply_id: i64,
    include_lists: bool,
) -> anyhow::Result<GetApplyResponse> {
    let request = GetApplyRequest {
        apply_id,
        include_lists,
    };
    let call = |mut calls: Calls, request| async move { calls.get_apply(request).await };
    client::ask(client, "reading the apply", &request, call).await
}

/// What stands about an apply in the fields of a sheet.
pub(super) fn sheet(apply: &Apply, waiting_for: Option<&WaitingFor>) -> String {
    let mut status = words::status(apply.status).into_owned();
    if apply.settled {
        status.push_str(", settled");
    }
    if apply.cancelling {
        status.push_str(", being cancelled");
    }
    let revision = format!(
        "{}, revision {}",
        time::seconds(apply.update_time.as_ref()),
        apply.revision
    );
    let counts = counts::counts(&apply.counts.unwrap_or_default());
    let mut fields = vec![
        ("apply", apply.apply_id.to_string()),
        ("product", shown::escaped(&apply.product_key)),
        ("instance", shown::escaped(&apply.iot_instance_id)),
        ("labels", labels(apply)),
        (
            "after check",
            words::after_check(apply.after_check).into_owned(),
        ),
        ("submitted", time::seconds(apply.create_time.as_ref())),
        ("changed", revision),
        ("status", status),
        ("devices", format!("{}: {counts}", counts::total(apply))),
    ];
    if let Some(waiting) = waiting_for {
        fields.push(("", progress::waits(waiting)));
    }
    fields.retain(|(_, value)| !value.is_empty());
    let line = |(name, value)| format!("{name:<13}{value}\n");
    fields.into_iter().map(line).collect()
}

/// The labels in one line, in the order of their keys.
pub(super) fn labels(apply: &Apply) -> String {
    let mut labels: Vec<_> = apply.labels.iter().collect();
    labels.sort();
    let label = |(key, value): &(&String, &String)| {
        format!("{}={}", shown::escaped(key), shown::escaped(value))
    };
    labels.iter().map(label).collect::<Vec<_>>().join(" ")
}

fn text(apply: &Apply, answer: &GetApplyResponse) -> String {
    let mut text = sheet(apply, answer.waiting_for.as_ref());
    for (what, names) in [
        ("valid", &answer.valid_list),
        ("invalid", &answer.invalid_list),
    ] {
        for name in names {
            text.push_str(&format!("{what:<13}{}\n", shown::name(name)));
        }
    }
    if answer.truncated {
        text.push_str(&format!(
            "there are more names; `registrar devices {}` lists them all\n",
            apply.apply_id
        ));
    }
    text
}

fn json(apply: &Apply, answer: &GetApplyResponse) -> Value {
    json!({
        "apply": json::apply(apply),
        "valid_list": answer.valid_list,
        "invalid_list": answer.invalid_list,
        "truncated": answer.truncated,
        "waiting_for": answer.waiting_for.as_ref().map(json::waiting_for),
    })
}
