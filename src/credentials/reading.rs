//! One reading: which upstream applies to read for some devices, and what of them is kept.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Credential, Credentials, Error, page::Pages};
use crate::{
    domain::{Apply, Ordinal},
    store::Creation,
};

/// Upstream applies that are read at a time. As many as keep the pages in flight when each has few.
const APPLIES: usize = 8;

/// Rows that are kept for devices further on, since one upstream apply may hold devices of many
/// chunks. What does not fit is read again when its turn comes. Some 20 MB.
const KEPT: usize = 100_000;

/// The credentials of devices, by name.
type ByName = HashMap<String, Credential>;

/// Reads the credentials of an apply.
#[derive(Debug)]
pub struct Reading {
    credentials: Credentials,
    apply: Apply,
    /// What was read of upstream applies that reach beyond the devices asked for last.
    kept: HashMap<i64, ByName>,
}

impl Reading {
    pub(super) fn new(credentials: Credentials, apply: Apply) -> Self {
        Self {
            credentials,
            apply,
            kept: HashMap::new(),
        }
    }

    /// The credentials of those `names` between two places, both included, that the upstream lists.
    /// To be asked for rising places.
    ///
    /// # Errors
    ///
    /// What the upstream said last, once it has given no page for as long as the patience lasts.
    pub async fn between(
        &mut self,
        first: Ordinal,
        last: Ordinal,
        names: impl IntoIterator<Item = &str>,
    ) -> Result<ByName, Error> {
        let creations = self.credentials.store.creations(self.apply.id, first, last);
        let creations = creations.await?;
        let known = |creation: &Creation| self.kept.contains_key(&creation.upstream_apply);
        let (known, new): (Vec<_>, Vec<_>) = creations.into_iter().partition(known);
        let pages = Pages::new(&self.credentials, &self.apply);
        let read = stream::iter(new)
            .map(|creation| pages.of(creation))
            .buffer_unordered(APPLIES)
            .try_collect();
        let read: Result<Vec<(Creation, ByName)>, Error> = pages.patiently(read).await;
        // Also of a reading that failed: they were made.
        pages.record().await?;
        let mut sources = read?;
        for creation in known {
            let rows = self.kept.remove(&creation.upstream_apply);
            sources.push((creation, rows.unwrap_or_default()));
        }

        let mut found = ByName::new();
        for name in names {
            let row = sources
                .iter_mut()
                .find_map(|(_, rows)| rows.remove_entry(name));
            found.extend(row);
        }
        self.keep(
            sources
                .into_iter()
                .filter(|(creation, _)| creation.last > last),
        );
        Ok(found)
    }

    /// Keeps what fits of what is left over. What was kept for devices that are past is gone.
    fn keep(&mut self, left: impl Iterator<Item = (Creation, ByName)>) {
        self.kept.clear();
        let mut room = KEPT;
        for (creation, rows) in left {
            if let Some(less) = room.checked_sub(rows.len()) {
                room = less;
                self.kept.insert(creation.upstream_apply, rows);
            }
        }
    }
}
