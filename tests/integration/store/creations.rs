use registrar::store::Creation;

use super::*;

fn under(upstream_apply: i64, round_no: i32, first: Ordinal, last: Ordinal) -> Creation {
    Creation {
        round_no,
        upstream_apply: Some(upstream_apply),
        first,
        last,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_upstream_apply_that_created_devices_is_known_with_their_places() {
    let (store, _database) = store().await;
    let submission = devices("light", 10_004, AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    for upstream_apply in [7, 8] {
        pass_check(&store, upstream_apply).await;
    }
    step(&store, Lane::Register, Event::RegisterAccepted).await;
    // The first chunk fails for two of its devices, and names the others but one.
    let refused = [exists(3), exists(9_998)].to_vec();
    let created = (0..9_998).filter(|at| *at != 3).collect();
    step(
        &store,
        Lane::Status,
        Event::CreateFailed { created, refused },
    )
    .await;
    assert_eq!(
        store.creations(apply.id, 0, 20_000).await.unwrap(),
        [under(7, 1, 0, 9_997)]
    );
    let present = vec![9_999];
    step(&store, Lane::Page, Event::Listed { present }).await;
    create(&store).await;

    store.accept(&ANYONE, apply.id, RETRY, None).await.unwrap();
    pass_check(&store, 9).await;
    create(&store).await;

    let all = store.creations(apply.id, 0, 20_000).await.unwrap();
    assert_eq!(
        all,
        [
            under(7, 1, 0, 9_999),
            under(9, 3, 3, 9_998),
            under(8, 2, 10_000, 10_003)
        ]
    );
    // Of places further on, only what reaches there.
    let later = store.creations(apply.id, 9_999, 10_000).await.unwrap();
    assert_eq!(later, [all[0], all[2]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_is_narrowed_to_what_is_unknown_still_says_what_it_had_created() {
    let (store, _database) = store().await;
    let submission = devices("light", 5, AfterCheck::RegisterValid);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();
    pass_check(&store, 7).await;
    step(&store, Lane::Register, Event::RegisterAccepted).await;
    let named = Event::CreateFailed {
        created: vec![0, 1],
        refused: Vec::new(),
    };
    step(&store, Lane::Status, named).await;
    step(&store, Lane::Page, Event::TimedOut).await;

    store.accept(&ANYONE, apply.id, RETRY, None).await.unwrap();

    let told = store.creations(apply.id, 0, 4).await.unwrap();
    assert_eq!(told, [under(7, 1, 0, 1)]);
    // And more, once the others turn out to have been created.
    step(&store, Lane::Status, Event::CreateSucceeded).await;
    step(&store, Lane::Page, Event::Counted { total: 5 }).await;
    let told = store.creations(apply.id, 0, 4).await.unwrap();
    assert_eq!(told, [under(7, 1, 0, 4)]);
}
