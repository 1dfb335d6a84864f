//! Promises that are broken on purpose: what the tests here hold the service to notices each of them,
//! and nothing where none is broken.

use std::{collections::BTreeSet, panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream};
use registrar::{
    breaking::Fault,
    proto::{
        AfterCheck, ApplyStatus as S, CancelApplyRequest, CheckDevicesRequest, GetApplyRequest,
        UploadStart,
    },
    simulator::{PRODUCT, PRODUCT_X509},
};

use super::{
    AT_ONCE,
    flows::{many_devices, uploads},
    life::{self, LEASE, Life},
};
use crate::{
    imports::bringing,
    support::stack::{Client, Server, get, new_devices, patiently},
    upload::Upload,
};

/// How often a scene is played until its fault is noticed.
const TRIES: usize = 3;

const CHECK: &str = "BatchCheckDeviceNames";
const REGISTER: &str = "BatchRegisterDeviceWithApplyId";

/// How soon a change is told to who watches, where a bell tells it. Without one it would be an hour.
const SOON: Duration = Duration::from_secs(5);

/// What shows that a promise is broken.
struct Scene {
    /// Settings of the simulator.
    upstream: &'static [&'static str],
    /// Settings of the service.
    flags: &'static [&'static str],
    /// Where the service dies.
    point: &'static str,
    /// What is broken besides, which alone does no harm that shows here.
    besides: Option<Fault>,
    /// What goes on; it tells what is wrong.
    drive: for<'a> fn(&'a mut Life) -> LocalBoxFuture<'a, Vec<String>>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            upstream: &["--simulator-speed", "0"],
            flags: &[],
            point: "",
            besides: None,
            drive: |life| registers(life).boxed_local(),
        }
    }
}

impl Scene {
    fn of(fault: Fault) -> Self {
        let scene = Self::default();
        match fault {
            Fault::PromisedUnstored => Self {
                drive: |life| is_there(life).boxed_local(),
                ..scene
            },
            Fault::RequestForgotten => Self {
                drive: |life| asks_twice(life).boxed_local(),
                ..scene
            },
            Fault::DuplicatesKept => Self {
                drive: |life| repeats_a_name(life).boxed_local(),
                ..scene
            },
            Fault::SealNotAwaited => Self {
                drive: |life| is_not_sealed(life).boxed_local(),
                ..scene
            },
            Fault::CancelUnfenced => Self {
                upstream: &[
                    "--simulator-speed",
                    "0",
                    "--simulator-fault",
                    r#"block={"kind":"block-action","action":"BatchRegisterDeviceWithApplyId"}"#,
                ],
                flags: &["--probe-every", "6s"],
                drive: |life| is_cancelled(life).boxed_local(),
                ..scene
            },
            Fault::IntentUnwritten => Self {
                // The cancel comes before anybody takes the round over.
                flags: &["--lease", "6s"],
                point: "answered/BatchRegisterDeviceWithApplyId",
                drive: |life| is_cancelled_when_it_died(life).boxed_local(),
                ..scene
            },
            Fault::DeadlineIgnored => Self {
                upstream: &[
                    "--simulator-speed",
                    "0",
                    "--simulator-fault",
                    r#"slow={"kind":"delay","ms":5000,"action":"BatchCheckDeviceNames","calls":[1]}"#,
                ],
                flags: &["--lease", "3s", "--upstream-timeout", "20s"],
                drive: |life| is_overtaken(life).boxed_local(),
                ..scene
            },
            Fault::FenceIgnored => Self {
                upstream: &[
                    "--simulator-speed",
                    "0",
                    "--simulator-fault",
                    r#"slow={"kind":"delay","ms":4000,"action":"BatchCheckDeviceNames","calls":[1]};hold={"kind":"stuck","phase":"CREATE"}"#,
                ],
                flags: &["--upstream-timeout", "20s"],
                besides: Some(Fault::DeadlineIgnored),
                drive: |life| is_overtaken_in_creation(life).boxed_local(),
                ..scene
            },
            Fault::PermitUncounted => Self {
                upstream: &[
                    "--simulator-speed",
                    "0",
                    "--simulator-qps",
                    "BatchCheckDeviceNames=0",
                ],
                flags: &["--check-rate", "0.5"],
                drive: |life| keeps_the_quota(life).boxed_local(),
                ..scene
            },
            Fault::ResendDiffers => Self {
                upstream: &[
                    "--simulator-speed",
                    "0",
                    "--simulator-fault",
                    r#"lost={"kind":"no-answer","action":"BatchImportDevice","calls":[1]}"#,
                ],
                drive: |life| sends_the_same_again(life).boxed_local(),
                ..scene
            },
            Fault::LostIsRefused => Self {
                upstream: &[
                    "--simulator-speed",
                    "0",
                    "--simulator-fault",
                    r#"lost={"kind":"no-answer","action":"BatchRegisterDeviceWithApplyId","calls":[1]}"#,
                ],
                ..scene
            },
            Fault::CountUnproven => Self {
                upstream: &[
                    "--simulator-speed",
                    "0",
                    "--simulator-fault",
                    r#"mute={"kind":"unavailable","action":"QueryProduct"}"#,
                ],
                drive: |life| registers_too_many_at_a_time(life).boxed_local(),
                ..scene
            },
            Fault::RevisionRepeated | Fault::RevisionSkipped => Self {
                drive: |life| keeps_what_it_told(life).boxed_local(),
                ..scene
            },
            Fault::BellSilent => Self {
                flags: &["--look-every", "1h", "--heartbeat", "100ms"],
                drive: |life| tells_at_once(life, 1).boxed_local(),
                ..scene
            },
            Fault::RingKept => Self {
                flags: &["--look-every", "1h", "--heartbeat", "100ms"],
                drive: |life| tells_at_once(life, 2).boxed_local(),
                ..scene
            },
        }
    }

