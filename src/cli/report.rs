//! What became of an apply, in lines that are kept.

use std::{fmt::Write as _, io::Write};

use anyhow::Context as _;
use tonic::Status;

use super::{
    Summary,
    client::{self, Client},
    failure,
    follow::Patience,
    progress, shown,
};
use crate::proto::{Device, DeviceOutcome, ListDevicesRequest, ListDevicesResponse, ReasonCode};

/// Bounds what is in memory: at most about 1 MiB a page.
const PAGE: i32 = 1_000;

/// Of the longest valid name.
const NAME_COLUMNS: usize = 32;

const REFUSED: [DeviceOutcome; 3] = [
    DeviceOutcome::Invalid,
    DeviceOutcome::Failed,
    DeviceOutcome::Unknown,
];

/// Where the apply ended, and its devices by outcome.
pub(super) fn summary(out: &mut impl Write, summary: &Summary) -> anyhow::Result<()> {
    let Summary {
        apply_id,
        status,
        counts,
        elapsed,
    } = summary;
    let mut text = format!(
        "apply {apply_id}  {} after {:.1} s\n{} devices: {} created, {} invalid, {} failed, {} \
         unknown",
        progress::status(*status),
        elapsed.as_secs_f64(),
        counts.total,
        counts.created,
        counts.invalid,
        counts.failed,
        counts.unknown,
    );
    for (count, outcome) in [
        (counts.pending, "pending"),
        (counts.valid, "valid"),
        (counts.cancelled, "cancelled"),
    ] {
        if count > 0 {
            write!(text, ", {count} {outcome}").expect("a string takes every text");
        }
    }
    writeln!(out, "{text}").context("the report cannot be written")
}

