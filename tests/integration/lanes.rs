//! Slots for callers that nobody queues up, beside those that are taken in blocks.

use std::time::Duration;

use clap::Parser as _;
use registrar::{
    domain::Lane,
    lanes::{Lanes, Options, Turns},
    store::Store,
};
use tokio::time::Instant;

use crate::support::{database::database, stack::patiently};

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    lanes: Options,
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_are_a_slot_apart_and_keep_no_block_of_others_waiting_for_all_of_them() {
    let database = database().await;
    let store = Store::new(database.url().parse().unwrap(), 5, "test");
    let flags = Flags::parse_from(["lanes", "--page-rate", "50"]);
    let lanes = Lanes::new(store, flags.lanes);
    let turns = Turns::new(lanes.clone(), Lane::Page);
    let spacing = Duration::from_millis(1_040) / 50;
    let block = lanes.block(Lane::Page);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let turns = turns.clone();
        callers.spawn(async move { turns.next().await.unwrap().open });
    }
    // Once the first has had its turn, the others wait for theirs.
    let first = patiently(callers.join_next()).await.unwrap().unwrap();

    let asked = Instant::now();
    let slots = lanes.slots(Lane::Page, block, Duration::ZERO).await;
    let mut slots: Vec<_> = slots.unwrap().map(|slot| slot.open).collect();

    // Behind a block of turns, however many wait: not behind all of them.
    let behind = slots[0].saturating_duration_since(asked);
    assert!(behind < spacing * 99, "{behind:?}");
    let mut opened = vec![first];
    opened.extend(patiently(callers.join_all()).await);
    opened.append(&mut slots);
    opened.sort_unstable();
    // No second sees more than the rate: fifty slots span more than a second, up to the time
    // between the answers of the database and our reading of them.
    for window in opened.windows(51) {
        let span = window[50] - window[0];
        assert!(span > Duration::from_millis(900), "{span:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_its_turn_leaves_the_others_theirs() {
    let database = database().await;
    let store = Store::new(database.url().parse().unwrap(), 5, "test");
    let flags = Flags::parse_from(["lanes", "--page-rate", "20"]);
    let turns = Turns::new(Lanes::new(store, flags.lanes), Lane::Page);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let turns = turns.clone();
        callers.spawn(async move { turns.next().await.unwrap() });
    }
    patiently(callers.join_next()).await.unwrap().unwrap();

    callers.shutdown().await;

    patiently(turns.next()).await.unwrap();
}
