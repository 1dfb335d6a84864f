//! Many small applies beside a large one. Alone in its binary, since it counts what arrives in
//! sliding seconds and so wants the machine for itself.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "the helpers of tests are not seen to be in tests, and their tasks end with the test"
)]

#[path = "../integration/support/mod.rs"]
#[allow(dead_code, reason = "only part of it is needed here")]
mod support;

use registrar::proto::{AfterCheck, ApplyStatus as S};

use support::{
    database::database,
    stack::{Server, Upstream, check, new_devices, watch},
};

const SMALL: usize = 100;
const LARGE_ROUNDS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn small_applies_pass_a_large_one_and_nothing_is_throttled() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;
    let large = new_devices("large", LARGE_ROUNDS * 10_000);
    let large = check(&mut client, large, AfterCheck::RegisterValid).await;
    let mut watches = tokio::task::JoinSet::new();
    for n in 0..SMALL {
        let mut client = server.client().await;
        let devices = new_devices(&format!("small{n}"), 10);
        let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
        watches.spawn(async move { watch(&mut client, apply.apply_id, 0).await });
    }

    let ends = watches.join_all().await;
    let large = watch(&mut client, large.apply_id, 0).await;

    assert!(
        ends.iter()
            .chain([&large])
            .all(|seen| seen.last().unwrap().status() == S::CreateSuccess)
    );
    let calls = upstream.ledger("").await;
    let refused: Vec<_> = calls.iter().filter(|call| call["code"] != "OK").collect();
    assert!(refused.is_empty(), "{refused:?}");
    let checks = upstream.ledger("BatchCheckDeviceNames").await;
    let places = |small: bool| -> Vec<usize> {
        let places = checks
            .iter()
            .enumerate()
            .filter(|(_, call)| (call["names"] == 10) == small);
        places.map(|(place, _)| place).collect()
    };
    let (small, large) = (places(true), places(false));
    assert_eq!((small.len(), large.len()), (SMALL, LARGE_ROUNDS));
    // The small applies pass rounds of the large one that was there before them.
    assert!(small[0] < large[LARGE_ROUNDS - 1], "{small:?} {large:?}");
}
