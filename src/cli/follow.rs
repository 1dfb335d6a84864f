//! Watches an apply to its end, over as many connections as that takes.

use std::{error::Error, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::client::{self, Client};
use crate::proto::{Apply, WatchApplyRequest};

/// What a watch has to tell.
#[derive(Debug)]
pub(super) enum News<'a> {
    /// The apply has changed; this is how it stands.
    Changed(&'a Apply),
    /// The stream was cut. It is taken up where it stopped, after a pause.
    Cut {
        apply_id: i64,
        revision: i64,
        why: &'a Status,
        pause: Duration,
    },
}

/// How often a repeatable call is tried again without progress, and how long the pauses are.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    first_pause: Duration,
    tries: u32,
    failures: u32,
}

impl Patience {
    /// No pause is longer, whatever the server asks for.
    const MAX_PAUSE: Duration = Duration::from_secs(5);

    /// Twelve pauses of 0.1 s to 5 s: about half a minute, in which a server is restarted.
    pub(super) fn new() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            tries: 12,
            failures: 0,
        }
    }

    /// Something came through: what failed before no longer counts.
    pub(super) fn progress(&mut self) {
        self.failures = 0;
    }

    /// How long to wait before the next try, or the status itself when there shall be none.
    pub(super) fn pause(&mut self, status: Status) -> Result<(Duration, Status), Status> {
        if !is_passing(&status) || self.failures >= self.tries {
            return Err(status);
        }
        let doubled = self.first_pause.saturating_mul(1 << self.failures.min(16));
        // Clients that were cut off together shall not come back together.
        let own = doubled
            .min(Self::MAX_PAUSE)
            .mul_f64(rand::random_range(0.5..=1.0));
        let asked = status
            .get_details_retry_info()
            .and_then(|retry| retry.retry_delay);
        self.failures += 1;
        Ok((
            asked.map_or(own, |asked| asked.min(Self::MAX_PAUSE).max(own)),
            status,
        ))
    }
}

