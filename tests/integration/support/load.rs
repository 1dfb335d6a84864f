//! A constant load of small applies, by clients that keep a record of what was acknowledged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use registrar::{
    proto::{
        AfterCheck, Apply, ApplyStatus as S, CheckDevicesRequest, RegisterRequest,
        WatchApplyRequest,
    },
    simulator::PRODUCT,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::stack::{Client, Server, Upstream, list_devices, new_devices, patiently};

/// Devices of an apply.
const DEVICES: usize = 3;

/// From one apply of a client to the next.
const EVERY: Duration = Duration::from_millis(500);

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The acknowledged applies, and what their devices are called after.
    pub(crate) applies: BTreeMap<i64, String>,
    /// Calls that were answered UNAVAILABLE, and when to call again.
    pub(crate) unavailable: usize,
    /// Answers that no client should ever see.
    pub(crate) wrong: Vec<String>,
    /// The longest that a call took.
    pub(crate) longest: Duration,
}

/// Clients at work.
pub(crate) struct Load {
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Load {
    /// So many clients submit through these servers by turns, and watch through the next one.
    pub(crate) async fn start(servers: &[&Server], clients: usize) -> Self {
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        for n in 0..clients {
            let of = |n: usize| servers[n % servers.len()].client();
            let client = One {
                name: format!("load-{n}"),
                submits: of(n).await,
                watches: of(n + 1).await,
                seen: seen.clone(),
            };
            tasks.spawn(client.run(stop.clone()));
        }
        Self {
            seen,
            stop,
            clients: tasks,
        }
    }

    /// How many applies are acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.seen.lock().expect("no panic").applies.len()
    }

    /// How many calls were answered UNAVAILABLE.
    pub(crate) fn unavailable(&self) -> usize {
        self.seen.lock().expect("no panic").unavailable
    }

