use registrar::proto::{CancelApplyRequest, CheckDevicesRequest};

use super::*;
use crate::{
    support::stack::{named, new_devices},
    surface::{accepted, request, stack},
};

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("a reason").reason
}

fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|one| one.field).collect()
}

/// How a new upload ends that sends this after its start.
async fn ended(client: &mut Client, parts: Vec<Part>) -> Status {
    let start = begin("", AfterCheck::Stop);
    let (upload, _) = Upload::open(client, start).await.unwrap();
    for part in parts {
        upload.parts.send(message(part)).await.ok();
    }
    let (_, status) = upload.end().await;
    status.expect("it is refused")
}

fn part(first_ordinal: i64, devices: usize) -> Part {
    Part::Devices(UploadPart {
        first_ordinal,
        devices: new_devices("light", devices),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_does_not_go_on_where_the_last_one_ended_is_out_of_range() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    for (parts, next, expected) in [
        (vec![part(1, 5)], 0, "0"),
        (vec![part(0, 5), part(0, 5)], 0, "5"),
        (vec![part(0, 5), part(6, 5)], 0, "5"),
        (vec![part(0, CHUNK), part(-1, 5)], 10_000, "10000"),
    ] {
        let status = ended(&mut client, parts).await;

        assert_eq!(cut(&status, Code::OutOfRange, "PART_OUT_OF_ORDER"), next);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["expected_ordinal"], expected);
        assert_eq!(fields(&status), ["first_ordinal"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_upload_is_refused_and_says_what_to_do() {
    let (_upstream, _server, mut client, _database) =
        stack(&["--max-upload-devices", "20000"]).await;
    let seal = |total| Part::Seal(UploadSeal { total });
    let start = || Part::Start(begin("", AfterCheck::Stop));
    for (parts, field) in [
        (vec![start()], "start"),
        (vec![part(0, 0)], "devices"),
        (vec![part(0, CHUNK + 1)], "devices"),
        (
            vec![part(0, CHUNK), part(10_000, CHUNK), part(20_000, 1)],
            "devices",
        ),
        (vec![seal(0)], "total"),
    ] {
        let status = ended(&mut client, parts).await;

        cut(&status, Code::InvalidArgument, "INVALID_REQUEST");
        assert_eq!(fields(&status), [field]);
    }
    let status = ended(&mut client, vec![part(0, 5), seal(6)]).await;
    assert_eq!(cut(&status, Code::FailedPrecondition, "SEAL_MISCOUNTED"), 0);

    // Before there is an apply, there is none to name.
    for (first, field) in [
        (Some(part(0, 5)), "start"),
        (Some(seal(5)), "start"),
        (Some(Part::Start(UploadStart::default())), "product_key"),
        (None, "part"),
    ] {
        let (parts, sent) = mpsc::channel(1);
        parts
            .send(UploadDevicesRequest { part: first })
            .await
            .unwrap();
        let answers = client.upload_devices(ReceiverStream::new(sent)).await;
        let status = answers.unwrap().into_inner().message().await.unwrap_err();
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec![field.into()])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_told_to_be_split_into_parts() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let huge = Part::Devices(UploadPart {
        first_ordinal: 0,
        devices: vec![named(&"x".repeat(5 << 20))],
    });

    let status = ended(&mut client, vec![huge]).await;

    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(reason(&status), "MESSAGE_TOO_LARGE");
    assert!(
        status
            .message()
            .contains("at most 4 MiB; send the devices in smaller parts")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_apply_takes_its_seal_again_and_nothing_else() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let devices = new_devices("light", CHUNK + 5);
    let start = begin("sealed", AfterCheck::Stop);
    let (upload, _) = Upload::open(&mut client, start.clone()).await.unwrap();
    let sealed = finish(upload, 0, &devices).await.apply.unwrap();

    for start in [start, resume(sealed.apply_id)] {
        let mut open = async || Upload::open(&mut client, start.clone()).await.unwrap();
        let (upload, first) = open().await;
        assert_eq!(first.next_ordinal, devices.len() as i64);
        let again = finish(upload, devices.len(), &devices).await;
        assert_eq!(again.next_ordinal, devices.len() as i64);
        assert_eq!(again.apply.unwrap().apply_id, sealed.apply_id);

        let (upload, _) = open().await;
        upload.seal(devices.len() - 1).await;
        let status = upload.end().await.1.unwrap();
        let stored = devices.len() as i64;
        assert_eq!(
            cut(&status, Code::FailedPrecondition, "SEAL_MISCOUNTED"),
            stored
        );
        let (upload, _) = open().await;
        upload.send(devices.len(), &devices[..1]).await;
        let status = upload.end().await.1.unwrap();
        assert_eq!(
            cut(&status, Code::FailedPrecondition, "APPLY_SEALED"),
            stored
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_used_or_never_there_is_not_uploaded() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let start = begin("mine", AfterCheck::Stop);
    let (upload, first) = Upload::open(&mut client, start.clone()).await.unwrap();
    let id = first.apply.unwrap().apply_id;
    let mut refused = async |start| match Upload::open(&mut client, start).await {
        Ok(_) => panic!("it is refused"),
        Err(status) => (status.code(), reason(&status)),
    };

    let other = refused(begin("mine", AfterCheck::RegisterValid)).await;
    assert_eq!(other, (Code::AlreadyExists, "REQUEST_ID_REUSED".into()));
    let none = refused(resume(999)).await;
    assert_eq!(none, (Code::NotFound, "APPLY_NOT_FOUND".into()));

    let cancel = CancelApplyRequest {
        apply_id: id,
        ..Default::default()
    };
    client.cancel_apply(cancel).await.unwrap();
    upload.send_all(0, &new_devices("light", CHUNK)).await;
    let status = upload.end().await.1.unwrap();
    assert_eq!(cut(&status, Code::FailedPrecondition, "APPLY_CANCELLED"), 0);
    let mut refused = async |start| match Upload::open(&mut client, start).await {
        Ok(_) => panic!("it is refused"),
        Err(status) => (status.code(), reason(&status)),
    };
    for start in [start, resume(id)] {
        let cancelled = refused(start).await;
        assert_eq!(
            cancelled,
            (Code::FailedPrecondition, "APPLY_CANCELLED".into())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_of_check_devices_is_sealed_from_the_first() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let checked = CheckDevicesRequest {
        request_id: "checked".into(),
        ..request("light", 3)
    };

    let apply = accepted(&mut client, checked).await;

    assert!(apply.sealed);
    let (upload, first) = Upload::open(&mut client, resume(apply.apply_id))
        .await
        .unwrap();
    assert_eq!(first.next_ordinal, 3);
    drop(upload);
    let same_id = begin("checked", AfterCheck::Stop);
    let status = Upload::open(&mut client, same_id).await.err().unwrap();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
}
