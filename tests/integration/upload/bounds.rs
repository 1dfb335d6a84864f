use registrar::proto::ApplyStatus as S;
use tonic::transport::Endpoint;

use super::*;
use crate::{
    support::stack::{get, new_devices, statuses, watch},
    surface::stack,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_more_streams_upload_at_a_time_than_may_and_one_that_ends_makes_room() {
    let (_upstream, _server, mut client, _database) = stack(&["--uploads-at-once", "1"]).await;
    let start = begin("", AfterCheck::Stop);
    let (upload, _) = Upload::open(&mut client, start.clone()).await.unwrap();

    let status = Upload::open(&mut client, start.clone())
        .await
        .err()
        .unwrap();

    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.get_details_error_info().unwrap().reason,
        "TOO_MANY_UPLOADS"
    );
    assert!(status.get_details_retry_info().is_some());
    finish(upload, 0, &new_devices("light", 3)).await;
    patiently(opened(&mut client, &start)).await;
}

/// Opens a stream once there is a place.
async fn opened(client: &mut Client, start: &UploadStart) -> Upload {
    loop {
        match Upload::open(client, start.clone()).await {
            Ok((upload, _)) => return upload,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_sends_nothing_is_ended_and_may_go_on() {
    let flags = ["--upload-idle", "500ms", "--uploads-at-once", "1"];
    let (_upstream, _server, mut client, _database) = stack(&flags).await;
    let devices = new_devices("light", 15_000);
    let start = begin("idle", AfterCheck::Stop);
    let (upload, _) = Upload::open(&mut client, start.clone()).await.unwrap();
    upload.send_all(0, &devices).await;

    let (answers, status) = upload.end().await;

    assert_eq!(answers.len(), 1);
    let next = cut(&status.unwrap(), Code::DeadlineExceeded, "UPLOAD_IDLE");
    assert_eq!(next, 10_000);
    // One that says nothing at all holds its place no longer.
    let (parts, sent) = mpsc::channel(1);
    let silent = client.upload_devices(ReceiverStream::new(sent)).await;
    let status = patiently(silent.unwrap().into_inner().message()).await;
    assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
    drop(parts);
    let upload = patiently(opened(&mut client, &start)).await;
    finish(upload, 10_000, &devices).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_answer_is_cut_off_and_makes_room() {
    let flags = ["--upload-idle", "500ms", "--uploads-at-once", "1"];
    let (_upstream, server, mut client, _database) = stack(&flags).await;
    let devices = new_devices("light", 60_000);
    let start = begin("unread", AfterCheck::Stop);
    // Its answers have no room to come through.
    let deaf = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let deaf = deaf.initial_stream_window_size(1).connect().await.unwrap();
    let mut deaf = Client::new(deaf);
    let (parts, sent) = mpsc::channel(64);
    parts
        .send(message(Part::Start(start.clone())))
        .await
        .unwrap();
    let unread = deaf
        .upload_devices(ReceiverStream::new(sent))
        .await
        .unwrap();
    for (n, devices) in devices.chunks(2_500).enumerate() {
        let part = UploadPart {
            first_ordinal: n as i64 * 2_500,
            devices: devices.to_vec(),
        };
        parts.send(message(Part::Devices(part))).await.ok();
    }

    let upload = patiently(opened(&mut client, &begin("", AfterCheck::Stop))).await;

    drop((upload, unread));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_never_sealed_is_cancelled_and_nothing_of_it_was_registered() {
    let flags = ["--upload-within", "1s", "--retention-every", "1s"];
    let (upstream, _server, mut client, _database) = stack(&flags).await;
    let start = begin("", AfterCheck::RegisterValid);
    let (mut upload, first) = Upload::open(&mut client, start).await.unwrap();
    let id = first.apply.unwrap().apply_id;
    upload.send_all(0, &new_devices("light", CHUNK)).await;
    upload.answer().await.unwrap();

    let seen = watch(&mut client, id, 0).await;

    assert_eq!(statuses(&seen), [S::Check, S::Cancelled]);
    let apply = get(&mut client, id).await.apply.unwrap();
    assert_eq!(
        (apply.sealed, apply.counts.unwrap().cancelled),
        (false, CHUNK as i64)
    );
    assert!(
        upstream
            .ledger("BatchRegisterDeviceWithApplyId")
            .await
            .is_empty()
    );
    upload
        .send_all(CHUNK, &new_devices("light", 2 * CHUNK))
        .await;
    let status = upload.end().await.1.unwrap();
    assert_eq!(
        cut(&status, Code::FailedPrecondition, "APPLY_CANCELLED"),
        10_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_cuts_an_upload_off_and_it_goes_on_when_there_is_room() {
    let flags = ["--max-queued-devices", "100000"];
    let (upstream, _server, mut client, _database) = stack(&flags).await;
    let block = r#"{"kind":"block-account"}"#.to_owned();
    upstream
        .send("PUT", "/_simulator/faults/full", Some(block))
        .await;
    let devices = new_devices("light", 120_000);
    let start = begin("full", AfterCheck::Stop);
    let (upload, _) = Upload::open(&mut client, start.clone()).await.unwrap();
    upload.send_all(0, &devices).await;

    let (answers, status) = upload.end().await;

    let status = status.unwrap();
    assert_eq!(answers.len(), 10);
    assert_eq!(cut(&status, Code::ResourceExhausted, "QUEUE_FULL"), 100_000);
    assert!(status.get_details_retry_info().is_some());
}
