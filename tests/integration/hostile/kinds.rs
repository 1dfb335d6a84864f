//! The kinds of hostile clients. Each is one connection, from its beginning until it is hung up on,
//! has done its worst or is called off.

mod admin;

use std::{io, time::Duration};

use futures_util::future::BoxFuture;
use rand::{Rng as _, RngCore as _};
use registrar::{
    proto::{UploadDevicesRequest, UploadStart, WatchApplyRequest, upload_devices_request::Part},
    simulator::PRODUCT,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use self::admin::*;
use super::wire::*;

/// Whom it is about.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) api: String,
    pub(super) admin: String,
    /// An apply that moves.
    pub(super) apply_id: i64,
}

type Attack = fn(Target) -> BoxFuture<'static, io::Result<()>>;

#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Connections at a time.
    pub(super) at_once: usize,
    /// From the end of one to the next in its place.
    pub(super) pause: Duration,
    pub(super) attack: Attack,
}

macro_rules! kind {
    ($attack:ident, $at_once:expr, $pause_ms:expr) => {
        Kind {
            name: stringify!($attack),
            at_once: $at_once,
            pause: Duration::from_millis($pause_ms),
            attack: |target| Box::pin($attack(target)),
        }
    };
}

/// All of them, `idle` connections among them that do nothing.
pub(super) fn all(idle: usize) -> Vec<Kind> {
    vec![
        kind!(silent, idle / 3, 1_000),
        kind!(idle_after_the_preface, idle / 3, 1_000),
        kind!(idle_and_polite, idle / 3, 1_000),
        kind!(slow_preface, 20, 100),
        kind!(slow_headers, 20, 100),
        kind!(rapid_reset, 2, 500),
        kind!(rapid_reset_of_calls_that_were_begun, 2, 500),
        kind!(continuation_flood, 2, 500),
        kind!(settings_flood, 2, 500),
        kind!(ping_flood, 2, 500),
        kind!(ping_flood_unread, 2, 500),
        kind!(window_update_flood, 1, 500),
        kind!(priority_flood, 1, 500),
        kind!(empty_data_flood, 2, 500),
        kind!(giant_headers, 4, 200),
        kind!(garbage, 4, 100),
        kind!(garbage_frames, 4, 100),
        kind!(half_open_upload, 16, 500),
        kind!(upload_that_reads_no_answer, 4, 500),
        kind!(watchers_without_a_window, 4, 500),
        kind!(watchers_that_never_read, 4, 500),
        kind!(submissions_that_never_end, 4, 500),
        kind!(reads_that_never_end, 2, 500),
        kind!(reflection_that_never_ends, 2, 500),
        kind!(admin_slow, 300, 100),
        kind!(admin_giant_headers, 2, 200),
        kind!(admin_unread, 2, 200),
    ]
}

/// Between two bytes of who is slow.
const SLOWLY: Duration = Duration::from_millis(700);

async fn silent(target: Target) -> io::Result<()> {
    to_the_end(&mut TcpStream::connect(target.api).await?).await
}

async fn idle_after_the_preface(target: Target) -> io::Result<()> {
    to_the_end(&mut begun(&target.api, &[]).await?).await
}

async fn idle_and_polite(target: Target) -> io::Result<()> {
    politely(&mut begun(&target.api, &[]).await?).await
}

/// Byte by byte, until hung up on.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes.chunks(1) {
        stream.write_all(byte).await?;
        tokio::time::sleep(SLOWLY).await;
    }
    Ok(())
}

async fn slow_preface(target: Target) -> io::Result<()> {
    drip(&mut TcpStream::connect(target.api).await?, PREFACE).await
}

async fn slow_headers(target: Target) -> io::Result<()> {
    let mut stream = begun(&target.api, &[]).await?;
    let headers = frame(HEADERS, END_HEADERS, 1, &call(QUOTA, &[]));
    drip(&mut stream, &headers).await
}

