//! How many connections there may be at one time, and which of them makes room for another.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio_util::sync::CancellationToken;

/// The places of a listener's connections.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    /// From the oldest.
    taken: VecDeque<Weak<Place>>,
}

/// The place of one connection, free again when this ends.
#[derive(Debug, Default)]
pub(in crate::service) struct Place {
    /// Calls of the API that are open.
    calls: AtomicUsize,
    has_called: AtomicBool,
    /// Once another one takes it.
    given_up: CancellationToken,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: VecDeque::new(),
        }
    }

    /// A place for a connection; none if all are taken by connections that have calls open. If none
    /// is free, a connection without an open call makes room: the oldest that never had one, or
    /// else the oldest.
    pub(super) fn take(&mut self) -> Option<Arc<Place>> {
        if self.taken.len() >= self.most {
            self.taken.retain(|place| place.strong_count() > 0);
        }
        if self.taken.len() >= self.most {
            self.make_room()?;
        }
        let place = Arc::new(Place::default());
        self.taken.push_back(Arc::downgrade(&place));
        Some(place)
    }

    fn make_room(&mut self) -> Option<()> {
        let mut idle = None;
        for (at, place) in self.taken.iter().enumerate() {
            let Some(place) = place.upgrade() else {
                continue;
            };
            if !place.has_called.load(Ordering::Relaxed) {
                idle = Some(at);
                break;
            }
            if idle.is_none() && place.calls.load(Ordering::Relaxed) == 0 {
                idle = Some(at);
            }
        }
        if let Some(place) = self.taken.remove(idle?)?.upgrade() {
            place.given_up.cancel();
        }
        Some(())
    }
}

impl Place {
    /// Until this ends, the connection has one more call open.
    pub(in crate::service) fn call(self: Arc<Self>) -> Calling {
        self.has_called.store(true, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        Calling(self)
    }

    /// Over once another connection has taken it.
    pub(super) fn given_up(&self) -> CancellationToken {
        self.given_up.clone()
    }
}

/// An open call of a connection.
#[derive(Debug)]
pub(in crate::service) struct Calling(Arc<Place>);

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_never_called_makes_room_first_then_who_does_not_call_and_nobody_who_does() {
        let mut places = Places::new(3);
        let [calls, called, silent] = [(); 3].map(|()| places.take().unwrap());
        let _call = calls.clone().call();
        drop(called.clone().call());
        let is_left = |place: &Arc<Place>| place.given_up().is_cancelled();

        let next = places.take().unwrap();
        assert!(is_left(&silent) && !is_left(&called) && !is_left(&calls));
        let _call = next.clone().call();
        let last = places.take().unwrap();
        assert!(is_left(&called) && !is_left(&calls) && !is_left(&next));
        let _call = last.clone().call();
        assert!(places.take().is_none());
        assert!(!is_left(&calls) && !is_left(&next) && !is_left(&last));
    }

    #[test]
    fn a_connection_that_has_ended_leaves_its_place() {
        let mut places = Places::new(1);
        let first = places.take().unwrap();
        let call = first.clone().call();
        drop(first);
        assert!(places.take().is_none(), "its call goes on");
        drop(call);
        assert!(places.take().is_some());
    }
}
