//! Applies and devices: what was asked for, what became of it, and when.
//!
//! Nothing runs in the background. Each check and creation knows when it will be ready, and
//! [`State::settle`] finishes what is due in that order, so that the same events give the same
//! devices after a restart.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{Apply, Asked, Fate, Phase};
use super::credentials::Place;
use super::devices::{Devices, Given};
use super::held::Held;
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
    held: Held,
    /// How far it has been settled.
    now: u64,
}

impl State {
    /// Says that names which differ in case only are the same. To be said before there are any.
    pub(super) fn ignore_case(&mut self) {
        self.devices.iter_mut().for_each(Devices::ignore_case);
    }

    /// Adds a device that existed from the beginning, unless there is one of that name.
    pub(super) fn add_existing(&mut self, product: Product, name: &str) {
        self.devices[product as usize].add_existing(name, self.now);
    }

    /// The id after the last.
    pub(super) fn next_apply(&self) -> u64 {
        self.applies
            .last_key_value()
            .map_or(1, |(last, _)| last + 1)
    }

    /// Whether there is room for so many more names.
    pub(super) fn can_hold(&self, names: usize) -> bool {
        self.held.can_take(names)
    }

    /// Puts a new apply into CHECK until `ready`.
    pub(super) fn start_check(&mut self, id: u64, asked: Asked, ready: u64, fate: &Fate) {
        self.insert(id, Phase::Check, asked, fate);
        self.expect(id, ready, fate);
    }

    /// Puts a new apply, of which nothing is checked, into CREATE until `ready`.
    pub(super) fn begin(&mut self, id: u64, asked: Asked, ready: u64, fate: &Fate) {
        self.insert(id, Phase::CheckSuccess, asked, fate);
        self.start_create(id, ready, fate);
    }

    /// Puts an apply from CHECK_SUCCESS into CREATE until `ready`. Names that others have, or are
    /// about to have, stay theirs; those that fail stay free.
    ///
    /// From CHECK_FAILED it takes the names that passed. From CHECK it first ends that, and goes on
    /// only if all passed.
    pub(super) fn start_create(&mut self, id: u64, ready: u64, fate: &Fate) {
        if self.applies.get(&id).map(|apply| apply.phase) == Some(Phase::Check) {
            self.due.retain(|(_, due)| *due != id);
            self.stuck.remove(&id);
            self.finish(id);
            if self.applies.get(&id).map(|apply| apply.phase) == Some(Phase::CheckFailed) {
                return;
            }
        }
        let Some(apply) = self.applies.get_mut(&id) else {
            return;
        };
        self.held.keep(id);
        let devices = &mut self.devices[apply.product as usize];
        apply.misses = devices.claim(id, apply, fate, self.now);
        apply.phase = Phase::Create;
        apply.nameless = false;
        self.expect(id, ready, fate);
    }

    /// Deletes a device, if there is one of that name.
    pub(super) fn delete(&mut self, product: Product, name: &str) {
        let devices = &mut self.devices[product as usize];
        if let Some((apply, position)) = devices.delete(name)
            && let Some(apply) = self.applies.get_mut(&apply)
        {
            apply.deleted.insert(position);
        }
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
            self.now = self.now.max(ready);
            self.finish(id);
        }
        self.now = self.now.max(now);
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

    pub(super) fn devices(&self, product: Product) -> &Devices {
        &self.devices[product as usize]
    }

