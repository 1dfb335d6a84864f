use std::collections::HashMap;

use registrar::proto::{
    ApplyStatus as S, DeviceOutcome as O, ReasonCode, WaitCode, WatchApplyRequest, WatchUntil,
};

use super::*;
use crate::{
    support::stack::{get, list_devices, named, new_devices, watch},
    surface::stack,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_are_stored_in_their_order_with_duplicates_far_apart_refused() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let mut devices = new_devices("light", 120_005);
    // Of each the first counts, however far back, and a bad nickname does not claim its name.
    let mut expected = HashMap::new();
    for (at, of) in [
        (9_999, 0),
        (10_000, 9_998),
        (55_555, 3),
        (99_999, 3),
        (120_000, 119_990),
        (120_004, 10_001),
    ] {
        devices[at] = devices[of].clone();
        expected.insert(at as i64, (ReasonCode::Duplicate, Some(of as i64)));
    }
    devices[70] = named("light-080000");
    devices[70].nickname = "x".into();
    expected.insert(70, (ReasonCode::NicknameLength, None));
    devices[110_000] = named("a bad name");
    expected.insert(110_000, (ReasonCode::NameCharacter, None));

    let (upload, first) = Upload::open(&mut client, begin("", AfterCheck::Stop))
        .await
        .unwrap();
    upload.send_all(0, &devices).await;
    upload.seal(devices.len()).await;
    let (answers, cut) = upload.end().await;

    assert!(cut.is_none(), "{cut:?}");
    let apply = first.apply.unwrap();
    assert_eq!((apply.sealed, apply.revision), (false, 1));
    let next: Vec<_> = answers.iter().map(|answer| answer.next_ordinal).collect();
    let chunks = (1..=12).map(|chunk| chunk * CHUNK as i64);
    assert!(chunks.chain([120_005]).eq(next));
    let sealed = answers.last().unwrap().apply.clone().unwrap();
    assert!(
        sealed.sealed
            && answers[..12]
                .iter()
                .all(|it| !it.apply.as_ref().unwrap().sealed)
    );

    let seen = watch(&mut client, apply.apply_id, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CheckFailed);
    let listed = list_devices(&mut client, apply.apply_id).await;
    assert_eq!(listed.len(), devices.len());
    for ((at, is), was) in (0..).zip(&listed).zip(&devices) {
        let reason = is.reason.as_ref();
        let why = reason.map(|reason| (reason.code(), reason.first_ordinal));
        assert_eq!((is.ordinal, &is.device_name), (at, &was.device_name));
        assert_eq!(why, expected.get(&at).copied(), "device {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsealed_upload_is_checked_and_not_registered_and_its_watch_goes_on_until_it_settles() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;
    let devices = new_devices("light", CHUNK + 1);
    let (mut upload, first) = Upload::open(&mut client, begin("", AfterCheck::RegisterValid))
        .await
        .unwrap();
    let id = first.apply.unwrap().apply_id;
    let request = WatchApplyRequest {
        apply_id: id,
        until: WatchUntil::Settled.into(),
        ..Default::default()
    };
    let mut changes = client.watch_apply(request).await.unwrap().into_inner();
    let mut revision = 0;
    let mut next = async || {
        loop {
            let message = patiently(changes.message()).await.unwrap()?;
            if !message.heartbeat {
                let apply = message.apply.unwrap();
                revision += 1;
                assert_eq!(apply.revision, revision);
                return Some(apply);
            }
        }
    };

    upload.send_all(0, &devices[..CHUNK]).await;
    assert_eq!(
        upload.answer().await.unwrap().unwrap().next_ordinal,
        CHUNK as i64
    );
    let checked = loop {
        let apply = next().await.expect("it is not settled");
        if apply.counts.unwrap().valid == CHUNK as i64 {
            break apply;
        }
    };
    assert_eq!((checked.status(), checked.sealed), (S::Check, false));
    let waiting = get(&mut client, id).await.waiting_for.unwrap();
    assert_eq!(waiting.code(), WaitCode::Upload);
    assert!(waiting.message.contains("10000 devices are stored"));
    assert!(
        upstream
            .ledger("BatchRegisterDeviceWithApplyId")
            .await
            .is_empty()
    );

    finish(upload, CHUNK, &devices).await;
    let mut last = checked;
    while let Some(apply) = next().await {
        last = apply;
    }

    assert_eq!((last.status(), last.sealed), (S::CreateSuccess, true));
    let listed = list_devices(&mut client, id).await;
    assert!(listed.iter().all(|device| device.outcome() == O::Created));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_which_no_device_passes_has_failed_its_check_when_it_is_sealed() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let devices = vec![named("no"); CHUNK + 5];
    let start = begin("", AfterCheck::RegisterIfAllValid);
    let (upload, _) = Upload::open(&mut client, start).await.unwrap();

    let last = finish(upload, 0, &devices).await.apply.unwrap();

    assert_eq!((last.status(), last.settled), (S::CheckFailed, true));
}
