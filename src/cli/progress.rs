//! How an apply is doing, on stderr: a bar for people, plain lines for everything else.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::{failure, follow::News, shown, time, words};
use crate::proto::{Apply, DeviceCounts, WaitingFor};

/// Between two lines that differ in counts only.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// So that the clock on the bar moves while the apply does not.
const TICK: Duration = Duration::from_millis(250);

/// Shows an apply while it is followed.
#[derive(Debug)]
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines {
        lines: Lines,
        started: Instant,
    },
    /// What there is to see is written elsewhere.
    Hidden,
}

/// Which changes are worth a line, where lines cannot be overwritten.
#[derive(Debug, Default)]
pub(super) struct Lines {
    last: Option<(i32, i64, Duration)>,
    waits: Option<String>,
}

impl Progress {
    /// A bar where stderr is a terminal, otherwise lines.
    pub(super) fn on_stderr(total: usize) -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines {
                lines: Lines::default(),
                started: Instant::now(),
            };
        }
        let style = ProgressStyle::with_template(
            "{elapsed_precise}  {msg}  {wide_bar}  {pos} of {len} settled",
        )
        .expect("the template is well formed");
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr())
            .with_style(style)
            .with_message("submitting")
            // Also when an error drops it half-way, so that the error stands on a line of its own.
            .with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(TICK);
        Self::Bar(bar)
    }

    pub(super) fn show(&mut self, news: &News<'_>) {
        match news {
            News::Changed(apply) => self.changed(apply),
            News::Waits { apply, waiting_for } => self.waits(apply, *waiting_for),
            News::Cut {
                apply_id,
                revision,
                why,
                pause,
            } => self.say(&format!(
                "apply {apply_id}  the watch was cut off ({}); resuming after revision {revision} \
                 in {:.1} s",
                failure::in_short(why),
                pause.as_secs_f64()
            )),
        }
    }

    pub(super) fn changed(&mut self, apply: &Apply) {
        match self {
            Self::Bar(bar) => {
                let counts = apply.counts.unwrap_or_default();
                bar.set_length(counts.total.unsigned_abs());
                bar.set_position(settled(&counts).unsigned_abs());
                bar.set_message(headed(apply));
            }
            Self::Lines { lines, started } => {
                if let Some(line) = lines.line(apply, started.elapsed()) {
                    self.say(&line);
                }
            }
            Self::Hidden => {}
        }
    }

    fn waits(&mut self, apply: &Apply, waiting_for: Option<&WaitingFor>) {
        let waits = waiting_for.map(waits);
        match self {
            Self::Bar(bar) => bar.set_message(match waits {
                Some(waits) => format!("{}  {waits}", headed(apply)),
                None => headed(apply),
            }),
            Self::Lines { lines, .. } => {
                if let Some(line) = lines.waiting(apply, waits) {
                    self.say(&line);
                }
            }
            Self::Hidden => {}
        }
    }

    /// Leaves the last state standing as a plain line.
    pub(super) fn finish(self) {
        if let Self::Bar(bar) = &self {
            bar.finish_and_clear();
            let total = bar.length().unwrap_or_default();
            let line = format!("{}  {} of {total} settled", bar.message(), bar.position());
            drop(writeln!(io::stderr(), "{line}"));
        }
    }

    fn say(&self, line: &str) {
        match self {
            Self::Bar(bar) => bar.println(line),
            // Nobody reads it where stderr is closed, and the apply goes on all the same.
            Self::Lines { .. } | Self::Hidden => drop(writeln!(io::stderr(), "{line}")),
        }
    }
}

