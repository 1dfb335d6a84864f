//! What a directory keeps.

use std::path::Path;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn on_disk(directory: &Path, speed: f64) -> Options {
    Options {
        dir: Some(directory.to_owned()),
        speed,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_restart_from_the_directory_keeps_devices_applies_and_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(on_disk(directory.path(), 0.0)).await;
    let done = server.checked(&["dev1", "dev2"]).await;
    server.registered(done).await;
    let query = format!("ApplyId={done}");
    let page = server.ask("QueryPageByApplyId", &query).await;
    server.stop().await;

    // Now slow enough that both are still under way at the stop.
    let server = Server::start(on_disk(directory.path(), 1e-6)).await;
    let checking = server.checked(&["dev3", "dev4"]).await;
    assert_eq!(server.status(checking).await["Data"]["Status"], "CHECK");
    let early = server.registered(checking).await;
    assert_eq!(early["Code"], "iot.device.IncorrentDeviceApplyInfo");
    server.stop().await;
    for file in ["state.jsonl", "ledger.jsonl"] {
        let path = directory.path().join(file);
        let torn = [std::fs::read(&path).unwrap().as_slice(), b"{\"run\":2,\"se"].concat();
        std::fs::write(&path, torn).unwrap();
    }

    let server = Server::start(on_disk(directory.path(), 0.0)).await;
    assert_eq!(
        server.ask("QueryPageByApplyId", &query).await,
        page,
        "secrets are the same"
    );
    assert_eq!(server.status(checking).await["Data"]["Status"], "CHECK");
    assert!(server.checked(&["dev5"]).await > checking);
    let seqs = |lines: Vec<Value>| {
        lines
            .iter()
            .map(|line| line["seq"].as_u64().unwrap())
            .collect()
    };
    let all: Vec<u64> = seqs(server.lines("ledger?run=all").await);
    assert_eq!(all, (1..=9).collect::<Vec<_>>());
    let current: Vec<u64> = seqs(server.lines("ledger?after=7").await);
    assert_eq!(current, [8, 9]);
    assert_eq!(seqs(server.lines("ledger?run=1&limit=1").await), [1]);
    server.stop().await;
}

#[tokio::test]
async fn a_second_register_while_creating_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(on_disk(directory.path(), 0.0)).await;
    let apply = server.checked(&["dev1"]).await;
    assert_eq!(
        server.status(apply).await["Data"]["Status"],
        "CHECK_SUCCESS"
    );
    server.stop().await;

    let server = Server::start(on_disk(directory.path(), 1e-6)).await;
    assert_eq!(server.registered(apply).await["Success"], true);
    let again = server.registered(apply).await;
    assert_eq!(again["Code"], "iot.device.CreateDeviceTaskIsRunning");
    let page = server
        .ask("QueryPageByApplyId", &format!("ApplyId={apply}"))
        .await;
    assert_eq!(
        (&page["Total"], &page["Success"]),
        (&json!(0), &json!(true))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_never_ends_holds_up_neither_the_stop_nor_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(on_disk(directory.path(), 1.0)).await;
    let mut connection = TcpStream::connect(&server.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 12];
    connection.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100", "the body is being waited for");

    server.stop().await;

    Server::start(on_disk(directory.path(), 1.0))
        .await
        .stop()
        .await;
}
