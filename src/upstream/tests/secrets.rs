//! Canaries: a secret, a security token, a signature and what was signed are planted in every way
//! in which a call can fail, and must not come out of any.

use std::{
    error::Error as StdError,
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{net::TcpListener, time::Instant};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{
    PRODUCT,
    far_end::{FarEnd, SECRET, TOKEN, Turn, client, options, soon},
};
use crate::{
    domain::DeviceSecret,
    upstream::{
        Answer, Call, Client, Error, Options,
        signature::{encode, sha256},
    },
};

/// What the far end answers, with `{echo}` where it repeats all that it knows: a head, and a body.
const ANSWERS: &[(&str, &str)] = &[
    (
        "400 X",
        r#"{"Code":"SignatureDoesNotMatch","Message":"server string to sign is:{echo}"}"#,
    ),
    (
        "400 X",
        r#"{"Code":"IncompleteSignature","Message":"{echo}"}"#,
    ),
    (
        "404 X",
        r#"{"Code":"InvalidAccessKeyId.NotFound","Message":"{echo}"}"#,
    ),
    (
        "400 X",
        r#"{"Code":"InvalidSecurityToken.Malformed","Message":"not a token: {echo}"}"#,
    ),
    (
        "400 X",
        r#"{"Code":"InvalidTimeStamp.Expired","Message":"{echo}"}"#,
    ),
    (
        "400 X",
        r#"{"Code":"MissingParameter","Message":"of {echo}"}"#,
    ),
    ("400 X", r#"{"Code":"Throttling.User","Message":"{echo}"}"#),
    ("429 X", r#"{"Message":"{echo}"}"#),
    ("429 X", "<html>{echo}</html>"),
    (
        "400 X",
        r#"{"Code":"{echo}","Message":"why","RequestId":"{echo}"}"#,
    ),
    (
        "200 OK",
        r#"{"Success":false,"Code":"iot.system.IllegalRequest","ErrorMessage":"{echo}"}"#,
    ),
    (
        "200 OK",
        r#"{"Success":false,"Code":"iot.system.SystemException","ErrorMessage":"{echo}"}"#,
    ),
    (
        "200 OK",
        r#"{"Success":false,"Code":"iot.new","ErrorMessage":"{echo}","Data":"{echo}"}"#,
    ),
    (
        "200 OK",
        r#"{"Success":false,"Code":"iot.device.InvalidDeviceNameExisted","ErrorMessage":"{echo}","Data":{
        "InvalidDeviceNameList":{"InvalidDeviceName":["dev1","{secrets}"]},
        "InvalidDeviceNicknameList":{"InvalidDeviceNickname":["{secrets}"]},
        "InvalidDetailList":{"InvalidDetailList":[{"DeviceName":"{secrets}","NickName":"{secrets}","ErrorMsg":"{echo}"},
        {"DeviceName":"dev2","ErrorMsg":"{echo}"},{"DeviceName":"dev2","ErrorMsg":"{echo}"}]}}}"#,
    ),
    (
        "200 OK",
        r#"{"Success":false,"Code":"{secrets}","ErrorMessage":"{echo}","RequestId":"{secrets}","Data":{
        "InvalidDeviceNameList":["{secrets}"],"InvalidDeviceSecretList":["{secrets}","canary:device@1"],
        "InvalidSnList":["{secrets}"],"RepeatedDeviceNameList":["dev1"],
        "InvalidDetailList":[{"DeviceName":"dev1","DeviceSecret":"{secrets}","Sn":"{secrets}","ErrorMsg":"{echo}"},
        {"DeviceSecret":"canary:device@1","ErrorMsg":"{echo}"},{"DeviceSecret":"{secrets}","ErrorMsg":"{echo}"}]}}"#,
    ),
    ("500 X", r#"{"Code":"InternalError","Message":"{echo}"}"#),
    ("502 X", "<html>{echo}</html>"),
    (
        "503 X",
        r#"<Error><Code>ServiceUnavailable</Code><Message>{echo}</Message></Error>"#,
    ),
    (
        "200 OK",
        r#"{"Success":true,"RequestId":"{echo}","Total":"{echo}","Data":{"ApplyId":"{echo}"#,
    ),
    ("200 OK", "{echo}"),
    ("200 {line}", "no"),
    ("302 X\r\nlocation: http://127.0.0.1:1/?{line}", "{echo}"),
    (
        "400 X\r\nx-acs-request-id: {line}\r\ndate: {line}\r\nretry-after: {line}",
        "{}",
    ),
    ("400 X\r\nx-{line}", r#"{"Code":"MissingParameter"}"#),
    ("200 OK\r\ncontent-length: {line}", "{}"),
    ("200 OK\r\ntransfer-encoding: chunked", "{line}\r\n"),
    ("200 OK\r\ncontent-length: 99999", "{echo}"),
    ("SSH-2.0-{line}", ""),
];

/// What a device of an import brings.
const DEVICE_SECRET: &str = "canary:device@1";

fn secret() -> DeviceSecret {
    DeviceSecret::new(DEVICE_SECRET.to_owned())
}

/// What a test hears of its own thread's log, down to the finest level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Collects all that is said of failures, and what must not be in it.
#[derive(Default)]
struct Said {
    text: String,
    canaries: Vec<String>,
}

impl Said {
    /// Says it in every way in which a caller might.
    fn say<T>(&mut self, answer: Answer<T>) {
        let (request_id, status) = (&answer.request_id, answer.http_status);
        let error = answer.outcome.err().expect("it fails");
        let log = tracing::info_span!("call", request_id, status);
        log.in_scope(|| {
            tracing::warn!(error = &error as &dyn StdError, debug = ?error, "failed: {error}");
        });
        writeln!(self.text, "{error} {error:?} {error:#?} {request_id:?}").unwrap();
        for device in &error.refused {
            writeln!(self.text, "{:?}", device.text).unwrap();
        }
        self.chain(&error);
    }

    fn chain(&mut self, error: &Error) {
        let mut source = error.source();
        while let Some(error) = source {
            writeln!(self.text, "{error} {error:?}").unwrap();
            source = error.source();
        }
    }

    /// Keeps what this request must keep to itself: the signature and what was signed.
    fn learn(&mut self, request: &str) {
        let (signature, to_sign) = signed(request);
        self.canaries.push(signature);
        self.canaries.extend(
            to_sign
                .lines()
                .map(str::to_owned)
                .filter(|line| line.len() > 16),
        );
    }

    fn check(&self, log: &Log) {
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("failed: "), "the log is heard");
        let fixed = [
            "canary",
            &encode(TOKEN),
            &encode(&encode(TOKEN)),
            &encode(DEVICE_SECRET),
            &encode(&encode(DEVICE_SECRET)),
            "ACS3-HMAC",
        ];
        let fixed = fixed.iter().map(|canary| (*canary).to_owned());
        for canary in fixed.chain(self.canaries.iter().cloned()) {
            for (what, text) in [("said", &self.text), ("logged", &log)] {
                if let Some(at) = text.find(&canary) {
                    let from = text.floor_char_boundary(at.saturating_sub(200));
                    let to = text.ceil_char_boundary((at + 200).min(text.len()));
                    panic!("{what}: {canary:?} in …{}…", &text[from..to]);
                }
            }
        }
    }
}

