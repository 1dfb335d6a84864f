//! The hub on a real PostgreSQL: what one watcher meets is no other's matter.

use std::time::Duration;

use registrar::{
    domain::{AfterCheck, ApplyId, Submission},
    hub::{Hub, Options, Watch},
    store::{Error, Store},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{
    database::{Database, database},
    stack::PATIENCE,
};

/// A hub that runs until this ends.
struct Heard {
    hub: Hub,
    store: Store,
    database: Database,
    _stop: DropGuard,
}

impl Heard {
    async fn start(look_every: Duration) -> Self {
        let database = database().await;
        let store = Store::new(database.url().parse().expect("its own URL"), 5, "test");
        let hub = Hub::new(store.clone(), &Options { look_every });
        let stop = CancellationToken::new();
        tokio::spawn(hub.clone().run(stop.clone()));
        Self {
            hub,
            store,
            database,
            _stop: stop.drop_guard(),
        }
    }

    async fn submit(&self) -> ApplyId {
        let names = [("light-1".to_owned(), String::new())].into_iter();
        let submission = Submission::judge("a1".into(), String::new(), AfterCheck::Stop, names);
        self.store.submit(&submission, None).await.unwrap().0.id
    }

    /// Adds so many events to an apply and tells nobody. The last one has this status.
    async fn happen(&self, apply: ApplyId, count: i64, status: &str) {
        let text = "INSERT INTO events (apply_id, revision, status, total, valid, invalid, created,
                                        failed, unknown, cancelled, cancelling, sealed, at)
                    SELECT apply_id, revision + n, CASE n WHEN $2 THEN $3 ELSE status END, total,
                           valid, invalid, created, failed, unknown, cancelled, cancelling, sealed, at
                    FROM (SELECT * FROM events WHERE apply_id = $1
                          ORDER BY revision DESC LIMIT 1) AS latest, generate_series(1, $2) AS n";
        sqlx::query(text)
            .bind(apply.0)
            .bind(count)
            .bind(status)
            .execute(&self.database.pool)
            .await
            .unwrap();
    }

    /// Ends the connection that listens, once there is one.
    async fn cut_listener(&self) {
        let text = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND query LIKE 'LISTEN %'";
        let cut = async {
            loop {
                let cut: i64 = sqlx::query_scalar(text)
                    .fetch_one(&self.database.pool)
                    .await
                    .unwrap();
                if cut > 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, cut)
            .await
            .expect("it listens");
    }
}

async fn next(watch: &mut Watch) -> Result<i64, Error> {
    let event = tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("an event or an error");
    event.map(|event| event.revision)
}

async fn expect(watch: &mut Watch, revisions: std::ops::RangeInclusive<i64>) {
    for revision in revisions {
        assert_eq!(next(watch).await.unwrap(), revision);
    }
}

const OFTEN: Duration = Duration::from_millis(20);
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_ends_the_watches_of_its_apply_and_no_others() {
    let heard = Heard::start(OFTEN).await;
    let (newer, known) = (heard.submit().await, heard.submit().await);
    let mut doomed = [heard.hub.watch(newer, 0), heard.hub.watch(newer, 0)];
    let mut other = heard.hub.watch(known, 0);
    for watch in doomed.iter_mut().chain([&mut other]) {
        expect(watch, 1..=1).await;
    }

    heard.happen(newer, 3, "A_WORD_OF_A_NEWER_VERSION").await;
    heard.happen(newer, 1, "CHECK").await;
    heard.happen(known, 1, "CHECK_SUCCESS").await;

    expect(&mut other, 2..=2).await;
    for watch in &mut doomed {
        expect(watch, 2..=3).await;
        for _ in 0..2 {
            let error = next(watch).await.unwrap_err();
            assert!(matches!(error, Error::Corrupt(_)), "{error}");
        }
    }
    let mut late = heard.hub.watch(newer, 1);
    expect(&mut late, 2..=3).await;
    assert!(next(&mut late).await.is_err());
    // With the watchers of the other apply still there, ends are still seen.
    assert!(other.is_at_end().await.unwrap());
    heard.happen(known, 1, "CHECK").await;
    expect(&mut other, 3..=3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_that_listened_is_made_again_and_what_was_missed_is_read() {
    let heard = Heard::start(NEVER).await;
    let apply = heard.submit().await;
    let mut watch = heard.hub.watch(apply, 0);
    expect(&mut watch, 1..=1).await;

    // Nobody rings, so only a new connection makes the hub look. The first one does so too, once.
    for revision in 2..=5 {
        heard.happen(apply, 1, "CHECK").await;
        heard.cut_listener().await;
        expect(&mut watch, revision..=revision).await;
    }

    heard.happen(apply, 1, "CHECK").await;
    sqlx::query("SELECT pg_notify('registrar', 'another process')")
        .execute(&heard.database.pool)
        .await
        .unwrap();
    expect(&mut watch, 6..=6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_is_slow_holds_up_nobody_and_misses_nothing() {
    let heard = Heard::start(OFTEN).await;
    let apply = heard.submit().await;
    let (mut slow, mut fast) = (heard.hub.watch(apply, 0), heard.hub.watch(apply, 0));
    expect(&mut slow, 1..=1).await;
    expect(&mut fast, 1..=1).await;

    // More at a time than a channel holds, and in all more than a watcher reads at a time.
    for batch in 0..12 {
        heard.happen(apply, 1_000, "CHECK").await;
        let first = batch * 1_000 + 2;
        expect(&mut fast, first..=first + 999).await;
    }

    expect(&mut slow, 2..=12_001).await;
    assert!(slow.is_at_end().await.unwrap());
}
