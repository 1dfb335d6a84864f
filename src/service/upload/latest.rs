//! Which stream of each apply is the latest in this process, so that the others end at once.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::{domain::ApplyId, store::Upload};

/// The latest streams. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest(Arc<Mutex<HashMap<ApplyId, (i32, CancellationToken)>>>);

/// One of them, until this ends.
#[derive(Debug)]
pub(super) struct Streaming {
    latest: Latest,
    upload: Upload,
    /// Cancelled once a later stream is there.
    pub(super) overtaken: CancellationToken,
}

impl Latest {
    /// Enters a stream and tells an earlier one of its apply to end. A stream that comes after a
    /// later one is told so itself.
    pub(super) fn enter(&self, upload: Upload) -> Streaming {
        let overtaken = CancellationToken::new();
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match streams.entry(upload.apply) {
            Entry::Occupied(other) if other.get().0 > upload.number => overtaken.cancel(),
            Entry::Occupied(mut other) => {
                let (_, earlier) = other.insert((upload.number, overtaken.clone()));
                earlier.cancel();
            }
            Entry::Vacant(place) => drop(place.insert((upload.number, overtaken.clone()))),
        }
        Streaming {
            latest: self.clone(),
            upload,
            overtaken,
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let mut streams = self.latest.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(stream) = streams.entry(self.upload.apply)
            && stream.get().0 == self.upload.number
        {
            stream.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_order_streams_come_in_only_the_latest_goes_on_and_none_is_left_behind() {
        let latest = Latest::default();
        let stream = |apply, number| {
            latest.enter(Upload {
                apply: ApplyId(apply),
                number,
            })
        };

        let (second, first) = (stream(7, 2), stream(7, 1));
        let other = stream(8, 1);
        assert!(first.overtaken.is_cancelled() && !second.overtaken.is_cancelled());
        let third = stream(7, 3);
        assert!(second.overtaken.is_cancelled() && !third.overtaken.is_cancelled());

        drop((first, second));
        assert_eq!(latest.0.lock().unwrap().len(), 2);
        assert!(!third.overtaken.is_cancelled());
        drop((third, other));
        assert!(latest.0.lock().unwrap().is_empty());
    }
}