const QUOTA: &str = "/registrar.v1.RegistrarService/GetQuota";
const SUBMIT: &str = "/registrar.v1.RegistrarService/CheckDevices";
const UPLOAD: &str = "/registrar.v1.RegistrarService/UploadDevices";
const WATCH: &str = "/registrar.v1.RegistrarService/WatchApply";
const GET: &str = "/registrar.v1.RegistrarService/GetApply";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Sends the same again and again while it is read what comes, until hung up on or so many times.
async fn again_and_again(
    stream: TcpStream,
    times: u32,
    mut what: impl FnMut(u32) -> Vec<u8>,
) -> io::Result<()> {
    let (mut answers, mut asks) = stream.into_split();
    let read = async { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await };
    let write = async {
        for n in 0..times {
            asks.write_all(&what(n)).await?;
            // Others want to be hostile as well.
            if n % 100 == 99 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    };
    tokio::select! {
        read = read => read.map(drop),
        written = write => written,
    }
}

fn stream_of(n: u32) -> u32 {
    2 * n + 1
}

/// CVE-2023-44487.
async fn rapid_reset(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    let headers = call(QUOTA, &[]);
    again_and_again(stream, 2_000, |n| {
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, stream_of(n), &headers);
        let reset = frame(RST_STREAM, NONE, stream_of(n), &8_u32.to_be_bytes());
        [asked, reset].concat()
    })
    .await
}

/// As the former, but each reset comes when the call is under way.
async fn rapid_reset_of_calls_that_were_begun(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    let headers = call(QUOTA, &[]);
    again_and_again(stream, 500, |n| {
        let asked = frame(HEADERS, END_HEADERS, stream_of(n), &headers);
        let body = frame(DATA, END_STREAM, stream_of(n), &[0; 5]);
        let earlier = stream_of(n.saturating_sub(50));
        let reset = frame(RST_STREAM, NONE, earlier, &8_u32.to_be_bytes());
        [asked, body, reset].concat()
    })
    .await
}

/// CVE-2024-27316 and its kin.
async fn continuation_flood(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    let headers = call(QUOTA, &[("x-filler", &"x".repeat(LARGEST - 400))]);
    again_and_again(stream, 2_000, |n| match n {
        0 => frame(HEADERS, NONE, 1, &headers),
        _ => frame(
            CONTINUATION,
            NONE,
            1,
            &call("/", &[("x-more", &"x".repeat(4_000))]),
        ),
    })
    .await
}

async fn settings_flood(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    again_and_again(stream, 5_000, |n| frame(SETTINGS, NONE, 0, &window_of(n))).await
}

async fn ping_flood(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    again_and_again(stream, 5_000, |_| frame(PING, NONE, 0, &[7; 8])).await
}

