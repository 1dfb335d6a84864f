//! A far end that says exactly what a test tells it to, and what it takes to call it.

use std::{collections::VecDeque, time::Duration};

use clap::Parser as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

pub(in crate::upstream) use crate::upstream::fuzz::SECRET;
use crate::upstream::{Client, Options, Secret};

pub(in crate::upstream) const TOKEN: &str = "canary/token==";

/// An answer made of the request.
pub(super) type Echo = Box<dyn Fn(&str) -> Vec<u8> + Send>;

/// What the far end does with one request.
pub(super) enum Turn {
    Answer(Vec<u8>),
    /// Writes this and closes.
    Cut(Vec<u8>),
    /// Answers what it makes of the request, and closes.
    Echo(Echo),
    /// Answers with chunks until nobody reads them, and tells how many bytes were taken.
    Flood,
    /// Never answers.
    Hang,
}

pub(super) struct FarEnd {
    pub(super) client: Client,
    requests: mpsc::UnboundedReceiver<String>,
    _tasks: JoinSet<()>,
}

impl FarEnd {
    pub(super) async fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut turns: VecDeque<_> = turns.into_iter().collect();
        let (heard, requests) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Some(request) = read_request(&mut stream).await {
                    heard.send(request.clone()).unwrap();
                    match turns.pop_front().expect("one turn for each request") {
                        Turn::Answer(bytes) => stream.write_all(&bytes).await.unwrap(),
                        Turn::Cut(bytes) => {
                            stream.write_all(&bytes).await.unwrap();
                            break;
                        }
                        Turn::Echo(answer) => {
                            let answer = answer(&request);
                            stream.write_all(&answer).await.unwrap();
                            break;
                        }
                        Turn::Flood => {
                            let taken = flood(&mut stream).await;
                            heard.send(taken.to_string()).unwrap();
                            break;
                        }
                        Turn::Hang => std::future::pending().await,
                    }
                }
            }
        });
        Self {
            client: client(&url),
            requests,
            _tasks: tasks,
        }
    }

    pub(super) fn heard(&mut self) -> String {
        self.requests.try_recv().unwrap()
    }

    pub(super) async fn hears(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn flood(stream: &mut TcpStream) -> usize {
    let mut chunk = b"100000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10_0000, b' ');
    chunk.extend(b"\r\n");
    let mut sent = stream
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let mut taken = 0;
    while sent.is_ok() {
        sent = stream.write_all(&chunk).await;
        taken += chunk.len();
    }
    taken
}

pub(super) fn client(url: &str) -> Client {
    Client::new(&options(url)).unwrap()
}

pub(in crate::upstream) fn options(url: &str) -> Options {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }
    let mut options = Line::parse_from(["registrar"]).options;
    options.upstream_url = Some(url.to_owned());
    options.upstream_access_key_id = Some("testid".to_owned());
    options.upstream_access_key_secret = Some(SECRET.parse::<Secret>().unwrap());
    options.upstream_security_token = Some(TOKEN.parse::<Secret>().unwrap());
    options
}

pub(super) fn answer(status: u16, headers: &str, body: &str) -> Turn {
    let length = body.len();
    Turn::Answer(
        format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into(),
    )
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