    /// Waits until so many more applies are acknowledged.
    pub(crate) async fn go_on_for(&self, more: usize) {
        let until = self.acknowledged() + more;
        patiently(async {
            while self.acknowledged() < until {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Waits until so many more calls are answered UNAVAILABLE.
    pub(crate) async fn until_refused(&self, more: usize) {
        let until = self.unavailable() + more;
        patiently(async {
            while self.unavailable() < until {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Ends the submissions and waits for the end of every watch. Fails if a client saw what it
    /// should not have.
    pub(crate) async fn end(mut self) -> Seen {
        self.stop.cancel();
        patiently(async {
            while let Some(ended) = self.clients.join_next().await {
                ended.expect("no panic");
            }
        })
        .await;
        let seen = std::mem::take(&mut *self.seen.lock().expect("no panic"));
        assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
        assert!(!seen.applies.is_empty());
        seen
    }
}

/// Fails unless every acknowledged apply is there, with its devices, and each of them was created
/// once.
pub(crate) async fn nothing_is_lost(seen: &Seen, client: &mut Client, upstream: &Upstream) {
    let mut created = BTreeMap::new();
    for device in upstream.devices(PRODUCT).await {
        let name = device["name"].as_str().expect("a name").to_owned();
        *created.entry(name).or_insert(0) += device["created"].as_u64().expect("a number");
    }
    for (apply, prefix) in &seen.applies {
        let devices = list_devices(client, *apply).await;
        let names: Vec<_> = devices.into_iter().map(|it| it.device_name).collect();
        let sent = new_devices(prefix, DEVICES);
        let sent: Vec<_> = sent.into_iter().map(|it| it.device_name).collect();
        assert_eq!(names, sent, "apply {apply}");
        for name in names {
            assert_eq!(created.get(&name), Some(&1), "{name}");
        }
    }
}

/// Whether a call is to be made again; fails to if the answer says anything else.
pub(crate) fn is_to_be_repeated(status: &Status) -> bool {
    let details = status.get_error_details();
    let retry = details.retry_info().and_then(|info| info.retry_delay);
    status.code() == Code::Unavailable && retry.is_some()
}

/// A client.
struct One {
    name: String,
    submits: Client,
    watches: Client,
    seen: Arc<Mutex<Seen>>,
}

impl One {
    async fn run(self, stop: CancellationToken) {
        let one = Arc::new(self);
        let mut watches = JoinSet::new();
        for n in 0.. {
            if stop.is_cancelled() {
                break;
            }
            // By turns it is registered by itself and by the client.
            let after_check = match n % 2 {
                0 => AfterCheck::RegisterValid,
                _ => AfterCheck::Stop,
            };
            let name = format!("{}-{n}", one.name);
            let apply = one.submit(&name, after_check).await;
            // The same again has the same answer, whatever became of the first.
            let again = one.submit(&name, after_check).await;
            if apply != again {
                one.note(format!("{name}: {apply:?} became {again:?}"));
            }
            let id = apply.apply_id;
            one.acknowledged(id, name);
            watches.spawn(one.clone().follow(id, after_check));
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
        watches.join_all().await;
    }

    /// Sees an apply through to its end.
    async fn follow(self: Arc<Self>, apply_id: i64, after_check: AfterCheck) {
        let mut revision = 0;
        if after_check == AfterCheck::Stop {
            revision = self.watch(apply_id, 0, S::CheckSuccess).await;
            let request = RegisterRequest {
                apply_id,
                request_id: format!("register {apply_id}"),
                ..Default::default()
            };
            for _ in 0..2 {
                let request = request.clone();
                self.until_answered(|mut client| {
                    let request = request.clone();
                    async move { client.register(request).await }
                })
                .await;
            }
        }
        self.watch(apply_id, revision, S::CreateSuccess).await;
    }

    fn acknowledged(&self, apply_id: i64, name: String) {
        let mut seen = self.seen.lock().expect("no panic");
        seen.applies.insert(apply_id, name);
    }

    fn note(&self, wrong: String) {
        self.seen.lock().expect("no panic").wrong.push(wrong);
    }

    /// Submits until it is acknowledged.
    async fn submit(&self, name: &str, after_check: AfterCheck) -> Apply {
        let request = CheckDevicesRequest {
            product_key: PRODUCT.to_owned(),
            devices: new_devices(name, DEVICES),
            after_check: after_check.into(),
            request_id: name.to_owned(),
            ..Default::default()
        };
        let answer = self
            .until_answered(|mut client| {
                let request = request.clone();
                async move { client.check_devices(request).await }
            })
            .await;
        answer.apply.expect("an apply")
    }

    async fn until_answered<T, F>(&self, call: impl Fn(Client) -> F) -> T
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        loop {
            let begun = Instant::now();
            let answer = call(self.submits.clone()).await;
            {
                let mut seen = self.seen.lock().expect("no panic");
                seen.longest = seen.longest.max(begun.elapsed());
                match answer {
                    Ok(answer) => return answer.into_inner(),
                    Err(status) if is_to_be_repeated(&status) => seen.unavailable += 1,
                    Err(status) => seen.wrong.push(format!("{}: {status:?}", self.name)),
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Watches an apply from a revision on to where it ends; the revision there. Once the watch is
    /// open nothing else ends it, and nothing is left out or told twice.
    async fn watch(&self, apply_id: i64, after_revision: i64, to: S) -> i64 {
        let mut client = self.watches.clone();
        let mut revision = after_revision;
        let mut stream = loop {
            let request = WatchApplyRequest {
                apply_id,
                after_revision,
                ..Default::default()
            };
            match client.watch_apply(request).await {
                Ok(stream) => break stream.into_inner(),
                Err(status) if is_to_be_repeated(&status) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(status) => {
                    self.note(format!("no watch of {apply_id}: {status:?}"));
                    return revision;
                }
            }
        };
        let mut last = S::Unspecified;
        loop {
            match stream.message().await {
                Ok(Some(message)) if message.heartbeat => {}
                Ok(Some(message)) => {
                    let apply = message.apply.expect("an apply");
                    if apply.revision != revision + 1 {
                        self.note(format!("{apply_id}: {} after {revision}", apply.revision));
                    }
                    (revision, last) = (apply.revision, apply.status());
                }
                Ok(None) if last == to => return revision,
                end => {
                    self.note(format!("{apply_id} was left at {last:?}: {end:?}"));
                    return revision;
                }
            }
        }
    }
}
