//! A collector finds one connected story, and nothing in it that is nobody's business; one that is
//! away costs nothing but the story.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use registrar::{
    proto::{
        AfterCheck, Apply, ApplyStatus as S, CheckDevicesRequest, ExplainApplyRequest,
        WatchApplyRequest, history_entry::What,
    },
    simulator,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic::Request;

use super::receiver::{Kept, Receiver, attribute};
use crate::support::{
    database::database,
    stack::{Client, Server, Upstream, new_devices, patiently, watch},
};

/// What the client's own tracing would send.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

/// In the name of every device.
const CANARY: &str = "canary-device";

/// The way to the upstream, where what is sent is overheard.
struct Way {
    url: String,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Way {
    async fn to(url: &str) -> Self {
        let upstream = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(Mutex::new(Vec::new()));
        let overheard = sent.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&upstream).await.unwrap();
                let ((mut from, mut back), (mut answers, mut to)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
                let overheard = overheard.clone();
                tokio::spawn(async move {
                    let mut part = vec![0; 65_536];
                    while let Ok(length @ 1..) = from.read(&mut part).await {
                        overheard.lock().unwrap().extend(&part[..length]);
                        to.write_all(&part[..length]).await.unwrap();
                    }
                });
            }
        });
        Self { url, sent }
    }
}

/// Submits devices that are registered, as a client that is traced.
async fn submit(client: &mut Client, devices: usize) -> Apply {
    let mut request = Request::new(CheckDevicesRequest {
        product_key: simulator::PRODUCT.to_owned(),
        devices: new_devices(CANARY, devices),
        after_check: AfterCheck::RegisterValid.into(),
        ..Default::default()
    });
    let traceparent = format!("00-{TRACE}-{CLIENT_SPAN}-01");
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", traceparent.parse().unwrap());
    metadata.insert("x-request-id", "job-17".parse().unwrap());
    let answer = client.check_devices(request).await.unwrap();
    let id = answer.metadata().get("x-request-id").cloned();
    assert_eq!(id.unwrap(), "job-17");
    answer.into_inner().apply.unwrap()
}

async fn calls(client: &mut Client, apply_id: i64) -> HashSet<String> {
    let request = ExplainApplyRequest {
        apply_id,
        ..Default::default()
    };
    let history = client.explain_apply(request).await.unwrap().into_inner();
    let calls = history
        .entries
        .into_iter()
        .filter_map(|entry| match entry.what {
            Some(What::Call(call)) => Some(call.request_id).filter(|id| !id.is_empty()),
            _ => None,
        });
    calls.collect()
}

pub(super) fn children<'a>(kept: &'a Kept, of: &Span) -> Vec<&'a Span> {
    let spans = kept.spans.iter();
    spans
        .filter(|span| span.trace_id == of.trace_id && span.parent_span_id == of.span_id)
        .collect()
}

pub(super) fn named<'a>(kept: &'a Kept, name: &str) -> &'a Span {
    let found: Vec<&Span> = kept.spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {:#?}", names(kept));
    found[0]
}

