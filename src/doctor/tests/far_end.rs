//! A far end that answers each action as a test tells it to, and the report of a look at it.

use std::sync::{Arc, Mutex};

use clap::Parser as _;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    doctor::{self, Options},
    domain::Lane,
    upstream,
};

pub(super) const KEY_ID: &str = "LTAI5tCanaryOfAKeyId1";
pub(super) const SECRET: &str = "canary-secret";

/// HTTP status, more header lines, body; `None` closes the connection.
pub(super) type Answer = Option<(u16, String, String)>;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    doctor: Options,
    #[command(flatten)]
    upstream: upstream::Options,
}

/// What came of one look.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) lines: Vec<Value>,
    pub(super) is_well: bool,
    /// The heads of the requests.
    pub(super) requests: Vec<String>,
}

/// Looks at a far end that answers by these rules, which are given the action and how many calls
/// of it came before.
pub(super) async fn look(
    flags: &[&str],
    answers: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
) -> Looked {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let (answers, heard) = (Arc::new(answers), heads.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(converse(stream, answers.clone(), heard.clone()));
        }
    });
    let line = ["doctor", "--upstream-access-key-id", KEY_ID]
        .into_iter()
        .chain(["--upstream-access-key-secret", SECRET])
        .chain(["--upstream-url", url.as_str()])
        .chain(flags.iter().copied());
    let Line { doctor, upstream } = Line::parse_from(line);
    let rates = Lane::ALL.iter().map(|lane| (*lane, lane.published_rate()));
    let rates: Vec<_> = rates.collect();

    let mut out = Vec::new();
    let report = doctor::run(&doctor, &upstream, &rates, true, &mut out).await;

    let lines = String::from_utf8(out).unwrap();
    let requests = heads.lock().unwrap().clone();
    Looked {
        lines: lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        is_well: report.unwrap().is_well(),
        requests,
    }
}

impl Looked {
    /// The verdict on a check, of one action if it says one for each.
    pub(super) fn verdict(&self, check: &str, action: Option<&str>) -> &str {
        self.text(check, action, "verdict")
    }

    pub(super) fn text(&self, check: &str, action: Option<&str>, field: &str) -> &str {
        let mut lines = self.lines.iter();
        let line = lines
            .find(|line| {
                line["check"] == check && action.is_none_or(|action| line["action"] == action)
            })
            .unwrap_or_else(|| panic!("no line on {check} {action:?}: {:?}", self.lines));
        line[field].as_str().unwrap_or_default()
    }
}

pub(super) fn answer(status: u16, body: &str) -> Answer {
    Some((status, String::new(), body.to_owned()))
}

/// A refusal by the service, or, where the code is the gateway's, by that.
pub(super) fn refusal(code: &str) -> Answer {
    if code.to_ascii_lowercase().starts_with("iot.") {
        let body = format!(r#"{{"Success":false,"Code":"{code}","ErrorMessage":"told so"}}"#);
        answer(200, &body)
    } else {
        answer(400, &format!(r#"{{"Code":"{code}","Message":"told so"}}"#))
    }
}

/// What a sound account answers.
pub(super) fn sound(action: &str) -> Answer {
    match action {
        "QueryProduct" => answer(
            200,
            r#"{"Success":true,"Data":{"AuthType":"secret","NodeType":0,"ProductName":"lamp","ProductSecret":"canary-product"}}"#,
        ),
        "BatchCheckDeviceNames" => refusal("iot.device.NoneDeviceNameElement"),
        _ => refusal("iot.device.DeviceApplyIsNotFound"),
    }
}

async fn converse(
    mut stream: TcpStream,
    answers: Arc<impl Fn(&str, usize) -> Answer>,
    heard: Arc<Mutex<Vec<String>>>,
) {
    while let Some(head) = read_head(&mut stream).await {
        let action = action_of(&head).to_owned();
        let before = {
            let mut heard = heard.lock().unwrap();
            let before = heard.iter().filter(|head| action_of(head) == action);
            let before = before.count();
            heard.push(head);
            before
        };
        let Some((status, headers, body)) = answers(&action, before) else {
            return;
        };
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// No call of the doctor has a body, so a request ends with its head.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8(bytes).unwrap())
}

fn action_of(head: &str) -> &str {
    let mut lines = head.lines();
    let line = lines.find_map(|line| line.strip_prefix("x-acs-action: "));
    line.unwrap()
}
