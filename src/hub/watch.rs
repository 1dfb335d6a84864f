//! A watch: a cursor over the events of one apply.

use std::{collections::VecDeque, sync::Arc};

use tracing::{Instrument as _, Span};

use super::{
    Shared,
    outage::pause_after,
    topics::{Closed, Live},
};
use crate::{
    domain::{ApplyId, Corrupt, Snapshot},
    store::{EVENTS, Error},
};

/// Returns the events of one apply by rising revision, without gaps or repeats.
///
/// Waits out a database that cannot be reached, for as long as the caller cares to. Ends with
/// [`Error::NoSuchApply`] some time after its apply was removed, and with [`Error::Corrupt`] at an
/// event that cannot be read. Holds at most 10,000 events. All methods may be cancelled without
/// losing anything.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    apply: ApplyId,
    live: Live,
    /// Received and not yet returned.
    received: VecDeque<Snapshot>,
    /// The latest revision received.
    seen: i64,
    /// Whether rows must be read before live events connect to what was received.
    behind: bool,
    /// Whether the topic was closed, as that of an apply is which does not exist any more, or
    /// whose next event cannot be read.
    closed: bool,
    /// Whose reading it is.
    call: Span,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, apply: ApplyId, after_revision: i64) -> Self {
        // Subscribed before the first read, so that no event falls between the two.
        let live = shared.topics.subscribe(apply);
        let received = VecDeque::new();
        Self {
            shared,
            apply,
            live,
            received,
            seen: after_revision,
            behind: true,
            closed: false,
            call: Span::current(),
        }
    }

    /// The event after the last one returned; waits until there is one.
    pub async fn next(&mut self) -> Result<Snapshot, Error> {
        loop {
            if let Some(event) = self.received.pop_front() {
                return Ok(event);
            }
            if self.behind {
                // Seldom, and what it takes is not kept in every watch.
                Box::pin(self.read()).await?;
                continue;
            }
            match self.live.changed().await {
                Ok(()) => self.take(),
                Err(Closed) => self.subscribe_again(),
            }
        }
    }

    /// Whether the last event returned is the latest of its apply, as of now.
    pub async fn is_at_end(&mut self) -> Result<bool, Error> {
        if self.received.is_empty() && !self.behind {
            self.shared.look_now().await;
            match self.live.is_closed() {
                true => self.subscribe_again(),
                false => self.take(),
            }
        }
        if self.received.is_empty() && self.behind {
            self.read().await?;
        }
        Ok(self.received.is_empty())
    }

    /// Takes the live events that are next. Those that were seen are dropped, and rows are read if
    /// some are missing.
    fn take(&mut self) {
        self.behind = !self.live.take(&mut self.seen, &mut self.received);
    }

    /// Reads what follows the events received, up to a bound.
    async fn read(&mut self) -> Result<(), Error> {
        let mut failures = 0;
        let events = loop {
            let permit = self
                .shared
                .readers
                .acquire()
                .await
                .expect("readers are never closed");
            let read = self.read_once().instrument(self.call.clone()).await;
            drop(permit);
            match read {
                Ok(events) => break events,
                Err(error @ Error::Unreachable(_)) => {
                    // The hub says aloud that the database is away; a thousand watchers need not.
                    failures += 1;
                    tracing::debug!(
                        parent: &self.call,
                        apply.id = %self.apply,
                        failures,
                        error = &error as &dyn std::error::Error,
                        "a watcher found no database and reads again soon"
                    );
                    tokio::time::sleep(pause_after(failures)).await;
                }
                Err(error) => return Err(error),
            }
        };
        self.behind = events.len() >= EVENTS;
        self.closed = false;
        for (_, event) in events {
            match event {
                Ok(event) => {
                    self.seen = event.revision;
                    self.received.push_back(event);
                }
                Err(unreadable) => {
                    self.behind = true;
                    if self.received.is_empty() {
                        return Err(unreadable.into());
                    }
                    // Those before it are returned first, and then it is read again.
                    break;
                }
            }
        }
        if !self.behind {
            self.shared.topics.need_after(self.apply, self.seen);
        }
        Ok(())
    }

    async fn read_once(&self) -> Result<Vec<(ApplyId, Result<Snapshot, Corrupt>)>, Error> {
        let store = &self.shared.store;
        let events = store.each_event_after(&[(self.apply, self.seen)]).await?;
        if self.closed && events.is_empty() {
            let missing = store.missing(&[self.apply]).await?;
            if !missing.is_empty() {
                return Err(Error::NoSuchApply(self.apply));
            }
        }
        Ok(events)
    }

    fn subscribe_again(&mut self) {
        self.live = self.shared.topics.subscribe(self.apply);
        self.behind = true;
        self.closed = true;
    }
}