/// A line for each device that was not created, in the order of the file, page by page.
pub(super) async fn refused(
    out: &mut impl Write,
    client: &mut Client,
    apply_id: i64,
    lines: &[u32],
) -> anyhow::Result<()> {
    let mut request = ListDevicesRequest {
        apply_id,
        page_size: PAGE,
        page_token: String::new(),
        outcomes: REFUSED.map(i32::from).to_vec(),
    };
    loop {
        let page = page(client, &request)
            .await
            .map_err(|status| failure::while_doing("listing the refused devices", &status))?;
        for device in &page.devices {
            writeln!(out, "{}", line(device, lines)).context("the report cannot be written")?;
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

async fn page(
    client: &mut Client,
    request: &ListDevicesRequest,
) -> Result<ListDevicesResponse, Status> {
    let mut patience = Patience::new();
    loop {
        match client::answer(client.list_devices(client::timed(request.clone()))).await {
            // The first page has no token, and neither has what follows the last.
            Ok(page)
                if !request.page_token.is_empty() && page.next_page_token == request.page_token =>
            {
                return Err(Status::data_loss(
                    "the server answered with the same page again",
                ));
            }
            Ok(page) => return Ok(page),
            Err(status) => {
                let (pause, _) = patience.pause(status)?;
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// `line`, name, code, and the reason in words.
fn line(device: &Device, lines: &[u32]) -> String {
    let name = shown::name(&device.device_name);
    let pad = NAME_COLUMNS.saturating_sub(shown::columns(&name));
    let mut text = format!(
        "{:<11}  {name}{:pad$}  {:<18}",
        place(device.ordinal, lines),
        "",
        code(device)
    );
    if let Some(reason) = &device.reason {
        if !reason.message.is_empty() {
            text.push_str("  ");
            text.push_str(&shown::escaped(&reason.message));
        }
        if let Some(first) = reason.first_ordinal {
            write!(text, " ({})", place(first, lines)).expect("a string takes every text");
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// The line of the file, or the place in the submission where the file does not reach.
fn place(ordinal: i64, lines: &[u32]) -> String {
    let line = usize::try_from(ordinal).ok().and_then(|at| lines.get(at));
    line.map_or_else(
        || format!("device {ordinal}"),
        |line| format!("line {line}"),
    )
}

/// The reason's code; where there is none, the outcome.
fn code(device: &Device) -> &'static str {
    let code = device
        .reason
        .as_ref()
        .map_or(ReasonCode::Unspecified, |reason| reason.code());
    let (name, prefix) = match code {
        ReasonCode::Unspecified => (device.outcome().as_str_name(), "DEVICE_OUTCOME_"),
        code => (code.as_str_name(), "REASON_CODE_"),
    };
    name.strip_prefix(prefix).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        cli::testing::Server,
        proto::{ApplyStatus, DeviceCounts, Reason},
    };

    fn device(ordinal: i64, name: &str, outcome: DeviceOutcome, reason: Option<Reason>) -> Device {
        let device_name = name.into();
        Device {
            ordinal,
            device_name,
            outcome: outcome.into(),
            reason,
            ..Device::default()
        }
    }

    fn reason(code: ReasonCode, message: &str, first_ordinal: Option<i64>) -> Option<Reason> {
        let message = message.into();
        Some(Reason {
            code: code.into(),
            message,
            first_ordinal,
            ..Reason::default()
        })
    }

    #[test]
    fn a_refused_device_is_a_line_with_its_place_in_the_file() {
        let too_short = reason(ReasonCode::NameLength, "4 to 32 are allowed", None);
        let device = device(1, "l1", DeviceOutcome::Invalid, too_short);

        assert_eq!(
            line(&device, &[2, 5]),
            "line 5       l1                                NAME_LENGTH         4 to 32 are allowed"
        );
    }

    #[test]
    fn wide_names_keep_the_columns_aligned() {
        let invalid = |name| {
            let reason = reason(ReasonCode::NameCharacter, "x", None);
            line(&device(0, name, DeviceOutcome::Invalid, reason), &[2])
        };

        let at = |line: String| shown::columns(line.split("NAME_CHARACTER").next().unwrap());
        assert_eq!(at(invalid("line2－00017")), at(invalid("line2-00017")));
    }

    #[test]
    fn a_duplicate_names_the_line_of_the_first() {
        let duplicate = reason(ReasonCode::Duplicate, "the name is there already", Some(0));
        let device = device(1, "p-01", DeviceOutcome::Invalid, duplicate);

        assert!(
            line(&device, &[2, 5])
                .ends_with("DUPLICATE           the name is there already (line 2)")
        );
    }

    #[test]
    fn an_unknown_device_without_a_reason_shows_its_outcome() {
        let device = device(70, "p-01", DeviceOutcome::Unknown, None);

        assert_eq!(
            line(&device, &[2]),
            "device 70    p-01                              UNKNOWN"
        );
    }

    #[test]
    fn a_text_of_the_upstream_cannot_break_the_line() {
        let refused = reason(ReasonCode::NameRefused, "no\nway", None);
        let device = device(0, "p\n1", DeviceOutcome::Invalid, refused);

        let line = line(&device, &[2]);

        assert!(line.contains("p\\n1") && line.ends_with("no\\nway"));
    }

    #[test]
    fn the_summary_has_what_is_not_zero_and_always_the_four() {
        let counts = DeviceCounts {
            total: 9,
            valid: 2,
            created: 7,
            ..DeviceCounts::default()
        };
        let elapsed = Duration::from_millis(3_210);
        let status = ApplyStatus::Cancelled;
        let mut out = Vec::new();

        summary(
            &mut out,
            &Summary {
                apply_id: 17,
                status,
                counts,
                elapsed,
            },
        )
        .unwrap();

        assert_eq!(
            String::from_utf8(out).unwrap(),
            "apply 17  CANCELLED after 3.2 s\n9 devices: 7 created, 0 invalid, 0 failed, 0 unknown, \
             2 valid\n"
        );
    }

    #[tokio::test]
    async fn more_refusals_than_a_page_holds_are_all_written_in_order() {
        let invalid = |at| device(at, &format!("p-{at}"), DeviceOutcome::Invalid, None);
        let server = Server::start(vec![], (0..10_500).map(invalid).collect(), []).await;
        let mut client = client::connect(&server.url).await.unwrap();
        let lines: Vec<u32> = (2..10_502).collect();
        let mut out = Vec::new();

        refused(&mut out, &mut client, 17, &lines).await.unwrap();

        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 10_500);
        for (at, line) in out.lines().enumerate() {
            assert!(line.starts_with(&format!("line {}", at + 2)), "{line}");
        }
        assert_eq!(server.listed(), 11);
    }
}