/// Watches an apply from the state given, tells every later change in order, and returns the last
/// one once the server says that the apply has settled.
///
/// # Errors
///
/// What the server refuses for good, and what still fails when the patience is used up.
pub(super) async fn follow(
    client: &mut Client,
    mut apply: Apply,
    mut patience: Patience,
    mut tell: impl FnMut(News<'_>),
) -> Result<Apply, Status> {
    loop {
        let revision = apply.revision;
        let end = stream(client, &mut apply, &mut tell).await;
        if apply.revision > revision {
            patience.progress();
        }
        let status = match end {
            Ok(()) if apply.settled => return Ok(apply),
            // An end without trailers looks like a good one; only a settled apply makes it one.
            Ok(()) => Status::unavailable("the stream ended before the apply had settled"),
            Err(status) => status,
        };
        let (pause, status) = patience.pause(status)?;
        let Apply {
            apply_id, revision, ..
        } = apply;
        tell(News::Cut {
            apply_id,
            revision,
            why: &status,
            pause,
        });
        tokio::time::sleep(pause).await;
    }
}

/// One stream, from the revision of `apply` on, to whatever end it takes.
async fn stream(
    client: &mut Client,
    apply: &mut Apply,
    tell: &mut impl FnMut(News<'_>),
) -> Result<(), Status> {
    let request = WatchApplyRequest {
        apply_id: apply.apply_id,
        after_revision: apply.revision,
        ..Default::default()
    };
    // Without a deadline of its own: a watch lasts as long as the apply does.
    let mut changes = client::answer(client.watch_apply(request)).await?;
    while let Some(change) = changes.message().await? {
        let change = change
            .apply
            .filter(|change| change.revision > apply.revision);
        // It is what keeps a resumed watch from going round in circles.
        *apply = change.ok_or_else(|| Status::data_loss("the server sent no later revision"))?;
        tell(News::Changed(apply));
    }
    Ok(())
}

/// Whether the same call may succeed later: the server said so, or never came to say anything.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
        // Only what the transport made up on this side has a source; the server's words have none.
        || status.source().is_some()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;
    use crate::{
        cli::testing::{Cut, Line, Server, apply_at},
        proto::ApplyStatus,
    };

    fn history() -> Vec<Apply> {
        vec![
            apply_at(1, ApplyStatus::Check, [4, 0, 0]),
            apply_at(2, ApplyStatus::Check, [3, 1, 0]),
            apply_at(3, ApplyStatus::Create, [2, 1, 1]),
            apply_at(4, ApplyStatus::Create, [1, 1, 2]),
            apply_at(5, ApplyStatus::CreateSuccess, [0, 1, 3]),
        ]
    }

    fn short() -> Patience {
        Patience {
            first_pause: Duration::from_millis(1),
            tries: 3,
            failures: 0,
        }
    }

    /// Follows from the first revision; the revisions told, the number of cuts, and the end.
    async fn followed(url: &str) -> (Vec<i64>, usize, Result<Apply, Status>) {
        let mut client = client::connect(url).await.unwrap();
        let (mut told, mut cuts) = (Vec::new(), 0);
        let end = follow(
            &mut client,
            history().remove(0),
            short(),
            |news| match news {
                News::Changed(apply) => told.push(apply.revision),
                News::Cut { .. } => cuts += 1,
            },
        );
        let end = end.await;
        (told, cuts, end)
    }

    #[tokio::test]
    async fn a_watch_cut_midway_is_resumed_after_the_last_revision_and_misses_nothing() {
        let cuts = [Cut::Unavailable { after: 2 }, Cut::Unavailable { after: 0 }];
        let server = Server::start(history(), vec![], cuts).await;

        let (told, cuts, end) = followed(&server.url).await;

        assert_eq!(told, [2, 3, 4, 5]);
        assert_eq!(cuts, 2);
        assert_eq!(end.unwrap(), history()[4]);
        assert_eq!(server.watched_after(), [1, 3, 3]);
    }

    #[tokio::test]
    async fn a_stream_that_ends_well_before_the_apply_has_settled_is_resumed() {
        let server = Server::start(history(), vec![], [Cut::End { after: 1 }]).await;

        let (told, cuts, end) = followed(&server.url).await;

        assert_eq!((told, cuts), (vec![2, 3, 4, 5], 1));
        assert_eq!(end.unwrap().status(), ApplyStatus::CreateSuccess);
    }

    #[tokio::test]
    async fn a_broken_connection_is_made_anew_and_the_watch_resumed() {
        let server = Server::start(history(), vec![], [Cut::Hang { after: 1 }]).await;
        let line = Line::to(&server).await;
        let mut client = client::connect(&line.url).await.unwrap();
        let (mut told, mut cuts) = (Vec::new(), 0);

        let end = follow(
            &mut client,
            history().remove(0),
            short(),
            |news| match news {
                News::Changed(apply) => {
                    told.push(apply.revision);
                    if apply.revision == 2 {
                        line.cut();
                    }
                }
                News::Cut { .. } => cuts += 1,
            },
        );
        let end = end.await.unwrap();

        assert_eq!(end.revision, 5);
        assert_eq!(told, [2, 3, 4, 5]);
        assert!(cuts >= 1);
        assert_eq!(server.watched_after(), [1, 2]);
    }

    #[tokio::test]
    async fn a_watch_without_progress_ends_with_the_last_failure() {
        let cuts = vec![Cut::Unavailable { after: 0 }; 10];
        let server = Server::start(history(), vec![], cuts).await;

        let (told, cuts, end) = followed(&server.url).await;

        assert_eq!((told.len(), cuts), (0, 3));
        assert_eq!(end.unwrap_err().code(), Code::Unavailable);
        assert_eq!(server.watched_after().len(), 4);
    }

    #[tokio::test]
    async fn progress_gives_back_all_patience() {
        let mut cuts = vec![Cut::Unavailable { after: 0 }; 3];
        cuts.push(Cut::Unavailable { after: 1 });
        cuts.extend(vec![Cut::Unavailable { after: 0 }; 2]);
        let server = Server::start(history(), vec![], cuts).await;

        let (told, cuts, end) = followed(&server.url).await;

        assert_eq!((told, cuts), (vec![2, 3, 4, 5], 6));
        assert!(end.is_ok());
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        let server = Server::start(vec![], vec![], []).await;

        let (_, cuts, end) = followed(&server.url).await;

        assert_eq!(cuts, 0);
        assert_eq!(end.unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn pauses_grow_and_respect_what_the_server_asks_for_up_to_the_bound() {
        let mut patience = Patience::new();
        let mut pause = |status| patience.pause(status).unwrap().0;

        let first = pause(Status::unavailable(""));
        assert!(first >= Duration::from_millis(50) && first <= Duration::from_millis(100));
        let second = pause(Status::unavailable(""));
        assert!(second >= Duration::from_millis(100) && second <= Duration::from_millis(200));
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(2)));
        let asked = Status::with_error_details(Code::Unavailable, "", details.clone());
        assert_eq!(pause(asked), Duration::from_secs(2));
        details.set_retry_info(Some(Duration::from_secs(3600)));
        let asked = Status::with_error_details(Code::Unavailable, "", details);
        assert_eq!(pause(asked), Patience::MAX_PAUSE);
    }
}
