//! What goes on in the scenes; each tells what is wrong.

use super::*;

pub(super) async fn registers(life: &mut Life) -> Vec<String> {
    let devices = new_devices("light", 25);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    life.rests(apply).await;
    life.violations().await
}

/// The answer to an import is lost, so that it is sent again.
pub(super) async fn sends_the_same_again(life: &mut Life) -> Vec<String> {
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

pub(super) async fn is_there(life: &mut Life) -> Vec<String> {
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

pub(super) async fn asks_twice(life: &mut Life) -> Vec<String> {
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

pub(super) async fn repeats_a_name(life: &mut Life) -> Vec<String> {
    let apply = uploads(life, &many_devices(), AfterCheck::Stop).await;
    life.rests(apply).await;
    life.violations().await
}

/// A chunk of an upload is checked and not sealed, and an apply that came later is registered.
pub(super) async fn is_not_sealed(life: &mut Life) -> Vec<String> {
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
pub(super) async fn is_cancelled_when_it_died(life: &mut Life) -> Vec<String> {
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
pub(super) async fn is_cancelled(life: &mut Life) -> Vec<String> {
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
pub(super) async fn is_overtaken(life: &mut Life) -> Vec<String> {
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
pub(super) async fn is_overtaken_in_creation(life: &mut Life) -> Vec<String> {
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
pub(super) async fn keeps_the_quota(life: &mut Life) -> Vec<String> {
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
pub(super) async fn registers_too_many_at_a_time(life: &mut Life) -> Vec<String> {
    life.product = PRODUCT_X509;
    let devices = new_devices("light", 1_500);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    life.rests(apply).await;
    life.violations().await
}

/// What was told once is what is told again.
pub(super) async fn keeps_what_it_told(life: &mut Life) -> Vec<String> {
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
pub(super) async fn tells_at_once(life: &mut Life, services: usize) -> Vec<String> {
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
