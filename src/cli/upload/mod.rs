//! `registrar upload`: any number of devices from a file, stored as they are sent, and taken up
//! again where it was cut off, by this process or by the next one.
//!
//! The file is read twice and never held: first to see that it can be read to its end and to derive
//! the request id from what is in it ([`survey`]), then to send it ([`send`]), anew for each stream
//! that it takes ([`stream`]).

mod progress;
mod send;
mod stream;
mod survey;

use std::{io::Write, path::PathBuf, sync::Arc, time::Instant};

use anyhow::Context as _;
use clap::Args;
use tonic::{Code, Status};

use self::{
    progress::Progress,
    stream::{Failed, Uploading},
    survey::Survey,
};
use super::{
    Ended,
    check::After,
    client,
    end::End,
    failure, file,
    options::{Connection, DEVICES_CODES, Repeat, Stay, label},
    parting::Parting,
    printer::Printer,
};
use crate::proto::{AfterCheck, UploadStart};

/// Settings of `upload`.
#[derive(Clone, Debug, Args)]
#[command(after_help = DEVICES_CODES)]
pub struct Upload {
    /// The devices: a CSV file with the columns device_name and, optionally, nickname, or with
    /// `--import` device_name, device_secret and, optionally, sn; `-` is standard input, which is
    /// kept on disk meanwhile
    pub file: PathBuf,

    /// The product that the devices belong to
    #[arg(long, env = "REGISTRAR_PRODUCT_KEY", value_name = "KEY")]
    pub product_key: String,

    /// The instance of the product; none for the account's public instance
    #[arg(long, env = "REGISTRAR_IOT_INSTANCE_ID", value_name = "ID")]
    pub iot_instance_id: Option<String>,

    /// What happens once every device is stored and checked
    #[arg(long, env = "REGISTRAR_AFTER_CHECK", value_enum, default_value_t = After::Stop)]
    pub after_check: After,

    /// What to call the apply, as KEY=VALUE. May be repeated; the variable holds one
    #[arg(long, env = "REGISTRAR_LABEL", value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,

    /// The devices bring their own secrets and serial numbers: import them. The secrets are told
    /// nowhere but to the server
    #[arg(long, env = "REGISTRAR_IMPORT")]
    pub import: bool,

    /// Names the upload: 1 to 128 printable ASCII characters. When none is given it is derived from
    /// the devices and the settings, so that the same command goes on where it was cut off; with
    /// `--import` one is made up instead. Another name uploads the same devices as a new apply
    #[arg(long, env = "REGISTRAR_REQUEST_ID", value_name = "ID")]
    pub request_id: Option<String>,

    /// Whether to watch.
    #[command(flatten)]
    pub stay: Stay,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Upload {
    pub(super) async fn run(
        self,
        out: &mut impl Write,
        parting: &Parting,
    ) -> anyhow::Result<Ended> {
        let connection = self.connection.clone();
        let (stay, path, import) = (self.stay, self.file.clone(), self.import);
        let surveyed = tokio::task::spawn_blocking(move || Survey::of(&path, import)).await;
        let survey = Arc::new(surveyed.context("reading the file did not finish")??);
        let start = self.start(&survey);
        let mut printer = Printer::new(out, connection.output);
        let mut client = client::connect(&connection).await?;
        let started = Instant::now();
        parting.uploading(None, 0, survey.devices());
        let mut progress = Progress::on_stderr(survey.devices());
        let mut uploading = Uploading::new(survey.clone(), start);
        let uploaded = uploading.run(&mut client, |news| {
            if let Some((apply, stored)) = news.stored() {
                parting.uploading(Some(apply.apply_id), stored, survey.devices());
            }
            progress.show(&news);
        });
        let apply = match uploaded.await {
            Ok(apply) => apply,
            Err(Failed::File(problem)) => {
                let error = file::Error::of(&survey.path, problem);
                return Err(parting.after(&error.into()));
            }
            Err(Failed::Changed) => {
                return Err(parting.after(&anyhow::anyhow!(
                    "{} was changed while it was uploaded; the upload is not sealed, and nothing of \
                     it will be registered. Upload the file as it is now, and cancel this apply",
                    file::named(&survey.path).display()
                )));
            }
            Err(Failed::Call(status)) => return Err(refused(parting, &status)),
        };
        progress.finish();
        let end = End {
            parting,
            started,
            lines: &survey.lines,
        };
        end.stay(stay, &mut printer, &mut client, apply).await
    }

    fn start(self, survey: &Survey) -> UploadStart {
        let start = UploadStart {
            product_key: self.product_key,
            iot_instance_id: self.iot_instance_id.unwrap_or_default(),
            after_check: AfterCheck::from(self.after_check).into(),
            labels: self.label.into_iter().collect(),
            import: self.import,
            ..Default::default()
        };
        let given = self.request_id.filter(|id| !id.is_empty());
        let request_id = match (given, self.import) {
            (Some(id), _) => id,
            // From a name that is derived from secrets they could be guessed.
            (None, true) => Repeat::default().id(),
            (None, false) => survey.request_id(&start),
        };
        UploadStart {
            request_id,
            ..start
        }
    }
}

/// The failure of an upload, with what to do about it where that is not going on.
fn refused(parting: &Parting, status: &Status) -> anyhow::Error {
    let error = failure::while_doing("uploading the devices", status);
    match status.code() {
        Code::InvalidArgument | Code::Unimplemented => error,
        Code::FailedPrecondition | Code::AlreadyExists => anyhow::anyhow!(
            "{error}\n  --request-id with a name that was not used before uploads the devices as a \
             new apply"
        ),
        _ => parting.after(&error),
    }
}
