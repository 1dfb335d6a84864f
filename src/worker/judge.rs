//! What an answer means for a round: an event, or that it waits.
//!
//! Nothing here ends a device but what the upstream said of it. A failure that says nothing of the
//! devices is waited out; when that has lasted long enough is decided in [`super::ends`].

use std::time::Duration;

use time::OffsetDateTime;

use super::{
    pace::Pace,
    said::{Said, named},
    step::backoff,
};
use crate::{
    domain::{Phase, Reason, ReasonCode, device, round::Event},
    lanes::THROTTLED,
    store::{Claim, Intent, Members, Pages},
    upstream::{self, Answer, Checked, Error, Registered, Scope, Status, Verdict},
};

/// The pause before asking how a round stands that the upstream refused to register.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// How often an answer that contradicts what was known is asked for before it is believed: the
/// upstream does not say that its answers agree with each other at once.
pub(super) const BELIEVED_AFTER: i16 = 3;

/// The part of the upstream's time window in which a request may be sent again.
const RESEND: f64 = 2.0 / 3.0;

/// What follows from an answer.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) next: Next,
    /// How long until the round is due, beyond what the phase asks for.
    pub(super) pause: Duration,
    /// Whether the attempt came to nothing.
    pub(super) counts: bool,
    /// Whether the answer took the round no further.
    pub(super) is_setback: bool,
    /// What was read of the result.
    pub(super) pages: Pages,
}

#[derive(Debug)]
pub(super) enum Next {
    /// The round stays in its phase.
    Wait,
    Event(Event),
}

impl Judged {
    pub(super) fn now(event: Event) -> Self {
        Self {
            next: Next::Event(event),
            pause: Duration::ZERO,
            counts: false,
            is_setback: false,
            pages: Pages::Kept,
        }
    }

    pub(super) fn after(pause: Duration, event: Event) -> Self {
        Self {
            pause,
            ..Self::now(event)
        }
    }

    pub(super) fn wait(pause: Duration) -> Self {
        Self {
            next: Next::Wait,
            pause,
            counts: false,
            is_setback: false,
            pages: Pages::Kept,
        }
    }

    /// The same, as an answer that took the round no further.
    pub(super) fn setback(self) -> Self {
        Self {
            is_setback: true,
            ..self
        }
    }

    /// Waits out a failure that says nothing of the devices.
    pub(super) fn failed(error: &Error, attempts: i32) -> Self {
        let (pause, counts) = pause(error, attempts);
        Self {
            counts,
            ..Self::wait(pause)
        }
    }
}

/// How long to wait after a failure, and whether it counts as an attempt that came to nothing.
pub(super) fn pause(error: &Error, attempts: i32) -> (Duration, bool) {
    let asked_for = error.retry_after.unwrap_or_default();
    match (error.verdict, error.scope) {
        (Verdict::Again, _) if error.throttled() => (asked_for.max(THROTTLED), false),
        (Verdict::Again, Scope::Clock) if error.clock_corrected => (Duration::ZERO, false),
        // The block that it puts on its round says when the next is let through.
        (_, Scope::Apply | Scope::Lane | Scope::Account | Scope::Clock) => (asked_for, false),
        (Verdict::Again | Verdict::Unclear | Verdict::Final, Scope::Call) => {
            (asked_for.max(backoff(attempts)), true)
        }
    }
}

/// Judges the answer to BatchCheckDeviceNames. A lost one costs an abandoned upstream apply.
pub(super) fn check(answer: &Answer<Checked>, members: &Members, attempts: i32) -> Judged {
    match &answer.outcome {
        Ok(checked) => Judged::now(Event::CheckAccepted {
            upstream_apply: checked.apply_id,
        }),
        Err(error) if error.verdict != Verdict::Final => Judged::failed(error, attempts),
        Err(error) if is(error, "iot.device.TooManyDeviceNamesPerRequest") => {
            Judged::now(Event::TooLarge)
        }
        Err(error) if is(error, "iot.device.RegionNotSupportX509") => {
            let why = Reason {
                request_id: answer.request_id.clone(),
                ..Reason::local(ReasonCode::Refused, not_in_this_region(error))
            };
            let all = members.ordinals.iter();
            Judged::now(Event::CheckFailed {
                refused: all.map(|at| (*at, why.clone())).collect(),
                valid: Vec::new(),
                said: why,
            })
        }
        Err(error) if !error.refused.is_empty() || blames_a_device(error) => {
            let said = Said {
                request_id: &answer.request_id,
                text: &error.message,
            };
            let refused = said.reasons(&error.refused, &members.by_name());
            Judged::now(Event::CheckFailed {
                refused,
                valid: Vec::new(),
                said: said.of_nobody(),
            })
        }
        Err(error) => Judged::failed(error, attempts),
    }
}

