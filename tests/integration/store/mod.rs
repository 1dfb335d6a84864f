//! The store on a real PostgreSQL: what is claimed, recorded, decided and seen.

mod bell;
mod blocks;
mod creations;
mod imports;
mod keeper;
mod lookups;
mod model;
mod permits;
mod requests;
mod retention;
mod rounds;
mod state;
mod statements;
mod submissions;
mod tenants;
mod together;
mod unreachable;
mod uploads;
mod waits;

use std::time::Duration;

use registrar::{
    domain::{
        AfterCheck, Lane, Ordinal, Phase, Reason, ReasonCode, Submission,
        apply::Wish,
        round::{Change, Event},
    },
    store::{Claim, Error, Pages, Record, Store},
};
use time::OffsetDateTime;

use crate::support::{
    ANYONE,
    database::{Database, database},
};

const LEASE: Duration = Duration::from_secs(60);
const SKIP: Wish = Wish {
    skip_invalid: true,
    retry_failed: false,
};
const RETRY: Wish = Wish {
    skip_invalid: false,
    retry_failed: true,
};
const SIGNED_AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

async fn store() -> (Store, Database) {
    let database = database().await;
    let store = Store::new(database.url().parse().expect("its own URL"), 5, "test");
    (store, database)
}

/// So many devices named after `prefix`.
fn devices(prefix: &str, count: usize, after_check: AfterCheck) -> Submission {
    let names: Vec<_> = (0..count)
        .map(|n| (format!("{prefix}-{n:06}"), String::new()))
        .collect();
    Submission::judge("a1".into(), String::new(), after_check, names.into_iter())
}

async fn claim(store: &Store, lane: Lane) -> Option<Claim> {
    store
        .claim(lane, LEASE, SIGNED_AT)
        .await
        .expect("the claim")
}

/// What a step records that met `event`.
fn after(claim: &Claim, event: Event, open: &[Ordinal]) -> Record {
    record(claim.round.clone().on(event, open).expect("a legal event"))
}

fn record(change: Change) -> Record {
    Record {
        change,
        due_in: Duration::ZERO,
        expected_in: None,
        attempts: 0,
        asked: false,
        intent_open: false,
        setbacks: 0,
        pages: Pages::Kept,
        call: None,
    }
}

/// Claims the next round of a lane and has `event` happen to it.
async fn step(store: &Store, lane: Lane, event: Event) -> Claim {
    let claim = claim(store, lane).await.expect("a round is due");
    meet(store, &claim, event).await.expect("the record");
    claim
}

async fn meet(store: &Store, claim: &Claim, event: Event) -> Result<(), Error> {
    let open = store.members(claim).await?.ordinals;
    store
        .record(claim, &open, &after(claim, event, &open))
        .await
}

/// Takes a round from the check lane through a check that all its devices pass.
async fn pass_check(store: &Store, upstream_apply: i64) {
    step(store, Lane::Check, Event::CheckAccepted { upstream_apply }).await;
    step(store, Lane::Status, Event::CheckPassed).await;
}

/// Takes an accepted round from the register lane to its end.
async fn create(store: &Store) {
    let claim = step(store, Lane::Register, Event::RegisterAccepted).await;
    assert_eq!(claim.round.phase, Phase::Registering);
    step(store, Lane::Status, Event::CreateSucceeded).await;
    let claim = claim_page(store).await;
    let total = store.members(&claim).await.expect("members").ordinals.len() as u64;
    meet(store, &claim, Event::Counted { total })
        .await
        .expect("the record");
}

async fn claim_page(store: &Store) -> Claim {
    claim(store, Lane::Page).await.expect("a count is due")
}

fn exists(at: Ordinal) -> (Ordinal, Reason) {
    (
        at,
        Reason::local(ReasonCode::Exists, "it exists".to_owned()),
    )
}

fn failed(refused: &[Ordinal], valid: impl IntoIterator<Item = Ordinal>) -> Event {
    Event::CheckFailed {
        refused: refused.iter().map(|at| exists(*at)).collect(),
        valid: valid.into_iter().collect(),
        said: exists(0).1,
    }
}
