//! Bad input of every kind, sent through real sockets as raw bytes: each gets its code, one reason
//! and words that say what to do, and none costs the server memory to speak of.

mod table;

use std::collections::BTreeMap;

use http::Request;
use http_body_util::{BodyExt as _, Full};
use prost::bytes::Bytes;
use registrar::proto::{
    CheckDevicesRequest, DeviceOutcome as O, FindDeviceRequest, GetApplyRequest,
    ListDevicesRequest, ReasonCode,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tonic::{
    Code, Status,
    body::Body,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};
use tonic_types::{ErrorDetail, StatusExt as _};
use tower::Service as _;

use self::table::{MIB, Row, submission};
use crate::support::{
    database::database,
    root,
    stack::{Client, PATIENCE, Server, Upstream, list_devices, named},
};

impl Row {
    async fn is_refused_as_documented(&self, channel: &mut Channel) {
        let name = self.name;
        let answer = tokio::time::timeout(PATIENCE, self.send(channel)).await;
        let status = answer.unwrap_or_else(|_| panic!("{name}: no answer"));
        assert_eq!(status.code(), self.code, "{name}: {status}");
        assert!(status.message().contains(self.says), "{name}: {status}");
        assert_eq!(reasons(&status), [self.reason], "{name}: {status}");
    }

    async fn send(&self, channel: &mut Channel) -> Status {
        let mut request = Request::post(format!("http://registrar{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let body = Body::new(Full::new(Bytes::from(self.body.clone())));
        std::future::poll_fn(|context| channel.poll_ready(context))
            .await
            .unwrap();
        let answer = channel.call(request.body(body).unwrap()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error:?}", self.name));
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return status;
        }
        let end = answer.into_body().collect().await.unwrap();
        let end = end.trailers().cloned().unwrap_or_default();
        Status::from_header_map(&end).unwrap_or_else(|| panic!("{}: no status", self.name))
    }
}

/// The reasons of every ErrorInfo in a refusal.
fn reasons(status: &Status) -> Vec<String> {
    let details = status.get_error_details_vec().into_iter();
    let infos = details.filter_map(|detail| match detail {
        ErrorDetail::ErrorInfo(info) => Some(info),
        _ => None,
    });
    infos
        .inspect(|info| assert_eq!(info.domain, "registrar"))
        .map(|info| info.reason)
        .collect()
}

/// The code of each reason, as docs/api.md has them in its table.
fn documented() -> BTreeMap<String, String> {
    let document = std::fs::read_to_string(root().join("docs/api.md")).unwrap();
    let mut code = String::new();
    let mut documented = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let mut columns = line.split('|').map(str::trim).skip(1);
        let first = columns.next().unwrap();
        if !first.is_empty() {
            // As the library spells it: InvalidArgument.
            let words = first
                .split('_')
                .map(|word| word[..1].to_owned() + &word[1..].to_lowercase());
            code = words.collect();
        }
        let reasons = columns.next().unwrap().split(", ");
        documented.extend(reasons.map(|reason| (reason.to_owned(), code.clone())));
    }
    documented
}

async fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// Passes one connection on to the server, with the headers of its call replaced by others that
/// give it one millisecond: a client with that deadline would not wait for the answer.
async fn in_a_millisecond(server: String, path: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let headers: [(&str, &str); 6] = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "registrar"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", "1m"),
    ];
    // Each as HPACK has it: a literal that is not to be indexed, and two texts with their lengths.
    let literal = |(name, value): (&str, &str)| {
        let lengths = [name, value].map(|text| u8::try_from(text.len()).unwrap());
        [
            &[0, lengths[0]],
            name.as_bytes(),
            &[lengths[1]],
            value.as_bytes(),
        ]
        .concat()
    };
    let headers = headers.map(literal).concat();
    tokio::spawn(async move {
        let (mut caller, mut asked) = listener.accept().await.unwrap().0.into_split();
        let server = TcpStream::connect(server).await.unwrap();
        let (mut answers, mut server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut answers, &mut asked).await });
        let mut preface = [0; 24];
        caller.read_exact(&mut preface).await.unwrap();
        server.write_all(&preface).await.unwrap();
        // Ends with the caller's connection.
        let mut head = [0; 9];
        while caller.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            caller.read_exact(&mut payload).await.unwrap();
            if head[3] == 1 {
                payload = headers.clone();
                head[..3]
                    .copy_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
            }
            server
                .write_all(&[&head[..], &payload].concat())
                .await
                .unwrap();
        }
    });
    address
}