impl Lines {
    /// The line for this change, `elapsed` after the start: for each change of status, for the
    /// last, and at most once a second for counts.
    pub(super) fn line(&mut self, apply: &Apply, elapsed: Duration) -> Option<String> {
        let counts = apply.counts.unwrap_or_default();
        let settled = settled(&counts);
        let is_due = match self.last {
            None => true,
            Some((status, ..)) if status != apply.status => true,
            Some((_, shown, _)) if shown == settled => false,
            Some((_, _, at)) => apply.settled || elapsed.saturating_sub(at) >= LINE_EVERY,
        };
        is_due.then(|| {
            self.last = Some((apply.status, settled, elapsed));
            format!("{}  {settled} of {} settled", headed(apply), counts.total)
        })
    }

    /// The line for a wait: one for each that differs from the one before.
    fn waiting(&mut self, apply: &Apply, waits: Option<String>) -> Option<String> {
        if self.waits == waits {
            return None;
        }
        self.waits = waits;
        let waits = self.waits.as_ref()?;
        Some(format!("{}  {waits}", headed(apply)))
    }
}

/// What an apply waits for, in words.
pub(super) fn waits(waiting: &WaitingFor) -> String {
    let mut text = format!("waits for {}", words::wait(waiting.code));
    if !waiting.message.is_empty() {
        text.push_str(": ");
        text.push_str(&shown::escaped(&waiting.message));
    }
    if waiting.until.is_some() {
        text.push_str(&format!(
            " (until {})",
            time::seconds(waiting.until.as_ref())
        ));
    }
    text
}

/// What both a bar and a line begin with. As wide as the longest status.
fn headed(apply: &Apply) -> String {
    format!(
        "apply {}  {:<14}",
        apply.apply_id,
        words::status(apply.status)
    )
}

/// The devices that have their last outcome, unless someone asks for more.
fn settled(counts: &DeviceCounts) -> i64 {
    counts.total - counts.pending - counts.valid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::testing::apply_at,
        proto::{ApplyStatus, WaitCode},
    };

    fn lines(changes: impl IntoIterator<Item = (u64, Apply)>) -> Vec<String> {
        let mut lines = Lines::default();
        let changes = changes.into_iter();
        changes
            .filter_map(|(at, apply)| lines.line(&apply, Duration::from_millis(at)))
            .collect()
    }

    #[test]
    fn a_change_of_status_is_a_line_at_once() {
        let lines = lines([
            (0, apply_at(1, ApplyStatus::Check, [10_000, 0, 0])),
            (10, apply_at(2, ApplyStatus::Create, [9_000, 7, 993])),
            (20, apply_at(3, ApplyStatus::CreateSuccess, [0, 7, 9_993])),
        ]);

        assert_eq!(
            lines,
            [
                "apply 17  CHECK           0 of 10000 settled",
                "apply 17  CREATE          1000 of 10000 settled",
                "apply 17  CREATE_SUCCESS  10000 of 10000 settled",
            ]
        );
    }

    #[test]
    fn counts_alone_are_a_line_at_most_once_a_second() {
        let create = |pending| apply_at(2, ApplyStatus::Create, [pending, 0, 100 - pending]);

        let lines = lines([
            (0, create(100)),
            (400, create(90)),
            (999, create(80)),
            (1_000, create(70)),
            (1_900, create(60)),
            (2_100, create(50)),
        ]);

        assert_eq!(
            lines,
            [
                "apply 17  CREATE          0 of 100 settled",
                "apply 17  CREATE          30 of 100 settled",
                "apply 17  CREATE          50 of 100 settled",
            ]
        );
    }

    #[test]
    fn a_change_that_moves_no_count_is_no_line() {
        let check = || apply_at(1, ApplyStatus::Check, [100, 0, 0]);

        assert_eq!(lines([(0, check()), (5_000, check())]).len(), 1);
    }

    #[test]
    fn the_last_count_is_shown_however_soon_it_comes() {
        let failed = |pending| apply_at(9, ApplyStatus::CreateFailed, [pending, 100 - pending, 0]);

        assert_eq!(
            lines([(0, failed(1)), (1, failed(0))])
                .last()
                .map(String::as_str),
            Some("apply 17  CREATE_FAILED   100 of 100 settled")
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