    /// How far a device came into being: the apply it is of, and its name as that has it.
    pub(super) fn device(&self, product: Product, name: &str) -> Option<Given<'_>> {
        let (apply, position) = self.devices[product as usize].place(name)?;
        if apply == 0 {
            return self.devices[product as usize].given(position);
        }
        let apply = self.applies.get(&apply)?;
        Some(Given {
            name: apply.names.get(position as usize)?,
            nickname: apply.nicknames.get(&position).map(AsRef::as_ref),
            created_at: apply.spell.1,
            brought: apply
                .brought
                .as_ref()
                .and_then(|all| all.get(position as usize)),
        })
    }

    /// The name of the device at this place.
    pub(super) fn device_at(&self, place: Place) -> Option<&str> {
        let devices = &self.devices[place.product as usize];
        let name = if place.apply == 0 {
            devices.given(place.position)?.name
        } else {
            let apply = self.applies.get(&place.apply)?;
            apply.names.get(place.position as usize)?.as_ref()
        };
        let there = devices.place(name) == Some((place.apply, place.position));
        there.then_some(name)
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

    fn insert(&mut self, id: u64, phase: Phase, asked: Asked, fate: &Fate) {
        let Asked {
            product,
            names,
            nicknames,
            malformed,
            brought,
        } = asked;
        for forgotten in self.held.take(names.len() + malformed.len()) {
            self.applies.remove(&forgotten);
        }
        let apply = Apply {
            product,
            phase,
            names,
            nicknames,
            malformed,
            misses: Vec::new(),
            nameless: fate.nameless,
            brought,
            asked_at: self.now,
            spell: (self.now, self.now),
            reserved_until: fate.reserved_until,
            deleted: BTreeSet::new(),
        };
        self.applies.insert(id, apply);
    }

    fn expect(&mut self, id: u64, ready: u64, fate: &Fate) {
        if let Some(apply) = self.applies.get_mut(&id) {
            apply.spell = (self.now, ready);
        }
        if fate.stuck {
            self.stuck.insert(id, ready);
        } else {
            self.due.insert((ready, id));
        }
    }

    fn finish(&mut self, id: u64) {
        let Some(apply) = self.applies.get_mut(&id) else {
            return;
        };
        let devices = &mut self.devices[apply.product as usize];
        match apply.phase {
            Phase::Check => {
                let misses = devices.taken(&apply.names, self.now);
                let passed = misses.is_empty() && apply.malformed.is_empty() && !apply.nameless;
                apply.phase = if passed {
                    Phase::CheckSuccess
                } else {
                    Phase::CheckFailed
                };
                apply.misses = misses;
                if let Some(until) = apply.reserved_until.filter(|_| passed) {
                    devices.reserve(id, &apply.names, until);
                } else {
                    let names = apply.names.len() + apply.malformed.len();
                    self.held.idle(id, names);
                }
            }
            Phase::Create => {
                let all = apply.misses.is_empty() && apply.malformed.is_empty();
                apply.phase = if all {
                    Phase::CreateSuccess
                } else {
                    Phase::CreateFailed
                };
                devices.show(apply.created().map(|(_, name)| name));
            }
            Phase::CheckSuccess
            | Phase::CheckFailed
            | Phase::CreateSuccess
            | Phase::CreateFailed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;

    fn asked(names: &[&str]) -> Asked {
        Asked {
            product: Product::Secret,
            names: names.iter().map(|name| (*name).into()).collect(),
            nicknames: HashMap::from([(0, "nick".into())]),
            malformed: Box::default(),
            brought: None,
        }
    }

    fn phase(state: &State, id: u64) -> Phase {
        state.apply(id).unwrap().phase
    }

    fn list<'a>(names: impl Iterator<Item = (u32, &'a Arc<str>)>) -> Vec<&'a str> {
        names.map(|(_, name)| name.as_ref()).collect()
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
        let complaints: Vec<_> = state.apply(2).unwrap().complaints("taken").collect();
        assert_eq!(complaints.len(), 1);
        assert_eq!(
            (complaints[0].name, complaints[0].nickname),
            ("dev2", Some("nick"))
        );

        state.settle(90);
        assert_eq!(phase(&state, 1), Phase::CreateSuccess);
        assert_eq!(state.devices(Product::Secret).count(), 3);
        assert_eq!(state.devices(Product::Secret).times_created("dev2"), 1);
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
    fn what_makes_room_is_forgotten_and_its_id_not_given_again() {
        let mut state = State {
            held: Held::at_most(2),
            ..State::default()
        };
        state.start_check(1, asked(&["dev1", "dev2"]), 0, &Fate::default());
        state.settle(0);

        assert!(state.can_hold(2) && !state.can_hold(3));
        state.start_check(state.next_apply(), asked(&["dev1"]), 0, &Fate::default());

        assert!(state.apply(1).is_none() && state.apply(2).is_some());
        assert_eq!(state.next_apply(), 3);
    }

    #[test]
    fn names_of_another_product_do_not_clash() {
        let mut state = State::default();
        state.add_existing(Product::X509, "dev1");
        state.start_check(1, asked(&["dev1"]), 0, &Fate::default());

        state.settle(0);

        assert_eq!(phase(&state, 1), Phase::CheckSuccess);
    }

    #[test]
    fn of_a_creation_under_way_there_is_as_much_as_of_its_time_has_passed() {
        let mut state = State::default();
        state.settle(100);
        state.begin(1, asked(&["dev1", "dev2"]), 200, &Fate::default());
        let apply = state.apply(1).unwrap();

        assert_eq!(apply.created_by(100), 0);
        assert_eq!(apply.created_by(150), 1);
        assert_eq!(apply.created_by(999), 2);
        assert_eq!(apply.created_count(), 0);
    }
}
