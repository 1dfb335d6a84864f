use tokio::net::TcpListener;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_has_no_server_behind_it_is_a_database_out_of_reach() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://postgres@{}/any", proxy.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            // Accepts, and closes the connection without a word.
            proxy.accept().await.unwrap();
        }
    });
    let store = Store::new(url.parse().unwrap(), 1, "test");

    let error = store.check_schema().await.unwrap_err();

    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_has_ended_fails_one_call_and_no_other() {
    let (store, database) = store().await;
    let submission = devices("light", 1, AfterCheck::Stop);
    let (apply, _) = store.submit(&ANYONE, &submission, None).await.unwrap();

    sqlx::query(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let mut failed = 0;
    for _ in 0..3 {
        failed += i32::from(store.apply(&ANYONE, apply.id).await.is_err());
    }

    assert!(failed <= 1, "{failed} calls failed");
}
