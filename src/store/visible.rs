//! What a caller sees: applies of its tenant whose product it may use.
//!
//! Every statement that a caller reaches has these two conditions in itself, so that an apply of
//! another tenant is not found in the very way in which none is found that never existed.

use crate::domain::{Caller, caller::ProductPattern};

/// The product keys that a caller sees, as patterns of LIKE. A `_` in a key is itself, not any
/// character.
pub(super) fn products(caller: &Caller) -> Vec<String> {
    let patterns = caller.products.patterns().iter();
    let like = |pattern: &ProductPattern| match pattern {
        ProductPattern::Exactly(key) => key.replace('_', "\\_"),
        ProductPattern::Prefix(prefix) => prefix.replace('_', "\\_") + "%",
    };
    patterns.map(like).collect()
}
