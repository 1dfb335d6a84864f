//! How waits end: when a round has been asked after, or has failed, for long enough.

use std::time::Duration;

use time::OffsetDateTime;

use super::{
    judge::{Judged, Next},
    pace::Pace,
    step::backoff,
};
use crate::{
    domain::{Lane, Phase, Reason, ReasonCode, device, round::Event},
    store::{self, Claim, Pages, Store},
    upstream::{Error, Scope},
    vault,
};

/// Answers in a row that took a round no further; the next one may end it. Each of them cost a pause
/// that doubles, or a whole wait.
const SETBACKS: i16 = 16;

/// How long ago a call may have been answered for somebody for the upstream not to be down: twice as
/// long as attempts are apart at most.
const LATELY: Duration = Duration::from_secs(120);

/// How long a round waits at least before its secrets are tried again that could not be opened.
const LOCKED_OUT: Duration = Duration::from_secs(5);

/// How long the parts of a round's way may last.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Waits {
    /// How long the upstream may take over one check, before the devices are checked anew
    #[arg(long, env = "REGISTRAR_CHECK_TIMEOUT", default_value = "30m",
          value_parser = humantime::parse_duration)]
    pub check_timeout: Duration,

    /// How long the upstream may take over one creation, before its devices are UNKNOWN and asked
    /// after seldom. Of an import whose answer was lost it also says how long after its time window
    /// a device that is not there may yet appear
    #[arg(long, env = "REGISTRAR_CREATE_TIMEOUT", default_value = "1h",
          value_parser = humantime::parse_duration)]
    pub create_timeout: Duration,

    /// How long UNKNOWN devices are asked after, before their apply ends in CREATE_FAILED
    #[arg(long, env = "REGISTRAR_RECONCILE_FOR", default_value = "24h",
          value_parser = humantime::parse_duration)]
    pub reconcile_for: Duration,

    /// How long an apply waits for its product or instance to be available, before devices that were
    /// not sent are refused
    #[arg(long, env = "REGISTRAR_BLOCK_FOR", default_value = "1h",
          value_parser = humantime::parse_duration)]
    pub block_for: Duration,

    /// Attempts in a row without a usable answer before a round is given up. From 1
    #[arg(long, env = "REGISTRAR_ATTEMPTS", default_value_t = 8,
          value_parser = clap::value_parser!(i32).range(1..))]
    pub attempts: i32,

    /// How long those attempts must have gone on at least
    #[arg(long, env = "REGISTRAR_GIVE_UP_AFTER", default_value = "15m",
          value_parser = humantime::parse_duration)]
    pub give_up_after: Duration,

    /// The same while the upstream answers nobody on the account
    #[arg(long, env = "REGISTRAR_GIVE_UP_WHEN_DOWN_AFTER", default_value = "24h",
          value_parser = humantime::parse_duration)]
    pub give_up_when_down_after: Duration,
}

impl Waits {
    /// Refuses waits that would end before anything can happen.
    pub(super) fn check(&self) -> Result<(), String> {
        let waits = [
            self.check_timeout,
            self.create_timeout,
            self.reconcile_for,
            self.block_for,
        ];
        match waits.iter().any(|wait| *wait < Duration::from_secs(1)) {
            true => Err("checks, creations, blocks and UNKNOWN devices need at least 1s".into()),
            false => Ok(()),
        }
    }
}

/// What a step came to, as far as the end of its wait depends on it.
pub(super) struct Came<'a> {
    pub(super) lane: Lane,
    pub(super) claim: &'a Claim,
    /// Why the call failed, if it did.
    pub(super) error: Option<&'a Error>,
    /// Now, on the upstream's clock.
    pub(super) now: OffsetDateTime,
}

impl Waits {
    /// What follows once the end of the wait is looked at: the same, or that it is over.
    pub(super) async fn end(
        &self,
        store: &Store,
        came: Came<'_>,
        judged: Judged,
    ) -> Result<Judged, store::Error> {
        let answered = async |lane| store.lane_answered_within(lane, LATELY).await;
        self.end_given(answered, came, judged).await
    }

    /// The same, given who says whether a lane was answered lately.
    pub(super) async fn end_given(
        &self,
        answered: impl AsyncFnOnce(Lane) -> Result<bool, store::Error>,
        came: Came<'_>,
        judged: Judged,
    ) -> Result<Judged, store::Error> {
        let phase = came.claim.round.phase;
        let waited = came.claim.asked_ago.unwrap_or_default();
        let late = self.timed_out(&came, &judged);
        let unknown = matches!(phase, Phase::Unknown | Phase::Lookup);
        let over = if late && phase != Phase::Checking {
            Event::TimedOut
        } else if self.is_refused(&came) {
            if unknown {
                return Ok(Judged {
                    pause: Pace::seldom(waited),
                    ..judged
                });
            }
            given_up(&came, &judged, ReasonCode::Blocked)
        } else if self.is_used_up(answered, &came, &judged, late).await? {
            given_up(&came, &judged, ReasonCode::UpstreamUnclear)
        } else if late {
            Event::TimedOut
        } else {
            return Ok(judged);
        };
        if phase == Phase::Lookup && matches!(over, Event::GivenUp { .. }) {
            // It is asked after for as long as it may be, from where it is.
            return Ok(judged);
        }
        let over = match over {
            // Its status says that it is created, so it would come back here each time.
            Event::GivenUp { .. }
                if matches!(phase, Phase::Counting | Phase::Listing)
                    && waited >= self.reconcile_for =>
            {
                Event::TimedOut
            }
            over => over,
        };
        Ok(Judged {
            next: Next::Event(over),
            is_setback: true,
            counts: false,
            pages: match came.claim.round.import {
                // What it does next reads other pages, or the same anew.
                true => Pages::Forgotten,
                false => judged.pages,
            },
            ..judged
        })
    }

