//! What the answers to QueryPageByApplyId mean: which devices an upstream apply created.

use std::{collections::HashSet, time::Duration};

use super::{
    judge::{BELIEVED_AFTER, Judged},
    step::backoff,
};
use crate::{
    breaking::{self, Fault},
    domain::{Ordinal, round::Event},
    store::{Claim, Members, Pages},
    upstream::{Answer, Page},
};

/// Whether the answer is the last page that a listing reads.
pub(super) fn is_last(answer: &Answer<Page>, claim: &Claim) -> bool {
    answer.outcome.as_ref().is_ok_and(|page| {
        page.names.is_empty()
            || page
                .page_count
                .is_some_and(|pages| i64::from(claim.page) + 1 >= i64::from(pages))
    })
}

/// Judges the answer to QueryPageByApplyId while the result of a round with so many open devices is
/// counted.
pub(super) fn count(answer: &Answer<Page>, claim: &Claim, open: usize) -> Judged {
    match &answer.outcome {
        Err(error) => Judged::failed(error, claim.attempts),
        Ok(page) => {
            let whole = open as u64;
            let total = match breaking::on(Fault::CountUnproven) {
                true => whole,
                false => page.total,
            };
            let short = total < whole;
            if short && claim.setbacks < BELIEVED_AFTER {
                Judged::wait(backoff(i32::from(claim.setbacks) + 1)).setback()
            } else {
                Judged::now(Event::Counted { total })
            }
        }
    }
}

/// Judges the answer to QueryPageByApplyId while the result is read; on the last page with the
/// round's devices and the names on the pages before.
pub(super) fn list(
    answer: &Answer<Page>,
    claim: &Claim,
    last: Option<(&Members, &[String])>,
) -> Judged {
    let page = match &answer.outcome {
        Ok(page) => page,
        Err(error) => return Judged::failed(error, claim.attempts),
    };
    let Some((members, before)) = last else {
        let pages = Pages::Read(page.names.clone());
        return Judged {
            pages,
            ..Judged::wait(Duration::ZERO)
        };
    };
    let listed: HashSet<&str> = before
        .iter()
        .chain(&page.names)
        .map(String::as_str)
        .collect();
    if (listed.len() as u64) < page.total && claim.setbacks < BELIEVED_AFTER {
        // Rows moved between pages while they were read.
        let again = Judged::wait(backoff(i32::from(claim.setbacks) + 1)).setback();
        return Judged {
            pages: Pages::Forgotten,
            ..again
        };
    }
    let by_name = members.by_name();
    let mut present: Vec<Ordinal> = listed
        .into_iter()
        .filter_map(|name| by_name.get(name).copied())
        .collect();
    present.sort_unstable();
    Judged {
        pages: Pages::Forgotten,
        ..Judged::now(Event::Listed { present })
    }
}
