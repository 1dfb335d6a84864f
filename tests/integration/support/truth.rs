//! What clients asked for, held against what became of it here and upstream.
//!
//! The clients' own record and the upstream's ledger are the only witnesses; nothing that the service
//! says of itself is believed. A [`Truth`] is read once nothing moves any more, and says what it
//! finds wrong in sentences.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use registrar::proto::{ApplyStatus as S, Device, DeviceOutcome as O};
use serde_json::Value;
use sqlx::PgPool;

use super::stack::{Client, Upstream, get, list_devices};

/// How much is told of what is wrong with an apply.
const MOST: usize = 20;

/// What the client of an apply has sent and been told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) apply_id: i64,
    /// What was sent, in order. No other apply may have brought these names.
    pub(crate) names: Vec<String>,
    /// The secrets that an import has brought, in the same order.
    pub(crate) secrets: Option<Vec<String>>,
    /// Whether anybody has ever asked for its registration, answered or not.
    pub(crate) may_register: bool,
    /// Whether it was ever asked to be sealed, answered or not. A unary submission is.
    pub(crate) sealed: bool,
    /// When a request to cancel had been answered, in microseconds since the epoch.
    pub(crate) cancelled_us: Option<u64>,
}

impl Asked {
    fn brings_a_bad_secret(&self, at: usize) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_@.:".contains(c);
        let secret = self.secrets.as_ref().and_then(|all| all.get(at));
        secret
            .is_some_and(|secret| !(1..=32).contains(&secret.len()) || !secret.chars().all(allowed))
    }
}

/// A request that the upstream has taken, which makes it create devices.
#[derive(Debug)]
struct Registration {
    upstream_apply: u64,
    arrived_us: u64,
}

/// A device that the upstream has.
#[derive(Debug)]
struct Existing {
    /// None for one that was there from the beginning.
    creator: Option<u64>,
    times_created: u64,
    secret: String,
}

/// What the upstream knows.
#[derive(Debug)]
pub(crate) struct Truth {
    /// In the order in which they arrived.
    registrations: HashMap<String, Vec<Registration>>,
    existing: HashMap<String, Existing>,
    /// How long a call may be under way after the right to make it was given.
    lease: Duration,
}

