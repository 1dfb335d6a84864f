//! ExportDevices: everything, in order, once, and with the credentials that the upstream made.

mod faults;
mod secrets;

use std::collections::HashMap;

use registrar::{
    proto::{
        self, AfterCheck, ApplyStatus as S, DeviceOutcome as O, ExportDevicesRequest,
        ExportedDevice, RegisterRequest,
    },
    simulator::PRODUCT,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{
    database::{Database, database},
    registrar_binary,
    stack::{Client, Server, Upstream, check, new_devices, patiently, watch},
};

/// Pages faster than the upstream admits, for tests of something else.
const FAST: [&str; 2] = ["--page-rate", "1000"];
const FAST_UPSTREAM: [&str; 4] = [
    "--simulator-speed",
    "0",
    "--simulator-qps",
    "QueryPageByApplyId=0",
];

async fn stack(flags: &[&str]) -> (Upstream, Server, Client, Database) {
    let database = database().await;
    let upstream = Upstream::start(&FAST_UPSTREAM).await;
    let flags: Vec<_> = FAST.iter().chain(flags).copied().collect();
    let server = Server::start(&database.url(), &upstream.url, &flags);
    let client = server.client().await;
    (upstream, server, client, database)
}

/// An apply whose devices are registered, as far as they can be.
async fn registered(client: &mut Client, count: usize) -> i64 {
    let devices = new_devices("light", count);
    let apply = check(client, devices, AfterCheck::RegisterValid).await;
    watch(client, apply.apply_id, 0).await;
    apply.apply_id
}

async fn register_failed_again(client: &mut Client, apply_id: i64) -> S {
    let request = RegisterRequest {
        apply_id,
        retry_failed: true,
        ..Default::default()
    };
    let apply = client.register(request).await.unwrap().into_inner().apply;
    let seen = watch(client, apply_id, apply.unwrap().revision).await;
    seen.last().unwrap().status()
}

pub(crate) fn with_credentials(apply_id: i64) -> ExportDevicesRequest {
    ExportDevicesRequest {
        apply_id,
        credentials: true,
        ..Default::default()
    }
}

/// What one stream told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) devices: Vec<ExportedDevice>,
    next: i64,
    signs_of_life: usize,
    pub(crate) complete: bool,
    pub(crate) error: Option<Status>,
}

impl Told {
    fn ordinals(&self) -> Vec<i64> {
        let devices = self.devices.iter();
        devices
            .map(|one| one.device.as_ref().unwrap().ordinal)
            .collect()
    }

    pub(crate) fn reason(&self) -> String {
        let error = self.error.as_ref().expect("an error");
        error.get_details_error_info().unwrap().reason
    }
}

/// Reads a stream until it ends, or until it has told so many devices.
pub(crate) async fn export(
    client: &mut Client,
    request: ExportDevicesRequest,
    most: usize,
) -> Told {
    let mut told = Told {
        next: request.from_ordinal,
        ..Told::default()
    };
    let mut stream = match client.export_devices(request).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => {
            told.error = Some(status);
            return told;
        }
    };
    let all = async {
        while told.devices.len() < most {
            match stream.message().await {
                Ok(Some(message)) => {
                    told.signs_of_life +=
                        usize::from(message.devices.is_empty() && !message.complete);
                    told.devices.extend(message.devices);
                    told.next = message.next_ordinal;
                    told.complete = message.complete;
                }
                Ok(None) => break,
                Err(status) => {
                    told.error = Some(status);
                    break;
                }
            }
        }
    };
    patiently(all).await;
    told
}

/// The credentials that the simulator made, by name.
pub(crate) async fn made(upstream: &Upstream) -> HashMap<String, (String, String)> {
    let devices = upstream.credentials(PRODUCT).await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let devices = devices.iter().map(|device| {
        let proof = (text(&device["iot_id"]), text(&device["device_secret"]));
        (text(&device["name"]), proof)
    });
    devices.collect()
}

