//! Judging devices by the local rules, chunk by chunk, in the order in which they come.
//!
//! What concerns one device is judged when it comes ([`Gathered::push`]); whether an earlier one has
//! its name, once its chunk is whole ([`Judge::judge`]). A judge remembers no names, only hashes of
//! them, 9 to 18 bytes a device. So it says which names of a chunk earlier chunks may hold, and whoever
//! keeps the chunks looks there and tells it where they are.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
};

use hashbrown::hash_table::{Entry, HashTable};

use super::{
    CHUNK, DeviceSecret, Fingerprint, Ordinal,
    device::{NewDevice, readable},
    reason::Reason,
};

/// A chunk of devices that were judged.
#[derive(Debug)]
pub struct Chunk {
    /// Which chunk, from 0.
    pub chunk_no: i32,
    /// The names in the order given.
    pub names: Vec<String>,
    /// The nicknames in the same order, empty for none; absent when none of these devices has one.
    pub nicknames: Option<Vec<String>>,
    /// Of an import: the serial numbers, empty for none.
    pub sns: Option<Vec<String>>,
    /// Of an import: a hash over what its devices bring, as it was handed over.
    pub brought: Option<Fingerprint>,
    /// Of an import: the secrets until they are sealed. Of a device that breaks a rule none is kept.
    secrets: Vec<DeviceSecret>,
    /// Of an import: the same once they are sealed; none where no device can be sent.
    pub sealed: Option<Vec<u8>>,
    /// The devices that break a rule, by rising ordinal.
    pub refused: Vec<(Ordinal, Reason)>,
}

impl Chunk {
    /// Seals the secrets, if there are any. Afterwards nothing here shows them.
    pub fn seal(&mut self, seal: impl FnOnce(&[DeviceSecret], i32) -> Vec<u8>) {
        let secrets = std::mem::take(&mut self.secrets);
        let any = self.sns.is_some() && self.passed() > 0;
        self.sealed = any.then(|| seal(&secrets, self.chunk_no));
    }

    /// The place of its first device in the apply.
    pub fn first(&self) -> Ordinal {
        self.chunk_no * CHUNK as Ordinal
    }

    /// How many of its devices break no rule.
    pub fn passed(&self) -> usize {
        self.names.len() - self.refused.len()
    }

    /// The nickname of each device, empty for none.
    pub fn nicknames(&self) -> impl Iterator<Item = &str> {
        let nickname = |at: usize| self.nicknames.as_ref().map_or("", |all| &all[at]);
        (0..self.names.len()).map(nickname)
    }

    /// Its devices that break no rule, with their places.
    pub fn valid(&self) -> impl Iterator<Item = (Ordinal, &str)> {
        passed(self.first(), &self.names, &self.refused)
    }
}

/// The devices of a chunk that comes, each judged by the rules that concern it alone.
#[derive(Debug)]
pub struct Gathered {
    chunk_no: i32,
    names: Vec<String>,
    nicknames: Vec<String>,
    sns: Option<Vec<String>>,
    secrets: Vec<DeviceSecret>,
    refused: Vec<(Ordinal, Reason)>,
}

impl Gathered {
    /// None yet of this chunk.
    pub fn new(chunk_no: i32) -> Self {
        Self {
            chunk_no,
            names: Vec::new(),
            nicknames: Vec::new(),
            sns: None,
            secrets: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Takes the next device. Keeps what is readable of it, but nothing of its secret that is not
    /// sealed.
    pub fn push(&mut self, device: impl Into<NewDevice>) {
        let device = device.into();
        if let Some(reason) = device.judge() {
            self.refused.push((self.next(), reason));
        }
        self.names.push(readable(device.name));
        self.nicknames.push(readable(device.nickname));
        if let Some(brought) = device.brought {
            self.sns.get_or_insert_default().push(readable(brought.sn));
            self.secrets.push(brought.secret);
        }
    }

    /// The place in the apply of the device that comes next.
    pub fn next(&self) -> Ordinal {
        self.first() + self.names.len() as Ordinal
    }

    /// Whether it holds no device.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.names.len() >= CHUNK
    }

    fn first(&self) -> Ordinal {
        self.chunk_no * CHUNK as Ordinal
    }

    fn passed(&self) -> impl Iterator<Item = (Ordinal, &str)> {
        passed(self.first(), &self.names, &self.refused)
    }
}

/// The devices that are not refused.
fn passed<'a>(
    first: Ordinal,
    names: &'a [String],
    refused: &'a [(Ordinal, Reason)],
) -> impl Iterator<Item = (Ordinal, &'a str)> {
    let mut refused = refused.iter().map(|(at, _)| *at).peekable();
    (first..)
        .zip(names)
        .filter(move |(at, _)| refused.next_if_eq(at).is_none())
        .map(|(at, name)| (at, name.as_str()))
}

