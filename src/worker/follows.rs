//! What follows from an event besides its transition: whose devices it needs, what is waited for from
//! then on, and whether a request may still be under way.

use crate::domain::{
    Phase, Round,
    round::{Change, Event, Settle},
};

/// Whether an event settles open devices of its round, so that it has to be known which those are.
pub(super) fn settles(phase: Phase, event: &Event) -> bool {
    matches!(
        event,
        Event::CheckPassed
            | Event::Counted { .. }
            | Event::TooLarge
            | Event::CheckFailed { .. }
            | Event::CreateFailed { .. }
            | Event::Listed { .. }
            | Event::ImportRefused { .. }
            | Event::ImportLost { .. }
            | Event::LookedUp { .. }
            | Event::TimedOut
            | Event::GivenUp { .. }
    ) || (matches!(phase, Phase::Imported | Phase::ListImported)
        && matches!(event, Event::ApplyGone))
        || (phase == Phase::Unknown && matches!(event, Event::NotRegistered | Event::ApplyGone))
}

/// Whether an event says that what the upstream was at is finished.
pub(super) fn ends_a_wait(event: &Event) -> bool {
    matches!(
        event,
        Event::CheckPassed
            | Event::CheckFailed { .. }
            | Event::CreateSucceeded
            | Event::CreateFailed { .. }
    )
}

/// Whether an event says that the upstream is at something from now on.
pub(super) fn begins_a_wait(event: &Event) -> bool {
    matches!(
        event,
        Event::CheckAccepted { .. } | Event::RegisterAccepted | Event::ImportAccepted { .. }
    )
}

/// Whether a request to register or to import may be under way after an event, if it was before. One
/// to register is told of by its status from when it is taken on; one to import may have none, and is
/// under way until a refusal or a status says otherwise.
pub(super) fn leaves_the_intent(round: &Round, event: &Event) -> bool {
    match round.import {
        false => matches!(
            event,
            Event::TimedOut | Event::GivenUp { .. } | Event::RegisterUnheard
        ),
        true => match event {
            Event::NotRegistered | Event::ImportRefused { .. } | Event::TooLarge => false,
            // Of two requests it is the later that a status tells of.
            Event::CreateSucceeded | Event::CreateFailed { .. } => round.resent,
            _ => true,
        },
    }
}

/// Whether an event takes its round further than any setback had thrown it back.
pub(super) fn takes_further(event: &Event) -> bool {
    matches!(
        event,
        Event::RegisterAccepted
            | Event::ImportAccepted { .. }
            | Event::LookedUp { .. }
            | Event::CreateSucceeded
            | Event::CreateFailed { .. }
            | Event::Counted { .. }
            | Event::Listed { .. }
    )
}

/// A round that stays as it is.
pub(super) fn unchanged(round: &Round) -> Change {
    Change {
        round: round.clone(),
        settle: Settle::Nothing,
        parts: Vec::new(),
    }
}