fn names(kept: &Kept) -> Vec<&str> {
    kept.spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_finds_one_connected_story() {
    let (database, receiver) = (database().await, Receiver::start().await);
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let flags = ["--otlp-endpoint", &receiver.url, "--drain-delay", "0s"];
    let way = Way::to(&upstream.url).await;
    let server = Server::start(&database.url(), &way.url, &flags);
    let mut client = server.client().await;

    let apply = submit(&mut client, 3).await;
    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    let request_ids = calls(&mut client, apply.apply_id).await;
    assert!(tokio::task::block_in_place(|| server.terminate()));

    let kept = receiver.kept();
    let service = attribute(&kept.resources, "service.name");
    assert_eq!(service, "registrar");
    // The client's span goes on with ours.
    let call = named(&kept, "registrar.v1.RegistrarService/CheckDevices");
    assert_eq!(hex::encode(&call.trace_id), TRACE);
    assert_eq!(hex::encode(&call.parent_span_id), CLIENT_SPAN);
    assert_eq!(call.kind(), SpanKind::Server);
    for (name, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "registrar.v1.RegistrarService"),
        ("rpc.method", "CheckDevices"),
        ("rpc.grpc.status_code", "0"),
        ("request_id", "job-17"),
        ("apply.id", &apply.apply_id.to_string()),
    ] {
        assert_eq!(attribute(&call.attributes, name), value, "{name}");
    }
    let stored = children(&kept, call);
    assert_eq!(stored.len(), 1);
    assert_eq!(
        attribute(&stored[0].attributes, "db.system.name"),
        "postgresql"
    );
    // Each step is a trace of its own, and says who set it going.
    let steps: Vec<&Span> = kept
        .spans
        .iter()
        .filter(|span| span.name.starts_with("step "))
        .collect();
    let traces: HashSet<&[u8]> = steps.iter().map(|step| step.trace_id.as_slice()).collect();
    assert_eq!(traces.len(), steps.len());
    let mut told = HashSet::new();
    let mut actions = HashSet::new();
    for step in &steps {
        assert!(step.parent_span_id.is_empty());
        assert_eq!(step.links.len(), 1);
        assert_eq!(step.links[0].trace_id, call.trace_id);
        assert_eq!(step.links[0].span_id, call.span_id);
        assert_eq!(
            attribute(&step.attributes, "apply.id"),
            apply.apply_id.to_string()
        );
        let within = children(&kept, step);
        let recorded = within.iter().filter(|span| span.name == "record").count();
        assert_eq!(recorded, 1, "{within:#?}");
        for call in within.iter().filter(|span| span.name.starts_with("POST ")) {
            assert_eq!(call.kind(), SpanKind::Client);
            assert_eq!(attribute(&call.attributes, "http.request.method"), "POST");
            assert_eq!(
                attribute(&call.attributes, "http.response.status_code"),
                "200"
            );
            assert_eq!(attribute(&call.attributes, "url.path"), "/");
            assert_eq!(attribute(&call.attributes, "server.address"), "127.0.0.1");
            actions.insert(attribute(&call.attributes, "upstream.action"));
            told.insert(attribute(&call.attributes, "upstream.request_id"));
        }
    }
    assert_eq!(told, request_ids);
    assert_eq!(actions.len(), 4, "{actions:?}");
    // The upstream, which is somebody else's, hears nothing of it.
    let sent = String::from_utf8(way.sent.lock().unwrap().clone()).unwrap();
    assert!(
        sent.contains("x-acs-action: BatchCheckDeviceNames"),
        "{sent}"
    );
    for ours in ["traceparent", "tracestate", "baggage", "job-17", TRACE] {
        assert!(!sent.to_lowercase().contains(ours), "{ours} in {sent}");
    }
    // Nothing lasts as long as a watch.
    let opening = named(&kept, "registrar.v1.RegistrarService/WatchApply");
    let last = steps
        .iter()
        .map(|step| step.end_time_unix_nano)
        .max()
        .unwrap();
    assert!(opening.end_time_unix_nano < last);
    let metrics: HashSet<&str> = kept.metrics.iter().map(|it| it.name.as_str()).collect();
    assert!(
        metrics.contains("registrar.upstream.call.duration"),
        "{metrics:?}"
    );
    let lines = kept.logs.iter().map(|it| format!("{:?}", it.body));
    assert!(
        lines.clone().any(|line| line.contains("registrar serves")),
        "{:?}",
        lines.collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_device_and_no_secret_is_told_whatever_goes_wrong() {
    let (database, receiver) = (database().await, Receiver::start().await);
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    for (name, fault) in [
        ("some", r#"{"kind":"fail-creates","share":0.5}"#),
        ("lost", r#"{"kind":"no-answer","share":0.1}"#),
        ("spoilt", r#"{"kind":"garbage","share":0.1}"#),
        ("slow", r#"{"kind":"throttle","share":0.1}"#),
        ("broken", r#"{"kind":"unavailable","share":0.1}"#),
    ] {
        let path = format!("/_simulator/faults/{name}");
        upstream.send("PUT", &path, Some(fault.to_owned())).await;
    }
    let flags = ["--otlp-endpoint", &receiver.url, "--log", "debug"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let (log, mut client) = (server.log(), server.client().await);

    let apply = submit(&mut client, 40).await;
    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateFailed);
    let unknown = WatchApplyRequest {
        apply_id: apply.apply_id + 1,
        ..Default::default()
    };
    client.watch_apply(unknown).await.unwrap_err();
    let (_, metrics) = server.asks("/metrics").await;
    assert!(tokio::task::block_in_place(|| server.terminate()));

    let kept = receiver.kept();
    let logged = log.text();
    let exported = format!("{kept:?}");
    assert!(exported.contains("QueryBatchRegisterDeviceStatus"));
    assert!(
        logged.contains("job-17") && logged.contains(TRACE),
        "{logged}"
    );
    for (place, text) in [
        ("exported", &exported),
        ("logged", &logged),
        ("measured", &metrics),
    ] {
        for secret in [CANARY, simulator::ACCESS_KEY_SECRET] {
            let found = text
                .find(secret)
                .map(|at| &text[at.saturating_sub(300)..at + 30]);
            assert_eq!(found, None, "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_span_of_a_watch_is_told_while_the_watch_goes_on() {
    let (database, receiver) = (database().await, Receiver::start().await);
    let upstream = Upstream::start(&["--simulator-speed", "0.001"]).await;
    let flags = ["--otlp-endpoint", &receiver.url];
    let often = [("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let server = Server::start_in(&database.url(), &upstream.url, &flags, &often);
    let mut client = server.client().await;
    let apply = submit(&mut client, 1).await;
    let request = WatchApplyRequest {
        apply_id: apply.apply_id,
        ..Default::default()
    };
    let mut open = client.watch_apply(request).await.unwrap().into_inner();
    assert!(open.message().await.unwrap().is_some());

    patiently(async {
        let told = || {
            names(&receiver.kept())
                .iter()
                .any(|name| name.ends_with("/WatchApply"))
        };
        while !told() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    let (_, metrics) = server.asks("/metrics").await;
    assert!(metrics.contains("\nregistrar_watchers 1\n"), "{metrics}");
}

/// Takes an apply through with a collector at `endpoint`, and returns what was logged.
async fn goes_through(endpoint: &str) -> Vec<String> {
    let database = database().await;
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let flags = ["--otlp-endpoint", endpoint, "--drain-delay", "0s"];
    // Often, and each time waited for longer than any test lasts.
    let variables = [
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
    ];
    let server = Server::start_in(&database.url(), &upstream.url, &flags, &variables);
    let (log, mut client) = (server.log(), server.client().await);
    for _ in 0..5 {
        let apply = submit(&mut client, 3).await;
        let seen = watch(&mut client, apply.apply_id, 0).await;
        assert!(seen.last().unwrap().status() != S::Create);
    }

    let ended = tokio::task::spawn_blocking(move || server.terminate());
    assert!(patiently(ended).await.unwrap());
    log.lines()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_collector_all_goes_on_and_one_line_says_so() {
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);

    let lines = goes_through(&gone).await;

    let said = lines
        .iter()
        .filter(|line| line.contains("the collector does not take"));
    assert_eq!(said.count(), 1, "{lines:#?}");
    assert!(
        !lines
            .iter()
            .any(|line| line.contains("\"target\":\"opentelemetry")),
        "{lines:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}", listener.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });

    goes_through(&hanging).await;

    held.abort();
}