/// Whether the answer to a status query names devices, so that the round's own are needed.
pub(super) fn names_devices(answer: &Answer<Status>) -> bool {
    use upstream::Phase as P;
    matches!(&answer.outcome, Ok(status) if matches!(status.phase, P::CheckFailed | P::CreateFailed))
}

/// Judges the answer to QueryBatchRegisterDeviceStatus.
pub(super) fn status(
    answer: &Answer<Status>,
    claim: &Claim,
    members: Option<&Members>,
    window: Duration,
) -> Judged {
    use upstream::Phase as P;
    let registering = claim.round.phase == Phase::Registering;
    let creating = claim.round.accepted && claim.round.phase != Phase::Check;
    let waited = claim.asked_ago.unwrap_or_default();
    let poll = Judged::wait(match claim.round.phase {
        Phase::Unknown => Pace::seldom(waited),
        _ => Pace::again(waited),
    });
    let status = match &answer.outcome {
        Ok(status) => status,
        // A query of which no document says that it takes the number of an import.
        Err(error)
            if claim.round.import
                && error.verdict == Verdict::Final
                && error.scope == Scope::Call =>
        {
            return Judged::now(Event::NoStatus);
        }
        Err(error) if error.not_found() => return not_found(answer, claim, window),
        Err(error) => return Judged::failed(error, claim.attempts),
    };
    match (&status.phase, claim.round.phase) {
        (P::CheckSuccess, Phase::Checking) => Judged::now(Event::CheckPassed),
        (P::CheckSuccess, Phase::Registering) => unheard(answer, claim, window),
        (P::CheckFailed, Phase::Checking) => {
            let (refused, valid, said) = named(answer, status, members, "CHECK_FAILED");
            Judged::now(Event::CheckFailed {
                refused,
                valid,
                said,
            })
        }
        (P::CheckFailed, Phase::Registering) => not_found(answer, claim, window),
        (P::CheckSuccess | P::CheckFailed, Phase::Unknown)
            if !claim.round.import && is_absent(answer, claim, window) =>
        {
            Judged::now(Event::NotRegistered).setback()
        }
        (P::Create, Phase::Checking | Phase::Registering) if creating => {
            Judged::now(Event::RegisterAccepted)
        }
        (P::CreateSuccess, _) if creating => Judged::now(Event::CreateSucceeded),
        (P::CreateFailed, _) if creating => {
            let (refused, created, _) = named(answer, status, members, "CREATE_FAILED");
            Judged::now(Event::CreateFailed { created, refused })
        }
        // Neither checked nor being created: not a state in which it was asked to register.
        _ if registering => Judged::wait(AFTER_REFUSAL),
        _ => poll,
    }
}

/// An upstream apply that the upstream does not know (any more): proof that nothing was registered
/// under it once no request to register can be under way.
fn not_found(answer: &Answer<Status>, claim: &Claim, window: Duration) -> Judged {
    let again = Judged::wait(setback_pause(claim)).setback();
    match claim.round.phase {
        Phase::Checking if claim.setbacks >= BELIEVED_AFTER => {
            Judged::now(Event::ApplyGone).setback()
        }
        Phase::Registering if is_closed(answer, claim, window) => {
            Judged::now(Event::ApplyGone).setback()
        }
        // A request may still be carried out until then.
        Phase::Registering => Judged::wait(until_closed(answer, claim, window)),
        Phase::Unknown if is_absent(answer, claim, window) => {
            Judged::now(Event::ApplyGone).setback()
        }
        Phase::Unknown => Judged::wait(Pace::seldom(claim.asked_ago.unwrap_or_default())),
        // In creation it proves nothing.
        _ => again,
    }
}

