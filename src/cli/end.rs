//! How commands end that stay with an apply: watched to its end, reported, judged.

use std::{
    io::Write,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    Ended,
    client::Client,
    failure,
    follow::{News, follow},
    options::Stay,
    patience::Patience,
    printer::Printer,
    progress::Progress,
    report,
};
use crate::proto::{Apply, ApplyStatus, WatchUntil};

/// Stays with the apply until it has settled, if it shall be stayed with, reports and judges it.
pub(super) async fn stay<W: Write>(
    stay: Stay,
    printer: &mut Printer<'_, W>,
    client: &mut Client,
    apply: Apply,
    started: Instant,
    lines: &[u32],
) -> anyhow::Result<Ended> {
    if stay.no_watch {
        report(printer, client, &apply, None, lines).await?;
        return Ok(verdict(&apply));
    }
    let total = report::total(&apply);
    let mut progress = Progress::on_stderr(usize::try_from(total).unwrap_or(0));
    let apply = watch(client, apply, &mut progress).await?;
    progress.finish();
    report(printer, client, &apply, Some(started.elapsed()), lines).await?;
    Ok(verdict(&apply))
}

/// Watches an apply until it has settled, and shows how it is doing.
pub(super) async fn watch(
    client: &mut Client,
    apply: Apply,
    progress: &mut Progress,
) -> anyhow::Result<Apply> {
    progress.changed(&apply);
    let show = |news: News<'_>| {
        progress.show(&news);
        ControlFlow::Continue(())
    };
    follow(client, apply, WatchUntil::Settled, Patience::new(), show)
        .await
        .map_err(|status| failure::while_doing("watching the apply", &status))
}

/// Tells where the apply stands and, once that is the end, every refused device.
pub(super) async fn report<W: Write>(
    printer: &mut Printer<'_, W>,
    client: &Client,
    apply: &Apply,
    elapsed: Option<Duration>,
    lines: &[u32],
) -> anyhow::Result<()> {
    report::summary(printer, apply, elapsed)?;
    if apply.settled {
        report::refused(printer, client, apply.apply_id, lines).await?;
    }
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
