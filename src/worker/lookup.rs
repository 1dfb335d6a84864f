//! Steps that look devices up by their names, a hundred a call, and what the answers mean: whether a
//! device exists, and whether it is ours.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use time::OffsetDateTime;

use super::{Worker, imports::told, judge::Judged, pace::Pace};
use crate::{
    domain::{DeviceSecret, Lane, Ordinal, Reason, ReasonCode, round::Event},
    lanes::Slot,
    store::{self, Claim, Finding, Members, Pages},
    upstream::{Answer, Found, HUNDRED, Product},
};

/// How a device is known to be ours.
pub(super) enum Ours {
    /// By the secret that it brought, in the order of the round's devices.
    Secrets(Vec<DeviceSecret>),
    /// By having been made since then, when its apply came.
    Since(OffsetDateTime),
}

impl Worker {
    /// Looks the next hundred devices of a round up.
    pub(super) async fn look_up(
        &self,
        claim: &Claim,
        slot: Slot,
        product: Product<'_>,
    ) -> Result<(), store::Error> {
        let lane = Lane::Details;
        let members = self.store.members(claim).await?;
        let Some(names) = members.names.chunks(HUNDRED).nth(claim.page as usize) else {
            let nothing = Judged::now(Event::NothingLeft);
            return self
                .record(claim, Some(members.ordinals), nothing, None)
                .await;
        };
        let call = self
            .upstream
            .details(product, names.iter().map(String::as_str));
        // Read now, so that a key that is missing costs no call.
        let ours = match claim.round.import {
            false => Ours::Since(whole_seconds(claim.applied_at)),
            true => match self.secrets(claim, &members) {
                Ok(secrets) => Ours::Secrets(secrets),
                Err(error) => return self.locked_out(claim, members, &error).await,
            },
        };
        let Ok(mut answer) = self.send(lane, claim, slot, &call, None).await? else {
            return self.give_back(claim).await;
        };
        if claim.round.import {
            self.scrub(claim, told(&mut answer)).await?;
        }
        let proven_at = claim.intent.map(|intent| {
            let heard_by = intent.signed_at + self.options.upstream_time_window;
            heard_by + self.options.waits.create_timeout
        });
        let found = found(&answer, claim, &members, &ours, proven_at);
        let before = match is_last(claim, &members) {
            true => self.store.looked_up(claim).await?,
            false => Vec::new(),
        };
        let judged = looked_up(&answer, claim, &members, before, found, proven_at);
        self.finish(lane, claim, Some(members.ordinals), judged, answer, |_| {
            None
        })
        .await
    }
}

/// Whether the answer is the last that a look through the devices needs.
fn is_last(claim: &Claim, members: &Members) -> bool {
    (claim.page as usize + 1) * HUNDRED >= members.names.len()
}

/// What the answer to BatchQueryDeviceDetail says of the hundred devices that were looked up, which
/// leaves out those that do not exist.
pub(super) fn found(
    answer: &Answer<Vec<Found>>,
    claim: &Claim,
    members: &Members,
    ours: &Ours,
    proven_at: Option<OffsetDateTime>,
) -> Vec<(Ordinal, Finding)> {
    let Ok(devices) = &answer.outcome else {
        return Vec::new();
    };
    let there: HashMap<&str, &Found> = devices
        .iter()
        .map(|device| (device.name.as_str(), device))
        .collect();
    // Where letter case tells no names apart, a device answers to another spelling than its own.
    let asked: HashSet<&str> = members.names.iter().map(String::as_str).collect();
    let respelt: HashMap<String, &Found> = there
        .iter()
        .filter(|(name, _)| !asked.contains(*name))
        .map(|(name, device)| (name.to_ascii_lowercase(), *device))
        .collect();
    let absent = match proven_at.is_none_or(|at| answer.at > at) {
        true => Finding::Absent,
        false => Finding::NotThere,
    };
    let rows = members.ordinals.iter().zip(&members.names).enumerate();
    rows.skip(claim.page as usize * HUNDRED)
        .take(HUNDRED)
        .map(|(place, (at, name))| {
            let found = there.get(name.as_str());
            let found = found.or_else(|| respelt.get(&name.to_ascii_lowercase()));
            (
                *at,
                found.map_or(absent, |device| ours.finding(place, device)),
            )
        })
        .collect()
}

impl Ours {
    /// What a device is that was found under the name of the round's device at `place`.
    fn finding(&self, place: usize, found: &Found) -> Finding {
        let is_ours = match (self, &found.secret) {
            (Self::Secrets(_), None) => return Finding::Secretive,
            (Self::Secrets(ours), Some(theirs)) => ours.get(place) == Some(theirs),
            // Whose age is not told cannot be shown to be ours.
            (Self::Since(since), _) => found.created_at.is_some_and(|at| at >= *since),
        };
        match is_ours {
            true => Finding::Ours,
            false => Finding::Theirs,
        }
    }
}

/// The second that a moment is in, since some dates are whole seconds.
fn whole_seconds(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
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
        .map(|at| (at, taken(claim, &answer.request_id)))
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
fn taken(claim: &Claim, request_id: &Option<String>) -> Reason {
    let text = match claim.round.import {
        true => "the product has a device of this name, with another secret",
        false => "the product has a device of this name, from before this apply came",
    };
    Reason {
        code: ReasonCode::Exists,
        text: text.to_owned(),
        request_id: request_id.clone(),
        first: None,
    }
}
