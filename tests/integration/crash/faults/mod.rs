//! Promises that are broken on purpose: what the tests here hold the service to notices each of them,
//! and nothing where none is broken.

mod plays;

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

use self::plays::*;
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