/// The signature of a request, and the request as it was signed.
fn signed(request: &str) -> (String, String) {
    let value = |name: &str| {
        let prefix = format!("{name}: ");
        let line = request.lines().find_map(|line| line.strip_prefix(&*prefix));
        line.unwrap_or_default().to_owned()
    };
    let authorization = value("authorization");
    let (head, signature) = authorization.split_once(",Signature=").unwrap();
    let names = head.split_once("SignedHeaders=").unwrap().1;
    let query = request.split(' ').nth(1).unwrap().trim_start_matches("/?");
    let mut to_sign = format!("POST\n/\n{query}\n");
    for name in names.split(';') {
        writeln!(to_sign, "{name}:{}", value(name)).unwrap();
    }
    let hash = value("x-acs-content-sha256");
    write!(to_sign, "\n{names}\n{hash}").unwrap();
    (signature.to_owned(), to_sign)
}

/// An answer of [`ANSWERS`], its marks replaced by what is known of the request.
fn fill(head: &str, body: &str, request: &str) -> Vec<u8> {
    let (signature, to_sign) = signed(request);
    let mut secrets = vec![SECRET, TOKEN];
    // Of devices the upstream knows only what it was told.
    if request.contains(&encode(DEVICE_SECRET)) {
        secrets.push(DEVICE_SECRET);
    }
    let encoded = [encode(TOKEN), encode(DEVICE_SECRET)];
    let encoded = &encoded[..secrets.len() - 1];
    let twice: Vec<_> = encoded.iter().map(|text| encode(text)).collect();
    secrets.extend(encoded.iter().chain(&twice).map(String::as_str));
    let secrets = secrets.join(" ");
    let line = format!("{secrets} {signature}");
    let hash = sha256(to_sign.as_bytes());
    let echo = format!("{line} {hash} ACS3-HMAC-SHA256\n{hash} {to_sign} {secrets}");
    let echo = serde_json::to_string(&echo).unwrap();
    let fill = |text: &str| {
        text.replace("{echo}", echo.trim_matches('"'))
            .replace("{secrets}", &secrets)
            .replace("{line}", &line)
    };
    let (head, body) = (fill(head), fill(body));
    let length = match head.contains("content-length") || head.contains("transfer-encoding") {
        true => String::new(),
        false => format!("content-length: {}\r\n", body.len()),
    };
    let version = match head.starts_with("SSH") {
        true => "",
        false => "HTTP/1.1 ",
    };
    format!("{version}{head}\r\n{length}\r\n{body}").into()
}

