//! One run: a service that may die, is started again, and whose client repeats what it was not
//! answered.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use registrar::{
    proto::{
        AfterCheck, Apply, CancelApplyRequest, CheckDevicesRequest, NewDevice, RegisterRequest,
        WatchApplyRequest, registrar_service_client::RegistrarServiceClient,
    },
    simulator::PRODUCT,
};
use tonic::{Status, transport::Endpoint};

use crate::{
    imports::{Keys, key},
    support::{
        database::{Database, database},
        stack::{Client, Server, Upstream, patiently},
        truth::{Asked, Truth, secrets_left},
    },
};

/// How long a step may take before others may take it over: the shortest there is, so that what died
/// is soon taken up.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// Settings of every run, unless its flags say otherwise: what is lost is taken up within a second.
const SHORT: [(&str, &str); 4] = [
    ("REGISTRAR_LEASE", "1s"),
    ("REGISTRAR_UPSTREAM_TIMEOUT", "1s"),
    ("REGISTRAR_UPSTREAM_CONNECT_TIMEOUT", "500ms"),
    ("REGISTRAR_DATABASE_CONNECTIONS", "6"),
];

/// A service with all that is around it.
pub(super) struct Life {
    pub(super) database: Database,
    pub(super) upstream: Upstream,
    pub(super) keys: Keys,
    pub(super) server: Option<Server>,
    /// What its clients have asked for.
    pub(super) asked: Vec<Asked>,
    pub(super) product: &'static str,
    flags: Vec<String>,
    /// Where it is to die, until it has.
    order: Option<String>,
    faults: String,
}

impl Life {
    /// A service that is to die at a point, if there is one, and has these faults.
    pub(super) async fn new(upstream: &[&str], flags: &[&str], point: &str, faults: &str) -> Self {
        let keys = Keys::new(&key("k1", 1));
        let own = ["--secret-keys-file", &keys.path];
        let flags = own.iter().chain(flags);
        Self {
            flags: flags.map(|flag| (*flag).to_owned()).collect(),
            database: database().await,
            upstream: Upstream::start(upstream).await,
            keys,
            server: None,
            asked: Vec::new(),
            product: PRODUCT,
            order: Some(point.to_owned()).filter(|point| !point.is_empty()),
            faults: faults.to_owned(),
        }
    }

    /// Whether it has died where it was told to.
    pub(super) fn has_died(&self) -> bool {
        self.order.is_none()
    }

    /// A client of the service, which is started if it is not there.
    pub(super) async fn client(&mut self) -> Client {
        if self.server.as_mut().is_some_and(|server| {
            let ended = server.child.try_wait().expect("it is ours");
            ended.is_some()
        }) {
            self.mourn("it was not asked").await;
        }
        while self.server.is_none() {
            match self.start().await {
                Ok(server) => self.server = Some(server),
                Err(ended) => self.died(ended, "it did not serve yet"),
            }
        }
        let address = &self.server.as_ref().expect("it was started").address;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        RegistrarServiceClient::new(endpoint.connect_lazy()).max_decoding_message_size(64 << 20)
    }

    /// A service on the same database that is told the same.
    pub(super) async fn start(&self) -> Result<Server, ExitStatus> {
        let (database, upstream) = (self.database.url(), self.upstream.url.clone());
        let (flags, faults) = (self.flags.clone(), self.faults.clone());
        let order = self.order.clone().unwrap_or_default();
        let start = move || {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let orders = [
                ("REGISTRAR_DIE_AT", order.as_str()),
                ("REGISTRAR_FAULTS", &faults),
            ];
            let told = [&SHORT[..], &orders].concat();
            Server::try_start_in(&database, &upstream, &flags, &told)
        };
        let started = tokio::task::spawn_blocking(start).await;
        started.expect("no panic")
    }

    /// What is answered in the end, however often the service has to be asked.
    pub(super) async fn ask<T, F>(&mut self, call: impl Fn(Client) -> F) -> T
    where
        F: Future<Output = Result<T, Status>>,
    {
        loop {
            let client = self.client().await;
            match patiently(call(client)).await {
                Ok(answer) => return answer,
                Err(status) => self.mourn(&status.to_string()).await,
            }
        }
    }

