//! Topics: the watched applies, each with the channel on which its events are handed out.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast;

use crate::domain::{ApplyId, Corrupt, Snapshot};

/// Events that wait in a channel for its slowest watcher. One that falls further behind reads rows
/// instead; more would cost memory with each watched apply (about 90 bytes an event).
const WAITING: usize = 32;

/// The watched applies.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_apply: Mutex<HashMap<ApplyId, Topic>>,
}

#[derive(Debug)]
struct Topic {
    sender: broadcast::Sender<Snapshot>,
    /// The latest revision handed out. None while every watcher still reads for itself.
    dispatched: Option<i64>,
}

impl Topics {
    /// Receives the events of an apply from now on, once [`Topics::need_after`] has been called.
    pub(super) fn subscribe(&self, apply: ApplyId) -> broadcast::Receiver<Snapshot> {
        let mut topics = self.lock();
        let topic = topics.entry(apply).or_insert_with(|| Topic {
            sender: broadcast::Sender::new(WAITING),
            dispatched: None,
        });
        topic.sender.subscribe()
    }

    /// A subscriber has all events up to `revision` and needs those after it.
    ///
    /// Hands out again what others have, if it must: they drop what they have seen.
    pub(super) fn need_after(&self, apply: ApplyId, revision: i64) {
        if let Some(topic) = self.lock().get_mut(&apply) {
            let lowest = topic
                .dispatched
                .map_or(revision, |dispatched| dispatched.min(revision));
            topic.dispatched = Some(lowest);
        }
    }

    /// The revisions after which events are wanted. Forgets the applies nobody watches any more.
    pub(super) fn cursors(&self) -> Vec<(ApplyId, i64)> {
        let mut topics = self.lock();
        topics.retain(|_, topic| topic.sender.receiver_count() > 0);
        if topics.capacity() > 64 + 4 * topics.len() {
            topics.shrink_to_fit();
        }
        topics
            .iter()
            .filter_map(|(apply, topic)| Some((*apply, topic.dispatched?)))
            .collect()
    }

    /// The applies that are watched.
    pub(super) fn watched(&self) -> Vec<ApplyId> {
        self.lock().keys().copied().collect()
    }

    /// Closes the channels of these applies.
    pub(super) fn close(&self, applies: &[ApplyId]) {
        let mut topics = self.lock();
        for apply in applies {
            topics.remove(apply);
        }
    }

    /// Hands out events, which are sorted by rising revision within each apply. Closes the channel
    /// of an apply at an event that cannot be read, which its watchers then see for themselves.
    pub(super) fn dispatch(&self, events: &[(ApplyId, Result<Snapshot, Corrupt>)]) {
        let mut topics = self.lock();
        for (apply, event) in events {
            let Ok(event) = event else {
                topics.remove(apply);
                continue;
            };
            let Some(topic) = topics.get_mut(apply) else {
                continue;
            };
            if topic
                .dispatched
                .is_some_and(|dispatched| event.revision > dispatched)
            {
                topic.dispatched = Some(event.revision);
                // Fails when the last watcher has just gone, and then nobody misses it.
                let _ = topic.sender.send(*event);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApplyId, Topic>> {
        // Every change under the lock is whole, so what a panicking thread left behind is sound.
        self.by_apply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;
    use crate::domain::{ApplyStatus, Counts};

    const APPLY: ApplyId = ApplyId(7);

    fn event(revision: i64) -> (ApplyId, Result<Snapshot, Corrupt>) {
        let snapshot = Snapshot {
            revision,
            status: ApplyStatus::Check,
            counts: Counts::pending(1),
            cancelling: false,
            sealed: true,
            at: OffsetDateTime::UNIX_EPOCH,
        };
        (APPLY, Ok(snapshot))
    }

    fn revisions(receiver: &mut broadcast::Receiver<Snapshot>) -> Vec<i64> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|event| event.revision)
            .collect()
    }

    #[test]
    fn nothing_is_looked_for_while_every_watcher_reads_for_itself() {
        let topics = Topics::default();
        let _watcher = topics.subscribe(APPLY);

        assert_eq!(topics.cursors(), []);

        topics.need_after(APPLY, 3);
        assert_eq!(topics.cursors(), [(APPLY, 3)]);
    }

    #[test]
    fn an_event_is_handed_out_once_to_all_watchers() {
        let topics = Topics::default();
        let mut watchers = [topics.subscribe(APPLY), topics.subscribe(APPLY)];
        topics.need_after(APPLY, 1);

        topics.dispatch(&[event(2), event(3)]);
        topics.dispatch(&[event(2), event(3), event(4)]);

        for watcher in &mut watchers {
            assert_eq!(revisions(watcher), [2, 3, 4]);
        }
        assert_eq!(topics.cursors(), [(APPLY, 4)]);
    }

    #[test]
    fn a_watcher_who_needs_earlier_events_gets_them() {
        let topics = Topics::default();
        let _first = topics.subscribe(APPLY);
        topics.need_after(APPLY, 9);
        let mut second = topics.subscribe(APPLY);
        topics.need_after(APPLY, 5);

        topics.dispatch(&[event(6)]);

        assert_eq!(revisions(&mut second), [6]);
    }

    #[test]
    fn the_watchers_of_a_closed_topic_notice_and_may_subscribe_again() {
        let topics = Topics::default();
        let mut watcher = topics.subscribe(APPLY);
        topics.need_after(APPLY, 0);
        assert_eq!(topics.watched(), [APPLY]);

        topics.close(&[APPLY]);

        assert_eq!(watcher.try_recv().unwrap_err(), TryRecvError::Closed);
        let _again = topics.subscribe(APPLY);
        assert_eq!(topics.cursors(), []);
    }

    #[test]
    fn an_event_that_cannot_be_read_closes_its_topic_after_those_before_it() {
        let topics = Topics::default();
        let mut watcher = topics.subscribe(APPLY);
        topics.need_after(APPLY, 0);
        let unreadable = "A_NEWER_WORD"
            .parse::<ApplyStatus>()
            .map(|_| unreachable!());

        topics.dispatch(&[event(1), (APPLY, unreadable), event(3)]);

        assert_eq!(revisions(&mut watcher), [1]);
        assert_eq!(watcher.try_recv().unwrap_err(), TryRecvError::Closed);
    }

    #[test]
    fn a_slow_watcher_loses_events_and_is_told_so() {
        let topics = Topics::default();
        let mut slow = topics.subscribe(APPLY);
        topics.need_after(APPLY, 0);

        for revision in 1..=WAITING as i64 + 1 {
            topics.dispatch(&[event(revision)]);
        }

        assert_eq!(slow.try_recv().unwrap_err(), TryRecvError::Lagged(1));
    }

    #[test]
    fn an_apply_that_nobody_watches_any_more_is_forgotten() {
        let topics = Topics::default();
        let watcher = topics.subscribe(APPLY);
        topics.need_after(APPLY, 0);

        drop(watcher);
        topics.dispatch(&[event(1)]);

        assert_eq!(topics.cursors(), []);
        assert!(topics.lock().is_empty());
    }
}
