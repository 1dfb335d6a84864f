//! What answers mean for devices that bring their own secrets.

use std::{collections::HashSet, time::Duration};

use super::{
    judge::{self, BELIEVED_AFTER, Judged},
    pace::Pace,
    said::Said,
    step::backoff,
};
use crate::{
    domain::{Ordinal, Reason, ReasonCode, round::Event},
    store::{Claim, Members, Pages},
    upstream::{Answer, Checked, CheckedImport, Error, Imported, Verdict},
};

/// Rows on a page of imported devices.
const PAGE: u64 = 50;

/// Judges the answer to BatchCheckImportDevice, which keeps nothing and may be asked any number of
/// times.
pub(super) fn check(answer: &Answer<CheckedImport>, members: &Members, attempts: i32) -> Judged {
    let refused = match &answer.outcome {
        Ok(checked) if checked.refused.is_empty() => return Judged::now(Event::CheckPassed),
        Ok(checked) => &checked.refused,
        Err(error) if error.verdict != Verdict::Final => return Judged::failed(error, attempts),
        Err(error) if judge::is(error, TOO_MANY) => return Judged::now(Event::TooLarge),
        Err(error) if is_about_devices(error) => &error.refused,
        Err(error) => return Judged::failed(error, attempts),
    };
    let text = match &answer.outcome {
        Ok(_) => "the upstream refused the device and did not say why",
        Err(error) => &error.message,
    };
    let said = Said {
        request_id: &answer.request_id,
        text,
    };
    let refused = match &answer.outcome {
        Err(error) if takes_no_imports(error) => all(members, &said),
        Ok(_) | Err(_) => said.reasons(refused, &members.by_name()),
    };
    Judged::now(Event::CheckFailed {
        refused,
        valid: Vec::new(),
        said: said.of_nobody(),
    })
}

/// Judges the answer to BatchImportDevice. `fresh`: no request was sent under its intent before.
pub(super) fn import(
    answer: &Answer<Checked>,
    claim: &Claim,
    members: &Members,
    fresh: bool,
) -> Judged {
    let error = match &answer.outcome {
        Ok(taken) => {
            return Judged::now(Event::ImportAccepted {
                upstream_apply: taken.apply_id,
            });
        }
        Err(error) => error,
    };
    let said = Said {
        request_id: &answer.request_id,
        text: &error.message,
    };
    let (pause, counts) = judge::pause(error, claim.attempts);
    let unsent = || Judged {
        counts,
        ..Judged::after(pause, Event::NotRegistered)
    };
    match (error.verdict, fresh) {
        // What is refused now says nothing of the request before it, which may be under way.
        _ if error.nonce_used() => Judged::now(lost()),
        (Verdict::Final, false) => Judged::now(lost()),
        (Verdict::Again, false) if error.expired() => Judged::now(lost()),
        (Verdict::Again, true) => unsent(),
        (Verdict::Final, true) if judge::is(error, TOO_MANY) => Judged::now(Event::TooLarge),
        (Verdict::Final, true) if takes_no_imports(error) => Judged::now(Event::ImportRefused {
            refused: all(members, &said),
            said: said.of_nobody(),
        }),
        (Verdict::Final, true) if is_about_devices(error) => Judged::now(Event::ImportRefused {
            refused: said.reasons(&error.refused, &members.by_name()),
            said: said.of_nobody(),
        }),
        (Verdict::Final, true) => unsent(),
        // Not heard, or not judged: the same request is sent again while its date is good.
        (Verdict::Again, false) | (Verdict::Unclear, _) => Judged {
            counts,
            ..Judged::wait(pause)
        },
    }
}

/// An import of which sending it again would tell no more.
pub(super) fn lost() -> Event {
    let text = "the upstream was asked to import the device, and its answer was lost";
    Event::ImportLost {
        why: Reason::local(ReasonCode::Unresolved, text.to_owned()),
    }
}

