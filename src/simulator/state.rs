//! Applies and devices: what was asked for, what became of it, and when.
//!
//! Nothing runs in the background. Each check and creation knows when it will be ready, and
//! [`State::settle`] finishes what is due in that order, so that the same events give the same
//! devices after a restart.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::apply::{Apply, Asked, Fate, Miss, Phase, Why};
use super::product::Product;

/// The devices and applies of the account.
///
/// A name is kept once and shared by its device and its applies: about 100 bytes a device.
#[derive(Debug, Default)]
pub(super) struct State {
    devices: [Devices; Product::ALL.len()],
    applies: BTreeMap<u64, Apply>,
    /// When the applies in CHECK and CREATE are ready, in microseconds since the epoch.
    due: BTreeSet<(u64, u64)>,
    /// Those that are stuck, with when they would have been ready.
    stuck: BTreeMap<u64, u64>,
    held: usize,
}

#[derive(Debug, Default)]
struct Devices {
    owners: HashMap<Arc<str>, Owner>,
    existing: Vec<Arc<str>>,
    visible: usize,
}

/// Who has a name. It is claimed when the creation starts, so that of two overlapping applies the
/// one registered first gets it, and is a device once that creation is done.
#[derive(Debug)]
struct Owner {
    /// 0 for a device that existed from the beginning.
    apply: u64,
    created: u32,
}

impl State {
    /// Adds a device that existed from the beginning, unless there is one of that name.
    pub(super) fn add_existing(&mut self, product: Product, name: &str) {
        let devices = &mut self.devices[product as usize];
        let name: Arc<str> = name.into();
        if let Entry::Vacant(vacant) = devices.owners.entry(Arc::clone(&name)) {
            vacant.insert(Owner {
                apply: 0,
                created: 0,
            });
            devices.existing.push(name);
            devices.visible += 1;
        }
    }

    /// The id after the last.
    pub(super) fn next_apply(&self) -> u64 {
        self.applies
            .last_key_value()
            .map_or(1, |(last, _)| last + 1)
    }

    /// Names in all applies together, for the bound on memory.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Puts a new apply into CHECK until `ready`.
    pub(super) fn start_check(&mut self, id: u64, asked: Asked, ready: u64, fate: &Fate) {
        let Asked {
            product,
            names,
            nicknames,
            malformed,
        } = asked;
        self.held += names.len() + malformed.len();
        let apply = Apply {
            product,
            phase: Phase::Check,
            names,
            nicknames,
            malformed,
            misses: Vec::new(),
            nameless: fate.nameless,
        };
        self.applies.insert(id, apply);
        self.expect(id, ready, fate);
    }

    /// Puts an apply from CHECK_SUCCESS into CREATE until `ready`. Names that others have, or are
    /// about to have, stay theirs; those that fail stay free.
    pub(super) fn start_create(&mut self, id: u64, ready: u64, fate: &Fate) {
        let Some(apply) = self.applies.get_mut(&id) else {
            return;
        };
        let owners = &mut self.devices[apply.product as usize].owners;
        let mut failed = fate.failed.iter().peekable();
        for (position, name) in (0..).zip(&apply.names) {
            let fails = failed.next_if_eq(&&position).is_some();
            match owners.entry(Arc::clone(name)) {
                Entry::Occupied(_) => apply.misses.push(Miss {
                    position,
                    why: Why::Exists,
                }),
                Entry::Vacant(_) if fails => apply.misses.push(Miss {
                    position,
                    why: Why::Failed,
                }),
                Entry::Vacant(vacant) => {
                    vacant.insert(Owner {
                        apply: id,
                        created: 1,
                    });
                }
            }
        }
        apply.phase = Phase::Create;
        self.expect(id, ready, fate);
    }

