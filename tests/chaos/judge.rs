//! Holds what became of everything to what was asked, once nothing moves any more.

use std::{process::Command, time::Duration};

use registrar::{
    proto::{AfterCheck, ApplyStatus},
    simulator::PRODUCT,
};
use time::OffsetDateTime;

use crate::{
    caller::Caller,
    clients, devices,
    record::{Change, Told},
    stack::Stack,
    support::truth::{Asked, Truth, secrets_left},
};

/// How long after the trouble applies may take to end: longer than each wait of the settings.
pub(crate) const SETTLE_WITHIN: Duration = Duration::from_secs(90);

/// How long a call may be under way after the right to make it was given: the lease, and what a link
/// may hold it up for.
const UNDER_WAY: Duration = Duration::from_millis(2_000 + 2_500);

/// A change reaches a connected watcher within this. A debug build takes its time.
const AT_ONCE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 3 } else { 1 });

/// What took longer is told, though it was in time.
const SLOW: Duration = Duration::from_millis(500);

/// The stack is in order again so long after trouble.
const CALMS_DOWN: Duration = Duration::from_secs(3);

/// Waits until every accepted apply has ended.
pub(crate) async fn all_settle(caller: &mut Caller) {
    let begin = std::time::Instant::now();
    let mut open = caller.record.ids();
    while !open.is_empty() {
        let mut moving = Vec::new();
        for id in open {
            let apply = clients::get(caller, id).await;
            if let Some(apply) = apply.filter(|apply| {
                !apply.settled || !apply.sealed && apply.status() == ApplyStatus::Check
            }) {
                moving.push((id, apply));
            }
        }
        if begin.elapsed() > SETTLE_WITHIN {
            for (id, apply) in &moving {
                let what = format!("apply {id} has not ended after {SETTLE_WITHIN:?}: {apply:?}");
                caller.record.violation(&what);
            }
            return;
        }
        open = moving.into_iter().map(|(id, _)| id).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Judges everything. The upstream is in order, all replicas serve, and nothing moves.
pub(crate) async fn judge(stack: &Stack, caller: &mut Caller) {
    let record = stack.record.clone();
    let truth = Truth::read(&stack.upstream, PRODUCT, UNDER_WAY).await;
    for (id, told) in record.applies() {
        // A connection that has grown old may not take the next call.
        let mut client = caller.another().any();
        for wrong in truth.violations(&mut client, &asked(id, &told)).await {
            record.violation(&wrong);
        }
        if told
            .ends
            .iter()
            .any(|end| Some(end) != told.seen.keys().last())
        {
            let what = format!("apply {id}: watchers saw its end at {:?}", told.ends);
            record.violation(&what);
        }
        let first = told.seen.keys().copied().next();
        let last = told.seen.keys().copied().last().unwrap_or_default();
        if first != Some(1) || told.seen.len() as i64 != last {
            let revisions: Vec<_> = told.seen.keys().collect();
            record.violation(&format!(
                "apply {id}: of {last} revisions, these were told: {revisions:?}"
            ));
        }
    }
    for id in secrets_left(&stack.database.pool().await).await {
        record.violation(&format!("apply {id}: secrets are left"));
    }
    for place in stack.kept() {
        let found = Command::new("grep")
            .args(["-rlaF", devices::SECRET])
            .arg(place)
            .output()
            .expect("grep runs");
        for file in String::from_utf8_lossy(&found.stdout).lines() {
            record.violation(&format!("{file} has a secret"));
        }
    }
    for change in quiet(&record.changes(), &record.troubles()) {
        let took = change.reached - change.made;
        if took > AT_ONCE {
            record.violation(&change.to_string());
        } else if took > SLOW {
            println!("{change}");
        }
    }
}

/// The changes that were made and reached their watchers while nothing else was going on.
pub(crate) fn quiet(
    changes: &[Change],
    troubles: &[(OffsetDateTime, OffsetDateTime)],
) -> Vec<Change> {
    let is_quiet = |change: &&Change| {
        troubles
            .iter()
            .all(|(from, to)| change.reached < *from || *to + CALMS_DOWN < change.made)
    };
    changes.iter().filter(is_quiet).copied().collect()
}

fn asked(apply_id: i64, told: &Told) -> Asked {
    // Of an upload that was given up there is what was stored.
    let end = told.seen.values().next_back().filter(|end| !end.sealed);
    let stored = end.map_or(told.devices.len(), |end| {
        end.counts.unwrap_or_default().total as usize
    });
    let devices = &told.devices[..stored];
    let names = devices.iter().map(|device| device.device_name.clone());
    let secrets = devices.iter().map(|device| device.device_secret.clone());
    Asked {
        apply_id,
        names: names.collect(),
        secrets: told.import.then(|| secrets.collect()),
        may_register: told.registers || told.after_check != AfterCheck::Stop,
        sealed: told.sealed,
        cancelled_us: told
            .cancelled
            .map(|at| (at.unix_timestamp_nanos() / 1_000) as u64),
    }
}
