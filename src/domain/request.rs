//! A caller's name for a request, which makes it repeatable.

use sha2::{Digest as _, Sha256};

/// What a request id is remembered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The id, which is one for each tenant.
    pub id: String,
    /// Of the content: the same id with another one is another request.
    pub fingerprint: Fingerprint,
}

/// A hash over everything that a request says; a keyed one where that includes secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub Vec<u8>);

impl Fingerprint {
    /// The fingerprint of a request of some kind, from its parts in a fixed order.
    pub fn of<'a>(kind: &'a str, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(kind.as_bytes()).chain(parts) {
            // With its length, so that no two lists of parts run into the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_kinds_and_parts_apart() {
        let of = |kind, parts: &[&str]| Fingerprint::of(kind, parts.iter().map(|p| p.as_bytes()));

        assert_eq!(of("check", &["ab", "c"]), of("check", &["ab", "c"]));
        assert_ne!(of("check", &["ab", "c"]), of("check", &["a", "bc"]));
        assert_ne!(of("check", &["ab"]), of("check", &["ab", ""]));
        assert_ne!(of("check", &["ab"]), of("register", &["ab"]));
    }
}
