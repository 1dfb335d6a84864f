//! What answers mean for devices that bring their own secrets.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use time::OffsetDateTime;

use super::{
    judge::{self, BELIEVED_AFTER, Judged},
    pace::Pace,
    said::Said,
    step::backoff,
};
use crate::{
    domain::{DeviceSecret, Ordinal, Reason, ReasonCode, round::Event},
    store::{Claim, Finding, Members, Pages},
    upstream::{Answer, Checked, CheckedImport, Error, Found, HUNDRED, Imported, Verdict},
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
pub(super) fn count(answer: &Answer<Imported>, claim: &Claim, members: &Members) -> Judged {
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
    if total >= members.ordinals.len() as u64 {
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

/// Whether the answer is the last that a look through the devices needs.
pub(super) fn is_last(claim: &Claim, members: &Members) -> bool {
    (claim.page as usize + 1) * HUNDRED >= members.names.len()
}

/// What the answer to BatchQueryDeviceDetail says of the hundred devices that were looked up, which
/// leaves out those that do not exist.
pub(super) fn found(
    answer: &Answer<Vec<Found>>,
    claim: &Claim,
    members: &Members,
    secrets: &[DeviceSecret],
    proven_at: Option<OffsetDateTime>,
) -> Vec<(Ordinal, Finding)> {
    let Ok(devices) = &answer.outcome else {
        return Vec::new();
    };
    let there: HashMap<&str, Option<&DeviceSecret>> = devices
        .iter()
        .map(|device| (device.name.as_str(), device.secret.as_ref()))
        .collect();
    // Where letter case tells no names apart, a device answers to another spelling than its own.
    let asked: HashSet<&str> = members.names.iter().map(String::as_str).collect();
    let respelt: HashMap<String, Option<&DeviceSecret>> = there
        .iter()
        .filter(|(name, _)| !asked.contains(*name))
        .map(|(name, secret)| (name.to_ascii_lowercase(), *secret))
        .collect();
    let absent = match proven_at.is_none_or(|at| answer.at > at) {
        true => Finding::Absent,
        false => Finding::NotThere,
    };
    let rows = members.ordinals.iter().zip(&members.names).zip(secrets);
    rows.skip(claim.page as usize * HUNDRED)
        .take(HUNDRED)
        .map(|((at, name), ours)| {
            let found = there.get(name.as_str());
            let finding = match found.or_else(|| respelt.get(&name.to_ascii_lowercase())) {
                None => absent,
                Some(None) => Finding::Secretive,
                Some(Some(theirs)) if *theirs == ours => Finding::Ours,
                Some(Some(_)) => Finding::Theirs,
            };
            (*at, finding)
        })
        .collect()
}

/// Judges what the look through a round's devices has found: `before`, and by the latest answer.
pub(super) fn looked_up(
    answer: &Answer<Vec<Found>>,
    claim: &Claim,
    members: &Members,
    before: Vec<(Ordinal, Finding)>,
    found: Vec<(Ordinal, Finding)>,
    proven_at: Option<OffsetDateTime>,
) -> Judged {
    if let Err(error) = &answer.outcome {
        return Judged::failed(error, claim.attempts);
    }
    if !is_last(claim, members) {
        return Judged {
            pages: Pages::LookedUp(found),
            ..Judged::wait(Duration::ZERO)
        };
    }
    let all: Vec<_> = before.into_iter().chain(found).collect();
    let with = |wanted: &[Finding]| {
        let those = all.iter().filter(|(_, finding)| wanted.contains(finding));
        those.map(|(at, _)| *at).collect::<Vec<Ordinal>>()
    };
    let ours = with(&[Finding::Ours]);
    let others: Vec<_> = with(&[Finding::Theirs])
        .into_iter()
        .map(|at| (at, taken(&answer.request_id)))
        .collect();
    let absent = with(&[Finding::Absent, Finding::NotThere]);
    let unproven = with(&[Finding::NotThere, Finding::Secretive]);
    let proven = unproven.is_empty();
    let until_proven = proven_at
        .and_then(|at| Duration::try_from(at - answer.at).ok())
        .unwrap_or_default();
    let waited = claim.asked_ago.unwrap_or_default();
    let pause = match (proven, with(&[Finding::Secretive]).is_empty()) {
        (true, _) => Duration::ZERO,
        // A second later, since dates are whole seconds.
        (false, true) => Pace::seldom(waited)
            .max(Duration::from_secs(1))
            .min(until_proven + Duration::from_secs(1)),
        (false, false) => Pace::seldom(waited).max(Duration::from_secs(1)),
    };
    let judged = match ours.is_empty() && others.is_empty() && !proven {
        true => Judged::wait(pause),
        false => Judged::after(
            pause,
            Event::LookedUp {
                ours,
                others,
                absent,
                proven,
            },
        ),
    };
    Judged {
        pages: Pages::Forgotten,
        ..judged
    }
}

/// Why a device has failed whose name another one has.
fn taken(request_id: &Option<String>) -> Reason {
    Reason {
        code: ReasonCode::Exists,
        text: "the product has a device of this name, with another secret".to_owned(),
        request_id: request_id.clone(),
        first: None,
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