/// A line of /proc/PID/status, in bytes.
#[cfg(target_os = "linux")]
fn memory(server: &Server, what: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    let kibibytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

/// An apply without a valid device, and a token of the second page of its devices.
async fn refused_apply(client: &mut Client) -> (i64, String) {
    let devices = vec![named("no"), named("nor")];
    let apply = client.check_devices(submission(devices)).await.unwrap();
    let apply_id = apply.into_inner().apply.unwrap().apply_id;
    let first = ListDevicesRequest {
        apply_id,
        page_size: 1,
        ..Default::default()
    };
    let page = client.list_devices(first).await.unwrap().into_inner();
    (apply_id, page.next_page_token)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_its_code_and_what_to_do_and_takes_no_memory() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;
    let (apply, token) = refused_apply(&mut client).await;
    let mut channel = channel(&server.address).await;
    #[cfg(target_os = "linux")]
    let idle = {
        // Forgets the peak so far.
        std::fs::write(format!("/proc/{}/clear_refs", server.child.id()), "5").unwrap();
        memory(&server, "VmRSS")
    };

    let rows = [
        table::fields(token),
        table::states(apply),
        table::unreadable(),
        table::too_large(),
    ];
    let documented = documented();
    for row in rows.iter().flatten().chain([&table::too_slow()]) {
        assert_eq!(documented.get(row.reason), Some(&format!("{:?}", row.code)));
    }
    for row in rows.iter().flatten() {
        row.is_refused_as_documented(&mut channel).await;
    }
    let mut at_once = JoinSet::new();
    for _ in 0..8 {
        let mut channel = self::channel(&server.address).await;
        at_once.spawn(async move {
            for row in table::too_large() {
                row.is_refused_as_documented(&mut channel).await;
            }
        });
    }
    at_once.join_all().await;
    unpacked_to_17_mib(&server).await;
    #[cfg(target_os = "linux")]
    {
        let taken = memory(&server, "VmHWM").saturating_sub(idle);
        assert!(taken <= 64 * MIB, "{} MiB more than idle", taken / MIB);
    }
    let unharmed = client.get_apply(GetApplyRequest {
        apply_id: apply,
        ..Default::default()
    });
    unharmed.await.unwrap();
}

/// A small message that unpacks to a large one.
async fn unpacked_to_17_mib(server: &Server) {
    let client = server.client().await;
    let request = CheckDevicesRequest {
        product_key: "a".repeat(17 * MIB),
        ..Default::default()
    };
    let mut packing = client.send_compressed(CompressionEncoding::Gzip);
    let status = packing.check_devices(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(reasons(&status), ["MESSAGE_TOO_LARGE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_deadline_cuts_off_is_told_how_to_learn_its_answer() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let one_at_a_time = ["--submissions-at-once", "1"];
    let server = Server::start(&database.url(), &upstream.url, &one_at_a_time);
    let row = table::too_slow();
    let address = in_a_millisecond(server.address.clone(), row.path).await;

    row.is_refused_as_documented(&mut channel(&address).await)
        .await;

    let (apply, _) = refused_apply(&mut server.client().await).await;
    assert!(apply > 0, "its place is free for the next");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_name_is_a_bad_device_and_stays_readable() {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    // Packed by gzip, which the server takes.
    let mut client = server
        .client()
        .await
        .send_compressed(CompressionEncoding::Gzip);
    let devices = vec![
        named(&"n".repeat(10_000)),
        named("li\0ght"),
        named("li\u{1f}ght"),
        named(&"名".repeat(10_000)),
    ];

    let apply = client.check_devices(submission(devices)).await.unwrap();

    let apply_id = apply.into_inner().apply.unwrap().apply_id;
    let devices = list_devices(&mut client, apply_id).await;
    let codes = [
        ReasonCode::NameLength,
        ReasonCode::NameCharacter,
        ReasonCode::NameCharacter,
        ReasonCode::NameCharacter,
    ];
    let names = [
        "n".repeat(256),
        "li␀ght".to_owned(),
        "li␟ght".to_owned(),
        "名".repeat(85),
    ];
    for ((device, code), name) in devices.iter().zip(codes).zip(names) {
        let reason = device.reason.as_ref().unwrap();
        assert_eq!((device.outcome(), reason.code()), (O::Invalid, code));
        assert_eq!(device.device_name, name);
    }
    for name in [
        "n".repeat(10_000),
        "li\0ght".to_owned(),
        "li\u{1f}ght".to_owned(),
    ] {
        let wanted = FindDeviceRequest {
            device_name: name,
            ..Default::default()
        };
        let found = client.find_device(wanted).await.unwrap().into_inner().found;
        assert_eq!(found.len(), 1);
    }
    let nameless = submission(vec![named("")]);
    let apply = client.check_devices(nameless).await.unwrap().into_inner();
    let devices = list_devices(&mut client, apply.apply.unwrap().apply_id).await;
    assert_eq!(devices[0].device_name, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_speak_http2_is_hung_up_on_and_harms_nobody() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let server = Server::start(&database.url(), &upstream.url, &[]);
    let mut client = server.client().await;

    for spoken in [
        &b"GET / HTTP/1.1\r\nHost: registrar\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client says hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and then no frame of it at all",
        &[0; 100_000],
    ] {
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        // May be hung up on before all is written.
        stream.write_all(spoken).await.ok();
        let mut answer = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(
            end.is_ok(),
            "it hangs up on {:?}",
            String::from_utf8_lossy(&spoken[..16])
        );
    }

    let (apply, _) = refused_apply(&mut client).await;
    assert!(apply > 0);
}
