//! Who may call, by what proves it.

use std::{collections::HashMap, sync::Arc};

use super::token::TokenHash;
use crate::domain::Caller;

/// The callers of an access file.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: Vec<Arc<str>>,
    by_token: HashMap<TokenHash, Arc<Caller>>,
    by_certificate: HashMap<String, Arc<Caller>>,
}

impl Known {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Adds the name of a caller. False if there is one of that name.
    pub(super) fn add_name(&mut self, name: &Arc<str>) -> bool {
        let is_new = !self.names.contains(name);
        if is_new {
            self.names.push(name.clone());
        }
        is_new
    }

    /// Adds what proves a caller. False if that proves one already.
    pub(super) fn add_token(&mut self, hash: TokenHash, caller: &Arc<Caller>) -> bool {
        self.by_token.insert(hash, caller.clone()).is_none()
    }

    /// The same for a name in a certificate, such as `DNS:press.example`.
    pub(super) fn add_certificate(&mut self, name: String, caller: &Arc<Caller>) -> bool {
        self.by_certificate.insert(name, caller.clone()).is_none()
    }

    /// Whose token this is.
    pub(super) fn by_token(&self, hash: &TokenHash) -> Option<&Arc<Caller>> {
        self.by_token.get(hash)
    }

    /// Whose certificate has these names; none if they are those of several callers.
    pub(super) fn by_certificate(&self, names: &[String]) -> Option<&Arc<Caller>> {
        let mut found = names
            .iter()
            .filter_map(|name| self.by_certificate.get(name));
        let first = found.next()?;
        found.all(|other| other.name == first.name).then_some(first)
    }
}

/// A name as certificates are known by, if it is one: DNS names have no case.
pub(super) fn certificate_name(text: &str) -> Option<String> {
    match text.split_once(':')? {
        (_, "") => None,
        ("DNS", name) => Some(format!("DNS:{}", name.to_ascii_lowercase())),
        ("URI" | "CN", _) => Some(text.to_owned()),
        _ => None,
    }
}
