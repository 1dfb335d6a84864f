use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use registrar::proto::{Apply, ApplyStatus as S, Device};

use super::*;
use crate::{
    support::{
        database::database,
        stack::{Server, Upstream, list_devices, new_devices, watch},
    },
    surface::stack,
};

const SEED: u64 = 20_261_125;

/// Rows of which some break a rule or repeat an earlier name.
fn rows(random: &mut StdRng, count: usize) -> Vec<NewDevice> {
    let mut devices = new_devices("light", count);
    for at in 1..count {
        match random.random_range(0..200) {
            0 => devices[at].device_name = "no".into(),
            1 => devices[at].nickname = "nick_name".into(),
            2 => devices[at].nickname = "x".into(),
            3..6 => devices[at] = devices[random.random_range(0..at)].clone(),
            _ => {}
        }
    }
    devices
}

/// What an apply became, but for what differs from one to the other.
async fn became(client: &mut Client, apply: &Apply) -> (S, Vec<Device>) {
    let seen = watch(client, apply.apply_id, 0).await;
    let devices = list_devices(client, apply.apply_id).await;
    (seen.last().expect("it changes").status(), devices)
}

/// Sends from `from` on in parts of any size, up to somewhere.
async fn send_some(upload: &Upload, random: &mut StdRng, from: usize, devices: &[NewDevice]) {
    let until = random.random_range(from..=devices.len());
    let mut at = from;
    while at < until {
        let size = random.random_range(1..=4_000).min(until - at);
        upload.send(at, &devices[at..at + size]).await;
        at += size;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_and_resumed_at_random_points_an_upload_becomes_what_it_does_in_one_go() {
    let (_upstream, server, mut client, _database) = stack(&[]).await;
    let mut random = StdRng::seed_from_u64(SEED);
    let devices = rows(&mut random, 45_678);
    let start = begin("", AfterCheck::Stop);
    let (upload, _) = Upload::open(&mut client, start).await.unwrap();
    let whole = finish(upload, 0, &devices).await.apply.unwrap();

    let start = begin("in pieces", AfterCheck::Stop);
    let (mut stored, mut id) = (0, None);
    for n in 0..8 {
        // By turns the stream is dropped, the connection, or the sending side is ended.
        let mut connection = server.client().await;
        let start = match (id, n % 2) {
            (Some(id), 1) => resume(id),
            _ => start.clone(),
        };
        let (upload, first) = Upload::open(&mut connection, start).await.unwrap();
        let apply = first.apply.unwrap();
        assert!(first.next_ordinal >= stored && !apply.sealed);
        assert_eq!(*id.get_or_insert(apply.apply_id), apply.apply_id);
        send_some(&upload, &mut random, first.next_ordinal as usize, &devices).await;
        stored = first.next_ordinal;
        if n % 3 == 0 {
            let Upload { parts, answers } = upload;
            drop(parts);
            let (parts, _) = mpsc::channel(1);
            let (acknowledged, status) = Upload { parts, answers }.end().await;
            let last = acknowledged.last().map_or(stored, |it| it.next_ordinal);
            let code = Code::FailedPrecondition;
            assert_eq!(cut(&status.unwrap(), code, "UPLOAD_NOT_SEALED"), last);
            stored = last;
        }
    }
    let (upload, first) = Upload::open(&mut client, start.clone()).await.unwrap();
    let last = finish(upload, first.next_ordinal as usize, &devices).await;
    let pieces = last.apply.unwrap();

    assert_eq!(last.next_ordinal, devices.len() as i64);
    assert_eq!(Some(pieces.apply_id), id);
    assert_eq!(pieces.counts.unwrap().total, whole.counts.unwrap().total);
    let (whole, pieces) = (
        became(&mut client, &whole).await,
        became(&mut client, &pieces).await,
    );
    assert_eq!(whole.0, pieces.0);
    for (one, other) in whole.1.iter().zip(&pieces.1) {
        assert_eq!(one, other);
    }
    assert_eq!(whole.1.len(), pieces.1.len());
    assert!(
        whole
            .1
            .iter()
            .zip(&devices)
            .all(|(is, was)| is.device_name == was.device_name)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_streams_from_two_processes_the_newest_wins_and_no_row_is_there_twice_or_missing() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let start = || Server::start(&database.url(), &upstream.url, &[]);
    let (one, other) = (start(), start());
    let devices = new_devices("light", 60_000);
    let begin = begin("shared", AfterCheck::RegisterValid);

    let mut client = one.client().await;
    let (mut older, _) = Upload::open(&mut client, begin.clone()).await.unwrap();
    older.send_all(0, &devices[..25_000]).await;
    for chunk in 1..=2 {
        let answer = older.answer().await.unwrap().unwrap();
        assert_eq!(answer.next_ordinal, chunk * CHUNK as i64);
    }
    let mut other_client = other.client().await;
    let (newer, first) = Upload::open(&mut other_client, begin.clone())
        .await
        .unwrap();
    assert_eq!(first.next_ordinal, 20_000);
    older.send_all(25_000, &devices[..40_000]).await;
    let (late, status) = older.end().await;

    // It learns of it at its next write, and has written nothing more.
    assert_eq!(late.len(), 0);
    let taken_over = status.unwrap();
    assert_eq!(cut(&taken_over, Code::Aborted, "UPLOAD_TAKEN_OVER"), 20_000);
    assert!(
        taken_over
            .message()
            .starts_with("a newer stream of this upload has taken over")
    );
    // In one process it learns of it at once.
    let (newest, first) = Upload::open(&mut other_client, begin).await.unwrap();
    assert_eq!(first.next_ordinal, 20_000);
    let (_, status) = newer.end().await;
    cut(&status.unwrap(), Code::Aborted, "UPLOAD_TAKEN_OVER");
    let last = finish(newest, 20_000, &devices).await.apply.unwrap();

    let (status, listed) = became(&mut client, &last).await;
    assert_eq!((status, listed.len()), (S::CreateSuccess, devices.len()));
    let names = listed.iter().map(|device| &device.device_name);
    assert!(names.eq(devices.iter().map(|device| &device.device_name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_its_server_was_killed() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let start = || Server::start(&database.url(), &upstream.url, &["--lease", "2s"]);
    let devices = new_devices("light", 50_000);
    let mut random = StdRng::seed_from_u64(SEED);
    let begin = begin("killed", AfterCheck::RegisterValid);
    let mut acknowledged = 0;
    for _ in 0..3 {
        let server = start();
        let mut client = server.client().await;
        let (mut upload, first) = Upload::open(&mut client, begin.clone()).await.unwrap();
        assert!(first.next_ordinal >= acknowledged);
        let next = first.next_ordinal as usize;
        upload.send_all(next, &devices[..next + 15_000]).await;
        acknowledged = upload.answer().await.unwrap().unwrap().next_ordinal;
        // The one place where a test waits for a while: the moment of a kill is what is tested.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..100))).await;
        server.kill();
        let (more, status) = upload.end().await;
        acknowledged = more.last().map_or(acknowledged, |it| it.next_ordinal);
        assert!(status.is_some());
    }

    let server = start();
    let mut client = server.client().await;
    let (upload, first) = Upload::open(&mut client, begin).await.unwrap();
    assert!(first.next_ordinal >= acknowledged);
    let last = finish(upload, first.next_ordinal as usize, &devices).await;
    let (status, listed) = became(&mut client, &last.apply.unwrap()).await;

    assert_eq!((status, listed.len()), (S::CreateSuccess, devices.len()));
    let names = listed.iter().map(|device| &device.device_name);
    assert!(names.eq(devices.iter().map(|device| &device.device_name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_an_upload_with_unavailable_and_keeps_what_it_acknowledged() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let start = || Server::start(&database.url(), &upstream.url, &[]);
    let devices = new_devices("light", 15_000);
    let server = start();
    let mut client = server.client().await;
    let (mut upload, _) = Upload::open(&mut client, begin("stopped", AfterCheck::Stop))
        .await
        .unwrap();
    upload.send_all(0, &devices).await;
    assert_eq!(upload.answer().await.unwrap().unwrap().next_ordinal, 10_000);

    let stopped = tokio::task::spawn_blocking(|| server.terminate());
    let (_, status) = upload.end().await;

    let status = status.unwrap();
    assert_eq!(cut(&status, Code::Unavailable, "SERVER_STOPPING"), 10_000);
    assert!(status.get_details_retry_info().is_some());
    assert!(stopped.await.unwrap());
    let server = start();
    let (_, first) = Upload::open(
        &mut server.client().await,
        begin("stopped", AfterCheck::Stop),
    )
    .await
    .unwrap();
    assert_eq!(first.next_ordinal, 10_000);
}
