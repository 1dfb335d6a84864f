//! How an apply is doing, on stderr: a bar for people, plain lines for everything else.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::{
    aside, failure,
    follow::News,
    lines::{Lines, done, headed},
    shown, time, words,
};
use crate::proto::{Apply, WaitingFor};

/// So that the clock on the bar moves while the apply does not.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Shows an apply while it is followed.
#[derive(Debug)]
pub(super) struct Progress {
    view: View,
    cuts: Cuts,
}

#[derive(Debug)]
enum View {
    Bar(ProgressBar),
    Lines {
        lines: Lines,
        started: Instant,
    },
    /// What there is to see is written elsewhere.
    Hidden,
}

/// Tells that a watch is cut off once, however often it is tried again, and once that it goes on.
#[derive(Debug, Default)]
struct Cuts {
    is_cut: bool,
}

impl Cuts {
    fn line(&mut self, news: &News<'_>) -> Option<String> {
        match news {
            News::Cut {
                apply_id,
                revision,
                why,
                up_to,
            } if !self.is_cut => {
                self.is_cut = true;
                Some(format!(
                    "apply {apply_id}  the watch was cut off ({}); taking it up again after \
                     revision {revision}, trying for up to {} s",
                    failure::in_short(why),
                    up_to.as_secs()
                ))
            }
            News::Resumed { apply_id } if self.is_cut => {
                self.is_cut = false;
                Some(format!("apply {apply_id}  the watch goes on"))
            }
            News::Cut { .. } | News::Resumed { .. } | News::Changed(_) | News::Waits { .. } => None,
        }
    }
}

impl Progress {
    /// A bar where stderr is a terminal, otherwise lines.
    pub(super) fn on_stderr(total: i64) -> Self {
        if !io::stderr().is_terminal() {
            return Self::of(View::Lines {
                lines: Lines::default(),
                started: Instant::now(),
            });
        }
        // What does not fit into a narrow terminal is cut off at the right.
        let style = ProgressStyle::with_template(
            "{elapsed_precise}  {msg}  {pos} of {len} {prefix}  {wide_bar}",
        )
        .expect("the template is well formed");
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(total.unsigned_abs()), target)
            .with_style(style)
            // Also when an error drops it half-way, so that the error stands on a line of its own.
            .with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(TICK);
        Self::of(View::Bar(bar))
    }

    /// Only cuts are told.
    pub(super) fn hidden() -> Self {
        Self::of(View::Hidden)
    }

    fn of(view: View) -> Self {
        let cuts = Cuts::default();
        Self { view, cuts }
    }

    pub(super) fn show(&mut self, news: &News<'_>) {
        match news {
            News::Changed(apply) => self.changed(apply),
            // Nothing is known yet of what the line would begin with.
            News::Waits { apply, .. } if apply.revision == 0 => {}
            News::Waits { apply, waiting_for } => self.waits(apply, *waiting_for),
            News::Cut { .. } | News::Resumed { .. } => {}
        }
        if let Some(line) = self.cuts.line(news) {
            self.say(&line);
        }
    }

    pub(super) fn changed(&mut self, apply: &Apply) {
        match &mut self.view {
            View::Bar(bar) => {
                let (done, what) = done(apply);
                bar.set_length(apply.counts.unwrap_or_default().total.unsigned_abs());
                bar.set_position(done.unsigned_abs());
                bar.set_prefix(what);
                bar.set_message(headed(apply));
            }
            View::Lines { lines, started } => {
                if let Some(line) = lines.line(apply, started.elapsed()) {
                    aside::say(&line);
                }
            }
            View::Hidden => {}
        }
    }

    fn waits(&mut self, apply: &Apply, waiting_for: Option<&WaitingFor>) {
        let waits = waiting_for.map(waits);
        match &mut self.view {
            View::Bar(bar) => bar.set_message(match waits {
                Some(waits) => format!("{}  {waits}", headed(apply)),
                None => headed(apply),
            }),
            View::Lines { lines, .. } => {
                if let Some(line) = lines.waiting(apply, waits) {
                    aside::say(&line);
                }
            }
            View::Hidden => {}
        }
    }

    /// Leaves the last state standing as a plain line.
    pub(super) fn finish(self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
            let (done, what) = (bar.position(), bar.prefix());
            let total = bar.length().unwrap_or_default();
            aside::say(&format!("{}  {done} of {total} {what}", bar.message()));
        }
    }

    fn say(&self, line: &str) {
        match &self.view {
            View::Bar(bar) => bar.println(line),
            View::Lines { .. } | View::Hidden => aside::say(line),
        }
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

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn a_watch_that_is_cut_off_is_told_once_and_once_that_it_goes_on() {
        let why = Status::unavailable("stopping");
        let cut = || News::Cut {
            apply_id: 17,
            revision: 3,
            why: &why,
            up_to: Duration::from_secs(60),
        };
        let resumed = News::Resumed { apply_id: 17 };
        let mut cuts = Cuts::default();

        assert_eq!(
            cuts.line(&cut()).as_deref(),
            Some(
                "apply 17  the watch was cut off (UNAVAILABLE: stopping); taking it up again after \
                 revision 3, trying for up to 60 s"
            )
        );
        assert_eq!(cuts.line(&cut()), None);
        assert_eq!(
            cuts.line(&resumed).as_deref(),
            Some("apply 17  the watch goes on")
        );
        assert_eq!(cuts.line(&resumed), None);
        assert!(cuts.line(&cut()).is_some());
    }
}
