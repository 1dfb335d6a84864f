//! The hub: reads each new event once and hands it to whoever watches its apply.
//!
//! Only the hub looks at the events of applies that are watched: one query for all of them, when a
//! bell rings and now and then without. A bell says that something changed, never what, so a lost
//! one costs a little time and no event. A watcher that is behind (at its start, or because it was
//! slow) reads what it lacks by itself and holds up nobody.
//!
//! Start at [`Hub::run`]; what a watcher may rely on is said at [`Watch`].

mod blocks;
mod outage;
mod topics;
mod watch;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, watch as value},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{blocks::Seen, outage::Outage, topics::Topics};
use crate::{
    domain::{Apply, ApplyId},
    store::{EVENTS, Error, Store},
    telemetry::metrics,
};

pub use self::{blocks::Blocks, watch::Watch};

/// Watchers that read for themselves at one time. A thousand that arrive together leave most of
/// the connections to others.
const READERS: usize = 4;

/// Looks, at their usual pace, from one for applies that are gone to the next: a minute of them at
/// 500 ms. Retention removes what was left alone for weeks, so nobody is in a hurry to hear of it.
const LOOKS_FOR_GONE: u32 = 120;

/// How often the hub looks for blocks at most, however often it looks for events.
const BLOCKS_EVERY: Duration = Duration::from_millis(100);

/// How the hub looks for what is new.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// How often to look for events without being told that there are any
    #[arg(
        long,
        env = "REGISTRAR_LOOK_EVERY",
        default_value = "500ms",
        value_parser = humantime::parse_duration
    )]
    pub look_every: Duration,
}

/// Hands events to watchers. Clones share everything.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    look_every: Duration,
    topics: Topics,
    blocks: Seen,
    moved: value::Sender<u64>,
    /// Asks for a look now.
    asked: Notify,
    /// Looks are numbered from 1 as they begin: the latest that began.
    begun: AtomicU64,
    /// The latest that ended with everything read that was committed when it began.
    complete: value::Sender<u64>,
    readers: Semaphore,
}

impl Hub {
    /// A hub that hands out what `store` holds, once [`Hub::run`] runs.
    pub fn new(store: Store, options: &Options) -> Self {
        let shared = Shared {
            store,
            look_every: options.look_every,
            topics: Topics::default(),
            blocks: Seen::default(),
            moved: value::Sender::new(0),
            asked: Notify::new(),
            begun: AtomicU64::new(0),
            complete: value::Sender::new(0),
            readers: Semaphore::new(READERS),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Listens and looks until told to stop. Without it a watcher gets no news.
    pub async fn run(self, stop: CancellationToken) {
        let shared = &*self.shared;
        tokio::select! {
            () = stop.cancelled() => {}
            never = shared.hear_own_bell() => match never {},
            never = shared.hear_other_bells() => match never {},
            never = shared.look_on() => match never {},
        }
    }

    /// Changes whenever this process has committed something or another one has rung.
    pub fn moved(&self) -> value::Receiver<u64> {
        self.shared.moved.subscribe()
    }

    /// A watch that returns the events of an apply after a revision of it.
    pub fn watch(&self, apply: ApplyId, after_revision: i64) -> Watch {
        Watch::new(self.shared.clone(), apply, after_revision)
    }

    /// What stands in the way of an apply.
    pub fn blocks(&self, apply: &Apply) -> Blocks {
        self.shared.blocks.subscribe(apply)
    }
}

impl Shared {
    fn tell(&self) {
        self.moved.send_modify(|count| *count += 1);
    }

    async fn hear_own_bell(&self) -> Infallible {
        let mut rung = self.store.bell().subscribe();
        loop {
            rung.changed().await.expect("the store keeps its bell");
            self.tell();
        }
    }

    async fn hear_other_bells(&self) -> Infallible {
        let mut outage = Outage::new("hearing other processes");
        loop {
            let error = match self.store.listen().await {
                Ok(mut listener) => {
                    outage.over();
                    // What was rung while nobody listened was not heard.
                    self.tell();
                    loop {
                        match listener.rung().await {
                            Ok(()) => self.tell(),
                            Err(error) => break error,
                        }
                    }
                }
                Err(error) => error,
            };
            tokio::time::sleep(outage.failed(&error)).await;
        }
    }

    async fn look_on(&self) -> Infallible {
        let mut outage = Outage::new("looking for events");
        let mut moved = self.moved.subscribe();
        let mut looked_for_gone = Instant::now();
        let mut looked_for_blocks = None;
        loop {
            if looked_for_gone.elapsed() >= self.look_every * LOOKS_FOR_GONE {
                looked_for_gone = Instant::now();
                if let Err(error) = self.look_for_gone().await {
                    tokio::time::sleep(outage.failed(&error)).await;
                }
            }
            // What moves from here on is seen by the next look at the latest.
            moved.mark_unchanged();
            let blocks_too =
                looked_for_blocks.is_none_or(|at: Instant| at.elapsed() >= BLOCKS_EVERY);
            if blocks_too {
                looked_for_blocks = Some(Instant::now());
            }
            match self.look(blocks_too).await {
                Ok(complete) => {
                    outage.over();
                    if !complete {
                        continue;
                    }
                }
                Err(error) => {
                    tokio::time::sleep(outage.failed(&error)).await;
                    continue;
                }
            }
            tokio::select! {
                Ok(()) = moved.changed() => {}
                () = self.asked.notified() => {}
                () = tokio::time::sleep(self.look_every) => {}
            }
        }
    }

    /// Reads what is new for all watched applies and hands it out. Whether that was all.
    async fn look(&self, blocks_too: bool) -> Result<bool, Error> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let seen = self.topics.cursors();
        let (events, ages) = match seen.is_empty() {
            true => (Vec::new(), Vec::new()),
            false => self.store.each_event_with_age(&seen).await?,
        };
        self.topics.dispatch(&events);
        for age in ages {
            metrics().watch_lag.record(age, []);
        }
        if blocks_too && !seen.is_empty() {
            let at = Instant::now();
            self.blocks.update(self.store.standing_blocks().await?, at);
        }
        let complete = events.len() < EVENTS;
        if complete {
            self.complete.send_replace(number);
        }
        Ok(complete)
    }

    /// Has the watches of applies that do not exist any more see for themselves.
    async fn look_for_gone(&self) -> Result<(), Error> {
        let watched = self.topics.watched();
        if !watched.is_empty() {
            let gone = self.store.missing(&watched).await?;
            self.topics.close(&gone);
        }
        Ok(())
    }

    /// Returns after a look that began after this call and read everything there was.
    async fn look_now(&self) {
        let begun = self.begun.load(Ordering::SeqCst);
        self.asked.notify_one();
        let mut complete = self.complete.subscribe();
        let later = complete.wait_for(|number| *number > begun).await;
        later.expect("the hub keeps count of its looks");
    }
}