impl Truth {
    /// Reads ledger and devices. `lease` is that of the workers.
    pub(crate) async fn read(upstream: &Upstream, product: &str, lease: Duration) -> Self {
        let ledger = upstream.ledger("").await;
        let mut existing = HashMap::new();
        for device in upstream.credentials(product).await {
            let known = Existing {
                creator: device["apply_id"].as_u64(),
                times_created: device["created"].as_u64().expect("a count"),
                secret: device["device_secret"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            };
            existing.insert(text(&device["name"]), known);
        }
        // Those that were there from the beginning have no credentials.
        for device in upstream.devices(product).await {
            existing.entry(text(&device["name"])).or_insert(Existing {
                creator: device["apply_id"].as_u64(),
                times_created: device["created"].as_u64().expect("a count"),
                secret: String::new(),
            });
        }
        Self {
            registrations: registrations(&ledger),
            existing,
            lease,
        }
    }

    /// What is wrong with an apply, as its client sees it. Nothing of it may move any more.
    pub(crate) async fn violations(&self, client: &mut Client, asked: &Asked) -> Vec<String> {
        let apply = get(client, asked.apply_id).await.apply.expect("an apply");
        let devices = list_devices(client, asked.apply_id).await;
        let mut wrong = Vec::new();
        let ended = match apply.status() {
            S::CheckSuccess
            | S::CheckFailed
            | S::CreateSuccess
            | S::CreateFailed
            | S::Cancelled => true,
            // An upload that nobody has sealed or cancelled waits for its rest.
            S::Check => !asked.sealed && asked.cancelled_us.is_none(),
            S::Create | S::Unspecified => false,
        };
        if !ended {
            wrong.push(format!("it has not ended: {:?}", apply.status()));
        }
        if !asked.sealed && apply.sealed {
            wrong.push("it is sealed and nobody has asked for that".to_owned());
        }
        wrong.extend(self.counts(&apply, &devices, asked));
        let mut seen = HashMap::new();
        for (at, (device, name)) in devices.iter().zip(&asked.names).enumerate() {
            let went_on = |what: &str| (device.outcome() != O::Invalid).then(|| what.to_owned());
            let why = match asked.brings_a_bad_secret(at) {
                // It claims no name, so that the next one of the name is the first.
                true => went_on("it went on with a bad secret"),
                false => match *seen.entry(name.as_str()).or_insert(at) == at {
                    true => self.device(apply.status(), device, asked),
                    false => went_on("a duplicate went on"),
                },
            };
            wrong.extend(why.map(|why| {
                let (ordinal, outcome) = (device.ordinal, device.outcome());
                format!("device {ordinal} ({name}), {outcome:?}: {why}")
            }));
        }
        // The others are as a rule the same.
        wrong.truncate(MOST);
        wrong
            .into_iter()
            .map(|why| format!("apply {}, {:?}: {why}", asked.apply_id, apply.status()))
            .collect()
    }

    fn counts(
        &self,
        apply: &registrar::proto::Apply,
        devices: &[Device],
        asked: &Asked,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut listed: BTreeMap<O, i64> = BTreeMap::new();
        for device in devices {
            *listed.entry(device.outcome()).or_default() += 1;
        }
        let counts = apply.counts.unwrap_or_default();
        let told = [
            (O::Pending, counts.pending),
            (O::Valid, counts.valid),
            (O::Invalid, counts.invalid),
            (O::Created, counts.created),
            (O::Failed, counts.failed),
            (O::Unknown, counts.unknown),
            (O::Cancelled, counts.cancelled),
        ];
        for (outcome, told) in told {
            let listed = listed.get(&outcome).copied().unwrap_or_default();
            if listed != told {
                wrong.push(format!(
                    "{told} are counted {outcome:?}, {listed} are listed"
                ));
            }
        }
        if devices.len() != asked.names.len() {
            let (has, sent) = (devices.len(), asked.names.len());
            wrong.push(format!("it has {has} devices, {sent} were sent"));
        }
        let misplaced = devices.iter().enumerate().zip(&asked.names);
        for ((at, device), name) in misplaced {
            let kept = device.outcome() == O::Invalid || device.device_name == *name;
            if device.ordinal as usize != at || !kept {
                wrong.push(format!("{name} was sent at {at}, there is {device:?}"));
            }
        }
        wrong
    }

    /// What is wrong with the first device of its name in an apply.
    fn device(&self, status: S, device: &Device, asked: &Asked) -> Option<String> {
        let name = asked.names.get(device.ordinal as usize)?;
        let existing = self.existing.get(name);
        let is_created = existing.is_some_and(|it| it.creator.is_some());
        if existing.is_some_and(|it| it.times_created > 1) {
            return Some("it was created more than once".to_owned());
        }
        let settled = match (status, device.outcome()) {
            (S::Check | S::Create | S::Unspecified, _) => true,
            (S::CheckSuccess, outcome) => outcome == O::Valid,
            (S::CheckFailed, outcome) => matches!(outcome, O::Valid | O::Invalid),
            (S::CreateSuccess, outcome) => matches!(outcome, O::Created | O::Invalid),
            (S::CreateFailed, outcome) => {
                matches!(outcome, O::Created | O::Invalid | O::Failed | O::Unknown)
            }
            (S::Cancelled, outcome) => !matches!(outcome, O::Pending | O::Valid),
        };
        if !settled {
            return Some("that is no outcome of an apply in this status".to_owned());
        }
        match device.outcome() {
            O::Created if !is_created => return Some("the upstream has not created it".to_owned()),
            O::Unknown | O::Created => {}
            _ if is_created => return Some("the upstream has created it".to_owned()),
            _ => {}
        }
        if let (O::Created, Some(secrets), Some(existing)) =
            (device.outcome(), &asked.secrets, existing)
            && secrets.get(device.ordinal as usize) != Some(&existing.secret)
        {
            return Some("the upstream has another secret".to_owned());
        }
        self.sent(name, existing.and_then(|it| it.creator), asked)
    }

    /// What is wrong with how often and when a device was sent to be registered.
    fn sent(&self, name: &str, creator: Option<u64>, asked: &Asked) -> Option<String> {
        let sent = self.registrations.get(name)?;
        let last = sent.last()?;
        if !asked.may_register {
            return Some("it was sent and nobody has asked for that".to_owned());
        }
        if !asked.sealed {
            return Some("it was sent before the apply was sealed".to_owned());
        }
        if creator.is_some_and(|creator| creator != last.upstream_apply) {
            return Some(format!(
                "it was sent again although an earlier request created it: {sent:?}"
            ));
        }
        let lease_us = self.lease.as_micros() as u64;
        let late = asked.cancelled_us.map(|at| at + lease_us);
        late.is_some_and(|late| last.arrived_us > late)
            .then(|| format!("it was sent after the apply was cancelled: {sent:?}"))
    }
}

/// The requests to register and to import that were taken, by the names they were about. A request
/// that was taken twice, as one upstream apply, is one.
fn registrations(ledger: &[Value]) -> HashMap<String, Vec<Registration>> {
    let mut names_of: HashMap<u64, Vec<String>> = HashMap::new();
    for call in ledger {
        if let (Some(id), Some(names)) = (call["apply_id"].as_u64(), call["name_list"].as_array()) {
            names_of.insert(id, names.iter().map(text).collect());
        }
    }
    let mut taken = HashSet::new();
    let mut registrations: HashMap<String, Vec<Registration>> = HashMap::new();
    for call in ledger {
        let registers = ["BatchRegisterDeviceWithApplyId", "BatchImportDevice"];
        let is_taken =
            call["code"] == "OK" && registers.iter().any(|action| call["action"] == **action);
        let Some(upstream_apply) = call["apply_id"].as_u64().filter(|_| is_taken) else {
            continue;
        };
        if !taken.insert(upstream_apply) {
            continue;
        }
        let names = names_of.get(&upstream_apply).expect("the ledger has names");
        for name in names {
            let sent = registrations.entry(name.clone()).or_default();
            sent.push(Registration {
                upstream_apply,
                arrived_us: call["arrived_us"].as_u64().expect("a time"),
            });
        }
    }
    for sent in registrations.values_mut() {
        sent.sort_by_key(|one| one.arrived_us);
    }
    registrations
}

/// Applies that keep secrets which none of their devices can need any more.
pub(crate) async fn secrets_left(pool: &PgPool) -> Vec<i64> {
    sqlx::query_scalar(
        "SELECT apply_id FROM applies
         WHERE status IN ('CREATE_SUCCESS', 'CANCELLED')
           AND (data_key IS NOT NULL OR EXISTS (SELECT FROM chunks
                                                WHERE chunks.apply_id = applies.apply_id
                                                  AND chunks.secrets IS NOT NULL))
         ORDER BY apply_id",
    )
    .fetch_all(pool)
    .await
    .expect("the database answers")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
