//! How an upload is doing, on stderr: a bar for people, plain lines for everything else.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::stream::News;
use crate::cli::{
    aside, failure,
    lines::{LINE_EVERY, LINE_PERCENT},
    progress::TICK,
};

/// Shows an upload of so many devices.
#[derive(Debug)]
pub(super) struct Progress {
    /// Where stderr is a terminal.
    bar: Option<ProgressBar>,
    lines: Lines,
    started: Instant,
}

/// What there is to say, besides how far it is.
#[derive(Debug)]
struct Lines {
    devices: u64,
    /// What was stored already when the first stream began.
    before: Option<u64>,
    is_cut: bool,
    /// How many were stored when that was last said, and when.
    said: (u64, Duration),
}

impl Progress {
    pub(super) fn on_stderr(devices: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(
                "{elapsed_precise}  {msg}  {pos} of {len} stored, {eta_precise} left  {wide_bar}",
            )
            .expect("the template is well formed");
            let bar = ProgressBar::with_draw_target(Some(devices), ProgressDrawTarget::stderr())
                .with_style(style)
                .with_finish(ProgressFinish::AndClear);
            bar.enable_steady_tick(TICK);
            bar
        });
        Self {
            bar,
            lines: Lines::new(devices),
            started: Instant::now(),
        }
    }

    pub(super) fn show(&mut self, news: &News<'_>) {
        let line = self.lines.line(news);
        if let (Some(bar), Some((apply, stored))) = (&self.bar, news.stored()) {
            bar.set_message(format!("apply {}  upload", apply.apply_id));
            if matches!(news, News::Begun { .. }) {
                // What others stored says nothing of the time that the rest takes.
                bar.set_position(stored);
                bar.reset_eta();
            }
            bar.set_position(stored);
        }
        let how_far = match (&self.bar, news) {
            (None, News::Stored { .. }) => self.lines.how_far(news, self.started.elapsed()),
            _ => None,
        };
        for line in line.into_iter().chain(how_far) {
            match &self.bar {
                Some(bar) => bar.println(line),
                None => aside::say(&line),
            }
        }
    }

    /// Ends the bar; what follows has its own.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Lines {
    fn new(devices: u64) -> Self {
        Self {
            devices,
            before: None,
            is_cut: false,
            said: (0, Duration::ZERO),
        }
    }

    /// What becomes of the upload: once that it begins, and for each cut that it was cut off and that
    /// it goes on.
    fn line(&mut self, news: &News<'_>) -> Option<String> {
        match news {
            News::Begun { apply, stored } => {
                let is_first = self.before.is_none();
                let was_cut = std::mem::take(&mut self.is_cut);
                self.before.get_or_insert(*stored);
                let (id, all) = (apply.apply_id, self.devices);
                match stored {
                    _ if apply.sealed && is_first => Some(format!(
                        "apply {id}  these devices were uploaded before with these settings, under \
                         the same request id; --request-id with another one uploads them as a new \
                         apply"
                    )),
                    _ if !is_first && !was_cut => None,
                    0 if is_first => Some(format!("apply {id}  uploading {all} devices")),
                    stored => Some(format!(
                        "apply {id}  the upload goes on: {stored} of {all} devices are stored already"
                    )),
                }
            }
            News::Cut { why, up_to } if !self.is_cut => {
                self.is_cut = true;
                Some(format!(
                    "the upload was cut off ({}); taking it up again where it stopped, trying for up \
                     to {} s",
                    failure::in_short(why),
                    up_to.as_secs()
                ))
            }
            News::Stored { .. } | News::Cut { .. } => None,
        }
    }

    /// How far it is and how long the rest may take, for every tenth of the devices and every ten
    /// seconds.
    fn how_far(&mut self, news: &News<'_>, elapsed: Duration) -> Option<String> {
        let (apply, stored) = news.stored()?;
        let (last, at) = self.said;
        let is_much =
            stored.saturating_sub(last) * 100 >= self.devices * LINE_PERCENT.unsigned_abs();
        if !is_much && elapsed.saturating_sub(at) < LINE_EVERY {
            return None;
        }
        self.said = (stored, elapsed);
        let sent = stored.saturating_sub(self.before.unwrap_or_default());
        let rest = self.devices.saturating_sub(stored);
        let left = match sent {
            0 => String::new(),
            _ if rest == 0 => String::new(),
            sent => {
                let seconds = elapsed.as_secs_f64() * rest as f64 / sent as f64;
                format!(", some {seconds:.0} s left")
            }
        };
        let (id, all) = (apply.apply_id, self.devices);
        Some(format!(
            "apply {id}  {stored} of {all} devices stored{left}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;
    use crate::{cli::testing::apply_at, proto::ApplyStatus};

    #[test]
    fn an_upload_says_where_it_begins_goes_on_and_was_cut_off_each_once() {
        let apply = apply_at(1, ApplyStatus::Check, [0; 3]);
        let why = Status::unavailable("stopping");
        let up_to = Duration::from_secs(60);
        let begun = |stored| News::Begun {
            apply: &apply,
            stored,
        };
        let cut = || News::Cut { why: &why, up_to };
        let mut lines = Lines::new(50);

        assert_eq!(
            lines.line(&begun(0)).as_deref(),
            Some("apply 17  uploading 50 devices")
        );
        assert_eq!(
            lines.line(&cut()).as_deref(),
            Some(
                "the upload was cut off (UNAVAILABLE: stopping); taking it up again where it \
                 stopped, trying for up to 60 s"
            )
        );
        assert_eq!(lines.line(&cut()), None);
        let goes_on = "apply 17  the upload goes on: 20 of 50 devices are stored already";
        assert_eq!(lines.line(&begun(20)).as_deref(), Some(goes_on));
        assert!(lines.line(&cut()).is_some());
        assert_eq!(Lines::new(50).line(&begun(20)).as_deref(), Some(goes_on));
        let sealed = crate::proto::Apply {
            sealed: true,
            ..apply.clone()
        };
        let again = Lines::new(50).line(&News::Begun {
            apply: &sealed,
            stored: 50,
        });
        assert!(again.unwrap().contains("were uploaded before"));
    }

    #[test]
    fn every_tenth_is_a_line_with_the_time_that_the_rest_may_take() {
        let apply = apply_at(1, ApplyStatus::Check, [0; 3]);
        let mut lines = Lines::new(1_000);
        lines.line(&News::Begun {
            apply: &apply,
            stored: 100,
        });
        let mut at = |stored, seconds| {
            let news = News::Stored {
                apply: &apply,
                stored,
            };
            lines.how_far(&news, Duration::from_secs(seconds))
        };

        let line = at(200, 1);
        let expected = "apply 17  200 of 1000 devices stored, some 8 s left";
        assert_eq!(line.as_deref(), Some(expected));
        assert_eq!(at(210, 2), None);
        assert!(at(220, 12).is_some());
        assert_eq!(
            at(1_000, 13).as_deref(),
            Some("apply 17  1000 of 1000 devices stored")
        );
    }
}