/// Judges the answer to QueryImportedDeviceByApplyId while what was created is counted: the last page
/// tells how many there are, without a status that tells when it is finished.
pub(super) fn count(answer: &Answer<Imported>, claim: &Claim, open: usize) -> Judged {
    let page = match &answer.outcome {
        Ok(page) => page,
        Err(error) => return unreadable(error, claim),
    };
    let asked = claim.page as u32 + 1;
    if page.total_pages > asked {
        return Judged {
            pages: Pages::Passed(page.total_pages as i32 - 1),
            ..Judged::wait(Duration::ZERO)
        };
    }
    let total = rows_up_to(asked, page);
    let anew = |judged| Judged {
        pages: Pages::Forgotten,
        ..judged
    };
    if total >= open as u64 {
        return anew(Judged::now(Event::Counted { total }));
    }
    match claim.intent {
        // It may be at it still.
        Some(_) => anew(Judged::wait(Pace::again(
            claim.asked_ago.unwrap_or_default(),
        ))),
        None if claim.setbacks < BELIEVED_AFTER => {
            let pause = backoff(i32::from(claim.setbacks) + 1);
            anew(Judged::wait(pause).setback())
        }
        None => anew(Judged::now(Event::Counted { total })),
    }
}

/// Whether the answer is the last page that a listing reads.
pub(super) fn is_last_page(answer: &Answer<Imported>, claim: &Claim) -> bool {
    answer
        .outcome
        .as_ref()
        .is_ok_and(|page| page.devices.is_empty() || page.total_pages <= claim.page as u32 + 1)
}

/// Judges a page that others follow.
pub(super) fn read(answer: &Answer<Imported>, claim: &Claim) -> Judged {
    match &answer.outcome {
        Err(error) => unreadable(error, claim),
        Ok(page) => Judged {
            pages: Pages::Read(
                page.devices
                    .iter()
                    .map(|device| device.name.clone())
                    .collect(),
            ),
            ..Judged::wait(Duration::ZERO)
        },
    }
}

/// Judges the last page, with the round's devices and the names on the pages before.
pub(super) fn list(
    answer: &Answer<Imported>,
    claim: &Claim,
    members: &Members,
    before: &[String],
) -> Judged {
    let page = match &answer.outcome {
        Ok(page) => page,
        Err(error) => return unreadable(error, claim),
    };
    let names = page.devices.iter().map(|device| &device.name);
    let asked = claim.page as u32 + 1;
    let listed: HashSet<&str> = before.iter().chain(names).map(String::as_str).collect();
    if (listed.len() as u64) < rows_up_to(asked, page) && claim.setbacks < BELIEVED_AFTER {
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

/// How many rows there are up to a page.
fn rows_up_to(page: u32, answer: &Imported) -> u64 {
    u64::from(page - 1) * PAGE + answer.devices.len() as u64
}

/// An import whose pages cannot be read. One that is not known (any more) can only be looked up.
fn unreadable(error: &Error, claim: &Claim) -> Judged {
    match error.not_found() {
        false => Judged::failed(error, claim.attempts),
        true if claim.setbacks < BELIEVED_AFTER => {
            Judged::wait(backoff(i32::from(claim.setbacks) + 1)).setback()
        }
        true => Judged {
            pages: Pages::Forgotten,
            ..Judged::now(Event::ApplyGone)
        },
    }
}

const TOO_MANY: &str = "iot.device.TooManyDeviceNamesPerRequest";

/// Whether the upstream takes no imports for this product or instance, of whatever device.
fn takes_no_imports(error: &Error) -> bool {
    judge::is(error, "iot.common.APINotSupportedInInstance")
}

fn is_about_devices(error: &Error) -> bool {
    !error.refused.is_empty() || judge::blames_a_device(error) || takes_no_imports(error)
}

/// The same reason for each device of the round.
fn all(members: &Members, said: &Said<'_>) -> Vec<(Ordinal, Reason)> {
    let why = said.of_nobody();
    let ordinals = members.ordinals.iter();
    ordinals.map(|at| (*at, why.clone())).collect()
}
