//! Those who watch an apply: they hang up, come back to another replica, and miss nothing.

use std::time::{Duration, Instant};

use rand::Rng as _;
use registrar::proto::{WatchApplyRequest, WatchUntil};
use time::OffsetDateTime;
use tokio::sync::watch;
use tonic::Code;

use crate::{
    caller::Caller,
    record::{Change, add},
};

/// A watch is not connected before its server has read what there is.
const SETTLES: time::Duration = time::Duration::milliseconds(300);

/// Watches an apply through any number of streams until nobody does anything with it any more, and
/// then to its end.
pub(crate) async fn watch(mut caller: Caller, apply_id: i64, mut done: watch::Receiver<bool>) {
    let who = format!("watcher {}", caller.rng.random::<u16>());
    let untils = [
        WatchUntil::Settled,
        WatchUntil::Created,
        WatchUntil::Forever,
    ];
    let until = untils[caller.rng.random_range(0..untils.len())];
    let (mut last, mut is_cut) = (0, false);
    add(&caller.record.counts.watches);
    loop {
        let finishing = *done.borrow_and_update();
        // What has been done is watched to the end.
        let until = if finishing {
            WatchUntil::Settled
        } else {
            until
        };
        if is_cut {
            add(&caller.record.counts.reconnects);
        }
        let ended = stream(&mut caller, &who, apply_id, &mut last, until, &mut done).await;
        is_cut = !ended;
        if ended && finishing {
            caller.record.note(apply_id, |told| told.ends.push(last));
            return;
        }
        if caller.until < Instant::now() {
            caller
                .record
                .violation(&format!("apply {apply_id}: {who} never saw its end"));
            return;
        }
        if ended && !*done.borrow() {
            // It has settled, and goes on when somebody asks.
            tokio::select! {
                _ = done.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
        caller.pause().await;
    }
}

/// Reads one stream; `true` if it ended as it should.
async fn stream(
    caller: &mut Caller,
    who: &str,
    apply_id: i64,
    last: &mut i64,
    until: WatchUntil,
    done: &mut watch::Receiver<bool>,
) -> bool {
    let record = caller.record.clone();
    add(&record.counts.streams);
    let request = WatchApplyRequest {
        apply_id,
        after_revision: *last,
        until: until.into(),
    };
    let (replica, mut client) = caller.any_of_them();
    let hangs_up = Duration::from_millis(caller.rng.random_range(100..8_000));
    let hangs_up = tokio::time::sleep(hangs_up);
    tokio::pin!(hangs_up);
    let opened = tokio::select! {
        opened = client.watch_apply(request) => opened,
        () = &mut hangs_up => return false,
    };
    let mut stream = match opened {
        Ok(opened) => opened.into_inner(),
        Err(status) => {
            failed(caller, who, apply_id, *last, &status);
            return false;
        }
    };
    let connected = OffsetDateTime::now_utc() + SETTLES;
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            () = &mut hangs_up => return false,
            // What is watched for ever is watched no longer then.
            _ = done.changed(), if until == WatchUntil::Forever => return false,
        };
        let reached = OffsetDateTime::now_utc();
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => return true,
            Err(status) => {
                failed(caller, who, apply_id, *last, &status);
                return false;
            }
        };
        let Some(apply) = message.apply else { continue };
        record.seen(who, &apply);
        if message.heartbeat {
            if apply.revision != *last {
                record.violation(&format!(
                    "apply {apply_id}: a heartbeat tells {who} revision {} after {last}",
                    apply.revision
                ));
            }
            continue;
        }
        if apply.revision != *last + 1 {
            record.violation(&format!(
                "apply {apply_id}: {who} is told revision {} after {last}",
                apply.revision
            ));
        }
        *last = apply.revision;
        let made = apply.update_time.expect("a time");
        let made = OffsetDateTime::from_unix_timestamp(made.seconds).expect("a time")
            + time::Duration::nanoseconds(made.nanos.into());
        if connected < made {
            record.change(Change {
                replica,
                apply_id,
                revision: apply.revision,
                made,
                reached,
            });
        }
    }
}

fn failed(caller: &Caller, who: &str, apply_id: i64, last: i64, status: &tonic::Status) {
    let again = caller.is_again("WatchApply", status);
    if !again || status.code() == Code::OutOfRange {
        caller.record.violation(&format!(
            "apply {apply_id}: {who} at revision {last} is refused: {status:?}"
        ));
    }
}
