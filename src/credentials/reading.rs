//! One reading: what to ask the upstream for some devices, and what of it is kept.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{ByName, Credentials, Error, asking::Asking, named, page};
use crate::{
    domain::{Apply, Ordinal},
    store::Creation,
};

/// Upstream applies that are read at a time. As many as keep the pages in flight when each has few.
const APPLIES: usize = 8;

/// Rows that are kept for devices further on, since one upstream apply may hold devices of many
/// chunks. What does not fit is read again when its turn comes. Some 20 MB.
const KEPT: usize = 100_000;

/// Reads the credentials of an apply.
#[derive(Debug)]
pub struct Reading {
    credentials: Credentials,
    apply: Apply,
    /// What was read of upstream applies that reach beyond the devices asked for last, by the round.
    kept: HashMap<i32, ByName>,
}

impl Reading {
    pub(super) fn new(credentials: Credentials, apply: Apply) -> Self {
        Self {
            credentials,
            apply,
            kept: HashMap::new(),
        }
    }

    /// The credentials of those of these devices (place and name, rising) that the upstream has. To be
    /// asked for rising places.
    ///
    /// # Errors
    ///
    /// What the upstream said last, once it has given nothing for as long as the patience lasts.
    pub async fn of(&mut self, devices: &[(Ordinal, &str)]) -> Result<ByName, Error> {
        let (Some((first, _)), Some((last, _))) = (devices.first(), devices.last()) else {
            return Ok(ByName::new());
        };
        let store = &self.credentials.store;
        let creations = store.creations(self.apply.id, *first, *last).await?;
        // What a restored database had forgotten was created under a number that nobody knows.
        let by_pages = |one: &Creation| !self.apply.import && one.upstream_apply.is_some();
        let (paged, named): (Vec<_>, Vec<_>) = creations.into_iter().partition(by_pages);
        let mut found = match paged.is_empty() {
            true => ByName::new(),
            false => self.listed(paged, devices, *last).await?,
        };
        if !named.is_empty() {
            let left = devices
                .iter()
                .filter(|(_, name)| !found.contains_key(*name));
            let left: Vec<_> = left.copied().collect();
            let asking = Asking::new(&self.credentials, &self.apply, true);
            found.extend(asking.read(named::of(&asking, &named, &left)).await?);
        }
        Ok(found)
    }

    /// Those of these devices that the upstream applies of these list. What they list of devices
    /// after `last` is kept.
    async fn listed(
        &mut self,
        creations: Vec<Creation>,
        devices: &[(Ordinal, &str)],
        last: Ordinal,
    ) -> Result<ByName, Error> {
        let mut sources = self.sources(creations).await?;
        let mut found = ByName::new();
        for (_, name) in devices {
            let row = sources
                .iter_mut()
                .find_map(|(_, rows)| rows.remove_entry(*name));
            found.extend(row);
        }
        let left = sources.into_iter();
        self.keep(left.filter(|(creation, _)| creation.last > last));
        Ok(found)
    }

    /// All that the upstream applies of these list, as far as it is not kept.
    async fn sources(
        &mut self,
        creations: Vec<Creation>,
    ) -> Result<Vec<(Creation, ByName)>, Error> {
        let known = |creation: &Creation| self.kept.contains_key(&creation.round_no);
        let (known, new): (Vec<_>, Vec<_>) = creations.into_iter().partition(known);
        let asking = Asking::new(&self.credentials, &self.apply, false);
        let read = stream::iter(new)
            .map(|creation| page::of(&asking, creation))
            .buffer_unordered(APPLIES)
            .try_collect();
        let mut sources: Vec<(Creation, ByName)> = asking.read(read).await?;
        for creation in known {
            let rows = self.kept.remove(&creation.round_no);
            sources.push((creation, rows.unwrap_or_default()));
        }
        Ok(sources)
    }

    /// Keeps what fits of what is left over. What was kept for devices that are past is gone.
    fn keep(&mut self, left: impl Iterator<Item = (Creation, ByName)>) {
        self.kept.clear();
        let mut room = KEPT;
        for (creation, rows) in left {
            if let Some(less) = room.checked_sub(rows.len()) {
                room = less;
                self.kept.insert(creation.round_no, rows);
            }
        }
    }
}
