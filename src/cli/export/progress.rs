//! How an export goes, on stderr: a bar for people, plain lines for everything else.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::follow::News;
use crate::cli::{aside, failure};

/// The longest without a line.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// So that the clock on the bar moves while nothing comes.
const TICK: Duration = Duration::from_millis(250);

/// Shows how far an export is.
#[derive(Debug)]
pub(super) struct Progress {
    apply_id: i64,
    total: i64,
    bar: Option<ProgressBar>,
    told_at: Instant,
    is_cut: bool,
}

impl Progress {
    /// A bar where stderr is a terminal, otherwise lines.
    pub(super) fn on_stderr(apply_id: i64, total: i64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{elapsed_precise}  {msg}  {pos} of {len} exported  {wide_bar}  {eta} left",
            );
            let bar = ProgressBar::new(total.unsigned_abs());
            bar.set_style(style.expect("the template is one"));
            bar.set_message(format!("apply {apply_id}"));
            bar.enable_steady_tick(TICK);
            bar
        });
        Self {
            apply_id,
            total,
            bar,
            told_at: Instant::now(),
            is_cut: false,
        }
    }

    pub(super) fn show(&mut self, news: &News<'_>) {
        match news {
            News::Came(_, next) => self.came(*next),
            News::Waits => {}
            News::Cut { why, next } if !self.is_cut => {
                self.is_cut = true;
                let why = failure::in_short(why);
                let id = self.apply_id;
                self.say(&format!(
                    "apply {id}  the export was cut off ({why}); going on from device {next}"
                ));
            }
            News::Resumed if self.is_cut => {
                self.is_cut = false;
                self.say(&format!("apply {}  the export goes on", self.apply_id));
            }
            News::Cut { .. } | News::Resumed => {}
        }
    }

    fn came(&mut self, next: i64) {
        let Self {
            apply_id, total, ..
        } = self;
        match &self.bar {
            Some(bar) => bar.set_position(next.unsigned_abs()),
            None if self.told_at.elapsed() >= LINE_EVERY => {
                aside::say(&format!("apply {apply_id}  {next} of {total} exported"));
                self.told_at = Instant::now();
            }
            None => {}
        }
    }

    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => aside::say(line),
        }
    }
}
