//! The devices of one product: who has which name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::apply::{Apply, Brought, Fate, Miss, Why};

#[derive(Debug, Default)]
pub(super) struct Devices {
    owners: HashMap<Arc<str>, Owner>,
    existing: Vec<Existing>,
    /// How often devices that are deleted had been created.
    gone: HashMap<Arc<str>, u32>,
    /// The apply that a name is kept for, and until when.
    reserved: HashMap<Arc<str>, (u64, u64)>,
    visible: usize,
    ignore_case: bool,
}

/// Who has a name. It is claimed when the creation starts, so that of two overlapping applies the
/// one registered first gets it, and is a device once that creation is done.
#[derive(Debug)]
struct Owner {
    /// 0 for a device that existed from the beginning.
    apply: u64,
    /// In the apply, or among the devices that existed from the beginning.
    position: u32,
    created: u32,
    visible: bool,
}

/// A device that existed from the beginning.
#[derive(Debug)]
struct Existing {
    name: Arc<str>,
    since: u64,
}

/// What is known of a device beside its credentials.
#[derive(Debug)]
pub(super) struct Given<'a> {
    pub(super) name: &'a str,
    pub(super) nickname: Option<&'a str>,
    /// In microseconds since the epoch.
    pub(super) created_at: u64,
    pub(super) brought: Option<&'a Brought>,
}

impl Devices {
    pub(super) fn ignore_case(&mut self) {
        self.ignore_case = true;
    }

    pub(super) fn add_existing(&mut self, name: &str, since: u64) {
        let name: Arc<str> = name.into();
        if let Entry::Vacant(vacant) = self.owners.entry(key(&name, self.ignore_case)) {
            vacant.insert(Owner {
                apply: 0,
                position: u32::try_from(self.existing.len()).expect("they came by a command line"),
                created: 0,
                visible: true,
            });
            self.existing.push(Existing { name, since });
            self.visible += 1;
        }
    }

    /// Gives the apply those of its names that passed and are free, and tells the others.
    pub(super) fn claim(&mut self, id: u64, apply: &Apply, fate: &Fate, now: u64) -> Vec<Miss> {
        let mut misses = Vec::new();
        let mut claimed = Vec::new();
        let mut missed = apply.misses.iter().peekable();
        let mut failed = fate.failed.iter().peekable();
        for (position, name) in (0..).zip(&apply.names) {
            let fails = failed.next_if_eq(&&position).is_some();
            if let Some(miss) = missed.next_if(|miss| miss.position == position) {
                misses.push(*miss);
                continue;
            }
            let key = key(name, self.ignore_case);
            if let Some((holder, until)) = self.reserved.get(&key)
                && (*holder == id || *until <= now)
            {
                self.reserved.remove(&key);
            }
            let reserved = self.reserved.contains_key(&key);
            match self.owners.entry(key) {
                Entry::Vacant(vacant) if !reserved && !fails => {
                    let created = self.gone.remove(vacant.key()).unwrap_or(0) + 1;
                    vacant.insert(Owner {
                        apply: id,
                        position,
                        created,
                        visible: false,
                    });
                    claimed.push(position);
                }
                Entry::Vacant(_) if !reserved => misses.push(Miss {
                    position,
                    why: Why::Failed,
                }),
                Entry::Occupied(_) | Entry::Vacant(_) => misses.push(Miss {
                    position,
                    why: Why::Exists,
                }),
            }
        }
        if fate.undone && !misses.is_empty() {
            for position in claimed {
                self.release(&apply.names[position as usize]);
                misses.push(Miss {
                    position,
                    why: Why::Failed,
                });
            }
            misses.sort_unstable_by_key(|miss| miss.position);
        }
        misses
    }

    /// Makes devices of names that were claimed.
    pub(super) fn show<'n>(&mut self, names: impl Iterator<Item = &'n Arc<str>>) {
        for name in names {
            if let Some(owner) = self.owners.get_mut(&*folded(name, self.ignore_case)) {
                owner.visible = true;
                self.visible += 1;
            }
        }
    }

    /// Keeps names for an apply.
    pub(super) fn reserve(&mut self, id: u64, names: &[Arc<str>], until: u64) {
        let keys = names.iter().map(|name| key(name, self.ignore_case));
        self.reserved.extend(keys.map(|key| (key, (id, until))));
    }

    /// The names that are devices now, or kept for an apply.
    pub(super) fn taken(&self, names: &[Arc<str>], now: u64) -> Vec<Miss> {
        let taken = |name: &str| {
            let reserved = || {
                let kept = self.reserved.get(&*folded(name, self.ignore_case));
                kept.is_some_and(|(_, until)| *until > now)
            };
            self.is_device(name) || !self.reserved.is_empty() && reserved()
        };
        (0..)
            .zip(names)
            .filter(|(_, name)| taken(name))
            .map(|(position, _)| Miss {
                position,
                why: Why::Exists,
            })
            .collect()
    }

    /// Deletes a device and tells the place it had.
    pub(super) fn delete(&mut self, name: &str) -> Option<(u64, u32)> {
        let place = self.place(name)?;
        self.release(name);
        self.visible -= 1;
        Some(place)
    }

    pub(super) fn is_device(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// Whether nobody may have this name any more, since it is a device or about to be one.
    pub(super) fn is_claimed(&self, name: &str) -> bool {
        self.owners.contains_key(&*folded(name, self.ignore_case))
    }

    /// The apply, 0 for none, and the position in it, of a device.
    pub(super) fn place(&self, name: &str) -> Option<(u64, u32)> {
        let owner = self.owners.get(&*folded(name, self.ignore_case))?;
        owner.visible.then_some((owner.apply, owner.position))
    }

    /// The device that was at this position from the beginning.
    pub(super) fn given(&self, position: u32) -> Option<Given<'_>> {
        let existing = self.existing.get(position as usize)?;
        Some(Given {
            name: &existing.name,
            nickname: None,
            created_at: existing.since,
            brought: None,
        })
    }

    /// Devices.
    pub(super) fn count(&self) -> usize {
        self.visible
    }

    /// Devices, and names that are about to be some.
    pub(super) fn claimed(&self) -> usize {
        self.owners.len()
    }

    /// The devices that exist from the beginning on.
    pub(super) fn existing(&self) -> impl Iterator<Item = &Arc<str>> {
        let stands = |(position, existing): &(u32, &Existing)| {
            self.place(&existing.name) == Some((0, *position))
        };
        let all = (0..).zip(&self.existing).filter(stands);
        all.map(|(_, existing)| &existing.name)
    }

    /// How often a device of this name was created.
    pub(super) fn times_created(&self, name: &str) -> u32 {
        let owner = self.owners.get(&*folded(name, self.ignore_case));
        owner.map_or(0, |owner| owner.created)
    }

    /// Makes a name free again.
    fn release(&mut self, name: &str) {
        let folded = folded(name, self.ignore_case);
        if let Some((key, owner)) = self.owners.remove_entry(&*folded) {
            let created = owner.created - u32::from(owner.apply != 0 && !owner.visible);
            if created > 0 {
                self.gone.insert(key, created);
            }
        }
    }
}

/// What a name is looked up by.
fn folded(name: &str, ignore_case: bool) -> Cow<'_, str> {
    if ignore_case {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The same to be kept; it shares the name where it can.
fn key(name: &Arc<str>, ignore_case: bool) -> Arc<str> {
    match folded(name, ignore_case) {
        Cow::Owned(folded) if *folded != **name => folded.into(),
        Cow::Owned(_) | Cow::Borrowed(_) => Arc::clone(name),
    }
}
