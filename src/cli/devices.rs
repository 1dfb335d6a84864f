//! `registrar devices`: the devices of an apply in the order they were given.

use std::io::Write;

use clap::Args;

use super::{
    Ended,
    client::{self, Calls},
    json,
    numbering::Numbering,
    options::{Connection, OTHER_CODES, outcome},
    printer::{Printer, Table},
    report::{self, PAGE},
    shown, words,
};
use crate::proto::{Device, DeviceOutcome, ListDevicesRequest};

const HEAD: [&str; 7] = [
    "device", "name", "nickname", "sn", "outcome", "reason", "because",
];

/// Settings of `devices`.
#[derive(Clone, Debug, Args)]
#[command(after_help = OTHER_CODES)]
pub struct Devices {
    /// The apply
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub apply_id: i64,

    /// Only devices with this outcome, such as invalid. May be repeated, or hold several between
    /// commas
    #[arg(long, env = "REGISTRAR_OUTCOME", value_parser = outcome, value_delimiter = ',')]
    pub outcome: Vec<DeviceOutcome>,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Devices {
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<Ended> {
        let mut printer = Printer::new(out, self.connection.output);
        let client = client::connect(&self.connection).await?;
        let mut request = ListDevicesRequest {
            apply_id: self.apply_id,
            page_size: PAGE,
            page_token: String::new(),
            outcomes: self.outcome.into_iter().map(i32::from).collect(),
        };
        let mut table = Table::new(&HEAD);
        loop {
            let call = |mut calls: Calls, ask| async move { calls.list_devices(ask).await };
            let page = client::ask(&client, "listing the devices", &request, call).await?;
            printer.page(&mut table, &page.devices, row, json::device)?;
            if !client::turn(&mut request.page_token, page.next_page_token)? {
                return Ok(Ended::Well);
            }
        }
    }
}

fn row(device: &Device) -> Vec<String> {
    let given = |text: &str| match text {
        "" => String::new(),
        text => shown::name(text),
    };
    let mut row = vec![
        device.ordinal.to_string(),
        shown::name(&device.device_name),
        given(&device.nickname),
        given(&device.sn),
        words::outcome(device.outcome).into_owned(),
    ];
    row.extend(reason(device));
    row
}

/// The columns `reason` and `because`.
pub(super) fn reason(device: &Device) -> [String; 2] {
    let code = device
        .reason
        .as_ref()
        .map(|reason| words::reason(reason.code));
    [
        code.unwrap_or_default().into_owned(),
        report::because(device, &Numbering::default()),
    ]
}
