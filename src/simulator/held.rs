//! How many names the applies hold together, and which applies are forgotten for the sake of
//! others.

use std::collections::BTreeMap;

/// About 1 GB. The account's published limit is higher.
const MAX_NAMES: usize = 10_000_000;

/// The names in all applies. What is forgotten depends on the events alone, so a replay does the
/// same.
#[derive(Debug)]
pub(super) struct Held {
    most: usize,
    names: usize,
    /// Checked and not registered, with how many names each holds.
    idle: BTreeMap<u64, usize>,
    idle_names: usize,
}

impl Default for Held {
    fn default() -> Held {
        Held::at_most(MAX_NAMES)
    }
}

impl Held {
    pub(super) fn at_most(most: usize) -> Held {
        Held {
            most,
            names: 0,
            idle: BTreeMap::new(),
            idle_names: 0,
        }
    }

    /// Whether there is room for so many more, or could be made.
    pub(super) fn can_take(&self, names: usize) -> bool {
        self.names - self.idle_names + names <= self.most
    }

    /// Adds so many, and tells the applies to forget for it: the oldest idle ones.
    pub(super) fn take(&mut self, names: usize) -> Vec<u64> {
        self.names += names;
        let mut forgotten = Vec::new();
        while self.names > self.most
            && let Some((id, freed)) = self.idle.pop_first()
        {
            self.names -= freed;
            self.idle_names -= freed;
            forgotten.push(id);
        }
        forgotten
    }

    /// Says that an apply, which holds so many, may be forgotten.
    pub(super) fn idle(&mut self, id: u64, names: usize) {
        self.idle.insert(id, names);
        self.idle_names += names;
    }

    /// Says that an apply stays.
    pub(super) fn keep(&mut self, id: u64) {
        self.idle_names -= self.idle.remove(&id).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_checks_that_nobody_registered_make_room() {
        let mut held = Held::at_most(10);
        for id in 1..=3 {
            assert_eq!(held.take(3), [0; 0]);
            held.idle(id, 3);
        }
        held.keep(1);

        assert!(held.can_take(7) && !held.can_take(8));
        assert_eq!(held.take(1), [0; 0]);
        assert_eq!(held.take(3), [2]);
        assert_eq!(held.take(3), [3]);
        assert!(held.can_take(0) && !held.can_take(1));
    }
}
