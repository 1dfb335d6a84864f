use registrar::{
    domain::{ApplyStatus, waiting::FailureScope},
    store::State,
};

use super::*;

async fn state(store: &Store) -> State {
    store
        .state(store.connection().await.unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_tells_what_is_on_the_way_and_nothing_that_has_settled() {
    let (store, database) = store().await;
    let nothing = state(&store).await;
    assert_eq!((nothing.oldest_unsettled, nothing.quiet), (0.0, 0.0));
    store
        .submit(&ANYONE, &devices("one", 3, AfterCheck::Stop), None)
        .await
        .unwrap();
    let (second, _) = store
        .submit(&ANYONE, &devices("two", 2, AfterCheck::Stop), None)
        .await
        .unwrap();
    // Of others on the same database, nothing.
    let url = database.url().parse().unwrap();
    let other = Store::new(url, 2, "other");
    other
        .submit(&ANYONE, &devices("three", 5, AfterCheck::Stop), None)
        .await
        .unwrap();
    let minutes = "UPDATE rounds SET due_at = due_at - interval '2 minutes' WHERE apply_id = $1";
    sqlx::query(minutes)
        .bind(second.id.0)
        .execute(&database.pool)
        .await
        .unwrap();
    for sql in [
        "UPDATE applies SET created_at = now() - interval '1 hour', updated_at = now() - interval '1 minute'",
        "INSERT INTO blocks (account, scope, product, probe_at, action, code, message)
         VALUES ('test', 'PRODUCT', 'a1/', now(), 'QueryProduct', 'X', 'Y')",
    ] {
        sqlx::query(sql).execute(&database.pool).await.unwrap();
    }
    let lane = Lane::Check;
    let spacing = Duration::from_millis(1);
    store
        .permits(lane, 1, spacing, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();

    let now = state(&store).await;

    assert_eq!(now.applies, [(ApplyStatus::Check, 2)]);
    assert_eq!(now.devices, [5, 0, 0, 0, 0, 0, 0]);
    assert!((3600.0..3700.0).contains(&now.oldest_unsettled), "{now:?}");
    assert!((60.0..160.0).contains(&now.quiet), "{now:?}");
    let rounds: Vec<_> = now.rounds.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(rounds, [&(Phase::Check, 2)]);
    let check = &now.lanes[0];
    assert_eq!((check.lane, check.due, check.overdue), (lane, 2, 1));
    assert!((120.0..220.0).contains(&check.oldest_due), "{now:?}");
    assert_eq!(now.blocks, [(FailureScope::Product, 1)]);

    let lifted = "UPDATE blocks SET lifted_at = now()";
    sqlx::query(lifted).execute(&database.pool).await.unwrap();
    pass_check(&store, 7).await;
    pass_check(&store, 8).await;
    let later = state(&store).await;
    assert_eq!(later.applies, [(ApplyStatus::CheckSuccess, 2)]);
    assert_eq!((later.devices, later.oldest_unsettled), ([0; 7], 0.0));
}