    /// What is wrong with these faults.
    async fn play(&self, faults: &[Fault]) -> Vec<String> {
        let names: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
        let names = names.join(",");
        let mut life = Life::new(self.upstream, self.flags, self.point, &names).await;
        let mut wrong = (self.drive)(&mut life).await;
        if self.point.is_empty() || life.has_died() {
            return wrong;
        }
        wrong.push(format!("{} was never reached", self.point));
        wrong
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_promise_that_is_broken_on_purpose_is_noticed() {
    let unnoticed = Fault::ALL.iter().map(|fault| async {
        let scene = Scene::of(*fault);
        let faults: Vec<_> = scene.besides.into_iter().chain([*fault]).collect();
        // What shows depends on who comes first, which a busy machine may turn round.
        for _ in 0..TRIES {
            let played = AssertUnwindSafe(scene.play(&faults)).catch_unwind().await;
            if let Some(noticed) = played.ok().and_then(|wrong| wrong.into_iter().next()) {
                eprintln!("{}: {noticed}", fault.name());
                return None;
            }
        }
        Some(format!("{} is not noticed", fault.name()))
    });
    all_is_well(unnoticed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_promise_is_broken_nothing_is_wrong() {
    let wrong = Fault::ALL.iter().map(|fault| async {
        let scene = Scene::of(*fault);
        let besides: Vec<_> = scene.besides.into_iter().collect();
        match AssertUnwindSafe(scene.play(&besides)).catch_unwind().await {
            Ok(wrong) if wrong.is_empty() => None,
            Ok(wrong) => Some(format!("without {}: {}", fault.name(), wrong.join("; "))),
            Err(_) => Some(format!("without {} it ends as told above", fault.name())),
        }
    });
    all_is_well(wrong).await;
}

async fn all_is_well(complaints: impl Iterator<Item: Future<Output = Option<String>>>) {
    let complaints = stream::iter(complaints).buffer_unordered(AT_ONCE);
    let complaints: Vec<Option<String>> = complaints.collect().await;
    let complaints: Vec<String> = complaints.into_iter().flatten().collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

async fn registers(life: &mut Life) -> Vec<String> {
    let devices = new_devices("light", 25);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    life.rests(apply).await;
    life.violations().await
}

/// The answer to an import is lost, so that it is sent again.
async fn sends_the_same_again(life: &mut Life) -> Vec<String> {
    let devices = bringing("light", 12);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    life.rests(apply).await;
    let mut wrong = life.violations().await;
    let calls = life.upstream.ledger("BatchImportDevice").await;
    let other = calls[1..]
        .iter()
        .find(|call| call["code"] != "SignatureNonceUsed");
    wrong.extend(other.map(|call| format!("it was sent again as another request: {call}")));
    wrong
}

async fn is_there(life: &mut Life) -> Vec<String> {
    let devices = new_devices("light", 25);
    let apply_id = life.submit(devices, AfterCheck::Stop).await;
    let request = GetApplyRequest {
        apply_id,
        include_lists: false,
    };
    let got = life.client().await.get_apply(request).await;
    let lost = got.err().map(|status| status.to_string());
    lost.into_iter().collect()
}

async fn asks_twice(life: &mut Life) -> Vec<String> {
    let request = CheckDevicesRequest {
        product_key: PRODUCT.to_owned(),
        devices: new_devices("light", 25),
        request_id: "once".to_owned(),
        ..Default::default()
    };
    let mut client = life.client().await;
    let mut applies = BTreeSet::new();
    for _ in 0..2 {
        let answer = client.check_devices(request.clone()).await.unwrap();
        applies.insert(answer.into_inner().apply.unwrap().apply_id);
    }
    let more = (applies.len() > 1).then(|| format!("one request made the applies {applies:?}"));
    more.into_iter().collect()
}

async fn repeats_a_name(life: &mut Life) -> Vec<String> {
    let apply = uploads(life, &many_devices(), AfterCheck::Stop).await;
    life.rests(apply).await;
    life.violations().await
}

/// A chunk of an upload is checked and not sealed, and an apply that came later is registered.
async fn is_not_sealed(life: &mut Life) -> Vec<String> {
    let devices = new_devices("early", 10_000);
    let start = UploadStart {
        product_key: PRODUCT.to_owned(),
        after_check: AfterCheck::RegisterValid.into(),
        ..Default::default()
    };
    let mut client = life.client().await;
    let (mut upload, first) = Upload::open(&mut client, start).await.unwrap();
    let apply_id = first.apply.unwrap().apply_id;
    upload.send(0, &devices).await;
    upload.answer().await.unwrap();
    let mut asked = life::asked(apply_id, &devices, false);
    asked.may_register = true;
    life.asked.push(asked);
    patiently(async {
        let is_checked = |apply: &registrar::proto::Apply| apply.counts.unwrap().pending == 0;
        while !is_checked(&get(&mut client, apply_id).await.apply.unwrap()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let later = new_devices("later", 25);
    let later = life.submit(later, AfterCheck::RegisterValid).await;
    life.rests(later).await;
    let registered = life.upstream.ledger(REGISTER).await.len();
    let early = (registered > 1).then(|| "what is not sealed was registered".to_owned());
    early.into_iter().collect()
}

/// Cancelled before anybody has asked what became of a request to register.
async fn is_cancelled_when_it_died(life: &mut Life) -> Vec<String> {
    let devices = new_devices("light", 25);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    patiently(async {
        while !life.is_dead() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    life.cancel(apply).await;
    life.rests(apply).await;
    life.violations().await
}

/// Cancelled while it waits to be registered.
async fn is_cancelled(life: &mut Life) -> Vec<String> {
    let devices = new_devices("light", 25);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    patiently(async {
        while life.upstream.ledger(REGISTER).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    life.cancel(apply).await;
    // A call that had begun before may come so late.
    tokio::time::sleep(LEASE * 2).await;
    life.upstream.lift("block").await;
    life.rests(apply).await;
    life.violations().await
}

async fn overtaken(life: &Life) -> bool {
    let server = life.server.as_ref().expect("it serves");
    let (_, metrics) = server.asks("/metrics").await;
    let losses = metrics
        .lines()
        .filter(|line| line.starts_with("registrar_lease_losses_total{"));
    let mut counts = losses.filter_map(|line| line.rsplit_once(' '));
    counts.any(|(_, count)| count != "0")
}

/// The upstream takes longer over a call than its lease lasts.
async fn is_overtaken(life: &mut Life) -> Vec<String> {
    let mut wrong = registers(life).await;
    patiently(async {
        while life.upstream.ledger(CHECK).await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // The ledger has it before it is sent.
    tokio::time::sleep(5 * LEASE).await;
    if overtaken(life).await {
        wrong.push("a step went on after its lease".to_owned());
    }
    wrong
}

/// The same, and the answer comes when another step has its devices created.
async fn is_overtaken_in_creation(life: &mut Life) -> Vec<String> {
    let devices = new_devices("light", 25);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    patiently(async {
        while life.upstream.ledger(REGISTER).await.len() < 2 && !overtaken(life).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    life.upstream.lift("hold").await;
    life.rests(apply).await;
    life.violations().await
}

/// Five checks, of which one may be made every two seconds.
async fn keeps_the_quota(life: &mut Life) -> Vec<String> {
    for n in 0..5 {
        let devices = new_devices(&format!("light{n}"), 1);
        life.submit(devices, AfterCheck::Stop).await;
    }
    for asked in life.asked.clone() {
        life.rests(asked.apply_id).await;
    }
    let mut wrong = life.violations().await;
    let calls = life.upstream.ledger(CHECK).await;
    let mut arrived: Vec<u64> = calls
        .iter()
        .filter_map(|call| call["arrived_us"].as_u64())
        .collect();
    arrived.sort_unstable();
    // Three span four seconds; a machine that stalls may bring them closer, not that close.
    let close = arrived
        .windows(3)
        .find(|three| three[2] - three[0] < 2_000_000);
    wrong.extend(close.map(|three| format!("three calls within two seconds: {three:?}")));
    wrong
}

/// Devices that authenticate by certificate, of which the upstream drops in silence what exceeds a
/// thousand.
async fn registers_too_many_at_a_time(life: &mut Life) -> Vec<String> {
    life.product = PRODUCT_X509;
    let devices = new_devices("light", 1_500);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    life.rests(apply).await;
    life.violations().await
}

/// What was told once is what is told again.
async fn keeps_what_it_told(life: &mut Life) -> Vec<String> {
    let devices = new_devices("light", 25);
    let apply = life.submit(devices, AfterCheck::Stop).await;
    let told = life.rests_after(apply, 0).await;
    life.register(apply, false).await;
    let mut client = life.client().await;
    patiently(async {
        while get(&mut client, apply).await.apply.unwrap().status() != S::CreateSuccess {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let again = life.rests_after(apply, 0).await;
    let mut wrong = life.violations().await;
    let other = told.iter().find(|event| !again.contains(event));
    wrong.extend(other.map(|event| format!("revision {} was another once", event.revision)));
    wrong
}

/// A change that comes by one of so many services is told by another, where nobody looks unless told.
async fn tells_at_once(life: &mut Life, services: usize) -> Vec<String> {
    let mut client = life.client().await;
    let mut others: Vec<Server> = Vec::new();
    while others.len() + 1 < services {
        others.push(life.start().await.expect("it serves"));
    }
    let mut other = match others.first() {
        Some(other) => other.client().await,
        None => client.clone(),
    };
    all_listen(life, services as i64).await;
    let start = UploadStart {
        product_key: PRODUCT.to_owned(),
        ..Default::default()
    };
    let (_upload, first) = Upload::open(&mut client, start).await.unwrap();
    let apply_id = first.apply.unwrap().apply_id;
    let told = tokio::time::timeout(SOON * 10, is_told(&mut client, &mut other, apply_id));
    match told.await {
        Ok(true) => Vec::new(),
        Ok(false) | Err(_) => vec![format!("a change was not told within {SOON:?}")],
    }
}

/// Whether who watches is soon told that an apply is cancelled.
async fn is_told(client: &mut Client, other: &mut Client, apply_id: i64) -> bool {
    let request = registrar::proto::WatchApplyRequest {
        apply_id,
        ..Default::default()
    };
    let mut events = other.watch_apply(request).await.unwrap().into_inner();
    // A sign of life says that all there was is told.
    while !events
        .message()
        .await
        .unwrap()
        .expect("it goes on")
        .heartbeat
    {}
    let request = CancelApplyRequest {
        apply_id,
        ..Default::default()
    };
    client.cancel_apply(request).await.unwrap();
    let end = async {
        while let Some(event) = events.message().await.unwrap() {
            if event
                .apply
                .is_some_and(|apply| apply.status() == S::Cancelled)
            {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, end).await.is_ok()
}

/// Waits until so many services hear the bells of others.
async fn all_listen(life: &Life, services: i64) {
    let listening = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND query LIKE 'LISTEN %'";
    patiently(async {
        loop {
            let count: i64 = sqlx::query_scalar(listening)
                .fetch_one(&life.database.pool)
                .await
                .expect("the database answers");
            if count >= services {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
