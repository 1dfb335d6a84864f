//! The vault: device secrets sealed at rest.
//!
//! Two layers. *Master keys* come from outside (a file, a variable or a command) and are never
//! stored by us; the first of them seals, the others only open, which is how they are rotated. A
//! *data key* is made for each apply and stored [`Wrapped`] under a master key; it seals the
//! apply's secrets chunk by chunk. Whoever forgets the wrapped key has forgotten the secrets, with
//! every copy of them in logs and backups.
//!
//! Fingerprints over secrets are keyed too ([`Vault::mac`]), since secrets are short enough to be
//! guessed from a plain hash.
//!
//! No error and no `Debug` of this room shows a secret or a key. Start at [`Vault::open`]; what the
//! sealed bytes look like is in `seal`.

mod error;
mod keys;
mod options;
mod seal;
mod source;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    fmt,
    sync::{Arc, RwLock},
};

use ring::{hmac, rand::SystemRandom};
use zeroize::Zeroizing;

use self::{keys::Keyring, source::Source};

pub use self::{
    error::{Error, LoadError},
    keys::{new_key_line, write_new_key_file},
    options::{KeyText, Options},
    seal::{DataKey, Wrapped},
};

/// Seals and opens by the master keys. Clones are cheap and share the keys; keys that were loaded
/// anew count for all of them at once.
#[derive(Clone)]
pub struct Vault {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    keys: RwLock<Arc<Keyring>>,
    random: SystemRandom,
}

impl Vault {
    /// Reads the master keys from where the options say. Options that name no source give a vault
    /// that [is not open](Self::is_open).
    pub async fn open(options: &Options) -> Result<Self, LoadError> {
        let source = options.source().map_err(LoadError::Options)?;
        let keys = match source {
            Source::None => Keyring::default(),
            _ => Keyring::parse(&source.read().await?)?,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                source,
                keys: RwLock::new(Arc::new(keys)),
                random: SystemRandom::new(),
            }),
        })
    }

    /// Whether there is a master key to seal with. Without one nothing that holds secrets may be
    /// taken in.
    pub fn is_open(&self) -> bool {
        self.keys().newest().is_some()
    }

    /// Makes the data key of an apply, and the form in which it is to be stored.
    pub fn new_data_key(&self) -> Result<(DataKey, Wrapped), Error> {
        let keys = self.keys();
        let master = keys.newest().ok_or(Error::Closed)?;
        let key = DataKey::random(&self.shared.random);
        let wrapped = key.wrap(master, &self.shared.random);
        Ok((key, wrapped))
    }

    /// The data key that was stored so.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<DataKey, Error> {
        DataKey::unwrap(wrapped, &self.keys())
    }

    /// The same data key under the newest master key; `None` if it is under that already. What the
    /// data key sealed stays as it is.
    pub fn rewrap(&self, wrapped: &[u8]) -> Result<Option<Wrapped>, Error> {
        let keys = self.keys();
        let newest = keys.newest().ok_or(Error::Closed)?;
        if seal::key_id(wrapped)? == newest.id {
            return Ok(None);
        }
        let key = DataKey::unwrap(wrapped, &keys)?;
        Ok(Some(key.wrap(newest, &self.shared.random)))
    }

    /// A fingerprint of `bytes` that nobody can check a guess against without the master key:
    /// HMAC-SHA256 under a key derived from the newest one, with that one's id.
    pub fn mac(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let keys = self.keys();
        let master = keys.newest().ok_or(Error::Closed)?;
        let tag = hmac::sign(&master.mac_key(), bytes);
        let mut mac = seal::head(&master.id);
        mac.extend_from_slice(tag.as_ref());
        Ok(mac)
    }

    /// Whether `stored` is what [`Self::mac`] made of these bytes, under whichever of the keys. Of
    /// a key that is gone nobody can tell, which is an error and not a no.
    pub fn mac_matches(&self, stored: &[u8], bytes: &[u8]) -> Result<bool, Error> {
        let (id, tag) = seal::split_head(stored)?;
        let keys = self.keys();
        let master = keys.get(id)?;
        Ok(hmac::verify(&master.mac_key(), bytes, tag).is_ok())
    }

    fn keys(&self) -> Arc<Keyring> {
        // Nothing panics while it holds the lock: it only moves a pointer.
        Arc::clone(&self.shared.keys.read().expect("the lock is sound"))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

/// Bytes that are wiped when they go.
type Wiped<T> = Zeroizing<T>;
