//! Whatever callers can see of an apply is rung for.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_stays_where_it_is_rings_for_what_became_of_its_devices() {
    let (store, _database) = store().await;
    let submission = devices("light", 3, AfterCheck::Stop);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    let rung = store.bell().subscribe();

    // Refused at once for one of them: the rest is to be checked, as all were before.
    let refused = step(&store, Lane::Check, failed(&[1], [])).await;

    assert_eq!(refused.round.phase, Phase::Check);
    let (_, now) = store.apply(&ANYONE, apply.id).await.unwrap();
    assert_eq!(now.revision, 2);
    assert!(rung.has_changed().unwrap());
}
