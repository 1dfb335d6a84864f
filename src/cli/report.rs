//! What became of an apply, in lines that are kept.

use std::{borrow::Cow, io::Write, time::Duration};

use super::{
    client::{self, Calls, Client},
    counts::{counts, total},
    json,
    numbering::Numbering,
    printer::Printer,
    shown, words,
};
use crate::proto::{Apply, Device, DeviceOutcome, ListDevicesRequest, ReasonCode};

/// Bounds what is in memory: at most about 1 MiB a page.
pub(super) const PAGE: i32 = 1_000;

/// Of the longest valid name.
const NAME_COLUMNS: usize = 32;

const REFUSED: [DeviceOutcome; 3] = [
    DeviceOutcome::Invalid,
    DeviceOutcome::Failed,
    DeviceOutcome::Unknown,
];

/// Where the apply ended, how long that took if it was watched, and its devices by outcome.
pub(super) fn summary<W: Write>(
    printer: &mut Printer<'_, W>,
    apply: &Apply,
    elapsed: Option<Duration>,
) -> anyhow::Result<()> {
    let text = || {
        let status = words::status(apply.status);
        let after = elapsed.map_or_else(String::new, |elapsed| {
            format!(" after {:.1} s", elapsed.as_secs_f64())
        });
        let (counts, total) = (counts(&apply.counts.unwrap_or_default()), total(apply));
        format!(
            "apply {}  {status}{after}\n{total} devices: {counts}\n",
            apply.apply_id
        )
    };
    printer.print(text, || serde_json::json!({ "apply": json::apply(apply) }))
}

/// A line for each device that was not created, in the order of the file, page by page.
pub(super) async fn refused<W: Write>(
    printer: &mut Printer<'_, W>,
    client: &Client,
    apply_id: i64,
    lines: &Numbering,
) -> anyhow::Result<()> {
    let mut request = ListDevicesRequest {
        apply_id,
        page_size: PAGE,
        page_token: String::new(),
        outcomes: REFUSED.map(i32::from).to_vec(),
    };
    loop {
        let call = |mut calls: Calls, request| async move { calls.list_devices(request).await };
        let page = client::ask(client, "listing the refused devices", &request, call).await?;
        for device in &page.devices {
            refusal(printer, device, lines)?;
        }
        if !client::turn(&mut request.page_token, page.next_page_token)? {
            return Ok(());
        }
    }
}

/// A device that was refused, with its line of the file if it has one.
pub(super) fn refusal<W: Write>(
    printer: &mut Printer<'_, W>,
    device: &Device,
    lines: &Numbering,
) -> anyhow::Result<()> {
    let json = || {
        serde_json::json!({
            "device": json::device(device),
            "line": lines.line(device.ordinal),
            "first_line": first(device).and_then(|first| lines.line(first)),
        })
    };
    printer.print(|| line(device, lines) + "\n", json)
}

/// `line`, name, code, and the reason in words.
fn line(device: &Device, lines: &Numbering) -> String {
    let name = shown::name(&device.device_name);
    let pad = NAME_COLUMNS.saturating_sub(shown::columns(&name));
    let mut text = format!(
        "{:<11}  {name}{:pad$}  {:<18}  {}",
        place(device.ordinal, lines),
        "",
        code(device),
        because(device, lines),
    );
    text.truncate(text.trim_end().len());
    text
}

/// The reason in words, empty where there is none.
pub(super) fn because(device: &Device, lines: &Numbering) -> String {
    let Some(reason) = &device.reason else {
        return String::new();
    };
    match first(device) {
        // The server's message can only name it by its place in the submission.
        Some(first) => match lines.line(first) {
            Some(line) => format!("line {line} has the same name"),
            None => format!("device {first}, counted from 0, has the same name"),
        },
        None => shown::escaped(&reason.message),
    }
}

/// The device of the same name that a duplicate repeats.
fn first(device: &Device) -> Option<i64> {
    device.reason.as_ref()?.first_ordinal
}

/// The line of the file, or the place in the submission where the file does not reach.
fn place(ordinal: i64, lines: &Numbering) -> String {
    lines.line(ordinal).map_or_else(
        || format!("device {ordinal}"),
        |line| format!("line {line}"),
    )
}

/// The reason's code; where there is none, the outcome.
fn code(device: &Device) -> Cow<'static, str> {
    const NONE: i32 = ReasonCode::Unspecified as i32;
    match device.reason.as_ref().map_or(NONE, |reason| reason.code) {
        NONE => words::outcome(device.outcome),
        code => words::reason(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{
            options::Output,
            testing::{Server, apply_at},
        },
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
            line(&device, &Numbering::from_iter([2, 5])),
            "line 5       l1                                NAME_LENGTH         4 to 32 are allowed"
        );
    }

    #[test]
    fn wide_names_keep_the_columns_aligned() {
        let invalid = |name| {
            let reason = reason(ReasonCode::NameCharacter, "x", None);
            line(
                &device(0, name, DeviceOutcome::Invalid, reason),
                &Numbering::from_iter([2]),
            )
        };

        let at = |line: String| shown::columns(line.split("NAME_CHARACTER").next().unwrap());
        assert_eq!(at(invalid("line2－00017")), at(invalid("line2-00017")));
    }

    #[test]
    fn a_duplicate_names_its_line_and_the_line_of_the_first() {
        let text = "device 0 of this apply has the same name";
        let duplicate = reason(ReasonCode::Duplicate, text, Some(0));
        let device = device(1, "p-01", DeviceOutcome::Invalid, duplicate);

        let told = line(&device, &Numbering::from_iter([2, 5]));
        assert!(told.starts_with("line 5 "), "{told}");
        assert!(told.ends_with("  DUPLICATE           line 2 has the same name"));
        assert_eq!(
            because(&device, &Numbering::default()),
            "device 0, counted from 0, has the same name"
        );
    }

    #[test]
    fn an_unknown_device_without_a_reason_shows_its_outcome() {
        let device = device(70, "p-01", DeviceOutcome::Unknown, None);

        assert_eq!(
            line(&device, &Numbering::from_iter([2])),
            "device 70    p-01                              UNKNOWN"
        );
    }

    #[test]
    fn a_text_of_the_upstream_cannot_break_the_line() {
        let refused = reason(ReasonCode::NameRefused, "no\nway", None);
        let device = device(0, "p\n1", DeviceOutcome::Invalid, refused);

        let line = line(&device, &Numbering::from_iter([2]));

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
        let apply = Apply {
            counts: Some(counts),
            ..apply_at(1, ApplyStatus::Cancelled, [0; 3])
        };
        let mut out = Vec::new();

        summary(
            &mut Printer::new(&mut out, Output::Text),
            &apply,
            Some(elapsed),
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
        let client = client::connect(&server.url).await.unwrap();
        let lines: Numbering = (2..10_502).collect();
        let mut out = Vec::new();

        let mut printer = Printer::new(&mut out, Output::Text);
        refused(&mut printer, &client, 17, &lines).await.unwrap();

        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 10_500);
        for (at, line) in out.lines().enumerate() {
            assert!(line.starts_with(&format!("line {}", at + 2)), "{line}");
        }
        assert_eq!(server.listed(), 11);
    }
}