/// Holds that the devices told are these in their order, and that those created have the credentials
/// that the simulator made, and no other has any.
async fn assert_equal(told: &Told, upstream: &Upstream, ordinals: std::ops::Range<i64>) {
    assert!(told.error.is_none(), "{:?}", told.error);
    assert!(told.complete);
    assert!(told.ordinals().into_iter().eq(ordinals.clone()));
    let made = made(upstream).await;
    for one in &told.devices {
        let device = one.device.as_ref().unwrap();
        assert_eq!(device.device_name, format!("light-{:06}", device.ordinal));
        assert!(!one.credentials_missing, "{device:?}");
        let expected = match device.outcome() {
            O::Created => made[&device.device_name].clone(),
            _ => Default::default(),
        };
        assert_eq!((one.iot_id.clone(), one.device_secret.clone()), expected);
    }
}

async fn pages_read(upstream: &Upstream) -> usize {
    upstream.ledger("QueryPageByApplyId").await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_exported_are_the_simulators_own_list_also_after_a_cut() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;
    let apply_id = registered(&mut client, 10_000).await;

    let whole = export(&mut client, with_credentials(apply_id), usize::MAX).await;
    let mut cut = export(&mut client, with_credentials(apply_id), 3_000).await;
    let rest = ExportDevicesRequest {
        from_ordinal: cut.next,
        ..with_credentials(apply_id)
    };
    let rest = export(&mut client, rest, usize::MAX).await;

    assert_equal(&whole, &upstream, 0..10_000).await;
    assert_eq!((cut.devices.len(), cut.next), (3_000, 3_000));
    cut.devices.extend(rest.devices);
    assert_eq!(cut.devices, whole.devices);
    assert_eq!(
        (whole.next, rest.next, rest.complete),
        (10_000, 10_000, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_goes_on_reads_no_pages_of_what_came_before() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;
    let apply_id = registered(&mut client, 20_100).await;
    let before = pages_read(&upstream).await;

    let rest = ExportDevicesRequest {
        from_ordinal: 20_000,
        ..with_credentials(apply_id)
    };
    let rest = export(&mut client, rest, usize::MAX).await;

    assert_equal(&rest, &upstream, 20_000..20_100).await;
    assert_eq!(pages_read(&upstream).await - before, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_several_upstream_applies_are_found_and_each_page_is_read_once() {
    let (upstream, _server, mut client, _database) = stack(&[]).await;
    let some = r#"{"kind":"fail-creates","share":0.3}"#;
    upstream.set("wear", some).await;
    let apply_id = registered(&mut client, 12_000).await;
    let fewer = r#"{"kind":"fail-creates","share":0.02}"#;
    upstream.set("wear", fewer).await;
    let status = register_failed_again(&mut client, apply_id).await;
    assert_eq!(status, S::CreateFailed);
    let with_failed = export(&mut client, with_credentials(apply_id), usize::MAX).await;
    upstream.lift("wear").await;
    let status = register_failed_again(&mut client, apply_id).await;
    assert_eq!(status, S::CreateSuccess);
    let before = pages_read(&upstream).await;

    let told = export(&mut client, with_credentials(apply_id), usize::MAX).await;

    assert_equal(&with_failed, &upstream, 0..12_000).await;
    assert_equal(&told, &upstream, 0..12_000).await;
    let created: HashMap<u64, usize> = {
        let mut counts = HashMap::new();
        for device in upstream.devices(PRODUCT).await {
            *counts
                .entry(device["apply_id"].as_u64().unwrap())
                .or_default() += 1;
        }
        counts
    };
    // Two chunks, what failed of both, and what failed of that.
    assert_eq!(created.len(), 4);
    let pages: usize = created.values().map(|count| count.div_ceil(50)).sum();
    assert_eq!(pages_read(&upstream).await - before, pages);
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_that_were_parted_and_counted_short_are_exported_whole() {
    let database = database().await;
    let upstream = Upstream::start(&FAST_UPSTREAM).await;
    let server = Server::start(&database.url(), &upstream.url, &FAST);
    let mut client = server.client().await;
    // Names that exist already are in the lists of a failed check, and the rest is sent in parts.
    let exists = registered(&mut client, 40).await;
    let more = check(
        &mut client,
        new_devices("light", 2_000),
        AfterCheck::RegisterValid,
    );
    let more = more.await.apply_id;
    watch(&mut client, more, 0).await;

    let told = export(&mut client, with_credentials(more), usize::MAX).await;

    assert!(told.complete);
    let made = made(&upstream).await;
    let (old, new) = told.devices.split_at(40);
    assert!(old.iter().all(|one| one.device_secret.is_empty()));
    for one in new {
        let name = &one.device.as_ref().unwrap().device_name;
        assert_eq!((&one.iot_id, &one.device_secret), {
            let (iot_id, secret) = &made[name];
            (iot_id, secret)
        });
    }
    let first = export(&mut client, with_credentials(exists), usize::MAX).await;
    assert_equal(&first, &upstream, 0..40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_is_exported_as_it_stands_and_filtered_by_outcome() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let mut devices = new_devices("light", 3_000);
    devices[7].device_name = "no".into();
    let apply = check(&mut client, devices, AfterCheck::Stop).await;
    watch(&mut client, apply.apply_id, 0).await;
    let invalid = ExportDevicesRequest {
        outcomes: vec![O::Invalid.into()],
        ..with_credentials(apply.apply_id)
    };

    let all = export(&mut client, with_credentials(apply.apply_id), usize::MAX).await;
    let invalid = export(&mut client, invalid, usize::MAX).await;

    assert!(all.complete && invalid.complete);
    assert!(all.ordinals().into_iter().eq(0..3_000));
    assert!(all.devices.iter().all(|one| !one.credentials_missing));
    assert_eq!((invalid.ordinals(), invalid.next), (vec![7], 3_000));
    let why = invalid.devices[0].device.as_ref().unwrap().reason.clone();
    assert_eq!(why.unwrap().code(), proto::ReasonCode::NameLength);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_is_refused_with_what_to_do() {
    let (_upstream, _server, mut client, _database) = stack(&[]).await;
    let apply_id = registered(&mut client, 3).await;
    let refused = |from_ordinal, apply_id| {
        let mut client = client.clone();
        async move {
            let request = ExportDevicesRequest {
                apply_id,
                from_ordinal,
                ..Default::default()
            };
            let told = export(&mut client, request, usize::MAX).await;
            told.error.map(|error| error.code())
        }
    };

    assert_eq!(refused(0, 999).await, Some(Code::NotFound));
    assert_eq!(refused(-1, apply_id).await, Some(Code::InvalidArgument));
    assert_eq!(refused(4, apply_id).await, Some(Code::OutOfRange));
    // The end of an apply is where a finished export would go on.
    assert_eq!(refused(3, apply_id).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_writes_a_file_that_is_its_owners_and_equal_to_the_list() {
    use std::os::unix::fs::PermissionsExt as _;
    let (upstream, server, mut client, _database) = stack(&[]).await;
    let apply_id = registered(&mut client, 1_200).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("devices.csv");

    let mut command = tokio::process::Command::new(registrar_binary());
    command
        .args(["export", &apply_id.to_string(), "--credentials", "-o"])
        .arg(&file)
        .args(["--server", &format!("http://{}", server.address)]);
    let output = patiently(command.output()).await.unwrap();

    assert!(output.status.success(), "{output:?}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let made = made(&upstream).await;
    assert_eq!(text.lines().count(), 1_201);
    for (row, n) in text.lines().skip(1).zip(0..) {
        let name = format!("light-{n:06}");
        let (iot_id, secret) = &made[&name];
        assert_eq!(row, format!("{n},{name},,,CREATED,,,,,{iot_id},{secret},"));
        // Told nowhere else.
        assert!(!String::from_utf8_lossy(&output.stderr).contains(secret));
    }
}
