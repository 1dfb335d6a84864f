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
