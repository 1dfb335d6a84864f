//! The whole stack of a test: the simulator in this process, `registrar serve` as a process of its
//! own, and a gRPC client.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use registrar::{
    proto::{
        self, Apply, ApplyStatus, GetApplyRequest, ListDevicesRequest, NewDevice,
        registrar_service_client::RegistrarServiceClient,
    },
    simulator,
};
use serde_json::Value;
use tonic::transport::Channel;

pub(crate) use super::upstream::Upstream;
use super::upstream::http;

/// How long a test waits for what must happen. Nothing is measured by it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What `future` comes to. Patience is counted in seconds that were waited through, so that a machine
/// that stands still for an hour costs one of them.
pub(crate) async fn patiently<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    for _ in 0..PATIENCE.as_secs() {
        if let Ok(done) = tokio::time::timeout(Duration::from_secs(1), &mut future).await {
            return done;
        }
    }
    panic!("it has not happened within {PATIENCE:?}")
}

/// What a server logs as a rule.
const LEVEL: &str = "warn,registrar::app=info";

pub(crate) type Client = RegistrarServiceClient<Channel>;

/// What a process logs, line by line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    pub(crate) fn text(&self) -> String {
        self.lines().join("\n")
    }
}

/// A `registrar`; killed when this value ends.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// Where health and metrics are told.
    pub(crate) admin: String,
    log: Log,
}

impl Server {
    /// Starts a `registrar serve` and waits until it serves.
    pub(crate) fn start(database: &str, upstream: &str, flags: &[&str]) -> Self {
        Self::start_in(database, upstream, flags, &[])
    }

    /// The same, with these variables.
    pub(crate) fn start_in(
        database: &str,
        upstream: &str,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let started = Self::try_start_in(database, upstream, flags, variables);
        started.expect("registrar serves")
    }

    /// The same for one that may end before it serves.
    pub(crate) fn try_start_in(
        database: &str,
        upstream: &str,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Self, ExitStatus> {
        let mut command = Command::new(super::registrar_binary());
        command
            .args([
                "serve",
                "--database-url",
                database,
                "--upstream-url",
                upstream,
            ])
            .args(["--upstream-access-key-id", simulator::ACCESS_KEY_ID])
            .args(["--upstream-access-key-secret", simulator::ACCESS_KEY_SECRET])
            .args(flags)
            .envs(variables.iter().copied());
        Self::try_launch(&mut command)
    }

    /// Starts a `registrar dev` that keeps its data in a directory, and waits until it serves.
    pub(crate) fn dev(dir: &Path) -> Self {
        let mut command = Command::new(super::registrar_binary());
        command
            .args(["dev", "--simulator-listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .env_remove("REGISTRAR_DATABASE_URL");
        Self::launch(&mut command)
    }

    fn launch(command: &mut Command) -> Self {
        Self::try_launch(command).expect("registrar serves")
    }

    fn try_launch(command: &mut Command) -> Result<Self, ExitStatus> {
        let is_chatty = command.get_args().any(|arg| arg == "--log");
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            // What a flag says goes before.
            .env("REGISTRAR_LOG", LEVEL)
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("registrar starts");
        let lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let (told, addresses) = mpsc::channel();
        let log = Log::default();
        let kept = log.clone();
        // Reads to the end, so that the process never waits for its reader.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match serde_json::from_str::<Value>(&line) {
                    Ok(event) if event["message"] == "registrar serves" => {
                        let address = |name| event[name].as_str().expect("an address").to_owned();
                        told.send((address("listen"), address("admin"))).ok();
                    }
                    // What is chatty was asked to be, and is looked at by its test.
                    _ if is_chatty => {}
                    _ => eprintln!("registrar: {line}"),
                }
                kept.0.lock().expect("no panic").push(line);
            }
        });
        let Ok((address, admin)) = addresses.recv_timeout(PATIENCE) else {
            child.kill().ok();
            return Err(child.wait().expect("it has ended"));
        };
        Ok(Self {
            child,
            address,
            admin,
            log,
        })
    }

    /// What it has logged so far, and goes on logging.
    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    /// What the admin port says to a path: status and body.
    pub(crate) async fn asks(&self, path: &str) -> (u16, String) {
        let answer = http()
            .get(format!("http://{}{path}", self.admin))
            .send()
            .await;
        let answer = answer.expect("it answers");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Asks it to stop.
    pub(crate) fn ask_to_stop(&self) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: the child is ours and not yet waited for, so the pid is its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it has ended");
    }

    /// Asks it to stop, and returns whether it ended by itself and well.
    pub(crate) fn terminate(self) -> bool {
        self.ask_to_stop();
        self.has_ended()
    }

    /// Waits for the end of one that was asked to stop, and returns whether it ended well.
    pub(crate) fn has_ended(mut self) -> bool {
        self.child.wait().expect("it has ended").success()
    }

    pub(crate) async fn client(&self) -> Client {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address))
            .expect("an address")
            .connect()
            .await
            .expect("it serves");
        RegistrarServiceClient::new(channel).max_decoding_message_size(64 << 20)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// So many devices named after `prefix`.
pub(crate) fn new_devices(prefix: &str, count: usize) -> Vec<NewDevice> {
    (0..count)
        .map(|n| named(&format!("{prefix}-{n:06}")))
        .collect()
}

pub(crate) fn named(name: &str) -> NewDevice {
    NewDevice {
        device_name: name.to_owned(),
        ..Default::default()
    }
}

/// Submits devices to the simulator's product.
pub(crate) async fn check(
    client: &mut Client,
    devices: Vec<NewDevice>,
    after_check: proto::AfterCheck,
) -> Apply {
    let request = proto::CheckDevicesRequest {
        product_key: simulator::PRODUCT.to_owned(),
        iot_instance_id: String::new(),
        devices,
        after_check: after_check.into(),
        ..Default::default()
    };
    client
        .check_devices(request)
        .await
        .expect("accepted")
        .into_inner()
        .apply
        .expect("an apply")
}

/// Watches an apply from a revision on to the end of the stream.
pub(crate) async fn watch(client: &mut Client, apply_id: i64, after_revision: i64) -> Vec<Apply> {
    let request = proto::WatchApplyRequest {
        apply_id,
        after_revision,
        ..Default::default()
    };
    let mut stream = client
        .watch_apply(request)
        .await
        .expect("a stream")
        .into_inner();
    let mut seen = Vec::new();
    let all = async {
        while let Some(message) = stream.message().await.expect("no error") {
            if !message.heartbeat {
                seen.push(message.apply.expect("an apply"));
            }
        }
    };
    patiently(all).await;
    seen
}

pub(crate) fn statuses(seen: &[Apply]) -> Vec<ApplyStatus> {
    let mut statuses: Vec<_> = seen.iter().map(Apply::status).collect();
    statuses.dedup();
    statuses
}

pub(crate) async fn get(client: &mut Client, apply_id: i64) -> proto::GetApplyResponse {
    let request = GetApplyRequest {
        apply_id,
        include_lists: true,
    };
    client
        .get_apply(request)
        .await
        .expect("it exists")
        .into_inner()
}

pub(crate) async fn list_devices(client: &mut Client, apply_id: i64) -> Vec<proto::Device> {
    let mut devices = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListDevicesRequest {
            apply_id,
            page_token,
            page_size: 10_000,
            outcomes: vec![],
        };
        let page = client
            .list_devices(request)
            .await
            .expect("a page")
            .into_inner();
        devices.extend(page.devices);
        if page.next_page_token.is_empty() {
            return devices;
        }
        page_token = page.next_page_token;
    }
}