    /// Makes these of the applies under way stuck from `at` on, and no others. One that no longer
    /// is ends when it would have, or now.
    pub(super) fn hold(&mut self, applies: &BTreeSet<u64>, at: u64) {
        let stuck = std::mem::take(&mut self.stuck);
        for (id, ready) in stuck {
            if applies.contains(&id) {
                self.stuck.insert(id, ready);
            } else {
                self.due.insert((ready.max(at), id));
            }
        }
        for (ready, id) in self.due.extract_if(.., |(_, id)| applies.contains(id)) {
            self.stuck.insert(id, ready);
        }
    }

    /// Finishes the checks and creations that are ready by `now`, in the order they became so.
    pub(super) fn settle(&mut self, now: u64) {
        while let Some(&(ready, id)) = self.due.first()
            && ready <= now
        {
            self.due.pop_first();
            self.finish(id);
        }
    }

    pub(super) fn apply(&self, id: u64) -> Option<&Apply> {
        self.applies.get(&id)
    }

    /// Those that are stuck.
    pub(super) fn stuck(&self) -> BTreeSet<u64> {
        self.stuck.keys().copied().collect()
    }

    /// The applies in CHECK and CREATE, the stuck ones too.
    pub(super) fn under_way(&self) -> impl Iterator<Item = (u64, &Apply)> {
        let due = self.due.iter().map(|(_, id)| *id);
        due.chain(self.stuck.keys().copied())
            .filter_map(|id| Some((id, self.applies.get(&id)?)))
    }

    /// Devices of the product.
    pub(super) fn count(&self, product: Product) -> usize {
        self.devices[product as usize].visible
    }

    /// The devices of the product that existed from the beginning.
    pub(super) fn existing(&self, product: Product) -> &[Arc<str>] {
        &self.devices[product as usize].existing
    }

    /// The applies that created devices of the product, oldest first.
    pub(super) fn creators(&self, product: Product) -> Vec<u64> {
        let done = |apply: &Apply| apply.product == product && apply.created_count() > 0;
        self.applies
            .iter()
            .filter(|(_, apply)| done(apply))
            .map(|(id, _)| *id)
            .collect()
    }

    /// How often a device of this name was created.
    pub(super) fn times_created(&self, product: Product, name: &str) -> u32 {
        self.devices[product as usize]
            .owners
            .get(name)
            .map_or(0, |owner| owner.created)
    }

    fn expect(&mut self, id: u64, ready: u64, fate: &Fate) {
        if fate.stuck {
            self.stuck.insert(id, ready);
        } else {
            self.due.insert((ready, id));
        }
    }

    fn finish(&mut self, id: u64) {
        let phase = self.applies.get(&id).map(|apply| apply.phase);
        if phase == Some(Phase::Check) {
            let misses = self.existing_of(id);
            if let Some(apply) = self.applies.get_mut(&id) {
                let passed = misses.is_empty() && apply.malformed.is_empty() && !apply.nameless;
                apply.phase = if passed {
                    Phase::CheckSuccess
                } else {
                    Phase::CheckFailed
                };
                apply.misses = misses;
            }
        } else if phase == Some(Phase::Create)
            && let Some(apply) = self.applies.get_mut(&id)
        {
            let all = apply.misses.is_empty();
            apply.phase = if all {
                Phase::CreateSuccess
            } else {
                Phase::CreateFailed
            };
            let misses = &apply.misses;
            let missed =
                |position: &u32| misses.binary_search_by_key(position, |miss| miss.position);
            apply
                .nicknames
                .retain(|position, _| missed(position).is_ok());
            self.devices[apply.product as usize].visible += apply.created_count();
        }
    }

    /// The names of an apply that are devices now.
    fn existing_of(&self, id: u64) -> Vec<Miss> {
        let Some(apply) = self.applies.get(&id) else {
            return Vec::new();
        };
        let owners = &self.devices[apply.product as usize].owners;
        let exists = |name: &Arc<str>| owners.get(name).is_some_and(|owner| self.is_device(owner));
        (0..)
            .zip(&apply.names)
            .filter(|(_, name)| exists(name))
            .map(|(position, _)| Miss {
                position,
                why: Why::Exists,
            })
            .collect()
    }