    /// What follows while the secrets that a step needs cannot be opened.
    pub(super) fn end_locked_out(&self, claim: &Claim, error: &vault::Error) -> Judged {
        let phase = claim.round.phase;
        let sent = claim.intent.is_some_and(|intent| !intent.fresh);
        let failing = claim.failing_for.unwrap_or_default();
        if phase == Phase::Lookup && claim.asked_ago.unwrap_or_default() >= self.reconcile_for {
            return Judged {
                pages: Pages::Forgotten,
                ..Judged::now(Event::TimedOut)
            };
        }
        if phase != Phase::Lookup && failing >= self.give_up_when_down_after {
            let text = format!("the secret of the device could not be opened: {error}");
            let why = Reason::local(ReasonCode::UpstreamUnclear, device::readable(text));
            return Judged::now(Event::GivenUp { why, sent });
        }
        let pause = LOCKED_OUT.max(backoff(claim.attempts));
        let judged = match phase {
            // Nothing was sent under the intent of this claim.
            Phase::Importing if !sent => Judged::after(pause, Event::NotRegistered),
            _ => Judged::wait(pause),
        };
        Judged {
            counts: true,
            ..judged
        }
    }

    /// Whether its product or instance has been refused for too long.
    fn is_refused(&self, came: &Came<'_>) -> bool {
        let refused = came.error.is_some_and(|error| error.scope == Scope::Apply);
        refused && came.claim.refused_for.unwrap_or_default() >= self.block_for
    }

    /// Whether there were attempts or setbacks enough for long enough. An upstream that answers
    /// nobody is waited for longer: it is not the round's fault.
    async fn is_used_up(
        &self,
        answered: impl AsyncFnOnce(Lane) -> Result<bool, store::Error>,
        came: &Came<'_>,
        judged: &Judged,
        late: bool,
    ) -> Result<bool, store::Error> {
        let unanswered = judged.counts && came.claim.attempts >= self.attempts;
        let thrown_back = is_thrown_back(came, judged, late) && came.claim.setbacks >= SETBACKS;
        let failing = came.claim.failing_for.unwrap_or_default();
        if !(unanswered || thrown_back) || failing < self.give_up_after {
            return Ok(false);
        }
        if failing >= self.give_up_when_down_after {
            return Ok(true);
        }
        let lane = match came.claim.round.phase {
            // What throws it back is that its request is not heard.
            Phase::Registering | Phase::Unknown if thrown_back => Lane::Register,
            _ => came.lane,
        };
        answered(lane).await
    }

    /// Whether the upstream has been at it for longer than it may. Without an answer of its own that
    /// is not known, except of devices that are asked after only until a time.
    fn timed_out(&self, came: &Came<'_>, judged: &Judged) -> bool {
        let waits = matches!(judged.next, Next::Wait);
        let answered = came.error.is_none_or(Error::not_found);
        let waited = came.claim.asked_ago.unwrap_or_default();
        match came.claim.round.phase {
            Phase::Checking => waits && answered && waited >= self.check_timeout,
            Phase::Creating => waits && answered && waited >= self.create_timeout,
            Phase::Registering if came.lane == Lane::Status => {
                let asked = came.claim.intent.map(|intent| intent.signed_at);
                waits && answered && asked.is_some_and(|at| came.now - at >= self.create_timeout)
            }
            Phase::Unknown | Phase::Lookup => waits && waited >= self.reconcile_for,
            // In the middle of a count there is nothing to be late with.
            Phase::Imported => {
                let counted = judged.pages == Pages::Forgotten;
                waits && answered && counted && waited >= self.create_timeout
            }
            Phase::Check
            | Phase::Held
            | Phase::Register
            | Phase::Registering
            | Phase::Counting
            | Phase::Listing
            | Phase::CheckImport
            | Phase::Import
            | Phase::Importing
            | Phase::ListImported
            | Phase::Unresolved
            | Phase::Ended => false,
        }
    }
}

/// Whether the answer has thrown the round back. One whose request may be under way is not before it
/// is proven absent: until then it waits.
fn is_thrown_back(came: &Came<'_>, judged: &Judged, late: bool) -> bool {
    match came.claim.round.phase {
        Phase::Registering | Phase::Unknown | Phase::Importing => {
            judged.is_setback && is_absent(judged)
        }
        _ => judged.is_setback || late,
    }
}

/// Whether what was just learnt proves that no request to register was carried out.
fn is_absent(judged: &Judged) -> bool {
    matches!(
        judged.next,
        Next::Event(
            Event::NotRegistered
                | Event::ApplyGone
                | Event::RegisterRefused
                | Event::ImportRefused { .. }
        )
    )
}

/// The round is given up, for what the upstream said last.
fn given_up(came: &Came<'_>, judged: &Judged, code: ReasonCode) -> Event {
    let said = match came.error {
        Some(Error {
            code: Some(code),
            message,
            ..
        }) => format!("said {code}: {message}"),
        Some(error) => format!("gave no usable answer: {}", error.message),
        None => "took the device no further".to_owned(),
    };
    let text = format!("the upstream was asked for {} and {said}", came.lane);
    let sent = match came.claim.round.phase {
        Phase::Check | Phase::Checking | Phase::CheckImport => false,
        Phase::Registering | Phase::Unknown | Phase::Importing => !is_absent(judged),
        Phase::Held
        | Phase::Register
        | Phase::Import
        | Phase::Imported
        | Phase::ListImported
        | Phase::Lookup
        | Phase::Creating
        | Phase::Counting
        | Phase::Listing
        | Phase::Unresolved
        | Phase::Ended => true,
    };
    Event::GivenUp {
        why: Reason::local(code, device::readable(text)),
        sent,
    }
}