/// Makes this call to a far end that answers so, and hears what is said of it.
async fn fail<T>(said: &mut Said, answer: &'static (&str, &str), call: fn(&Client) -> Call<T>) {
    let (head, body) = *answer;
    let turn = Turn::Echo(Box::new(move |request| fill(head, body, request)));
    let mut far = FarEnd::new([turn]).await;
    said.say(call(&far.client).send(soon(), None).await);
    said.learn(&far.heard());
}

#[tokio::test]
async fn no_failure_of_a_call_tells_a_secret_or_what_was_signed() {
    let log = Log::default();
    let writer = log.clone();
    let _heard = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish()
        .set_default();
    let mut said = Said::default();

    for answer in ANSWERS {
        fail(&mut said, answer, |client| {
            let devices = [("dev1", Some("nick")), ("dev2", None)];
            client.check_names(PRODUCT, devices)
        })
        .await;
        fail(&mut said, answer, |client| client.status(PRODUCT, 7)).await;
        fail(&mut said, answer, |client| client.register(PRODUCT, 7)).await;
        fail(&mut said, answer, |client| client.page(PRODUCT, 7, 1)).await;
        fail(&mut said, answer, |client| client.product(PRODUCT)).await;
        fail(&mut said, answer, |client| {
            client.check_import(PRODUCT, [("dev1", &secret(), Some("SN_1"))])
        })
        .await;
        fail(&mut said, answer, |client| {
            client.import(
                PRODUCT,
                [("dev1", &secret(), None), ("dev2", &secret(), None)],
            )
        })
        .await;
        fail(&mut said, answer, |client| client.imported(PRODUCT, 7, 1)).await;
        fail(&mut said, answer, |client| client.detail(PRODUCT, "dev1")).await;
        fail(&mut said, answer, |client| {
            client.details(PRODUCT, ["dev1"])
        })
        .await;
        fail(&mut said, answer, |client| {
            client.credentials(PRODUCT, 7, 1)
        })
        .await;
    }

    said.check(&log);
}

#[tokio::test]
async fn no_call_without_an_answer_tells_a_secret_or_what_was_signed() {
    let log = Log::default();
    let writer = log.clone();
    let _heard = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish()
        .set_default();
    let mut said = Said::default();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let call = client(&closed).register(PRODUCT, 7);
    said.say(call.send(soon(), None).await);
    said.say(call.send(Instant::now(), None).await);
    for turn in [Turn::Cut(Vec::new()), Turn::Flood, Turn::Hang] {
        let mut far = FarEnd::new([turn]).await;
        let deadline = Instant::now() + Duration::from_millis(200);
        let answer = far.client.register(PRODUCT, 7).send(deadline, None).await;
        said.say(answer);
        said.learn(&far.heard());
    }

    said.check(&log);
}

#[test]
fn settings_that_are_refused_are_not_repeated() {
    let secret = |text: &str| Some(text.parse().unwrap());
    let sound = options("http://127.0.0.1:1");
    for refused in [
        Options {
            upstream_access_key_secret: secret("canary\n"),
            ..sound.clone()
        },
        Options {
            upstream_access_key_secret: secret("канарейка canary"),
            ..sound.clone()
        },
        Options {
            upstream_security_token: secret("canary token"),
            ..sound.clone()
        },
        Options {
            upstream_url: Some("http://u:canary@h".into()),
            ..sound.clone()
        },
        Options {
            upstream_url: Some("http://h:canary".into()),
            ..sound.clone()
        },
        Options {
            upstream_url: Some("http://h/?Signature=canary".into()),
            ..sound.clone()
        },
        Options {
            upstream_region: "canary!".into(),
            upstream_url: None,
            ..sound.clone()
        },
    ] {
        let checked = refused.check().unwrap_err();
        let made = Client::new(&refused).unwrap_err();

        let said = format!(
            "{checked} {made} {made:?} {:?}",
            refused.upstream_security_token
        );
        assert!(!said.contains("canary"), "{said}");
    }
}
