//! The private server: what it survives, what it refuses and what it leaves behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use registrar::{
    dev::postgres::{Durability, Options, Postgres},
    proto::{AfterCheck, WatchApplyRequest},
};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use crate::support::stack::{PATIENCE, Server, check, named, watch};

/// A directory that the server's user can pass through.
fn directory() -> TempDir {
    let dir = TempDir::with_prefix("registrar-private-").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

fn options(root: &Path) -> Options {
    Options {
        root: root.into(),
        bindir: None,
        durability: Durability::Volatile,
        settings: Vec::new(),
    }
}

/// The error of a start that must not succeed.
fn refusal(options: &Options) -> String {
    format!(
        "{:#}",
        Postgres::start(options).expect_err("the server started")
    )
}

async fn ask(server: &Postgres, sql: &'static str) -> String {
    let mut connection = PgConnection::connect_with(&server.connect_options("postgres"))
        .await
        .unwrap();
    sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn tell(server: &Postgres, sql: &'static str) {
    let mut connection = PgConnection::connect(&server.url("postgres"))
        .await
        .unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_finds_the_data_of_the_first() {
    let dir = directory();
    let mut options = options(dir.path());
    options.durability = Durability::CommitAsync;
    let mut server = Postgres::start(&options).unwrap();
    tell(&server, "CREATE TABLE kept AS SELECT 'here' AS what").await;
    assert!(!server.ended());
    server.stop();
    assert!(server.ended());
    assert!(!server.socket_dir().exists());
    drop(server);

    let server = Postgres::start(&options).unwrap();
    assert_eq!(ask(&server, "SELECT what FROM kept").await, "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn durability_and_settings_reach_the_server() {
    let dir = directory();
    for (durability, fsync, synchronous_commit) in [
        (Durability::Full, "on", "on"),
        (Durability::CommitAsync, "on", "off"),
        (Durability::Volatile, "off", "off"),
    ] {
        let settings = vec![("max_connections".into(), "7".into())];
        let server = Postgres::start(&Options {
            durability,
            settings,
            ..options(dir.path())
        })
        .unwrap();
        assert_eq!(ask(&server, "SHOW fsync").await, fsync);
        assert_eq!(
            ask(&server, "SHOW synchronous_commit").await,
            synchronous_commit
        );
        assert_eq!(ask(&server, "SHOW max_connections").await, "7");
        assert_eq!(ask(&server, "SHOW shared_buffers").await, "128MB");
        assert_eq!(ask(&server, "SHOW listen_addresses").await, "");
        let compression = ask(&server, "SHOW default_toast_compression").await;
        let offered = ask(
            &server,
            "SELECT enumvals::text FROM pg_settings WHERE name = 'default_toast_compression'",
        );
        assert_eq!(compression == "lz4", offered.await.contains("lz4"));
    }
}

#[test]
fn a_directory_in_use_is_refused_and_the_user_named() {
    let dir = directory();
    let _server = Postgres::start(&options(dir.path())).unwrap();
    let error = refusal(&options(dir.path()));
    let us = format!("is in use by process {};", std::process::id());
    assert!(error.contains(&us), "{error}");
}

#[test]
fn data_of_another_major_version_names_the_version_it_needs() {
    let dir = directory();
    fs::create_dir(dir.path().join("data")).unwrap();
    fs::write(dir.path().join("data/PG_VERSION"), "9\n").unwrap();
    let error = refusal(&options(dir.path()));
    assert!(error.contains("written by PostgreSQL 9"), "{error}");
}

#[test]
fn a_setting_that_the_server_refuses_is_shown_as_it_says_it() {
    let dir = directory();
    let settings = vec![("no_such_setting".into(), "1".into())];
    let error = refusal(&Options {
        settings,
        ..options(dir.path())
    });
    assert!(
        error.contains("unrecognized configuration parameter"),
        "{error}"
    );
}

#[test]
fn as_root_a_directory_that_is_closed_to_others_is_refused() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return; // Anyone else runs the server as themselves, and needs no such thing.
    }
    let dir = directory();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let error = refusal(&options(&dir.path().join("inside")));
    assert!(
        error.contains("is closed to the user that PostgreSQL runs as"),
        "{error}"
    );
}

#[test]
fn a_postmaster_pid_that_names_a_stranger_does_not_stop_a_start() {
    let dir = directory();
    drop(Postgres::start(&options(dir.path())).unwrap());
    // Volatile servers are stopped at once and leave the file; whose pid it names is ours to say.
    let file = dir.path().join("data/postmaster.pid");
    let stranger = Command::new("true").spawn().unwrap(); // a zombie until it is waited for
    let text = fs::read_to_string(&file).unwrap_or_else(|_| "0\n\n0\n5432\n\n\n\n".into());
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    fs::write(&file, format!("{}\n{rest}", stranger.id())).unwrap();
    let server = Postgres::start(&options(dir.path())).unwrap();
    assert!(!server.ended());
    let mut stranger = stranger;
    stranger.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_no_server_and_its_directory_starts_again() {
    let dir = directory();
    let dev = Server::dev(dir.path());
    let root = dir.path().canonicalize().unwrap().join("postgres");
    assert!(!in_cluster(&root.join("data")).is_empty());

    dev.kill();
    until_empty(&root.join("data")).await;

    let server = Postgres::start(&options(&root)).unwrap();
    assert_eq!(ask(&server, "SELECT 'up'").await, "up");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_dev_with_a_watcher_attached_ends_everything() {
    let dir = directory();
    let dev = Server::dev(dir.path());
    let mut client = dev.client().await;
    let apply = check(&mut client, vec![named("light-1")], AfterCheck::Stop).await;
    watch(&mut client, apply.apply_id, 0).await;
    let request = WatchApplyRequest {
        apply_id: apply.apply_id,
        after_revision: 0,
        ..Default::default()
    };
    let stream = client.watch_apply(request).await.unwrap();

    let ended = tokio::task::spawn_blocking(move || dev.terminate());

    assert!(ended.await.unwrap());
    drop(stream);
    let data = dir.path().canonicalize().unwrap().join("postgres/data");
    assert_eq!(in_cluster(&data), Vec::<u32>::new());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn dev_ends_with_a_failure_when_its_server_is_killed() {
    let dir = directory();
    let mut dev = Server::dev(dir.path());
    let pid_file = dir.path().join("postgres/data/postmaster.pid");
    let pid = fs::read_to_string(pid_file).unwrap();
    let pid: i32 = pid.lines().next().unwrap().parse().unwrap();

    // SAFETY: the process is a server of this test's, alive a moment ago.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let ended = tokio::task::spawn_blocking(move || dev.child.wait().unwrap());

    assert_eq!(ended.await.unwrap().code(), Some(1));
}

#[cfg(target_os = "linux")]
async fn until_empty(data: &Path) {
    let until = Instant::now() + PATIENCE;
    while !in_cluster(data).is_empty() {
        assert!(
            Instant::now() < until,
            "{:?} are still there",
            in_cluster(data)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The processes that sit in the data directory: the postmaster and its children.
#[cfg(target_os = "linux")]
fn in_cluster(data: &Path) -> Vec<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
