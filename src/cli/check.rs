//! `registrar check`: submits devices and watches them.

use std::{io::Write, path::PathBuf, time::Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{
    Ended, client,
    end::End,
    file, json,
    numbering::Numbering,
    options::{Connection, DEVICES_CODES, Repeat, Stay, label},
    parting::Parting,
    printer::Printer,
    report,
};
use crate::proto::{AfterCheck, CheckDevicesRequest, CheckDevicesResponse, GeneratedNames};

/// Settings of `check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DEVICES_CODES)]
pub struct Check {
    /// The devices: a CSV file with the columns device_name and, optionally, nickname, or with
    /// `--import` device_name, device_secret and, optionally, sn; `-` is standard input. At
    /// most 100,000; `upload` takes more
    #[arg(required_unless_present = "generate", conflicts_with = "generate")]
    pub file: Option<PathBuf>,

    /// The product that the devices belong to
    #[arg(long, env = "REGISTRAR_PRODUCT_KEY", value_name = "KEY")]
    pub product_key: String,

    /// The instance of the product; none for the account's public instance
    #[arg(long, env = "REGISTRAR_IOT_INSTANCE_ID", value_name = "ID")]
    pub iot_instance_id: Option<String>,

    /// What happens once every device is checked
    #[arg(long, env = "REGISTRAR_AFTER_CHECK", value_enum, default_value_t = After::Stop)]
    pub after_check: After,

    /// What to call the apply, as KEY=VALUE. May be repeated; the variable holds one
    #[arg(long, env = "REGISTRAR_LABEL", value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,

    /// The devices bring their own secrets and serial numbers: import them. The secrets are told
    /// nowhere but to the server
    #[arg(long, env = "REGISTRAR_IMPORT", conflicts_with = "generate")]
    pub import: bool,

    /// Only judge the devices by the rules that need no upstream; nothing is stored or sent
    #[arg(long, env = "REGISTRAR_VALIDATE_ONLY")]
    pub validate_only: bool,

    /// Instead of a file: names made by the server, such as `lot7-{seq:06}`
    #[arg(
        long,
        env = "REGISTRAR_GENERATE",
        value_name = "PATTERN",
        requires = "count"
    )]
    pub generate: Option<String>,

    /// How many names to generate, 1 to 100000
    #[arg(long, env = "REGISTRAR_COUNT", value_name = "N", requires = "generate",
          value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub count: Option<i32>,

    /// The number of the first generated name
    #[arg(long, env = "REGISTRAR_FIRST", value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(i64).range(1..))]
    pub first: i64,

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

/// What happens once every device is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum After {
    /// The apply waits for `register`.
    Stop,
    /// All are registered if all are valid.
    RegisterIfAllValid,
    /// The valid ones are registered.
    RegisterValid,
}

impl From<After> for AfterCheck {
    fn from(after: After) -> Self {
        match after {
            After::Stop => Self::Stop,
            After::RegisterIfAllValid => Self::RegisterIfAllValid,
            After::RegisterValid => Self::RegisterValid,
        }
    }
}

impl Check {
    pub(super) async fn run(
        self,
        out: &mut impl Write,
        parting: &Parting,
    ) -> anyhow::Result<Ended> {
        let connection = self.connection.clone();
        let stay = self.stay;
        let (request, lines) = self.request().await?;
        let mut printer = Printer::new(out, connection.output);
        let mut client = client::connect(&connection).await?;
        let started = Instant::now();
        parting.submitting(&request);
        let answer = client::submit(&client, &request).await?;
        if request.validate_only {
            return validated(&mut printer, &answer, &lines);
        }
        let apply = answer
            .apply
            .context("the server answered without an apply")?;
        let end = End {
            parting,
            started,
            lines: &lines,
        };
        end.stay(stay, &mut printer, &mut client, apply).await
    }

    /// The request, and the line of each of its devices if they come from a file.
    async fn request(self) -> anyhow::Result<(CheckDevicesRequest, Numbering)> {
        let generated = self.generate.map(|pattern| GeneratedNames {
            count: self.count.unwrap_or_default(),
            pattern,
            first: self.first,
        });
        let (devices, lines) = match self.file {
            Some(path) => {
                let file = file::load_devices(path, self.import).await?;
                (file.devices, file.lines)
            }
            None => (Vec::new(), Numbering::default()),
        };
        let request = CheckDevicesRequest {
            product_key: self.product_key,
            iot_instance_id: self.iot_instance_id.unwrap_or_default(),
            devices,
            after_check: AfterCheck::from(self.after_check).into(),
            request_id: self.repeat.id(),
            validate_only: self.validate_only,
            import: self.import,
            generated,
            labels: self.label.into_iter().collect(),
        };
        Ok((request, lines))
    }
}

/// Tells what the local rules make of the devices.
fn validated<W: Write>(
    printer: &mut Printer<'_, W>,
    answer: &CheckDevicesResponse,
    lines: &Numbering,
) -> anyhow::Result<Ended> {
    let apply = answer.apply.clone().unwrap_or_default();
    let counts = apply.counts.unwrap_or_default();
    printer.print(
        || {
            format!(
                "only judged, not stored\n{} devices: {} invalid\n",
                counts.total, counts.invalid
            )
        },
        || serde_json::json!({ "apply": json::apply(&apply) }),
    )?;
    for device in &answer.refused {
        report::refusal(printer, device, lines)?;
    }
    let told = i64::try_from(answer.refused.len()).unwrap_or(i64::MAX);
    if counts.invalid > told && !printer.is_json() {
        let more = counts.invalid - told;
        printer.print(|| format!("and {more} more\n"), Default::default)?;
    }
    Ok(if counts.invalid == 0 && told == 0 {
        Ended::Well
    } else {
        Ended::Short
    })
}