    /// Waits for the end of a service that does not answer any more.
    pub(super) async fn mourn(&mut self, said: &str) {
        let mut server = self.server.take().expect("it was asked");
        for _ in 0..500 {
            if let Some(ended) = server.child.try_wait().expect("it is ours") {
                return self.died(ended, said);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it lives on and says: {said}");
    }

    /// It has died by the hand that it was told to die by, and will not again.
    fn died(&mut self, ended: ExitStatus, said: &str) {
        let order = self.order.take();
        let killed = ended.signal() == Some(libc::SIGKILL);
        assert!(order.is_some() && killed, "{ended:?} at {order:?}: {said}");
    }

    /// Whether it is dead now.
    pub(super) fn is_dead(&mut self) -> bool {
        self.server
            .as_mut()
            .is_none_or(|server| server.child.try_wait().expect("it is ours").is_some())
    }

    /// Submits devices, with their secrets if they bring any.
    pub(super) async fn submit(&mut self, devices: Vec<NewDevice>, then: AfterCheck) -> i64 {
        let request = CheckDevicesRequest {
            product_key: self.product.to_owned(),
            import: devices
                .iter()
                .any(|device| !device.device_secret.is_empty()),
            devices,
            after_check: then.into(),
            request_id: format!("submit {}", self.asked.len()),
            ..Default::default()
        };
        let answer = self.ask(|mut client| {
            let request = request.clone();
            async move { client.check_devices(request).await }
        });
        let apply = answer.await.into_inner().apply.expect("an apply");
        self.asked.push(Asked {
            may_register: then != AfterCheck::Stop,
            ..asked(apply.apply_id, &request.devices, true)
        });
        apply.apply_id
    }

    /// Has an apply registered, its failed devices if they are to be retried.
    pub(super) async fn register(&mut self, apply_id: i64, retry_failed: bool) {
        self.of(apply_id).may_register = true;
        let request = RegisterRequest {
            apply_id,
            skip_invalid: !retry_failed,
            retry_failed,
            request_id: format!("register {apply_id} {retry_failed}"),
        };
        self.ask(|mut client| {
            let request = request.clone();
            async move { client.register(request).await }
        })
        .await;
    }

    /// Cancels an apply.
    pub(super) async fn cancel(&mut self, apply_id: i64) {
        let request = CancelApplyRequest {
            apply_id,
            request_id: format!("cancel {apply_id}"),
        };
        self.ask(|mut client| {
            let request = request.clone();
            async move { client.cancel_apply(request).await }
        })
        .await;
        #[expect(
            clippy::disallowed_methods,
            reason = "the ledger has the clock of this machine"
        )]
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.of(apply_id).cancelled_us = Some(now.expect("a time").as_micros() as u64);
    }

    /// Watches an apply after a revision of it until it rests, through the death of the service.
    pub(super) async fn rests_after(&mut self, apply_id: i64, after_revision: i64) -> Vec<Apply> {
        let mut seen: Vec<Apply> = Vec::new();
        loop {
            let mut client = self.client().await;
            let request = WatchApplyRequest {
                apply_id,
                after_revision: seen.last().map_or(after_revision, |last| last.revision),
                ..Default::default()
            };
            let watched = patiently(async {
                let mut events = client.watch_apply(request).await?.into_inner();
                while let Some(event) = events.message().await? {
                    if !event.heartbeat {
                        seen.push(event.apply.expect("an apply"));
                    }
                }
                Ok::<_, Status>(())
            });
            match watched.await {
                Ok(()) => return seen,
                Err(status) => self.mourn(&status.to_string()).await,
            }
        }
    }

    /// How an apply stands once it rests.
    pub(super) async fn rests(&mut self, apply_id: i64) -> Apply {
        let seen = self.rests_after(apply_id, 0).await;
        seen.last().expect("a change").clone()
    }

    fn of(&mut self, apply_id: i64) -> &mut Asked {
        let asked = self.asked.iter_mut();
        asked
            .rev()
            .find(|asked| asked.apply_id == apply_id)
            .expect("it was asked for")
    }

    /// What is wrong, once nothing moves any more.
    pub(super) async fn violations(&mut self) -> Vec<String> {
        let truth = Truth::read(&self.upstream, self.product, LEASE).await;
        let left = secrets_left(&self.database.pool).await;
        let left = left.iter().map(|id| format!("apply {id} keeps secrets"));
        let mut wrong: Vec<String> = left.collect();
        for asked in self.asked.clone() {
            let mut client = self.client().await;
            wrong.extend(truth.violations(&mut client, &asked).await);
            let seen = self.rests_after(asked.apply_id, 0).await;
            let revisions: Vec<i64> = seen.iter().map(|event| event.revision).collect();
            if !revisions.iter().copied().eq(1..=seen.len() as i64) {
                wrong.push(format!("its revisions are {revisions:?}"));
            }
        }
        wrong
    }
}

/// What is asked for with these devices.
pub(super) fn asked(apply_id: i64, devices: &[NewDevice], sealed: bool) -> Asked {
    let names = devices.iter().map(|device| device.device_name.clone());
    let secrets = devices.iter().map(|device| device.device_secret.clone());
    let import = devices
        .iter()
        .any(|device| !device.device_secret.is_empty());
    Asked {
        apply_id,
        names: names.collect(),
        secrets: import.then(|| secrets.collect()),
        sealed,
        ..Default::default()
    }
}
