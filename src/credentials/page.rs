//! The result pages of one upstream apply.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    ByName, Error,
    asking::{About, Asking, BELIEVED_AFTER},
};
use crate::{
    domain::{CHUNK, retry::pause_after},
    store::Creation,
    upstream,
};

/// The most pages that are asked for of one upstream apply: it has at most 10,000 devices, and a page
/// has 10 of them where the upstream keeps to its default.
const MOST_PAGES: u32 = CHUNK as u32 / 10;

/// All that the upstream apply of a creation lists. Read anew if there are fewer rows than it counts,
/// since rows move between pages when devices are deleted meanwhile.
pub(super) async fn of(
    asking: &Asking<'_>,
    creation: Creation,
) -> Result<(Creation, ByName), Error> {
    let mut tries = 0;
    loop {
        let mut rows = ByName::new();
        let Some(first) = page(asking, creation, 1).await? else {
            return Ok((creation, rows));
        };
        let (total, count) = (first.total, page_count(&first));
        take(&mut rows, first);
        let others: Vec<Option<upstream::Credentials>> = stream::iter(2..=count)
            .map(|number| page(asking, creation, number))
            .buffer_unordered(asking.at_once())
            .try_collect()
            .await?;
        for page in others.into_iter().flatten() {
            take(&mut rows, page);
        }
        if rows.len() as u64 >= total || tries == BELIEVED_AFTER {
            return Ok((creation, rows));
        }
        tries += 1;
        tokio::time::sleep(pause_after(tries, rand::random())).await;
    }
}

/// A page; none if the upstream does not know the apply, or never told its number.
async fn page(
    asking: &Asking<'_>,
    creation: Creation,
    number: u32,
) -> Result<Option<upstream::Credentials>, Error> {
    let Some(upstream_apply) = creation.upstream_apply else {
        return Ok(None);
    };
    let about = About {
        round_no: creation.round_no,
        upstream_apply: Some(upstream_apply),
    };
    let upstream = asking.upstream();
    let call = upstream.credentials(asking.product(), upstream_apply, number);
    asking.answer(about, &call).await
}

/// How many pages there are.
fn page_count(first: &upstream::Credentials) -> u32 {
    let rows = first.devices.len().max(1) as u64;
    let counted = u32::try_from(first.total.div_ceil(rows)).unwrap_or(MOST_PAGES);
    first.page_count.unwrap_or(counted).min(MOST_PAGES)
}

fn take(rows: &mut ByName, page: upstream::Credentials) {
    let devices = page.devices.into_iter();
    rows.extend(devices.map(|device| (device.name.clone(), device)));
}
