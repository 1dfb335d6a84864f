//! Watches an apply to its end, over as many connections as that takes.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use tonic::{Status, Streaming};

use super::{
    client::{self, Client},
    patience::{Heard, Patience},
};
use crate::proto::{
    Apply, ApplyStatus, WaitingFor, WatchApplyRequest, WatchApplyResponse, WatchUntil,
};

/// What a watch has to tell.
#[derive(Debug)]
pub(super) enum News<'a> {
    /// The apply has changed; this is how it stands.
    Changed(&'a Apply),
    /// Nothing has changed, and this is what it waits for.
    Waits {
        apply: &'a Apply,
        waiting_for: Option<&'a WaitingFor>,
    },
    /// The stream was cut. It is taken up where it stopped, after a pause.
    Cut {
        apply_id: i64,
        revision: i64,
        why: &'a Status,
        /// For how long that is tried without anything coming through.
        up_to: Duration,
    },
    /// The server has taken up the stream that was cut.
    Resumed { apply_id: i64 },
}

/// Watches an apply from the state given, tells every later change in order, and returns the last
/// one once the server ends the watch where `until` says, or `tell` breaks it off.
///
/// # Errors
///
/// What the server refuses for good, and what still fails when the patience is used up.
pub(super) async fn follow(
    client: &mut Client,
    mut apply: Apply,
    until: WatchUntil,
    mut patience: Patience,
    mut tell: impl FnMut(News<'_>) -> ControlFlow<()>,
) -> Result<Apply, Status> {
    let mut is_cut = false;
    loop {
        let (started, mut heard) = (Instant::now(), Heard::Nothing);
        let opened = open(client, &apply, until).await;
        let is_resumed = is_cut && opened.is_ok();
        if is_resumed
            && tell(News::Resumed {
                apply_id: apply.apply_id,
            })
            .is_break()
        {
            return Ok(apply);
        }
        let end = match opened {
            Ok(stream) => listen(stream, &mut apply, &mut heard, &mut tell).await,
            Err(status) => Err(status),
        };
        patience.progress(heard, started.elapsed());
        let status = match end {
            Ok(ControlFlow::Break(())) => return Ok(apply),
            Ok(ControlFlow::Continue(())) if is_end(&apply, until) => return Ok(apply),
            // An end without trailers looks like a good one; only the apply's state makes it one.
            Ok(ControlFlow::Continue(())) => {
                Status::unavailable("the stream ended before the apply was at its end")
            }
            Err(status) => status,
        };
        let (pause, status) = patience.pause(status)?;
        let Apply {
            apply_id, revision, ..
        } = apply;
        let cut = News::Cut {
            apply_id,
            revision,
            why: &status,
            up_to: patience.lasts(),
        };
        is_cut = true;
        if tell(cut).is_break() {
            return Ok(apply);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Opens a stream from the revision of `apply` on.
async fn open(
    client: &mut Client,
    apply: &Apply,
    until: WatchUntil,
) -> Result<Streaming<WatchApplyResponse>, Status> {
    let request = WatchApplyRequest {
        apply_id: apply.apply_id,
        after_revision: apply.revision,
        until: until.into(),
    };
    // Without a deadline of its own: a watch lasts as long as the apply does.
    client::answer(client.calls().watch_apply(request)).await
}

/// Listens to one stream to whatever end it takes.
async fn listen(
    mut changes: Streaming<WatchApplyResponse>,
    apply: &mut Apply,
    heard: &mut Heard,
    tell: &mut impl FnMut(News<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Status> {
    while let Some(message) = changes.message().await? {
        let waiting_for = message.waiting_for.as_ref();
        let news = if message.heartbeat {
            *heard = (*heard).max(Heard::Heartbeat);
            News::Waits { apply, waiting_for }
        } else {
            let change = message
                .apply
                .filter(|change| change.revision > apply.revision);
            // It is what keeps a resumed watch from going round in circles.
            *apply =
                change.ok_or_else(|| Status::data_loss("the server sent no later revision"))?;
            *heard = Heard::Change;
            News::Changed(apply)
        };
        if tell(news).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Whether a watch of this apply ends here.
fn is_end(apply: &Apply, until: WatchUntil) -> bool {
    use ApplyStatus as S;
    match until {
        WatchUntil::Unspecified | WatchUntil::Settled => apply.settled,
        WatchUntil::Created => match apply.status() {
            S::CreateSuccess | S::CreateFailed | S::Cancelled => true,
            S::Check | S::CheckSuccess | S::CheckFailed | S::Create => false,
            // A status of a newer server: its word that the watch is over has to do.
            S::Unspecified => apply.settled,
        },
        WatchUntil::Forever => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tonic::Code;

    use super::*;
    use crate::cli::options::Connection;
    use crate::{
        cli::testing::{Cut, Line, Script, Server, apply_at},
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

    /// Follows from the first revision; the revisions told, the number of cuts, and the end.
    async fn followed(url: &str) -> (Vec<i64>, usize, Result<Apply, Status>) {
        let mut client = client::connect(&Connection::to(url)).await.unwrap();
        let (mut told, mut cuts) = (Vec::new(), 0);
        let end = follow(
            &mut client,
            history().remove(0),
            WatchUntil::Settled,
            Patience::short(),
            |news| {
                match news {
                    News::Changed(apply) => told.push(apply.revision),
                    News::Waits { .. } | News::Resumed { .. } => {}
                    News::Cut { .. } => cuts += 1,
                }
                ControlFlow::Continue(())
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
        let mut client = client::connect(&Connection::to(&line.url)).await.unwrap();
        let (mut told, mut cuts) = (Vec::new(), 0);

        let end = follow(
            &mut client,
            history().remove(0),
            WatchUntil::Settled,
            Patience::short(),
            |news| {
                match news {
                    News::Waits { .. } | News::Resumed { .. } => {}
                    News::Changed(apply) => {
                        told.push(apply.revision);
                        if apply.revision == 2 {
                            line.cut();
                        }
                    }
                    News::Cut { .. } => cuts += 1,
                }
                ControlFlow::Continue(())
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

    #[tokio::test]
    async fn a_heartbeat_is_no_change_and_says_what_the_apply_waits_for() {
        let waits = ["its turn", "the upstream"].map(|message| WaitingFor {
            message: message.into(),
            ..WaitingFor::default()
        });
        let server = Server::with(Script {
            history: history(),
            waits: waits.to_vec(),
            cuts: Mutex::new([Cut::End { after: 3 }].into()),
            ..Script::default()
        });
        let server = server.await;
        let mut client = client::connect(&Connection::to(&server.url)).await.unwrap();
        let mut told = Vec::new();

        let end = follow(
            &mut client,
            history().remove(0),
            WatchUntil::Settled,
            Patience::short(),
            |news| {
                told.push(match news {
                    News::Changed(apply) => apply.revision.to_string(),
                    News::Waits { apply, waiting_for } => {
                        format!("{} {}", apply.revision, waiting_for.unwrap().message)
                    }
                    News::Cut { .. } => "cut".into(),
                    News::Resumed { .. } => "resumed".into(),
                });
                ControlFlow::Continue(())
            },
        );
        let end = end.await.unwrap();

        assert_eq!(end, history()[4]);
        assert_eq!(
            told,
            [
                "1 its turn",
                "1 the upstream",
                "2",
                "cut",
                "resumed",
                "2 its turn",
                "2 the upstream",
                "3",
                "4",
                "5"
            ]
        );
    }

    #[tokio::test]
    async fn a_watch_that_is_broken_off_ends_at_once() {
        let server = Server::start(history(), vec![], [Cut::Hang { after: 2 }]).await;
        let mut client = client::connect(&Connection::to(&server.url)).await.unwrap();

        let end = follow(
            &mut client,
            history().remove(0),
            WatchUntil::Forever,
            Patience::short(),
            |_| ControlFlow::Break(()),
        );

        assert_eq!(end.await.unwrap().revision, 2);
    }

    #[test]
    fn a_watch_ends_where_it_was_asked_to() {
        use ApplyStatus as S;
        let at = |status| apply_at(3, status, [0, 0, 1]);
        let newer = Apply {
            status: 99,
            ..at(S::CreateSuccess)
        };

        assert!(is_end(&at(S::CheckSuccess), WatchUntil::Settled));
        assert!(!is_end(&at(S::Create), WatchUntil::Settled));
        assert!(!is_end(&at(S::CheckSuccess), WatchUntil::Created));
        assert!(is_end(&at(S::Cancelled), WatchUntil::Created));
        assert!(is_end(&newer, WatchUntil::Created));
        assert!(!is_end(&at(S::CreateSuccess), WatchUntil::Forever));
    }
}
