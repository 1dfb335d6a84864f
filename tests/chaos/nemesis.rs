//! Does to the stack what the plan says.

use std::{sync::Arc, time::Instant};

use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::{
    plan::{Action, Event, Which},
    record::add,
    stack::Stack,
};

/// Carries the plan out, and returns when all of it is over.
pub(crate) async fn carry_out(stack: Arc<Stack>, plan: Vec<Event>) {
    let begin = Instant::now();
    let mut under_way = JoinSet::new();
    for (number, event) in plan.into_iter().enumerate() {
        tokio::time::sleep_until((begin + event.at).into()).await;
        under_way.spawn(act(stack.clone(), number, event));
    }
    under_way.join_all().await;
}

async fn act(stack: Arc<Stack>, number: usize, event: Event) {
    let from = OffsetDateTime::now_utc();
    let lasts = event.lasts;
    let counts = &stack.record.counts;
    match event.action {
        Action::Fault { json } => {
            add(&counts.faults);
            let name = format!("chaos-{number}");
            stack.upstream.set(&name, &json).await;
            tokio::time::sleep(lasts).await;
            stack.upstream.lift(&name).await;
            // Watchers have nothing to do with it.
            return;
        }
        Action::KillReplica { replica, skew } => {
            add(&counts.kills);
            if skew != 0 {
                add(&counts.skews);
            }
            let replica = &stack.replicas[replica];
            replica.kill(lasts, skew);
            tokio::time::sleep(lasts).await;
            replica.is_up().await;
        }
        Action::StopReplica { replica, skew } => {
            add(&counts.stops);
            let replica = &stack.replicas[replica];
            replica.stop(lasts, skew).await;
            tokio::time::sleep(lasts).await;
            replica.is_up().await;
        }
        Action::PauseReplica { replica } => {
            add(&counts.pauses);
            stack.replicas[replica].pause(true);
            tokio::time::sleep(lasts).await;
            stack.replicas[replica].pause(false);
        }
        Action::Cut { replica, link } => {
            add(&counts.cuts);
            stack.link(replica, link).cut();
        }
        Action::Hold { replica, link } => {
            add(&counts.holds);
            stack.link(replica, link).hold(true);
            tokio::time::sleep(lasts).await;
            stack.link(replica, link).hold(false);
        }
        Action::KillDatabase { how } => {
            add(&counts.database_kills);
            stack.database.kill(how, lasts).await;
        }
    }
    stack.record.trouble(from, OffsetDateTime::now_utc());
}

impl Stack {
    fn link(&self, replica: usize, which: Which) -> &crate::link::Link {
        let links = &self.links[replica];
        match which {
            Which::Clients => &links.clients,
            Which::Database => &links.database,
            Which::Upstream => &links.upstream,
        }
    }
}
