//! `registrar find`: where a device is, the newest apply first.

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::{
    Ended,
    client::{self, Calls},
    devices, json,
    options::{Connection, FIND_CODES},
    printer::{Printer, Table},
    shown, time, words,
};
use crate::proto::{FindDeviceRequest, FoundDevice};

/// The most that one call answers with.
const PAGE: i32 = 100;

const HEAD: [&str; 8] = [
    "apply",
    "product",
    "status",
    "submitted",
    "device",
    "outcome",
    "reason",
    "because",
];

/// Settings of `find`.
#[derive(Clone, Debug, Args)]
#[command(after_help = FIND_CODES)]
pub struct Find {
    /// The name of the device, exactly
    #[arg(value_name = "NAME")]
    pub device_name: String,

    /// Only in applies of this product
    #[arg(long, env = "REGISTRAR_PRODUCT_KEY", value_name = "KEY")]
    pub product_key: Option<String>,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Find {
    /// That it is in no apply is said in text; in JSON it is that there is no line.
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let client = client::connect(&self.connection).await?;
        let mut request = FindDeviceRequest {
            device_name: self.device_name,
            product_key: self.product_key.unwrap_or_default(),
            page_size: PAGE,
            page_token: String::new(),
        };
        let mut table = Table::new(&HEAD);
        let mut found_any = false;
        loop {
            let call = |mut calls: Calls, ask| async move { calls.find_device(ask).await };
            let page = client::ask(&client, "finding the device", &request, call).await?;
            if !page.found.is_empty() {
                found_any = true;
                printer.page(&mut table, &page.found, row, json)?;
            }
            if !client::turn(&mut request.page_token, page.next_page_token)? {
                break;
            }
        }
        if found_any {
            return Ok(Ended::Well);
        }
        if !printer.is_json() {
            let name = shown::name(&request.device_name);
            printer.print(|| format!("{name} is in no apply\n"), Default::default)?;
        }
        Ok(Ended::Short)
    }
}

fn row(found: &FoundDevice) -> Vec<String> {
    let apply = found.apply.clone().unwrap_or_default();
    let device = found.device.clone().unwrap_or_default();
    let mut row = vec![
        apply.apply_id.to_string(),
        shown::name(&apply.product_key),
        words::status(apply.status).into_owned(),
        time::seconds(apply.create_time.as_ref()),
        device.ordinal.to_string(),
        words::outcome(device.outcome).into_owned(),
    ];
    row.extend(devices::reason(&device));
    row
}

fn json(found: &FoundDevice) -> serde_json::Value {
    json!({
        "apply": found.apply.as_ref().map(json::apply),
        "device": found.device.as_ref().map(json::device),
    })
}