/// A round that was asked to register and still stands checked.
fn unheard(answer: &Answer<Status>, claim: &Claim, window: Duration) -> Judged {
    let Some(intent) = claim.intent else {
        return Judged::now(Event::NotRegistered);
    };
    let pause = setback_pause(claim);
    if is_closed(answer, claim, window) {
        Judged::after(pause, Event::NotRegistered).setback()
    } else if may_be_sent_again(answer.at, &intent, window) {
        Judged::after(pause, Event::RegisterUnheard).setback()
    } else {
        Judged::wait(until_closed(answer, claim, window))
    }
}

/// How long a request under the claim's intent may still be carried out, and a little longer.
fn until_closed(answer: &Answer<Status>, claim: &Claim, window: Duration) -> Duration {
    let left = claim
        .intent
        .map(|intent| window - (answer.at - intent.signed_at));
    let left = left.and_then(|left| left.try_into().ok());
    AFTER_REFUSAL.max(left.unwrap_or_default())
}

/// The first setback costs no time; what keeps failing is asked less and less often.
fn setback_pause(claim: &Claim) -> Duration {
    match claim.setbacks {
        0 => Duration::ZERO,
        more => backoff(more.into()),
    }
}

/// Whether there is time enough left for a request of this date to be sent and accepted.
pub(super) fn may_be_sent_again(now: OffsetDateTime, intent: &Intent, window: Duration) -> bool {
    now < intent.signed_at + window.mul_f64(RESEND)
}

/// Whether no request under the claim's intent can be carried out any more.
fn is_closed(answer: &Answer<Status>, claim: &Claim, window: Duration) -> bool {
    claim
        .intent
        .is_none_or(|intent| answer.at > intent.signed_at + window)
}

/// Whether an upstream apply of unknown devices that is not being created proves that they were not
/// registered: only while it was never seen to be, and once no request can be under way.
fn is_absent(answer: &Answer<Status>, claim: &Claim, window: Duration) -> bool {
    claim.intent.is_some() && is_closed(answer, claim, window)
}

/// Judges the answer to BatchRegisterDeviceWithApplyId, sent under the claim's intent.
pub(super) fn register(answer: &Answer<Registered>, claim: &Claim, fresh: bool) -> Judged {
    let error = match &answer.outcome {
        Ok(_) => return Judged::now(Event::RegisterAccepted),
        Err(error) if error.running() => return Judged::now(Event::RegisterAccepted),
        Err(error) => error,
    };
    let (pause, counts) = pause(error, claim.attempts);
    match (error.verdict, fresh) {
        (Verdict::Again, true) => Judged {
            counts,
            ..Judged::after(pause, Event::NotRegistered)
        },
        (Verdict::Again, false) => Judged {
            counts,
            ..Judged::after(pause, Event::RegisterUnheard)
        },
        // Refused before anyone looked at the apply.
        (Verdict::Final, true) if error.scope != Scope::Call => {
            Judged::after(pause, Event::NotRegistered)
        }
        (Verdict::Final, true) if error.not_found() => Judged::now(Event::ApplyGone).setback(),
        (Verdict::Final, true) if is(error, "iot.device.IncorrentDeviceApplyInfo") => {
            let pause = AFTER_REFUSAL.max(backoff(i32::from(claim.setbacks) + 1));
            Judged::after(pause, Event::RegisterRefused).setback()
        }
        // Refused although, or because, an earlier request was heard; refused for a reason that no
        // document names; or not known at all. The status tells.
        (Verdict::Final | Verdict::Unclear, _) => Judged {
            counts,
            ..Judged::wait(pause.max(backoff(claim.attempts)))
        },
    }
}

/// No later attempt and no other device of the product would fare better.
fn not_in_this_region(error: &Error) -> String {
    let what_to_do = "devices that authenticate by X.509 can be registered in cn-shanghai only; \
                      register them there, or take a product whose devices have secrets";
    device::readable(format!("{what_to_do} ({error})"))
}

/// Codes that blame a device without always naming it.
pub(super) fn blames_a_device(error: &Error) -> bool {
    [
        "iot.device.InvalidDeviceNameExisted",
        "iot.device.InvalidDeviceNickNameExisted",
        "iot.device.InvalidFormattedDeviceName",
        "iot.device.AlreadyExistedDeviceName",
        "iot.device.InvalidDeviceParams",
    ]
    .iter()
    .any(|code| is(error, code))
}

pub(super) fn is(error: &Error, code: &str) -> bool {
    error
        .code
        .as_deref()
        .is_some_and(|ours| ours.eq_ignore_ascii_case(code))
}