/// Pings whose answers have nowhere to go.
async fn ping_flood_unread(target: Target) -> io::Result<()> {
    let mut stream = begun(&target.api, &[]).await?;
    let pings = frame(PING, NONE, 0, &[7; 8]).repeat(100);
    for _ in 0..2_000 {
        stream.write_all(&pings).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn window_update_flood(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    let one = 1_u32.to_be_bytes();
    again_and_again(stream, 5_000, |_| frame(WINDOW_UPDATE, NONE, 0, &one)).await
}

async fn priority_flood(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    again_and_again(stream, 5_000, |n| {
        frame(PRIORITY, NONE, stream_of(n), &[0, 0, 0, 0, 7])
    })
    .await
}

async fn empty_data_flood(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    let headers = call(SUBMIT, &[]);
    again_and_again(stream, 5_000, |n| match n {
        0 => frame(HEADERS, END_HEADERS, 1, &headers),
        _ => frame(DATA, NONE, 1, &[]),
    })
    .await
}

/// One header of a megabyte, and thousands of small ones.
async fn giant_headers(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    let block = match rand::random() {
        true => call(QUOTA, &[("x-giant", &"x".repeat(1 << 20))]),
        false => call(QUOTA, &vec![("x-many", "y"); 20_000]),
    };
    let parts: Vec<_> = block.chunks(LARGEST).map(<[u8]>::to_vec).collect();
    let last = parts.len() as u32 - 1;
    again_and_again(stream, last + 1, |n| {
        let (kind, ends) = match n {
            0 => (HEADERS, NONE),
            n if n == last => (CONTINUATION, END_HEADERS),
            _ => (CONTINUATION, NONE),
        };
        frame(kind, ends, 1, &parts[n as usize])
    })
    .await
}

async fn garbage(target: Target) -> io::Result<()> {
    let mut stream = TcpStream::connect(target.api).await?;
    let mut bytes = vec![0; rand::rng().random_range(1..50_000)];
    rand::rng().fill_bytes(&mut bytes);
    stream.write_all(&bytes).await?;
    to_the_end(&mut stream).await
}

/// Frames that are well formed and make no sense.
async fn garbage_frames(target: Target) -> io::Result<()> {
    let stream = begun(&target.api, &[]).await?;
    again_and_again(stream, 1_000, |_| {
        let mut random = rand::rng();
        let mut payload = vec![0; random.random_range(0..200)];
        random.fill_bytes(&mut payload);
        let (kind, flags) = (random.random_range(0..14), random.random());
        frame(kind, flags, random.random_range(0..9), &payload)
    })
    .await
}

fn upload_start() -> Vec<u8> {
    let start = UploadStart {
        product_key: PRODUCT.to_owned(),
        ..Default::default()
    };
    message(&UploadDevicesRequest {
        part: Some(Part::Start(start)),
    })
}

/// One message, and then nothing.
async fn half_open_upload(target: Target) -> io::Result<()> {
    let mut stream = begun(&target.api, &[]).await?;
    let headers = call(UPLOAD, &[]);
    stream
        .write_all(&frame(HEADERS, END_HEADERS, 1, &headers))
        .await?;
    stream
        .write_all(&frame(DATA, NONE, 1, &upload_start()))
        .await?;
    politely(&mut stream).await
}

/// More than a window of it, with no window for the answers.
async fn upload_that_reads_no_answer(target: Target) -> io::Result<()> {
    let mut stream = begun(&target.api, &window_of(0)).await?;
    let headers = call(UPLOAD, &[]);
    stream
        .write_all(&frame(HEADERS, END_HEADERS, 1, &headers))
        .await?;
    stream
        .write_all(&frame(DATA, NONE, 1, &upload_start()))
        .await?;
    let filler = frame(DATA, NONE, 1, &vec![0; LARGEST]);
    for _ in 0..60 {
        stream.write_all(&filler).await?;
    }
    politely(&mut stream).await
}

/// Calls of one kind with one message each, which are not answered any further.
async fn calls(stream: &mut TcpStream, path: &str, body: &[u8], ends: u8) -> io::Result<()> {
    let headers = call(path, &[]);
    for n in 0..100 {
        let asked = frame(HEADERS, END_HEADERS, stream_of(n), &headers);
        let body = frame(DATA, ends, stream_of(n), body);
        stream.write_all(&[asked, body].concat()).await?;
    }
    Ok(())
}

fn watch(target: &Target) -> Vec<u8> {
    message(&WatchApplyRequest {
        apply_id: target.apply_id,
        ..Default::default()
    })
}

async fn watchers_without_a_window(target: Target) -> io::Result<()> {
    let mut stream = begun(&target.api, &window_of(0)).await?;
    calls(&mut stream, WATCH, &watch(&target), END_STREAM).await?;
    politely(&mut stream).await
}

async fn watchers_that_never_read(target: Target) -> io::Result<()> {
    let mut stream = begun(&target.api, &window_of(1 << 30)).await?;
    calls(&mut stream, WATCH, &watch(&target), END_STREAM).await?;
    // Longer than it takes to be seen as dead.
    tokio::time::sleep(Duration::from_secs(90)).await;
    Ok(())
}

/// The beginning of a message of 4 MiB, and a byte now and then.
async fn never_ending(target: Target, path: &str) -> io::Result<()> {
    let mut stream = begun(&target.api, &[]).await?;
    calls(&mut stream, path, &[0, 0, 64, 0, 0, 10], NONE).await?;
    let (mut answers, mut asks) = stream.into_split();
    let read = async { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await };
    let write = async {
        for n in 0.. {
            asks.write_all(&frame(DATA, NONE, stream_of(n % 100), &[10]))
                .await?;
            tokio::time::sleep(SLOWLY / 10).await;
        }
        Ok(())
    };
    tokio::select! {
        read = read => read.map(drop),
        written = write => written,
    }
}

async fn submissions_that_never_end(target: Target) -> io::Result<()> {
    never_ending(target, SUBMIT).await
}

async fn reads_that_never_end(target: Target) -> io::Result<()> {
    never_ending(target, GET).await
}

async fn reflection_that_never_ends(target: Target) -> io::Result<()> {
    never_ending(target, REFLECTION).await
}
