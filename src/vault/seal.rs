//! What sealed bytes look like, and the data keys that seal.
//!
//! ```text
//! head     1, length of the id, id of the master key
//! Wrapped  head, nonce (12), the data key (32) sealed under the master key, tag (16)
//! chunk    1, nonce (12), for each secret its length (4, little endian) and text, sealed, tag (16)
//! mac      head, HMAC-SHA256 (32)
//! ```
//!
//! AES-256-GCM throughout. Nonces are random: a data key seals a chunk once or, after a lost
//! answer, a few times, and a master key one data key for each apply, both far below the 2^32 up to
//! which random nonces are safe.

use std::fmt;

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};

use super::{
    Wiped,
    error::Error,
    keys::{self, KEY, Keyring, MasterKey},
};
use crate::domain::DeviceSecret;

/// How all of it is laid out; another layout gets another number.
const VERSION: u8 = 1;

/// Bytes of the length that stands before each secret.
const LENGTH: usize = 4;

/// The key that seals the secrets of one apply.
#[derive(Clone)]
pub struct DataKey {
    key: Wiped<[u8; KEY]>,
    random: SystemRandom,
}

/// A data key as it is stored: sealed under a master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped(pub Vec<u8>);

impl DataKey {
    pub(super) fn random(random: &SystemRandom) -> Self {
        Self {
            key: keys::random(random),
            random: random.clone(),
        }
    }

    pub(super) fn wrap(&self, master: &MasterKey, random: &SystemRandom) -> Wrapped {
        let head = head(&master.id);
        let key = self.key.to_vec();
        let sealed = seal(&master.wrapping_key(), random, &head, key);
        Wrapped([head, sealed].concat())
    }

    pub(super) fn unwrap(wrapped: &[u8], keys: &Keyring) -> Result<Self, Error> {
        let (id, sealed) = split_head(wrapped)?;
        let master = keys.get(id)?;
        let opened = open(&master.wrapping_key(), &head(id), sealed)?;
        let key: &[u8; KEY] = opened.as_slice().try_into().map_err(|_| Error::Damaged)?;
        Ok(Self {
            key: Wiped::new(*key),
            random: SystemRandom::new(),
        })
    }

    /// Seals the secrets of a chunk, in their order. They open only as those of this chunk of this
    /// apply.
    pub fn seal(&self, secrets: &[DeviceSecret], chunk_no: i32) -> Vec<u8> {
        let size = secrets.iter().map(|secret| LENGTH + secret.reveal().len());
        // With room for the tag, since growing would leave a copy behind.
        let mut plain = Vec::with_capacity(size.sum::<usize>() + AES_256_GCM.tag_len());
        for secret in secrets {
            let text = secret.reveal();
            let length = u32::try_from(text.len()).expect("a secret is a short text");
            plain.extend_from_slice(&length.to_le_bytes());
            plain.extend_from_slice(text.as_bytes());
        }
        let mut sealed = vec![VERSION];
        sealed.extend(seal(&self.key, &self.random, &place(chunk_no), plain));
        sealed
    }

    /// The secrets that were sealed for this chunk.
    pub fn open(&self, sealed: &[u8], chunk_no: i32) -> Result<Vec<DeviceSecret>, Error> {
        let sealed = sealed.strip_prefix(&[VERSION]).ok_or(Error::Damaged)?;
        let plain = open(&self.key, &place(chunk_no), sealed)?;
        let mut secrets = Vec::new();
        let mut rest = plain.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<LENGTH>() {
            let length = u32::from_le_bytes(*length) as usize;
            let (text, after) = after.split_at_checked(length).ok_or(Error::Damaged)?;
            let text = str::from_utf8(text).map_err(|_| Error::Damaged)?;
            secrets.push(DeviceSecret::new(text.to_owned()));
            rest = after;
        }
        match rest {
            [] => Ok(secrets),
            _ => Err(Error::Damaged),
        }
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a chunk's secrets belong; sealed with them, stored nowhere.
fn place(chunk_no: i32) -> [u8; 5] {
    let [a, b, c, d] = chunk_no.to_le_bytes();
    [VERSION, a, b, c, d]
}

/// What stands before anything made with a master key.
pub(super) fn head(id: &str) -> Vec<u8> {
    let length = u8::try_from(id.len()).expect("the id of a key is short");
    [&[VERSION, length], id.as_bytes()].concat()
}

/// The id of the master key, and what follows it.
pub(super) fn split_head(bytes: &[u8]) -> Result<(&str, &[u8]), Error> {
    let (&[version, length], rest) = bytes.split_first_chunk().ok_or(Error::Damaged)?;
    let (id, rest) = rest
        .split_at_checked(length.into())
        .filter(|_| version == VERSION)
        .ok_or(Error::Damaged)?;
    let id = str::from_utf8(id).map_err(|_| Error::Damaged)?;
    // It is told in errors, so it must not be able to say anything else.
    match keys::is_id(id) {
        true => Ok((id, rest)),
        false => Err(Error::Damaged),
    }
}

/// The id of the master key that a data key is wrapped under.
pub(super) fn key_id(wrapped: &[u8]) -> Result<&str, Error> {
    split_head(wrapped).map(|(id, _)| id)
}

/// Nonce, then the bytes sealed in place, then the tag.
fn seal(key: &[u8; KEY], random: &SystemRandom, with: &[u8], mut plain: Vec<u8>) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    random
        .fill(&mut nonce)
        .expect("the system gives random bytes");
    aead(key)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(with),
            &mut plain,
        )
        .expect("far below the 64 GiB that can be sealed at once");
    [&nonce, plain.as_slice()].concat()
}

fn open(key: &[u8; KEY], with: &[u8], sealed: &[u8]) -> Result<Wiped<Vec<u8>>, Error> {
    let (nonce, sealed) = sealed.split_first_chunk().ok_or(Error::Damaged)?;
    let mut bytes = Wiped::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = aead(key)
        .open_in_place(nonce, Aad::from(with), &mut bytes)
        .map_err(|_| Error::Damaged)?
        .len();
    bytes.truncate(plain);
    Ok(bytes)
}

fn aead(key: &[u8; KEY]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has its length"))
}
