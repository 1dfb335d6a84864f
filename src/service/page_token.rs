//! Page tokens: where the next page begins, good only for the tenant, the call and the filter that
//! made them.
//!
//! The seal keeps callers from mixing pages up, and from relying on what is inside. It is no
//! secret: a token opens nothing that its call would not show anyway, and replicas need no key in
//! common.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::domain::Tenant;

/// Bytes of the seal.
const SEAL: usize = 12;

/// The tenant, the call and the filter that a token belongs to.
#[derive(Clone, Debug)]
pub(super) struct Scope(Sha256);

impl Scope {
    /// The scope of a tenant's call whose filter has these parts.
    pub(super) fn new(tenant: &Tenant, call: &str, filter: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        let whose = [b"page token 1", tenant.as_str().as_bytes(), call.as_bytes()];
        for part in whose.iter().chain(filter) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash)
    }

    /// The token of the page that begins at `cursor`, which has as many numbers as its call needs.
    pub(super) fn token<const N: usize>(&self, cursor: [i64; N]) -> String {
        let mut bytes: Vec<u8> = cursor.iter().flat_map(|part| part.to_be_bytes()).collect();
        bytes.extend(self.seal(&bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The cursor in a token of this scope; none if it is not one.
    pub(super) fn cursor<const N: usize>(&self, token: &str) -> Option<[i64; N]> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (cursor, seal) = bytes.split_at_checked(N * size_of::<i64>())?;
        if seal != self.seal(cursor) {
            return None;
        }
        let (parts, _) = cursor.as_chunks();
        let mut parts = parts.iter().copied().map(i64::from_be_bytes);
        Some(std::array::from_fn(|_| {
            parts.next().expect("N parts were split off")
        }))
    }

    fn seal(&self, cursor: &[u8]) -> [u8; SEAL] {
        let hash = self.0.clone().chain_update(cursor).finalize();
        *hash.first_chunk().expect("a hash has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_to_the_call_and_filter_that_made_it() {
        let scope = Scope::new(&Tenant::open(), "ListApplies", &[b"a1"]);

        for cursor in [0, 1, i64::MAX] {
            assert_eq!(scope.cursor(&scope.token([cursor])), Some([cursor]));
            let pair = [-1, cursor];
            assert_eq!(scope.cursor(&scope.token(pair)), Some(pair));
        }
    }

    #[test]
    fn a_token_of_another_tenant_call_or_filter_is_refused() {
        let tenant = Tenant::parse("a").unwrap();
        let token = Scope::new(&tenant, "ListApplies", &[b"a1"]).token([7]);

        let others: [(&str, &[&[u8]]); 4] = [
            ("ListDevices", &[b"a1"]),
            ("ListApplies", &[b"a2"]),
            ("ListApplies", &[]),
            ("ListApplies", &[b"a", b"1"]),
        ];
        for (call, filter) in others {
            assert_eq!(Scope::new(&tenant, call, filter).cursor::<1>(&token), None);
        }
        let other = Scope::new(&Tenant::open(), "ListApplies", &[b"a1"]);
        assert_eq!(other.cursor::<1>(&token), None);
    }

    #[test]
    fn a_forged_token_is_refused() {
        let scope = Scope::new(&Tenant::open(), "ListApplies", &[]);
        let mut altered = URL_SAFE_NO_PAD.decode(scope.token([7])).unwrap();
        altered[7] += 1;

        for forged in [
            "",
            "7",
            "AAAAAAAAAAc",
            "not base64!",
            &URL_SAFE_NO_PAD.encode(altered),
        ] {
            assert_eq!(scope.cursor::<1>(forged), None, "{forged}");
        }
    }
}
