//! Uploads and exports may last for hours, and are told part by part.

use opentelemetry_proto::tonic::trace::v1::Span;
use registrar::{
    proto::{AfterCheck, ApplyStatus as S, ExportDevicesRequest, UploadStart},
    simulator::PRODUCT,
};

use super::{
    receiver::{Kept, Receiver},
    story::{children, named},
};
use crate::{
    support::{
        database::database,
        stack::{Server, Upstream, new_devices, patiently, watch},
    },
    upload::Upload,
};

/// The spans of this name, each of which is a trace of its own that links to a call.
fn parts<'a>(kept: &'a Kept, name: &str, call: &Span) -> Vec<&'a Span> {
    let parts: Vec<&Span> = kept.spans.iter().filter(|span| span.name == name).collect();
    for part in &parts {
        assert!(part.parent_span_id.is_empty());
        assert_ne!(part.trace_id, call.trace_id);
        assert_eq!(part.links.len(), 1, "{part:#?}");
        assert_eq!(part.links[0].trace_id, call.trace_id);
        assert_eq!(part.links[0].span_id, call.span_id);
    }
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_an_upload_and_an_export_link_to_their_call() {
    let (database, receiver) = (database().await, Receiver::start().await);
    let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
    let flags = ["--otlp-endpoint", &receiver.url, "--drain-delay", "0s"];
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let mut client = server.client().await;

    let start = UploadStart {
        product_key: PRODUCT.to_owned(),
        after_check: AfterCheck::RegisterValid.into(),
        ..Default::default()
    };
    let (mut upload, _) = Upload::open(&mut client, start).await.unwrap();
    let devices = new_devices("light", 10_001);
    upload.send(0, &devices[..10_000]).await;
    upload.send(10_000, &devices[10_000..]).await;
    upload.seal(10_001).await;
    let mut apply = None;
    while let Some(answer) = upload.answer().await.unwrap() {
        apply = answer.apply;
    }
    let apply_id = apply.unwrap().apply_id;
    let seen = watch(&mut client, apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
    let request = ExportDevicesRequest {
        apply_id,
        from_ordinal: 10_000,
        credentials: true,
        ..Default::default()
    };
    let export = client.export_devices(request).await.unwrap();
    let mut export = export.into_inner();
    while patiently(export.message()).await.unwrap().is_some() {}
    let (_, metrics) = server.asks("/metrics").await;
    assert!(tokio::task::block_in_place(|| server.terminate()));

    let kept = receiver.kept();
    let call = named(&kept, "registrar.v1.RegistrarService/UploadDevices");
    assert_eq!(parts(&kept, "upload chunk", call).len(), 1);
    let sealed = parts(&kept, "upload seal", call);
    let within = children(&kept, sealed[0]);
    assert!(within.iter().any(|span| span.name == "store_chunk"));
    let steps = kept
        .spans
        .iter()
        .filter(|span| span.name.starts_with("step "));
    let mut steps = steps.inspect(|step| assert_eq!(step.links[0].span_id, call.span_id));
    assert!(steps.by_ref().count() > 0);
    let call = named(&kept, "registrar.v1.RegistrarService/ExportDevices");
    let read = parts(&kept, "export chunk", call);
    let asked = read.iter().flat_map(|part| children(&kept, part));
    let pages = asked.filter(|span| span.name == "POST QueryPageByApplyId");
    assert_eq!(pages.count(), 1);
    for method in ["UploadDevices", "ExportDevices"] {
        for line in [
            format!("registrar_stream_ends_total{{code=\"OK\",method=\"{method}\"}} 1\n"),
            format!("registrar_streams{{method=\"{method}\"}} 0\n"),
        ] {
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
    }
}
