//! What must be true of the rows and of the upstream whenever nobody is in the middle of a transaction.

use super::world::World;
use crate::domain::{ApplyStatus, Counts, Ordinal, Outcome, Phase};

/// What is not as it must be.
pub(super) fn broken(world: &World) -> Option<String> {
    if let Some(wrong) = &world.wrong {
        return Some(wrong.clone());
    }
    if let Some(at) = world.upstream.twice.first() {
        return Some(format!("d{at} is created twice"));
    }
    let rows = &world.rows;
    let mut counted = Counts::default();
    for outcome in &rows.outcomes {
        counted.add(Outcome::ALL.map(|one| i32::from(one == *outcome)));
    }
    if counted != rows.standing.counts {
        return Some(format!("{counted:?} counted as {:?}", rows.standing.counts));
    }
    let devices = (0..).zip(&rows.outcomes);
    let device = devices.filter_map(|(at, outcome)| broken_device(world, at, *outcome));
    let round = (0..rows.rounds.len()).filter_map(|n| broken_row(world, n));
    device.chain(round).next()
}

fn broken_device(world: &World, at: Ordinal, outcome: Outcome) -> Option<String> {
    use Outcome as O;
    let exists = world.upstream.is_ours(at);
    let told = match outcome {
        O::Created => exists,
        O::Invalid | O::Failed | O::Cancelled => !exists,
        O::Pending | O::Valid | O::Unknown => true,
    };
    if !told {
        return Some(format!("d{at} is {outcome:?}; it exists: {exists}"));
    }
    let may = world.may_create(at) + usize::from(exists);
    if may > 1 {
        return Some(format!("d{at} may be created {may} times"));
    }
    let settled = matches!(outcome, O::Invalid | O::Failed | O::Cancelled);
    if settled && may > 0 {
        return Some(format!("d{at} is {outcome:?} and may yet be created"));
    }
    let rows = &world.rows;
    let live = rows
        .rounds
        .iter()
        .filter(|row| row.round.phase != Phase::Ended);
    let live = live.filter(|row| row.ordinals.contains(&at)).count();
    let enough = live == 1 || live == 0 && rows.standing.cancelling;
    (outcome.is_open() && !enough).then(|| format!("{live} rounds are about d{at}"))
}

/// The constraints of the table.
fn broken_row(world: &World, n: usize) -> Option<String> {
    use Phase as P;
    let row = &world.rows.rounds[n];
    let phase = row.round.phase;
    let early = matches!(
        phase,
        P::Check | P::Checking | P::CheckImport | P::Held | P::Ended
    );
    let unnumbered = early && phase != P::Checking
        || matches!(phase, P::Unresolved | P::Import | P::Importing | P::Lookup);
    let registering = matches!(
        phase,
        P::Register | P::Registering | P::Unknown | P::Unresolved
    );
    let importing = matches!(
        phase,
        P::Importing | P::Creating | P::Imported | P::ListImported | P::Lookup
    );
    let broken = if row.due_at.is_none() != phase.lane().is_none() {
        "due_unless_it_rests"
    } else if row.round.upstream_apply.is_none() && !unnumbered {
        "asked_about_by_its_number"
    } else if !row.round.accepted && !early {
        "registered_when_accepted"
    } else if row.round.accepted && phase == P::Held {
        "held_until_accepted"
    } else if row.intent_at.is_none() && matches!(phase, P::Registering | P::Importing) {
        "intent_before_call"
    } else if row.nonce.is_none() && phase == P::Importing {
        "nonce_before_import"
    } else if row.nonce.is_some() && row.intent_at.is_none() {
        "nonce_of_an_intent"
    } else if row.intent_at.is_some() && !(registering || row.nonce.is_some() && importing) {
        "intent_while_registering"
    } else {
        return None;
    };
    Some(format!("{broken}: {row:?}"))
}

/// What must be true besides once nothing happens any more unless someone asks.
pub(super) fn unsettled(world: &World) -> Option<String> {
    let standing = &world.rows.standing;
    if !standing.status.is_settled() {
        return Some(format!("it is in {} for ever", standing.status));
    }
    let open = |outcome: &&Outcome| matches!(outcome, Outcome::Pending | Outcome::Valid);
    let left = world.rows.outcomes.iter().filter(open).count();
    let waits = matches!(
        standing.status,
        ApplyStatus::CheckSuccess | ApplyStatus::CheckFailed
    );
    (left > 0 && !waits).then(|| format!("{left} devices are open in {}", standing.status))
}
