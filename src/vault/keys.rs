//! Master keys: read from text, looked up by id, made anew.

use std::{
    collections::HashSet, fmt, fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use subtle::ConstantTimeEq as _;

use super::{
    Wiped,
    error::{Error, LoadError},
};

/// Bytes of a key, master or data.
pub(super) const KEY: usize = 32;

/// Base64 as any tool writes it: with `+/` or `-_`, with `=` at the end or without.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const ALPHABETS: [GeneralPurpose; 2] = [
    GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT),
    GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT),
];

/// The longest id: it is stored with everything that its key sealed.
const MAX_ID: usize = 64;

/// A key that comes from outside.
pub(super) struct MasterKey {
    pub(super) id: String,
    key: Wiped<[u8; KEY]>,
}

/// All of them, the one that seals first.
#[derive(Default)]
pub(super) struct Keyring(Vec<MasterKey>);

impl MasterKey {
    /// The key that data keys are sealed under. One key, one purpose.
    pub(super) fn wrapping_key(&self) -> Wiped<[u8; KEY]> {
        self.derive(b"registrar data keys 1")
    }

    /// The key of fingerprints.
    pub(super) fn mac_key(&self) -> hmac::Key {
        hmac::Key::new(
            hmac::HMAC_SHA256,
            &*self.derive(b"registrar fingerprints 1"),
        )
    }

    /// HMAC as a function that nobody can follow without the key; the key is uniformly random, so
    /// nothing has to be extracted from it first.
    fn derive(&self, purpose: &[u8]) -> Wiped<[u8; KEY]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.key);
        let mut derived = Wiped::new([0; KEY]);
        derived.copy_from_slice(hmac::sign(&key, purpose).as_ref());
        derived
    }
}

impl Keyring {
    /// One `ID:KEY` a line or between semicolons; empty lines and those that begin with `#` are
    /// passed over.
    pub(super) fn parse(text: &[u8]) -> Result<Self, LoadError> {
        let mut keys = Vec::new();
        let mut ids = HashSet::new();
        for (line, text) in (1..).zip(text.split(|byte| matches!(byte, b'\n' | b';'))) {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let key = read_line(text).map_err(|what| LoadError::Line { line, what })?;
            if !ids.insert(key.id.clone()) {
                let what = "has the id of a line before it";
                return Err(LoadError::Line { line, what });
            }
            keys.push(key);
        }
        match keys.is_empty() {
            true => Err(LoadError::Empty),
            false => Ok(Self(keys)),
        }
    }

    /// The key that seals.
    pub(super) fn newest(&self) -> Option<&MasterKey> {
        self.0.first()
    }

    /// Their ids, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    pub(super) fn get(&self, id: &str) -> Result<&MasterKey, Error> {
        let key = self.0.iter().find(|key| key.id == id);
        key.ok_or_else(|| Error::UnknownKey(id.to_owned()))
    }

    /// Refuses keys of which one has the id and not the bytes of one of these: what is sealed under
    /// it would seem damaged.
    pub(super) fn check_next(&self, next: &Self) -> Result<(), LoadError> {
        for key in &next.0 {
            if let Ok(ours) = self.get(&key.id)
                && !bool::from(ours.key.ct_eq(&*key.key))
            {
                return Err(LoadError::Changed(key.id.clone()));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

/// A line for a new key, end included. The id is 1 to 64 of `A-Z a-z 0-9 . _ -`.
pub fn new_key_line(id: &str) -> Wiped<String> {
    let key = random(&SystemRandom::new());
    let mut line = Wiped::new(String::with_capacity(id.len() + KEY * 2));
    line.push_str(id);
    line.push(':');
    STANDARD.encode_string(*key, &mut line);
    line.push('\n');
    line
}

/// Writes a file of one new key, which only its owner can read. A file that is there is left alone.
pub fn write_new_key_file(path: &Path, id: &str) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    // Whole or not there: half a key in a file would be refused ever after.
    let unfinished = path.with_extension("unfinished");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(new_key_line(id).as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

/// New key bytes.
pub(super) fn random(source: &SystemRandom) -> Wiped<[u8; KEY]> {
    let mut key = Wiped::new([0; KEY]);
    source
        .fill(&mut *key)
        .expect("the system gives random bytes");
    key
}

/// Whether a key may be called so.
pub(super) fn is_id(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(legal)
}

fn read_line(line: &[u8]) -> Result<MasterKey, &'static str> {
    let (id, key) = match line.iter().position(|byte| *byte == b':') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => return Err("has no colon; it is ID:KEY"),
    };
    let id = match str::from_utf8(id) {
        Ok(id) if is_id(id) => id.to_owned(),
        _ => return Err("has an id that is not 1 to 64 of A-Z a-z 0-9 . _ -"),
    };
    let key = decode(key.trim_ascii()).ok_or("has a key that is not 32 bytes in base64 or hex")?;
    Ok(MasterKey { id, key })
}

fn decode(text: &[u8]) -> Option<Wiped<[u8; KEY]>> {
    let mut key = Wiped::new([0; KEY]);
    if text.len() == 2 * KEY {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        for (byte, pair) in key.iter_mut().zip(text.chunks(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        return Some(key);
    }
    // Room for the padding that the decoder counts with.
    let mut bytes = Wiped::new([0; KEY + 4]);
    let decoded = ALPHABETS
        .iter()
        .find_map(|base64| base64.decode_slice(text, &mut *bytes).ok())?;
    (decoded == KEY).then(|| key.copy_from_slice(&bytes[..KEY]))?;
    Some(key)
}
