//! How commands end that stay with an apply: watched to its end, reported, judged.

use std::{
    io::Write,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use tonic::Status;

use super::{
    Ended,
    client::Client,
    counts, failure,
    follow::{News, follow},
    next,
    numbering::Numbering,
    options::Stay,
    parting::Parting,
    patience::{Patience, is_passing},
    printer::Printer,
    progress::Progress,
    report,
};
use crate::proto::{Apply, ApplyStatus, WatchUntil};

/// How a command ends that has set something going.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) parting: &'a Parting,
    pub(super) started: Instant,
    /// The line of each device, if they come from a file.
    pub(super) lines: &'a Numbering,
}

impl End<'_> {
    /// Stays with the apply until it has settled, if it shall be stayed with, reports and judges it.
    pub(super) async fn stay<W: Write>(
        &self,
        stay: Stay,
        printer: &mut Printer<'_, W>,
        client: &mut Client,
        apply: Apply,
    ) -> anyhow::Result<Ended> {
        let apply = if stay.no_watch {
            report(printer, client, &apply, None, self.lines).await?;
            apply
        } else {
            self.watch(printer, client, apply).await?
        };
        Ok(verdict(&apply))
    }

    /// Watches the apply until it has settled, showing how it is doing, and reports it.
    pub(super) async fn watch<W: Write>(
        &self,
        printer: &mut Printer<'_, W>,
        client: &mut Client,
        apply: Apply,
    ) -> anyhow::Result<Apply> {
        self.parting.watching(&apply);
        let mut progress = Progress::on_stderr(counts::total(&apply));
        progress.changed(&apply);
        let show = |news: News<'_>| {
            if let News::Changed(apply) = &news {
                self.parting.watching(apply);
            }
            progress.show(&news);
            ControlFlow::Continue(())
        };
        let apply = follow(client, apply, WatchUntil::Settled, Patience::new(), show)
            .await
            .map_err(|status| unwatched(self.parting, &status))?;
        progress.finish();
        self.parting.telling(&apply);
        let elapsed = Some(self.started.elapsed());
        report(printer, client, &apply, elapsed, self.lines).await?;
        Ok(apply)
    }
}

/// The failure of a watch, with how to take it up again unless the server has refused it.
pub(super) fn unwatched(parting: &Parting, status: &Status) -> anyhow::Error {
    let error = failure::while_doing("watching the apply", status);
    if is_passing(status) {
        parting.after(&error)
    } else {
        error
    }
}

/// Tells where the apply stands and, once that is the end, every refused device and what to do next.
pub(super) async fn report<W: Write>(
    printer: &mut Printer<'_, W>,
    client: &Client,
    apply: &Apply,
    elapsed: Option<Duration>,
    lines: &Numbering,
) -> anyhow::Result<()> {
    report::summary(printer, apply, elapsed)?;
    if apply.settled {
        report::refused(printer, client, apply.apply_id, lines).await?;
    }
    next::tell(printer, apply)?;
    printer.flush()
}

/// Whether every device made it. As long as the apply has not settled none has failed to.
pub(super) fn verdict(apply: &Apply) -> Ended {
    let counts = apply.counts.unwrap_or_default();
    let missed = counts.invalid + counts.failed + counts.unknown + counts.cancelled;
    match apply.status() {
        _ if !apply.settled => Ended::Well,
        ApplyStatus::CheckSuccess => Ended::Well,
        ApplyStatus::CreateSuccess if missed == 0 => Ended::Well,
        _ => Ended::Short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::testing::apply_at, proto::DeviceCounts};

    #[test]
    fn all_is_well_only_where_every_device_made_it_or_none_has_failed_to_yet() {
        use ApplyStatus as S;
        let of = |status, counts| verdict(&apply_at(1, status, counts));

        assert_eq!(of(S::CreateSuccess, [0, 0, 9]), Ended::Well);
        assert_eq!(of(S::CreateSuccess, [0, 1, 8]), Ended::Short);
        assert_eq!(of(S::CreateFailed, [0, 0, 8]), Ended::Short);
        assert_eq!(of(S::CheckSuccess, [0, 0, 0]), Ended::Well);
        assert_eq!(of(S::CheckFailed, [0, 1, 0]), Ended::Short);
        assert_eq!(of(S::Cancelled, [0, 0, 9]), Ended::Short);
        assert_eq!(of(S::Check, [9, 1, 0]), Ended::Well);
        for counts in [
            DeviceCounts {
                failed: 1,
                ..DeviceCounts::default()
            },
            DeviceCounts {
                unknown: 1,
                ..DeviceCounts::default()
            },
            DeviceCounts {
                cancelled: 1,
                ..DeviceCounts::default()
            },
        ] {
            let apply = Apply {
                counts: Some(counts),
                ..apply_at(1, S::CreateSuccess, [0; 3])
            };
            assert_eq!(verdict(&apply), Ended::Short);
        }
        let newer = Apply {
            status: 99,
            ..apply_at(1, S::CreateSuccess, [0; 3])
        };
        assert_eq!(verdict(&newer), Ended::Short);
    }
}