/// Knows of which names there were devices before.
///
/// The hashes are keyed, so that nobody can choose names that meet in them.
#[derive(Debug)]
pub struct Judge<K = RandomState> {
    hashes: HashSet<u64, BuildHasherDefault<AsItIs>>,
    keys: K,
}

impl Default for Judge {
    fn default() -> Self {
        Self::new(RandomState::new())
    }
}

impl<K: BuildHasher> Judge<K> {
    /// A judge before whom no device has come, and who tells names apart by hashes under these keys.
    pub fn new(keys: K) -> Self {
        let hashes = HashSet::default();
        Self { hashes, keys }
    }

    /// The names in a chunk that valid devices of earlier ones may have: all that do, and hardly
    /// another one.
    pub fn suspects(&self, chunk: &Gathered) -> HashSet<String> {
        let names = chunk.passed().map(|(_, name)| name);
        let suspects = names.filter(|name| self.hashes.contains(&self.keys.hash_one(name)));
        suspects.map(str::to_owned).collect()
    }

    /// Refuses the devices whose name an earlier valid one has, in an earlier chunk as `known` says
    /// (with its place), or in this one. A device that is refused anyway claims no name, so that the
    /// repetition of a bad one keeps the reason of the rule that it breaks.
    pub fn judge(&mut self, chunk: Gathered, known: &HashMap<String, Ordinal>) -> Chunk {
        let mut duplicates = Vec::new();
        // Hashes its names once for both tables: that is most of the work.
        let mut first_of: HashTable<(u64, &str, Ordinal)> =
            HashTable::with_capacity(chunk.names.len());
        for (at, name) in chunk.passed() {
            if let Some(first) = known.get(name) {
                duplicates.push((at, Reason::duplicate(*first)));
                continue;
            }
            let hash = self.keys.hash_one(name);
            match first_of.entry(hash, |(_, other, _)| *other == name, |(hash, ..)| *hash) {
                Entry::Occupied(first) => duplicates.push((at, Reason::duplicate(first.get().2))),
                Entry::Vacant(vacant) => drop(vacant.insert((hash, name, at))),
            }
        }
        self.hashes.extend(first_of.iter().map(|(hash, ..)| *hash));
        drop(first_of);
        let Gathered {
            chunk_no,
            names,
            nicknames,
            sns,
            mut secrets,
            mut refused,
        } = chunk;
        refused.extend(duplicates);
        refused.sort_by_key(|(at, _)| *at);
        let brought = sns.as_ref().map(|sns| {
            let sns = sns.iter().map(String::as_bytes);
            let secrets = secrets.iter().map(|secret| secret.reveal().as_bytes());
            Fingerprint::of("brought", sns.chain(secrets))
        });
        if sns.is_some() {
            for (at, _) in &refused {
                secrets[*at as usize % CHUNK] = DeviceSecret::new(String::new());
            }
        }
        let is_nicknamed = nicknames.iter().any(|nickname| !nickname.is_empty());
        Chunk {
            chunk_no,
            names,
            nicknames: is_nicknamed.then_some(nicknames),
            sns,
            brought,
            secrets,
            sealed: None,
            refused,
        }
    }

    /// Remembers the names of a chunk that was judged before. Those of devices that were refused do
    /// no harm: they are suspected and not found.
    pub fn remember<'a>(&mut self, names: impl IntoIterator<Item = &'a String>) {
        let names = names.into_iter();
        self.hashes
            .extend(names.map(|name| self.keys.hash_one(name.as_str())));
    }
}

/// Takes a number for its own hash: the numbers here are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        unreachable!("only whole numbers are hashed, and not {bytes:?}")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests;
