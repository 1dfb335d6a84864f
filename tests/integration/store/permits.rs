use std::time::Duration;

use super::*;

const SPACING: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn no_two_callers_are_given_one_slot() {
    let (store, _database) = store().await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        callers.spawn(async move {
            let permits = store
                .permits(Lane::Check, 3, SPACING, Duration::ZERO, Duration::ZERO)
                .await
                .unwrap();
            let answered = std::time::Instant::now();
            (permits, answered)
        });
    }
    let taken = callers.join_all().await;

    // Blocks of three follow each other: their starts are three slots apart, up to the time that
    // passed between the database's answer and our reading of the clock.
    let first = taken.iter().map(|(_, answered)| *answered).min().unwrap();
    let mut starts: Vec<_> = taken
        .iter()
        .map(|(permits, answered)| (*answered - first + permits.first_in).as_secs_f64())
        .collect();
    starts.sort_by(f64::total_cmp);
    let blocks = (starts[19] - starts[0]) / (3.0 * SPACING.as_secs_f64());
    assert!((blocks - 19.0).abs() < 1.0, "{starts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_lane_saves_no_slots() {
    let (store, _database) = store().await;
    store
        .permits(
            Lane::Check,
            1,
            Duration::from_nanos(1_000),
            Duration::ZERO,
            Duration::ZERO,
        )
        .await
        .unwrap();

    let lead = Duration::from_secs(50);
    let permits = store
        .permits(Lane::Check, 2, SPACING, lead, Duration::ZERO)
        .await
        .unwrap();

    assert!(permits.first_in > Duration::from_secs(40) && permits.first_in <= lead);
    assert_eq!(permits.spacing, SPACING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_lane_spaces_its_slots_wider_and_others_do_not() {
    let (store, _database) = store().await;
    for lane in [Lane::Check, Lane::Status] {
        store
            .permits(lane, 1, SPACING, Duration::ZERO, Duration::ZERO)
            .await
            .unwrap();
    }
    store
        .slow_down(Lane::Check, Some(Duration::from_secs(100)))
        .await
        .unwrap();

    let slowed = store
        .permits(Lane::Check, 1, SPACING, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();
    let other = store
        .permits(Lane::Status, 1, SPACING, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();

    assert!(slowed.first_in > Duration::from_secs(90), "{slowed:?}");
    assert!(slowed.spacing > SPACING.mul_f64(1.05), "{slowed:?}");
    assert_eq!(other.spacing, SPACING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_was_throttled_long_ago_works_as_if_it_never_was() {
    let (store, database) = store().await;
    store
        .permits(Lane::Check, 1, SPACING, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();
    store.slow_down(Lane::Check, None).await.unwrap();
    sqlx::raw_sql("UPDATE lanes SET throttled_at = now() - interval '2 days'")
        .execute(&database.pool)
        .await
        .unwrap();

    let permits = store
        .permits(Lane::Check, 1, SPACING, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();

    assert_eq!(permits.spacing, SPACING);
    store.slow_down(Lane::Check, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_throttled_together_slow_a_lane_down_once() {
    let (store, _database) = store().await;
    store
        .permits(Lane::Check, 1, SPACING, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();
    for _ in 0..4 {
        store.slow_down(Lane::Check, None).await.unwrap();
    }

    let permits = store
        .permits(Lane::Check, 1, SPACING, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();

    assert!(permits.spacing < SPACING.mul_f64(1.2), "{permits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_throttled_again_soon_slows_down_more_and_pauses() {
    let (store, database) = store().await;
    let take = async || {
        store
            .permits(Lane::Check, 1, SPACING, Duration::ZERO, Duration::ZERO)
            .await
            .unwrap()
    };
    take().await;
    store.slow_down(Lane::Check, None).await.unwrap();
    let once = take().await;
    sqlx::raw_sql("UPDATE lanes SET throttled_at = now() - interval '5 s'")
        .execute(&database.pool)
        .await
        .unwrap();

    store.slow_down(Lane::Check, None).await.unwrap();

    let again = take().await;
    assert!(once.first_in < Duration::from_millis(500), "{once:?}");
    assert!(again.first_in > Duration::from_millis(500), "{again:?}");
    assert!(again.spacing > once.spacing.mul_f64(1.8), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_is_left_free_after_a_block() {
    let (store, _database) = store().await;
    let slack = Duration::from_secs(50);
    let take = async |slack| {
        store
            .permits(Lane::Check, 2, SPACING, Duration::ZERO, slack)
            .await
            .unwrap()
            .first_in
    };

    let first = take(slack).await;
    let second = take(Duration::ZERO).await;

    assert!(first < Duration::from_secs(10), "{first:?}");
    assert!(second > Duration::from_secs(40), "{second:?}");
}
