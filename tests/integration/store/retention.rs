use registrar::domain::{ApplyId, ApplyStatus};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Makes applies so many hours older, and their last change.
async fn age(pool: &PgPool, ids: &[ApplyId], created: i32, changed: i32) {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    sqlx::query(
        "UPDATE applies SET created_at = now() - make_interval(hours => $2),
                            updated_at = now() - make_interval(hours => $3)
         WHERE apply_id = ANY ($1)",
    )
    .bind(ids)
    .bind(created)
    .bind(changed)
    .execute(pool)
    .await
    .unwrap();
}

async fn rows(pool: &PgPool, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_settled_long_ago_goes_with_all_that_is_its_own() {
    let (store, database) = store().await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let submission = devices(&format!("light{n}"), 1, AfterCheck::Stop);
        ids.push(store.submit(&ANYONE, &submission, None).await.unwrap().0.id);
        if n < 3 {
            pass_check(&store, n + 1).await;
        }
    }
    // The first is old; the second changed lately; the third is young; the fourth has not settled.
    age(&database.pool, &ids[..1], 3, 2).await;
    age(&database.pool, &ids[1..2], 3, 0).await;
    age(&database.pool, &ids[3..], 3, 2).await;
    let stop = CancellationToken::new();

    let removed = store.remove_settled(HOUR, &stop).await.unwrap();

    assert_eq!(removed, 1);
    assert_eq!(store.missing(&ids).await.unwrap(), ids[..1]);
    for (table, left) in [("applies", 3), ("chunks", 3), ("rounds", 3), ("events", 5)] {
        assert_eq!(rows(&database.pool, table).await, left, "{table}");
    }
    let status = store.apply(&ANYONE, ids[3]).await.unwrap().1.status;
    assert_eq!(status, ApplyStatus::Check);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_walks_past_old_applies_that_stay_to_those_that_go() {
    let (store, database) = store().await;
    let mut ids = Vec::new();
    for _ in 0..250 {
        let submission = devices("light", 1, AfterCheck::Stop);
        ids.push(store.submit(&ANYONE, &submission, None).await.unwrap().0.id);
    }
    age(&database.pool, &ids, 3, 2).await;
    sqlx::query("UPDATE applies SET status = 'CHECK_FAILED' WHERE apply_id > $1 - 20")
        .bind(ids[249].0)
        .execute(&database.pool)
        .await
        .unwrap();
    let stop = CancellationToken::new();

    let (one, other) = tokio::join!(
        store.remove_settled(HOUR, &stop),
        store.remove_settled(HOUR, &stop)
    );

    assert_eq!(one.unwrap() + other.unwrap(), 20);
    assert_eq!(rows(&database.pool, "applies").await, 230);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_has_room_again_when_devices_are_no_longer_on_their_way() {
    let (store, database) = store().await;
    let bounded = store.clone().with_max_queued(3);
    let two = devices("light", 2, AfterCheck::Stop);
    bounded.submit(&ANYONE, &two, None).await.unwrap();

    let refused = bounded.submit(&ANYONE, &two, None).await.unwrap_err();
    assert!(
        matches!(refused, Error::QueueFull { queued: 2, most: 3 }),
        "{refused}"
    );
    bounded
        .submit(&ANYONE, &devices("light", 1, AfterCheck::Stop), None)
        .await
        .unwrap();
    sqlx::raw_sql("UPDATE applies SET status = 'CHECK_SUCCESS'")
        .execute(&database.pool)
        .await
        .unwrap();
    // Another process has not counted yet and sees at once what the first one sees in a second.
    let other = Store::new(database.url().parse().expect("its own URL"), 5, "test");
    other
        .with_max_queued(3)
        .submit(&ANYONE, &two, None)
        .await
        .unwrap();
}
