//! Which changes of an apply are worth a line, where lines cannot be overwritten.

use std::time::Duration;

use super::{counts, words};
use crate::proto::{Apply, ApplyStatus, DeviceCounts};

/// The longest that counts move without a line.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(10);

/// Of a hundred devices, so many are worth a line however soon.
pub(super) const LINE_PERCENT: i64 = 10;

/// Remembers what was last shown.
#[derive(Debug, Default)]
pub(super) struct Lines {
    last: Option<Last>,
    waits: Option<String>,
}

#[derive(Debug)]
struct Last {
    status: i32,
    checked: i64,
    settled: i64,
    at: Duration,
}

impl Lines {
    /// The line for this change, `elapsed` after the start: for each change of status, for the
    /// last, and in between for every tenth of the devices and every ten seconds.
    pub(super) fn line(&mut self, apply: &Apply, elapsed: Duration) -> Option<String> {
        let counts = apply.counts.unwrap_or_default();
        let (checked, settled) = (checked(&counts), settled(&counts));
        let is_due = match &self.last {
            None => true,
            Some(last) if last.status != apply.status => true,
            Some(last) => {
                let moved = (checked - last.checked).max(settled - last.settled);
                let is_much = moved.saturating_mul(100) >= counts.total * LINE_PERCENT;
                let is_late = elapsed.saturating_sub(last.at) >= LINE_EVERY;
                moved > 0 && (apply.settled || is_much || is_late)
            }
        };
        if !is_due {
            return None;
        }
        self.last = Some(Last {
            status: apply.status,
            checked,
            settled,
            at: elapsed,
        });
        let (done, what) = done(apply);
        let head = headed(apply);
        let line = format!("{head}  {done} of {} {what}", counts.total);
        let counts = counts::some_counts(&counts);
        Some(if counts.is_empty() {
            line
        } else {
            format!("{line}: {counts}")
        })
    }

    /// The line for a wait: one for each that differs from the one before.
    pub(super) fn waiting(&mut self, apply: &Apply, waits: Option<String>) -> Option<String> {
        if self.waits == waits {
            return None;
        }
        self.waits = waits;
        let waits = self.waits.as_ref()?;
        Some(format!("{}  {waits}", headed(apply)))
    }
}

/// What both a bar and a line begin with. As wide as the longest status.
pub(super) fn headed(apply: &Apply) -> String {
    format!(
        "apply {}  {:<14}",
        apply.apply_id,
        words::status(apply.status)
    )
}

/// How many devices are through with what the apply is at, and what that is called.
pub(super) fn done(apply: &Apply) -> (i64, &'static str) {
    use ApplyStatus as S;
    let counts = apply.counts.unwrap_or_default();
    match apply.status() {
        S::Check | S::CheckSuccess | S::CheckFailed => (checked(&counts), "checked"),
        S::Unspecified | S::Create | S::CreateSuccess | S::CreateFailed | S::Cancelled => {
            (settled(&counts), "settled")
        }
    }
}

fn checked(counts: &DeviceCounts) -> i64 {
    counts.total - counts.pending
}

/// The devices that have their last outcome, unless someone asks for more.
fn settled(counts: &DeviceCounts) -> i64 {
    counts.total - counts.pending - counts.valid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{progress::waits, testing::apply_at},
        proto::{WaitCode, WaitingFor},
    };

    fn lines(changes: impl IntoIterator<Item = (u64, Apply)>) -> Vec<String> {
        let mut lines = Lines::default();
        let changes = changes.into_iter();
        changes
            .filter_map(|(at, apply)| lines.line(&apply, Duration::from_millis(at)))
            .collect()
    }

    /// An apply in CREATE with so many of 100 created.
    fn create(created: i64) -> Apply {
        apply_at(2, ApplyStatus::Create, [100 - created, 0, created])
    }

    #[test]
    fn a_change_of_status_is_a_line_at_once_with_counts() {
        let mut valid = apply_at(2, ApplyStatus::Check, [0, 7, 0]);
        let counts = valid.counts.as_mut().unwrap();
        (counts.valid, counts.total) = (9_993, 10_000);

        let lines = lines([
            (0, apply_at(1, ApplyStatus::Check, [10_000, 0, 0])),
            (5, valid),
            (10, apply_at(3, ApplyStatus::Create, [9_000, 7, 993])),
            (20, apply_at(4, ApplyStatus::CreateSuccess, [0, 7, 9_993])),
        ]);

        assert_eq!(
            lines,
            [
                "apply 17  CHECK           0 of 10000 checked: 10000 pending",
                "apply 17  CHECK           10000 of 10000 checked: 7 invalid, 9993 valid",
                "apply 17  CREATE          1000 of 10000 settled: 993 created, 7 invalid, 9000 \
                 pending",
                "apply 17  CREATE_SUCCESS  10000 of 10000 settled: 9993 created, 7 invalid",
            ]
        );
    }

    #[test]
    fn every_tenth_of_the_devices_is_a_line_and_less_is_not() {
        let lines = lines((0..=100).map(|created| (created, create(created as i64))));

        assert_eq!(lines.len(), 11);
        assert!(lines[1].contains(" 10 of 100 settled: 10 created, 90 pending"));
    }

    #[test]
    fn less_than_a_tenth_is_a_line_after_ten_seconds() {
        let lines = lines([
            (0, create(0)),
            (9_999, create(1)),
            (10_000, create(2)),
            (19_999, create(3)),
            (20_001, create(4)),
        ]);

        let shown: Vec<_> = lines.iter().map(|line| &line[26..27]).collect();
        assert_eq!(shown, ["0", "2", "4"]);
    }

    #[test]
    fn a_change_that_moves_no_count_is_no_line() {
        let check = || apply_at(1, ApplyStatus::Check, [100, 0, 0]);

        assert_eq!(lines([(0, check()), (50_000, check())]).len(), 1);
    }

    #[test]
    fn the_last_count_is_shown_however_soon_it_comes() {
        let failed = |pending| apply_at(9, ApplyStatus::CreateFailed, [pending, 100 - pending, 0]);

        assert_eq!(
            lines([(0, failed(1)), (1, failed(0))])
                .last()
                .map(String::as_str),
            Some("apply 17  CREATE_FAILED   100 of 100 settled: 100 invalid")
        );
    }

    #[test]
    fn a_wait_is_a_line_once_however_often_the_server_gives_a_sign_of_life() {
        let mut lines = Lines::default();
        let apply = apply_at(1, ApplyStatus::Check, [100, 0, 0]);
        let waiting = WaitingFor {
            code: WaitCode::Quota.into(),
            message: "its turn".into(),
            until: Some(prost_types::Timestamp {
                seconds: 1_767_225_600,
                nanos: 0,
            }),
        };
        let mut line = |waiting: Option<&WaitingFor>| lines.waiting(&apply, waiting.map(waits));

        assert_eq!(
            line(Some(&waiting)).as_deref(),
            Some(
                "apply 17  CHECK           waits for QUOTA: its turn (until 2026-01-01T00:00:00Z)"
            )
        );
        assert_eq!(line(Some(&waiting)), None);
        assert_eq!(line(None), None);
        assert!(line(Some(&waiting)).is_some());
        let newer = WaitingFor {
            code: 99,
            ..WaitingFor::default()
        };
        assert!(line(Some(&newer)).unwrap().ends_with("waits for 99"));
    }
}
