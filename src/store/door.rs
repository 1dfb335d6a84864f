//! Small submissions that arrive together share a transaction.
//!
//! What arrives while others are being written waits for the next group, so one that comes alone is
//! written alone and at once, and under load a commit carries as many as came meanwhile. Nobody waits
//! for a while.

use std::{
    collections::VecDeque,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::{
    Error, Store,
    newcomers::{Newcomer, Stored},
};
use crate::breaking::{self, Fault};

/// How many devices one that shares a transaction may bring. Larger ones have work enough of their
/// own.
const SMALL: usize = 1_000;

/// How many groups are written at a time: while one waits for the disk, another is worked on.
const WRITERS: usize = 2;

/// How much waits at most: more than comes in a second, and some 50 MB. While the database is away
/// what those brought who have gone is still there.
const WAITING: usize = 4_096;
const WAITING_DEVICES: usize = 200_000;

/// How much a group holds at most: a statement of a bounded size, some milliseconds of work.
const MEMBERS: usize = 256;
const DEVICES: usize = 10_000;

/// Where submissions wait for those before them.
#[derive(Clone, Debug, Default)]
pub(super) struct Door {
    state: Arc<Mutex<State>>,
    writers: TaskTracker,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// What they bring.
    devices: usize,
    writers: usize,
}

/// A submission, and who waits for its being stored.
#[derive(Debug)]
struct Waiting {
    newcomer: Newcomer,
    told: oneshot::Sender<Told>,
}

/// The submission again, and what became of it.
type Told = (Newcomer, Result<Option<Stored>, Error>);

impl Door {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole, so what a panicking thread left behind is sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next group; if none waits, the writer that asks is one no longer.
    fn next_group(&self) -> Vec<Waiting> {
        let mut state = self.lock();
        let (mut members, mut devices) = (0, 0);
        for waiting in &state.waiting {
            devices += waiting.newcomer.devices();
            if members == MEMBERS || members > 0 && devices > DEVICES {
                break;
            }
            members += 1;
        }
        if members == 0 {
            state.writers -= 1;
        }
        let group: Vec<_> = state.waiting.drain(..members).collect();
        state.devices -= group
            .iter()
            .map(|one| one.newcomer.devices())
            .sum::<usize>();
        group
    }

    /// Waits until no group is being written.
    pub(super) async fn close(&self) {
        self.writers.close();
        self.writers.wait().await;
    }
}

impl Store {
    /// Stores an apply, with others if it is small and others come. It is stored even if the caller
    /// does not wait. None: another call was first with its request.
    pub(super) async fn enter(
        &self,
        mut newcomer: Newcomer,
    ) -> Result<(Newcomer, Option<Stored>), Error> {
        if breaking::on(Fault::RequestForgotten) {
            newcomer.key = None;
        }
        if newcomer.devices() > SMALL {
            // Seldom, and what it takes is not part of what others wait with.
            let stored = Box::pin(self.write_group(std::slice::from_ref(&newcomer))).await?;
            return Ok((newcomer, stored.into_iter().next().flatten()));
        }
        let (told, answer) = oneshot::channel();
        let needs_writer = {
            let mut state = self.door.lock();
            let devices = state.devices + newcomer.devices();
            if state.waiting.len() == WAITING || devices > WAITING_DEVICES {
                return Err(Error::away());
            }
            state.devices = devices;
            state.waiting.push_back(Waiting { newcomer, told });
            let room = state.writers < WRITERS;
            state.writers += usize::from(room);
            room
        };
        if needs_writer {
            let store = self.clone();
            self.door.writers.spawn(async move {
                // Who panics takes a group along, and not those that wait.
                while AssertUnwindSafe(store.write_groups())
                    .catch_unwind()
                    .await
                    .is_err()
                {}
            });
        }
        let (newcomer, stored) = answer.await.map_err(|_| Error::away())?;
        Ok((newcomer, stored?))
    }

    /// Writes groups until nobody waits.
    async fn write_groups(&self) {
        loop {
            let group = self.door.next_group();
            if group.is_empty() {
                return;
            }
            let (newcomers, waiting): (Vec<_>, Vec<_>) = group
                .into_iter()
                .map(|waiting| (waiting.newcomer, waiting.told))
                .unzip();
            let results = self.write_each(&newcomers).await;
            for ((newcomer, told), result) in newcomers.into_iter().zip(waiting).zip(results) {
                // Who has hung up finds it stored when asking again.
                drop(told.send((newcomer, result)));
            }
        }
    }

    /// Writes a group, or its members one by one if one of them spoils it.
    async fn write_each(&self, group: &[Newcomer]) -> Vec<Result<Option<Stored>, Error>> {
        match self.write_group(group).await {
            Ok(stored) => stored.into_iter().map(Ok).collect(),
            Err(error) if group.len() == 1 => vec![Err(error)],
            Err(Error::Unreachable(error)) => {
                // Whether it was committed is unclear for all of them.
                let why = error.to_string();
                let unreachable = || Error::Unreachable(io::Error::other(why.clone()).into());
                group.iter().map(|_| Err(unreachable())).collect()
            }
            Err(_) => {
                let mut each = Vec::with_capacity(group.len());
                for one in group.chunks(1) {
                    let stored = self.write_group(one).await;
                    each.push(stored.map(|stored| stored.into_iter().next().flatten()));
                }
                each
            }
        }
    }

    async fn write_group(&self, group: &[Newcomer]) -> Result<Vec<Option<Stored>>, Error> {
        let mut connection = self.pool.connection().await?;
        let mut tx = connection.begin().await?;
        let stored = self.store_newcomers(&mut tx, group).await?;
        if breaking::on(Fault::PromisedUnstored) {
            tx.rollback().await?;
            return Ok(stored);
        }
        let what = match group.iter().all(|one| one.sealed) {
            true => "submit",
            false => "begin-upload",
        };
        self.commit(tx, what).await?;
        Ok(stored)
    }
}
