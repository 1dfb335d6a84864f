//! Ready or not: what balancers and container runtimes are told, and how a process leaves.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use registrar::{
    dev::postgres::{Durability, Options, Postgres},
    proto::{AfterCheck, GetQuotaRequest, WatchApplyRequest},
    store::MIGRATOR,
};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{
    database::database,
    registrar_binary,
    stack::{Server, Upstream, check, new_devices, patiently},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

fn postgres(root: &Path) -> Postgres {
    Postgres::start(&Options {
        root: root.into(),
        bindir: None,
        durability: Durability::CommitAsync,
        settings: Vec::new(),
    })
    .unwrap()
}

/// Waits until `/readyz` says this.
async fn readiness(server: &Server, status: u16) -> String {
    patiently(async {
        loop {
            let (told, text) = server.asks("/readyz").await;
            if told == status {
                return text;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await
}

/// `registrar health` with a flag.
async fn health(flag: [String; 2]) -> Output {
    let run = move || {
        Command::new(registrar_binary())
            .arg("health")
            .args(flag)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Waits until both ways of `registrar health` say this.
async fn told_to_commands(server: &Server, ready: bool) {
    for flag in [
        ["--server".to_owned(), format!("http://{}", server.address)],
        ["--admin".to_owned(), format!("http://{}", server.admin)],
    ] {
        patiently(async {
            loop {
                let told = health(flag.clone()).await;
                if told.status.success() == ready {
                    let (out, err) = (told.stdout, told.stderr);
                    let line = String::from_utf8(if ready { out } else { err }).unwrap();
                    assert_eq!(line.lines().count(), 1, "{line}");
                    assert!(line.contains("ready"), "{line}");
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_its_database_is_alive_and_not_ready() {
    let dir = TempDir::with_prefix("registrar-ready-").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let mut running = postgres(dir.path());
    let url = running.url("postgres");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    MIGRATOR.run(&mut connection).await.unwrap();
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let server = Server::start(&url, &upstream.url, &["--metrics-every", "50ms"]);
    readiness(&server, 200).await;
    told_to_commands(&server, true).await;

    running.stop();
    drop(running);
    let text = readiness(&server, 503).await;
    told_to_commands(&server, false).await;
    assert_eq!(text, "the database does not answer\n");
    assert_eq!(server.asks("/livez").await.0, 200);
    let (_, metrics) = server.asks("/metrics").await;
    assert!(metrics.contains("\nregistrar_ready 0\n"), "{metrics}");

    let _running = postgres(dir.path());
    readiness(&server, 200).await;
    told_to_commands(&server, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lacks_a_migration_makes_a_process_not_ready() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    readiness(&server, 200).await;

    let restored = "UPDATE _sqlx_migrations SET version = 1";
    sqlx::query(restored).execute(&database.pool).await.unwrap();

    let text = readiness(&server, 503).await;
    assert!(text.contains("run `registrar migrate`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_stop_says_so_before_it_turns_anyone_away() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0.001"]).await;
    let flags = ["--drain-delay", "8s", "--heartbeat", "1h"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    let apply = check(&mut client, new_devices("light", 1), AfterCheck::Stop).await;
    let request = WatchApplyRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    let mut stream = client.watch_apply(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    readiness(&server, 200).await;

    server.ask_to_stop();
    assert_eq!(readiness(&server, 503).await, "stopping\n");
    told_to_commands(&server, false).await;
    // Who has not noticed yet is served.
    client.get_quota(GetQuotaRequest {}).await.unwrap();

    let cut = patiently(stream.message()).await.unwrap_err();
    assert_eq!(cut.code(), Code::Unavailable);
    let info = cut.get_details_error_info().unwrap();
    assert_eq!(info.reason, "SERVER_STOPPING");
    assert_eq!(info.metadata["after_revision"], "1");
    assert!(tokio::task::block_in_place(|| server.has_ended()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_its_connections() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let stuck = r#"{"kind":"stuck","phase":"CHECK"}"#;
    upstream
        .send("PUT", "/_simulator/faults/stuck", Some(stuck.to_owned()))
        .await;
    let flags = ["--max-connection-age", "200ms"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    let apply = check(
        &mut client,
        new_devices("old", 2),
        AfterCheck::RegisterValid,
    )
    .await;
    let mut watching = Command::new(registrar_binary())
        .args(["watch", &apply.apply_id.to_string(), "--output", "json"])
        .args(["--server", &format!("http://{}", server.address)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    patiently(async {
        loop {
            let (_, metrics) = server.asks("/metrics").await;
            let moved = r#"registrar_watch_ends_total{end="moved"} "#;
            let moved = metrics.lines().find_map(|line| line.strip_prefix(moved));
            if moved.unwrap().parse::<u64>().unwrap() >= 3 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;
    upstream.lift("stuck").await;

    let ended = tokio::task::spawn_blocking(move || {
        let status = watching.wait().unwrap();
        let out = std::io::read_to_string(watching.stdout.take().unwrap()).unwrap();
        (status.success(), out)
    });
    let (success, out) = patiently(ended).await.unwrap();
    assert!(success, "{out}");
    assert!(out.contains("CREATE_SUCCESS"), "{out}");
    // Each event once, however often the stream was cut.
    let revisions: Vec<&str> = out
        .lines()
        .filter(|line| line.contains("revision"))
        .collect();
    let once: std::collections::BTreeSet<&&str> = revisions.iter().collect();
    assert_eq!(revisions.len(), once.len(), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_as_old_as_its_connection_says_where_to_resume() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0.001"]).await;
    let flags = ["--max-connection-age", "200ms"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let mut client = server.client().await;
    let apply = check(&mut client, new_devices("old", 2), AfterCheck::Stop).await;
    let request = WatchApplyRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    let mut stream = server
        .client()
        .await
        .watch_apply(request)
        .await
        .unwrap()
        .into_inner();
    assert!(stream.message().await.unwrap().is_some());

    let cut = patiently(stream.message()).await.unwrap_err();

    assert_eq!(cut.code(), Code::Unavailable);
    let info = cut.get_details_error_info().unwrap();
    assert_eq!(info.reason, "CONNECTION_TOO_OLD");
    assert_eq!(info.metadata["after_revision"], "1");
}
