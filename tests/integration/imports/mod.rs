//! Devices that bring their own secrets, from the submission to the outcome.

mod exported;
mod instance;
mod lost;
mod refused;
mod restored;
mod secrets;
mod uploaded;
mod whole;

use std::{fs, time::Duration};

use registrar::{
    proto::{
        AfterCheck, Apply, ApplyStatus as S, CheckDevicesRequest, Device, DeviceOutcome as O,
        NewDevice, ReasonCode as R,
    },
    simulator::PRODUCT,
};
use tempfile::TempDir;

use crate::support::{
    database::{Database, database},
    stack::{Client, Server, Upstream, list_devices, patiently, watch},
    truth::secrets_left,
};

/// A stack whose server has keys to seal secrets with.
struct Stack {
    upstream: Upstream,
    server: Server,
    client: Client,
    database: Database,
    keys: Keys,
}

/// A file of keys.
pub(crate) struct Keys {
    _dir: TempDir,
    pub(crate) path: String,
}

impl Keys {
    pub(crate) fn new(lines: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("keys");
        let keys = Self {
            path: path.to_str().expect("UTF-8").to_owned(),
            _dir: dir,
        };
        keys.replace(lines);
        keys
    }

    /// Puts other keys in their place, as one should: whole at once.
    pub(crate) fn replace(&self, lines: &str) {
        let new = format!("{}.new", self.path);
        fs::write(&new, lines).expect("written");
        fs::rename(new, &self.path).expect("renamed");
    }

    /// The flags of a server that has them.
    fn flags<'a>(&'a self, others: &[&'a str]) -> Vec<&'a str> {
        [&["--secret-keys-file", &self.path], others].concat()
    }
}

/// A key that is as good as any other in a test.
pub(crate) fn key(id: &str, byte: u8) -> String {
    format!("{id}:{}\n", format!("{byte:02x}").repeat(32))
}

/// Settings under which what was lost is reconciled within seconds.
const SHORT: [&str; 10] = [
    "--upstream-time-window",
    "4s",
    "--create-timeout",
    "2s",
    "--upstream-timeout",
    "2s",
    "--upstream-connect-timeout",
    "1s",
    "--lease",
    "2s",
];

/// What the upstream must agree with those on.
const SHORT_UPSTREAM: [&str; 2] = ["--simulator-time-window", "4s"];

async fn stack(upstream: &[&str], flags: &[&str]) -> Stack {
    let database = database().await;
    let upstream = Upstream::start(upstream).await;
    let keys = Keys::new(&key("k1", 1));
    let server = Server::start(&database.url(), &upstream.url, &keys.flags(flags));
    let client = server.client().await;
    Stack {
        upstream,
        server,
        client,
        database,
        keys,
    }
}

impl Stack {
    /// Kills the server and starts another one on the same database.
    async fn restart(self, flags: &[&str]) -> Self {
        self.server.kill();
        let flags = self.keys.flags(flags);
        let server = Server::start(&self.database.url(), &self.upstream.url, &flags);
        Self {
            client: server.client().await,
            server,
            ..self
        }
    }
}

pub(crate) fn brings(name: &str, secret: &str, sn: &str) -> NewDevice {
    NewDevice {
        device_name: name.to_owned(),
        device_secret: secret.to_owned(),
        sn: sn.to_owned(),
        ..Default::default()
    }
}

/// So many devices named after `prefix`, each with a secret of its own.
pub(crate) fn bringing(prefix: &str, count: usize) -> Vec<NewDevice> {
    let device = |n| {
        brings(
            &format!("{prefix}-{n:06}"),
            &secret(prefix, n),
            &format!("SN_{n}"),
        )
    };
    (0..count).map(device).collect()
}

pub(crate) fn secret(prefix: &str, n: usize) -> String {
    format!("s.{prefix}.{n:06}")
}

fn request(devices: Vec<NewDevice>, after_check: AfterCheck) -> CheckDevicesRequest {
    CheckDevicesRequest {
        product_key: PRODUCT.to_owned(),
        devices,
        after_check: after_check.into(),
        import: true,
        ..Default::default()
    }
}

async fn import(client: &mut Client, devices: Vec<NewDevice>, after_check: AfterCheck) -> Apply {
    let request = request(devices, after_check);
    let answer = client.check_devices(request).await.expect("accepted");
    answer.into_inner().apply.expect("an apply")
}

/// The outcome of each device, with the reason where there is one.
async fn outcomes(client: &mut Client, apply: &Apply) -> Vec<(O, Option<R>)> {
    let devices = list_devices(client, apply.apply_id).await;
    devices.iter().map(outcome).collect()
}

fn outcome(device: &Device) -> (O, Option<R>) {
    let code = device.reason.as_ref().map(|reason| reason.code());
    (device.outcome(), code)
}

/// Waits for the end of an apply, in which every device is created, by one import each.
async fn assert_all_created(stack: &mut Stack, apply: &Apply, prefix: &str, what: &str) {
    let seen = watch(&mut stack.client, apply.apply_id, 0).await;
    let end = seen.last().expect("an end");
    assert_eq!(end.status(), S::CreateSuccess, "{what}: {end:?}");
    assert_created_once(stack, prefix, end.counts.expect("counts").total, what).await;
    assert_eq!(secrets_left(&stack.database.pool).await, [0; 0], "{what}");
}

/// By the upstream's own account each device of these was created once.
async fn assert_created_once(stack: &Stack, prefix: &str, count: i64, what: &str) {
    let there = stack.upstream.devices(PRODUCT).await;
    let ours: Vec<_> = there
        .iter()
        .filter(|device| {
            let name = device["name"].as_str().unwrap_or_default();
            name.starts_with(&format!("{prefix}-")) && !device["apply_id"].is_null()
        })
        .collect();
    assert_eq!(ours.len() as i64, count, "{what}");
    for device in ours {
        assert_eq!(device["created"], 1, "{what}: {device}");
    }
}

/// Waits until so many calls of an action have reached the upstream.
async fn reached(upstream: &Upstream, action: &str, calls: usize) {
    patiently(async {
        while upstream.ledger(action).await.len() < calls {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
