//! Whether the machine keeps up. What it was late with itself says nothing of the service.

use std::{sync::Arc, time::Instant};

use sqlx::postgres::PgListener;
use time::OffsetDateTime;
use tokio::time::{Duration, sleep};

use crate::{record::Record, stack::Stack};

const EVERY: Duration = Duration::from_millis(50);

/// A machine that takes longer over nothing is not quiet.
const LATE: Duration = Duration::from_millis(150);

/// Notes when this process is late, for as long as it lasts.
pub(crate) async fn keeps_time(record: Arc<Record>) {
    loop {
        let (from, begin) = (OffsetDateTime::now_utc(), Instant::now());
        sleep(EVERY).await;
        if begin.elapsed() > EVERY + LATE {
            record.trouble(from, OffsetDateTime::now_utc());
        }
    }
}

/// Notes when Postgres is late with a commit and with telling those who listen, for as long as it
/// lasts: what a change of the service needs too.
pub(crate) async fn postgres_keeps_up(stack: Arc<Stack>) {
    loop {
        let mut from = OffsetDateTime::now_utc();
        // A killed server ends it, and it begins again.
        probe(&stack, &mut from).await.ok();
        stack.record.trouble(from, OffsetDateTime::now_utc());
        sleep(EVERY).await;
    }
}

async fn probe(stack: &Stack, from: &mut OffsetDateTime) -> sqlx::Result<()> {
    let pool = stack.database.pool().await;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("chaos").await?;
    loop {
        let begin = Instant::now();
        *from = OffsetDateTime::now_utc();
        sqlx::query("SELECT pg_notify('chaos', txid_current()::text)")
            .execute(&pool)
            .await?;
        listener.try_recv().await?;
        if begin.elapsed() > LATE {
            stack.record.trouble(*from, OffsetDateTime::now_utc());
        }
        sleep(EVERY).await;
    }
}
