//! What the clients of the replicas do, again and again.

use super::*;

/// Whether another replica is to be asked. What the transport of the client says of a connection that
/// was closed has other codes as well.
pub(super) fn is_unavailable(status: &Status) -> bool {
    let source = std::error::Error::source(status);
    let is_of_transport = source.is_some_and(|source| source.is::<tonic::transport::Error>());
    status.code() == Code::Unavailable || is_of_transport
}

pub(super) async fn submit(
    fleet: &Fleet,
    who: usize,
    devices: Vec<NewDevice>,
    after: AfterCheck,
) -> Asked {
    let request = CheckDevicesRequest {
        product_key: PRODUCT_X509.to_owned(),
        request_id: uuid::Uuid::new_v4().to_string(),
        after_check: after.into(),
        devices,
        ..Default::default()
    };
    let call = |mut client: Client| {
        let request = request.clone();
        async move { client.check_devices(request).await }
    };
    let answer = fleet.call(who, "CheckDevices", call).await;
    let answer = answer.map(|answer| answer.into_inner().apply.expect("an apply"));
    Asked {
        apply_id: answer.map_or(0, |apply| apply.apply_id),
        names: request
            .devices
            .into_iter()
            .map(|it| it.device_name)
            .collect(),
        may_register: true,
        sealed: true,
        ..Default::default()
    }
}

pub(super) async fn look(fleet: &Fleet, who: usize, apply_id: i64) -> Option<S> {
    let request = GetApplyRequest {
        apply_id,
        ..Default::default()
    };
    let call = |mut client: Client| async move { client.get_apply(request).await };
    let answer = fleet.call(who, "GetApply", call).await?;
    Some(answer.into_inner().apply.expect("an apply").status())
}

/// Submits a few devices, has them registered once they are checked, and begins again.
pub(super) async fn submit_and_register(
    fleet: Arc<Fleet>,
    who: usize,
    done: watch::Sender<usize>,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    while fleet.goes_on() {
        let devices = new_devices(&format!("small{who}-{}", asked.len()), 10);
        let one = submit(&fleet, who, devices, AfterCheck::Stop).await;
        if one.apply_id == 0 {
            break;
        }
        watch_to_the_end(&fleet, who, one.apply_id, None).await;
        let request = RegisterRequest {
            apply_id: one.apply_id,
            request_id: uuid::Uuid::new_v4().to_string(),
            ..Default::default()
        };
        let call = |mut client: Client| {
            let request = request.clone();
            async move { client.register(request).await }
        };
        fleet.call(who, "Register", call).await;
        asked.push(one);
        done.send_modify(|done| *done += 1);
    }
    asked
}

pub(super) async fn look_again_and_again(fleet: Arc<Fleet>, apply_id: i64) -> Vec<Asked> {
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while fleet.goes_on() {
        pace.tick().await;
        look(&fleet, 0, apply_id).await;
    }
    Vec::new()
}

/// Uploads a few devices in parts, and begins again.
pub(super) async fn upload_again_and_again(
    fleet: Arc<Fleet>,
    done: watch::Sender<usize>,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    while fleet.goes_on() {
        let devices = new_devices(&format!("upload-{}", asked.len()), 900);
        let start = UploadStart {
            product_key: PRODUCT_X509.to_owned(),
            after_check: AfterCheck::RegisterValid.into(),
            request_id: uuid::Uuid::new_v4().to_string(),
            ..Default::default()
        };
        let start = &Part::Start(start);
        let all = &devices;
        // The same request id takes up what is there.
        let call = |client| async move { upload(client, start.clone(), all).await };
        let Some(apply_id) = fleet.call(0, "UploadDevices", call).await else {
            break;
        };
        asked.push(Asked {
            apply_id,
            names: devices.into_iter().map(|it| it.device_name).collect(),
            may_register: true,
            sealed: true,
            ..Default::default()
        });
        done.send_modify(|done| *done += 1);
    }
    asked
}

/// Sends what is not stored yet, at a pace, so that a stream is open whenever a replica stops.
pub(super) async fn upload(
    mut client: Client,
    start: Part,
    devices: &[NewDevice],
) -> Result<i64, Status> {
    let (parts, sent) = mpsc::channel(1);
    let send = async |part| {
        // A stream that is over takes no more, and says why where its answers are read.
        let message = UploadDevicesRequest { part: Some(part) };
        parts.send(message).await.ok();
    };
    send(start).await;
    let answers = client.upload_devices(ReceiverStream::new(sent)).await?;
    let mut answers = answers.into_inner();
    let mut last = answers.message().await?.expect("a first answer");
    let mut next = last.next_ordinal as usize;
    let mut pace = tokio::time::interval(Duration::from_millis(30));
    for part in devices[next..].chunks(100) {
        pace.tick().await;
        send(Part::Devices(UploadPart {
            first_ordinal: next as i64,
            devices: part.to_vec(),
        }))
        .await;
        next += part.len();
    }
    send(Part::Seal(UploadSeal { total: next as i64 })).await;
    while let Some(answer) = answers.message().await? {
        last = answer;
    }
    Ok(last.apply.expect("an apply").apply_id)
}

/// Watches an apply to its end, each revision once, and returns how often that was taken up again.
pub(super) async fn watch_to_the_end(
    fleet: &Fleet,
    who: usize,
    apply_id: i64,
    told: Option<&watch::Sender<usize>>,
) -> usize {
    let (mut seen, mut resumed, mut refused) = (0, 0, false);
    for at in who.. {
        let request = WatchApplyRequest {
            apply_id,
            after_revision: seen,
            ..Default::default()
        };
        let mut stream = match fleet.client(at, who).watch_apply(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => {
                assert!(is_unavailable(&status), "{status:?}");
                assert!(!refused, "twice: {status:?}");
                refused = true;
                continue;
            }
        };
        refused = false;
        let cut = loop {
            match stream.message().await {
                Ok(Some(message)) if message.heartbeat => {}
                Ok(Some(message)) => {
                    let revision = message.apply.expect("an apply").revision;
                    assert_eq!(revision, seen + 1);
                    if let (0, Some(told)) = (seen, told) {
                        told.send_modify(|watching| *watching += 1);
                    }
                    seen = revision;
                }
                Ok(None) => return resumed,
                Err(cut) => break cut,
            }
        };
        assert_eq!(cut.code(), Code::Unavailable, "{cut:?}");
        let info = cut
            .get_details_error_info()
            .unwrap_or_else(|| panic!("{cut:?}"));
        assert_eq!(info.reason, "SERVER_STOPPING");
        assert_eq!(info.metadata["after_revision"], seen.to_string());
        resumed += 1;
        fleet.resumed.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("there is always another")
}