    fn is_device(&self, owner: &Owner) -> bool {
        owner.apply == 0
            || self
                .applies
                .get(&owner.apply)
                .is_some_and(|apply| apply.is_created())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(names: &[&str]) -> Asked {
        Asked {
            product: Product::Secret,
            names: names.iter().map(|name| (*name).into()).collect(),
            nicknames: HashMap::from([(0, "nick".into())]),
            malformed: Box::default(),
        }
    }

    fn phase(state: &State, id: u64) -> Phase {
        state.apply(id).unwrap().phase
    }

    fn list<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<&'a str> {
        names.map(AsRef::as_ref).collect()
    }

    #[test]
    fn of_overlapping_applies_the_one_registered_first_gets_the_names() {
        let mut state = State::default();
        state.start_check(1, asked(&["dev1", "dev2"]), 10, &Fate::default());
        state.start_check(2, asked(&["dev2", "dev3"]), 10, &Fate::default());
        state.settle(10);
        state.start_create(1, 90, &Fate::default());
        state.start_create(2, 50, &Fate::default());

        state.settle(60);
        assert_eq!(phase(&state, 1), Phase::Create);
        assert_eq!(phase(&state, 2), Phase::CreateFailed);
        assert_eq!(list(state.apply(1).unwrap().created()), [""; 0]);
        assert_eq!(list(state.apply(2).unwrap().created()), ["dev3"]);
        let complaints: Vec<_> = state.apply(2).unwrap().complaints().collect();
        assert_eq!(complaints.len(), 1);
        assert_eq!(
            (complaints[0].name, complaints[0].nickname),
            ("dev2", Some("nick"))
        );

        state.settle(90);
        assert_eq!(phase(&state, 1), Phase::CreateSuccess);
        assert_eq!(state.count(Product::Secret), 3);
        assert_eq!(state.times_created(Product::Secret, "dev2"), 1);
    }

    #[test]
    fn a_check_sees_the_creations_that_were_ready_before_it() {
        let mut state = State::default();
        state.start_check(1, asked(&["dev1"]), 0, &Fate::default());
        state.settle(0);
        state.start_create(1, 50, &Fate::default());
        state.start_check(2, asked(&["dev1", "dev2"]), 49, &Fate::default());
        state.start_check(3, asked(&["dev1", "dev2"]), 51, &Fate::default());

        state.settle(100);

        assert_eq!(phase(&state, 2), Phase::CheckSuccess);
        assert_eq!(phase(&state, 3), Phase::CheckFailed);
        assert_eq!(list(state.apply(3).unwrap().valid()), ["dev2"]);
    }

    #[test]
    fn what_is_let_go_ends_when_it_would_have_or_at_once() {
        let mut state = State::default();
        state.start_check(1, asked(&["dev1"]), 10, &Fate::default());
        state.start_check(2, asked(&["dev2"]), 40, &Fate::default());

        state.hold(&BTreeSet::from([1, 2]), 5);
        state.settle(30);
        assert_eq!(phase(&state, 1), Phase::Check);
        state.hold(&BTreeSet::new(), 30);
        state.settle(30);
        assert_eq!(phase(&state, 1), Phase::CheckSuccess);
        assert_eq!(phase(&state, 2), Phase::Check);

        state.settle(40);
        assert_eq!(phase(&state, 2), Phase::CheckSuccess);
    }

    #[test]
    fn names_of_another_product_do_not_clash() {
        let mut state = State::default();
        state.add_existing(Product::X509, "dev1");
        state.start_check(1, asked(&["dev1"]), 0, &Fate::default());

        state.settle(0);

        assert_eq!(phase(&state, 1), Phase::CheckSuccess);
    }
}
