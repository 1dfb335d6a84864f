//! Topics: the watched applies, each with its latest events, which its watchers take from there when
//! they are woken: as many at a time as have come.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::domain::{ApplyId, Corrupt, Snapshot};

/// Events of an apply that are kept for the slowest of its watchers, about 90 bytes each. One that
/// falls further behind reads rows instead.
const KEPT: usize = 512;

/// For how long they are kept once no more come.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// The watched applies.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_apply: Mutex<HashMap<ApplyId, Topic>>,
}

#[derive(Debug)]
struct Topic {
    recent: Arc<Recent>,
    /// The latest revision that was ever handed out. Closed with its topic.
    latest: watch::Sender<i64>,
    /// The revision after which events are handed out. None while every watcher still reads for
    /// itself.
    dispatched: Option<i64>,
    /// When the last one was.
    at: Instant,
}

/// The latest events of an apply, without gaps between them.
#[derive(Debug, Default)]
struct Recent(Mutex<VecDeque<Snapshot>>);

/// What a watcher hears of its apply.
#[derive(Debug)]
pub(super) struct Live {
    recent: Arc<Recent>,
    latest: watch::Receiver<i64>,
}

/// The topic is closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

impl Topics {
    /// Hears the events of an apply from now on, once [`Topics::need_after`] has been called.
    pub(super) fn subscribe(&self, apply: ApplyId) -> Live {
        let mut topics = self.lock();
        let topic = topics.entry(apply).or_insert_with(|| Topic {
            recent: Arc::default(),
            latest: watch::Sender::new(0),
            dispatched: None,
            at: Instant::now(),
        });
        Live {
            recent: topic.recent.clone(),
            latest: topic.latest.subscribe(),
        }
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

    /// The revisions after which events are wanted. Forgets the applies nobody watches any more, and
    /// the events that everyone has had the time to take.
    pub(super) fn cursors(&self) -> Vec<(ApplyId, i64)> {
        let mut topics = self.lock();
        topics.retain(|_, topic| topic.latest.receiver_count() > 0);
        if topics.capacity() > 64 + 4 * topics.len() {
            topics.shrink_to_fit();
        }
        for topic in topics.values() {
            if topic.at.elapsed() > KEPT_FOR {
                topic.recent.forget();
            }
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

    /// Closes the topics of these applies.
    pub(super) fn close(&self, applies: &[ApplyId]) {
        let mut topics = self.lock();
        for apply in applies {
            topics.remove(apply);
        }
    }

    /// Hands out events, which are sorted by apply and rising revision. Closes the topic of an apply
    /// at an event that cannot be read, which its watchers then see for themselves.
    pub(super) fn dispatch(&self, events: &[(ApplyId, Result<Snapshot, Corrupt>)]) {
        let mut topics = self.lock();
        for events in events.chunk_by(|(one, _), (other, _)| one == other) {
            let apply = events[0].0;
            let Some(topic) = topics.get_mut(&apply) else {
                continue;
            };
            topic.hand_out(events.iter().map_while(|(_, event)| event.as_ref().ok()));
            if events.iter().any(|(_, event)| event.is_err()) {
                topics.remove(&apply);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApplyId, Topic>> {
        // Every change under the lock is whole, so what a panicking thread left behind is sound.
        self.by_apply.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topic {
    fn hand_out<'a>(&mut self, events: impl Iterator<Item = &'a Snapshot>) {
        let wanted = self.dispatched;
        for event in events.filter(|event| wanted.is_some_and(|after| event.revision > after)) {
            self.recent.push(*event);
            self.dispatched = Some(event.revision);
        }
        if self.dispatched != wanted {
            self.at = Instant::now();
            let handed_out = self.dispatched.unwrap_or_default();
            self.latest
                .send_modify(|latest| *latest = handed_out.max(*latest));
        }
    }
}

impl Recent {
    fn push(&self, event: Snapshot) {
        let mut recent = self.lock();
        let follows = |last: &Snapshot| last.revision + 1 == event.revision;
        if !recent.back().is_some_and(follows) {
            recent.clear();
        }
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(event);
    }

    fn forget(&self) {
        *self.lock() = VecDeque::new();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Snapshot>> {
        // Every change under the lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Returns once events were handed out since [`Live::take`] was called.
    pub(super) async fn changed(&mut self) -> Result<(), Closed> {
        self.latest.changed().await.map_err(|_| Closed)
    }

    /// Takes the events after the revision `seen`, which becomes that of the last one. Whether those
    /// are all that were ever handed out: others must be read.
    pub(super) fn take(&mut self, seen: &mut i64, into: &mut VecDeque<Snapshot>) -> bool {
        let latest = *self.latest.borrow_and_update();
        let recent = self.recent.lock();
        let first = recent.front().map_or(*seen + 1, |first| first.revision);
        if let Ok(known) = usize::try_from(*seen + 1 - first) {
            let new = recent.iter().skip(known);
            into.extend(new);
            *seen = into.back().map_or(*seen, |last| last.revision.max(*seen));
        }
        *seen >= latest
    }

    /// Whether the topic is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.latest.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

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

    fn taken(live: &mut Live, mut seen: i64) -> (Vec<i64>, bool) {
        let mut events = VecDeque::new();
        let all = live.take(&mut seen, &mut events);
        (events.iter().map(|event| event.revision).collect(), all)
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
            assert_eq!(taken(watcher, 1), (vec![2, 3, 4], true));
            assert_eq!(taken(watcher, 3), (vec![4], true));
            assert_eq!(taken(watcher, 4), (vec![], true));
        }
        assert_eq!(topics.cursors(), [(APPLY, 4)]);
    }

    #[test]
    fn a_watcher_who_needs_earlier_events_gets_them() {
        let topics = Topics::default();
        let mut first = topics.subscribe(APPLY);
        topics.need_after(APPLY, 9);
        topics.dispatch(&[event(10)]);
        let mut second = topics.subscribe(APPLY);
        topics.need_after(APPLY, 5);

        topics.dispatch(&[event(6), event(7)]);

        assert_eq!(taken(&mut second, 5), (vec![6, 7], false));
        assert_eq!(taken(&mut first, 10), (vec![], true));
    }

    #[test]
    fn the_watchers_of_a_closed_topic_notice_and_may_subscribe_again() {
        let topics = Topics::default();
        let watcher = topics.subscribe(APPLY);
        topics.need_after(APPLY, 0);
        assert_eq!(topics.watched(), [APPLY]);

        topics.close(&[APPLY]);

        assert!(watcher.is_closed());
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

        assert_eq!(taken(&mut watcher, 0), (vec![1], true));
        assert!(watcher.is_closed());
    }

    #[test]
    fn a_slow_watcher_is_told_that_it_has_lost_events() {
        let topics = Topics::default();
        let mut slow = topics.subscribe(APPLY);
        topics.need_after(APPLY, 0);

        for revision in 1..=KEPT as i64 + 1 {
            topics.dispatch(&[event(revision)]);
        }

        assert_eq!(taken(&mut slow, 0), (vec![], false));
        assert_eq!(taken(&mut slow, 1).0.len(), KEPT);
    }

    #[test]
    fn events_are_forgotten_when_everyone_had_the_time_to_take_them() {
        let topics = Topics::default();
        let mut slow = topics.subscribe(APPLY);
        topics.need_after(APPLY, 0);
        topics.dispatch(&[event(1)]);

        topics.cursors();
        assert_eq!(taken(&mut slow, 0), (vec![1], true));
        topics.lock().get_mut(&APPLY).unwrap().at -= 2 * KEPT_FOR;
        topics.cursors();

        assert_eq!(taken(&mut slow, 0), (vec![], false));
        assert_eq!(topics.cursors(), [(APPLY, 1)]);
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
