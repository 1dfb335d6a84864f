//! What `registrar dev --submit` does as a client: a file in, its valid devices registered.

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    client,
    end::End,
    file::{self, DeviceFile},
    options::{Connection, Output, Repeat},
    parting::Parting,
    printer::Printer,
};
use crate::proto::{AfterCheck, Apply, ApplyStatus, CheckDevicesRequest, DeviceCounts};

/// Submits the devices of a CSV file and has the valid ones registered.
#[derive(Debug, Clone)]
pub struct Submit {
    file: DeviceFile,
    product_key: String,
}

/// What became of a submission.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The apply that the submission became.
    pub apply_id: i64,
    /// Where it ended.
    pub status: ApplyStatus,
    /// Its devices by outcome.
    pub counts: DeviceCounts,
    /// From the submission to the last change.
    pub elapsed: Duration,
}

impl Submit {
    /// Reads the devices of a product in the account's public instance from a CSV: a header with
    /// `device_name` and, optionally, `nickname`; at most 100,000 rows.
    ///
    /// # Errors
    ///
    /// A file that cannot be read as devices. The text says what to do next.
    pub async fn read(path: PathBuf, product_key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            file: file::load_devices(path, false).await?,
            product_key: product_key.to_owned(),
        })
    }

    /// Submits the file to the service that listens at `http://host:port`, watches the apply until it has settled, and writes counts and every
    /// refused device to `out`. Refused devices are no error.
    ///
    /// # Errors
    ///
    /// A server that stays out of reach, a call it refuses, or an `out` that takes no more. The text
    /// says what to do next.
    pub async fn run(self, server: &str, out: &mut impl Write) -> anyhow::Result<Summary> {
        let Self { file, product_key } = self;
        let mut client = client::connect(&Connection::to(server)).await?;
        let mut printer = Printer::new(out, Output::Text);

        let started = Instant::now();
        let request = CheckDevicesRequest {
            product_key,
            devices: file.devices,
            after_check: AfterCheck::RegisterValid.into(),
            request_id: Repeat::default().id(),
            ..Default::default()
        };
        let answer = client::submit(&client, &request).await?;
        let apply = answer
            .apply
            .context("the server answered without an apply")?;
        let end = End {
            parting: &Parting::default(),
            started,
            lines: &file.lines,
        };
        let apply = end.watch(&mut printer, &mut client, apply).await?;
        Ok(Summary::of(&apply, started.elapsed()))
    }
}

impl Summary {
    fn of(apply: &Apply, elapsed: Duration) -> Self {
        Self {
            apply_id: apply.apply_id,
            status: apply.status(),
            counts: apply.counts.unwrap_or_default(),
            elapsed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::testing::{Cut, Server, apply_at},
        proto::{Device, DeviceOutcome, Reason, ReasonCode},
    };

    #[tokio::test]
    async fn a_submission_is_followed_to_its_end_and_every_refusal_is_reported_with_its_line() {
        let history = vec![
            apply_at(1, ApplyStatus::Check, [3, 0, 0]),
            apply_at(2, ApplyStatus::Create, [2, 1, 0]),
            apply_at(3, ApplyStatus::CreateFailed, [0, 2, 1]),
        ];
        let refused = |ordinal, name: &str, outcome: DeviceOutcome, code: ReasonCode| Device {
            ordinal,
            device_name: name.into(),
            outcome: outcome.into(),
            reason: Some(Reason {
                code: code.into(),
                message: "because".into(),
                ..Reason::default()
            }),
            ..Device::default()
        };
        let devices = vec![
            refused(0, "l1", DeviceOutcome::Invalid, ReasonCode::NameLength),
            refused(2, "pump-2", DeviceOutcome::Failed, ReasonCode::Exists),
        ];
        let server = Server::start(history, devices, [Cut::Unavailable { after: 1 }]).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "device_name\nl1\n\npump-1\npump-2\n").unwrap();
        let submit = Submit::read(file.path().to_owned(), "a1B2c3D4e5F")
            .await
            .unwrap();
        let mut out = Vec::new();

        let summary = submit.run(&server.url, &mut out).await.unwrap();

        assert_eq!(summary.status, ApplyStatus::CreateFailed);
        let submitted = server.submitted();
        let names: Vec<_> = submitted[0]
            .devices
            .iter()
            .map(|d| d.device_name.as_str())
            .collect();
        assert_eq!(names, ["l1", "pump-1", "pump-2"]);
        assert_eq!(submitted[0].after_check(), AfterCheck::RegisterValid);
        let out = String::from_utf8(out).unwrap();
        let mut lines = out.lines();
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("apply 17  CREATE_FAILED after ")
        );
        assert_eq!(
            lines.next(),
            Some("3 devices: 1 created, 2 invalid, 0 failed, 0 unknown")
        );
        let rest: Vec<Vec<&str>> = lines.map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rest[0], ["line", "2", "l1", "NAME_LENGTH", "because"]);
        assert_eq!(rest[1], ["line", "5", "pump-2", "EXISTS", "because"]);
        assert_eq!(rest.len(), 2);
    }

    #[tokio::test]
    async fn a_refused_submission_says_which_field_is_wrong() {
        let server = Server::start(vec![], vec![], []).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "device_name\npump-1\n").unwrap();
        let submit = Submit::read(file.path().to_owned(), "").await.unwrap();

        let error = submit.run(&server.url, &mut Vec::new()).await;
        let error = error.unwrap_err().to_string();

        assert_eq!(
            error,
            "submitting the devices: INVALID_ARGUMENT: the request is not complete\n  \
             product_key: must not be empty"
        );
    }

    #[tokio::test]
    async fn a_submission_runs_as_a_task_and_a_missing_file_is_refused_before_it_begins() {
        let read = Submit::read("/none.csv".into(), "a1B2c3D4e5F").await;
        assert!(
            read.unwrap_err()
                .to_string()
                .starts_with("/none.csv: cannot be read: ")
        );

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "device_name\npump-1\n").unwrap();
        let submit = Submit::read(file.path().to_owned(), "a1B2c3D4e5F")
            .await
            .unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { submit.run("nowhere", &mut Vec::new()).await });
        assert!(tasks.join_next().await.unwrap().unwrap().is_err());
    }

    #[test]
    fn the_example_has_ten_thousand_devices_and_the_one_that_the_simulator_knows() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/devices.csv");

        let file = file::read(path.as_ref(), false).unwrap();

        assert_eq!(file.devices.len(), 10_000);
        let known = file
            .devices
            .iter()
            .filter(|device| device.device_name == "line1-00042");
        assert_eq!(known.count(), 1);
    }
}
