//! Submissions that arrive together.

use futures_util::future::join_all;
use registrar::domain::{Fingerprint, RequestKey};
use sqlx::PgPool;

use super::*;

fn one(product: &str, name: &str) -> Submission {
    let device = (name.to_owned(), String::new());
    Submission::judge(
        product.to_owned(),
        String::new(),
        AfterCheck::Stop,
        [device].into_iter(),
    )
}

/// Lets nobody store an apply until somebody waits for it, by which time all have come.
async fn hold(pool: &PgPool) -> impl Future<Output = ()> + use<> {
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE applies IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .unwrap();
    async move {
        let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
                                      AND relation = 'applies'::regclass)";
        while !sqlx::query_scalar::<_, bool>(waiting)
            .fetch_one(&mut *tx)
            .await
            .unwrap()
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        tx.commit().await.unwrap();
    }
}

async fn transactions(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM applies")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_that_arrive_together_share_a_transaction_and_each_has_its_own_apply() {
    let (store, database) = store().await;
    let names: Vec<String> = (0..200).map(|n| format!("light-{n}")).collect();
    let submissions: Vec<_> = names.iter().map(|name| one("a1", name)).collect();
    // From here on the queue has been counted.
    store
        .submit(&ANYONE, &one("a1", "light"), None)
        .await
        .unwrap();

    let released = hold(&database.pool).await;
    let submit = |submission| store.submit(&ANYONE, submission, None);
    let (answers, ()) = tokio::join!(join_all(submissions.iter().map(submit)), released);

    for (answer, name) in answers.into_iter().zip(&names) {
        let (apply, now) = answer.unwrap();
        assert_eq!(
            store.apply(&ANYONE, apply.id).await.unwrap(),
            (apply.clone(), now)
        );
        assert_eq!(
            store.events_after(&[(apply.id, 0)]).await.unwrap(),
            [(apply.id, now)]
        );
        let page = store.devices(&ANYONE, apply.id, 0, &[], 10).await.unwrap();
        assert_eq!(page.devices.len(), 1);
        assert_eq!(page.devices[0].name, *name);
    }
    // Two that found nobody writing, and the rest in as many groups at most.
    assert!(transactions(&database.pool).await <= 1 + 2 + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_stored_spoils_none_that_came_with_it() {
    let (store, database) = store().await;
    let products = ["a1", "not\0text", "a2", "a3", "a4"];
    let submissions = products.map(|product| one(product, "light-1"));
    store
        .submit(&ANYONE, &one("a1", "light"), None)
        .await
        .unwrap();

    let released = hold(&database.pool).await;
    let submit = |submission| store.submit(&ANYONE, submission, None);
    let (answers, ()) = tokio::join!(join_all(submissions.iter().map(submit)), released);

    for (product, answer) in products.into_iter().zip(answers) {
        match product.contains('\0') {
            true => assert!(matches!(answer, Err(Error::Query(_))), "{answer:?}"),
            false => assert_eq!(answer.unwrap().0.product_key, product),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_same_request_sent_many_times_at_once_one_is_stored_and_all_have_its_answer() {
    let (store, database) = store().await;
    let submission = one("a1", "light-1");
    let key = RequestKey {
        id: "r-1".into(),
        fingerprint: submission.fingerprint(),
    };
    let other = RequestKey {
        fingerprint: Fingerprint(vec![1]),
        ..key.clone()
    };
    store
        .submit(&ANYONE, &one("a1", "light"), None)
        .await
        .unwrap();

    let released = hold(&database.pool).await;
    let submit = |_| store.submit(&ANYONE, &submission, Some(&key));
    let (answers, ()) = tokio::join!(join_all((0..20).map(submit)), released);
    let refused = store.submit(&ANYONE, &submission, Some(&other)).await;

    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|one| one.as_ref().unwrap() == first));
    assert!(matches!(refused, Err(Error::RequestReused { .. })));
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM applies")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(stored, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_means_something_in_a_literal_is_stored_as_it_came() {
    let (store, _database) = store().await;
    let names = [r#"a"b,c"#, r"{c\d}", "NULL", "", " x ", "名\n'", "light-1"];
    let devices = names.map(|name| (name.to_owned(), name.to_owned()));
    let submission = Submission::judge(
        "a1".into(),
        String::new(),
        AfterCheck::Stop,
        devices.into_iter(),
    );

    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();

    let page = store.devices(&ANYONE, apply.id, 0, &[], 10).await.unwrap();
    for (device, name) in page.devices.iter().zip(names) {
        assert_eq!(
            (device.name.as_str(), device.nickname.as_str()),
            (name, name)
        );
    }
    assert_eq!(page.devices.len(), names.len());
}
