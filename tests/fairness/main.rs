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

use std::time::{Duration, Instant};

use registrar::proto::{AfterCheck, ApplyStatus as S};

use support::{
    database::database,
    stack::{Server, Upstream, check, new_devices, watch},
};

const SMALL: usize = 100;
const LARGE_ROUNDS: usize = 10;

/// Submits the small applies and watches them to their ends; returns how long each took.
async fn small_applies(server: &Server, prefix: &str) -> Vec<Duration> {
    let mut watches = tokio::task::JoinSet::new();
    for n in 0..SMALL {
        let mut client = server.client().await;
        let devices = new_devices(&format!("{prefix}{n}"), 10);
        let submitted = Instant::now();
        let apply = check(&mut client, devices, AfterCheck::RegisterValid).await;
        watches.spawn(async move {
            let seen = watch(&mut client, apply.apply_id, 0).await;
            assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
            (n, submitted.elapsed())
        });
    }
    let mut took = watches.join_all().await;
    took.sort_unstable();
    took.into_iter().map(|(_, took)| took).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_applies_pass_a_large_one_and_nothing_is_throttled() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let alone = small_applies(&server, "alone").await;
    let mut client = server.client().await;
    let large = new_devices("large", LARGE_ROUNDS * 10_000);
    let large = check(&mut client, large, AfterCheck::RegisterValid).await;
    let beside = small_applies(&server, "beside").await;
    let large = watch(&mut client, large.apply_id, 0).await;

    assert_eq!(large.last().unwrap().status(), S::CreateSuccess);
    let longer = alone
        .iter()
        .zip(&beside)
        .map(|(alone, beside)| beside.saturating_sub(*alone));
    eprintln!(
        "the last small apply took {:?} alone and {:?} beside the large one; one took {:?} longer",
        alone[SMALL - 1],
        beside[SMALL - 1],
        longer.max().unwrap()
    );
    let calls = upstream.ledger("").await;
    let refused: Vec<_> = calls.iter().filter(|call| call["code"] != "OK").collect();
    // Slots are spaced so that none is, if a call arrives within the permit window. A machine that
    // stalls between the two may be too late with one now and then, not with many.
    assert!(refused.len() * 100 <= calls.len(), "{refused:?}");
    let mut checks = upstream.ledger("BatchCheckDeviceNames").await;
    checks.retain(|call| call["code"] == "OK");
    let checks = &checks[SMALL..];
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
