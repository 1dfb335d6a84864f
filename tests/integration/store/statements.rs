//! How many statements things cost. Round trips are what small things wait for and what many of them
//! wear the database with, so a change of these numbers is to be meant.

use futures_util::future::join_all;
use registrar::{
    domain::{ApplyStatus, Phase},
    hub::{Hub, Options},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::support::counting::Counting;

struct Counted {
    store: Store,
    way: Counting,
    _database: Database,
}

async fn counted() -> Counted {
    let database = database().await;
    let way = Counting::before(&database.options).await;
    let store = Store::new(way.options.clone(), 1, "test");
    // What is counted once a second at most is counted now.
    store
        .submit(&ANYONE, &devices("first", 1, AfterCheck::Stop), None)
        .await
        .unwrap();
    let round = claim(&store, Lane::Check).await.unwrap();
    meet(&store, &round, Event::NothingLeft).await.ok();
    way.take();
    Counted {
        store,
        way,
        _database: database,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_without_being_asked_how_it_is() {
    let Counted { store, way, .. } = &counted().await;
    let submission = devices("light", 1, AfterCheck::Stop);
    // The second time all its statements are known to the server.
    for _ in 0..2 {
        store.submit(&ANYONE, &submission, None).await.unwrap();
    }
    way.take_round_trips();

    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    assert_eq!(way.take_round_trips(), 4);
    store.apply(&ANYONE, apply.id).await.unwrap();
    way.take_round_trips();
    for _ in 0..3 {
        store.apply(&ANYONE, apply.id).await.unwrap();
    }
    assert_eq!(way.take_round_trips(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_four_statements_whatever_its_size() {
    let Counted { store, way, .. } = &counted().await;
    for size in [1, 100, 25_000] {
        let submission = devices("light", size, AfterCheck::Stop);
        store.submit(&ANYONE, &submission, None).await.unwrap();

        // Begin, the applies with all that is theirs, chunks with their rounds, commit.
        assert_eq!(way.take(), 4, "{size} devices");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_of_an_upload_is_six_statements() {
    let Counted { store, way, .. } = &counted().await;
    let submission = devices("light", 20_000, AfterCheck::Stop);
    let (upload, ..) = store
        .begin_upload(&ANYONE, &submission.heading, None)
        .await
        .unwrap();
    assert_eq!(way.take(), 3);
    for chunk in submission.chunks() {
        store.append(&ANYONE, upload, chunk).await.unwrap();

        // Begin, lock, chunk and round, look at the rounds, event, commit.
        assert_eq!(way.take(), 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_a_handful_of_statements_however_many_devices_its_round_has() {
    let Counted { store, way, .. } = &counted().await;
    for size in [1, 10_000] {
        let submission = devices("light", size, AfterCheck::RegisterValid);
        let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
        way.take();
        let upstream_apply = 7;
        let steps = [
            (Lane::Check, Event::CheckAccepted { upstream_apply }, 5),
            (Lane::Status, Event::CheckPassed, 11),
            (Lane::Register, Event::RegisterAccepted, 5),
            (Lane::Status, Event::CreateSucceeded, 5),
            (Lane::Page, Event::Counted { total: size as u64 }, 11),
        ];
        for (lane, event, statements) in steps {
            let what = format!("{event:?}, {size} devices");
            step(store, lane, event).await;

            assert_eq!(way.take(), statements, "{what}");
        }
        let (_, end) = store.apply(&ANYONE, apply.id).await.unwrap();
        assert_eq!(end.status, ApplyStatus::CreateSuccess);
        assert_eq!(way.take(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_read_once_for_all_who_watch() {
    const WATCHERS: usize = 500;
    let Counted { store, way, .. } = &counted().await;
    let submission = devices("light", 10, AfterCheck::Stop);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    let options = Options {
        look_every: Duration::from_secs(3_600),
    };
    let (hub, stop) = (Hub::new(store.clone(), &options), CancellationToken::new());
    let running = tokio::spawn(hub.clone().run(stop.clone()));
    let mut watches: Vec<_> = (0..WATCHERS).map(|_| hub.watch(apply.id, 0)).collect();
    join_all(watches.iter_mut().map(|watch| watch.next())).await;
    let starting = way.take();

    let round = step(
        store,
        Lane::Check,
        Event::CheckAccepted { upstream_apply: 7 },
    )
    .await;
    assert_eq!(round.round.phase, Phase::Check);
    step(store, Lane::Status, Event::CheckPassed).await;
    let events = join_all(watches.iter_mut().map(|watch| watch.next())).await;

    let revision =
        |event: &Result<registrar::domain::Snapshot, _>| event.as_ref().unwrap().revision;
    assert!(events.iter().all(|event| revision(event) == 2));
    let all = way.take();
    // A watcher that comes reads what there is; from then on the hub reads for all of them, a look or
    // two each time that something was committed.
    assert!(starting <= WATCHERS as u64 + 10, "{starting}");
    assert!(all <= 16 + 10, "{all}");
    stop.cancel();
    running.await.unwrap();
}
