//! The flows, and where each is broken off.

mod imports;
mod later;

use futures_util::FutureExt as _;
use registrar::{
    proto::{
        AfterCheck, Apply, ApplyStatus as S, DeviceCounts, GetApplyRequest, NewDevice, UploadStart,
    },
    simulator::PRODUCT,
};

use self::{imports::*, later::*};
use super::{
    Flow,
    life::{self, Life},
};
use crate::{
    export::{export, with_credentials},
    imports::{bringing, key},
    support::stack::{named, new_devices, patiently},
    upload::Upload,
};

const CHECK: &str = "BatchCheckDeviceNames";
const STATUS: &str = "QueryBatchRegisterDeviceStatus";
const REGISTER: &str = "BatchRegisterDeviceWithApplyId";
const PAGE: &str = "QueryPageByApplyId";
const CHECK_IMPORT: &str = "BatchCheckImportDevice";
const IMPORT: &str = "BatchImportDevice";
const IMPORTED: &str = "QueryImportedDeviceByApplyId";
const DETAILS: &str = "BatchQueryDeviceDetail";
const PRODUCT_INFO: &str = "QueryProduct";

/// An upstream that is done with everything at once.
const FAST: [&str; 2] = ["--simulator-speed", "0"];

/// One that forgets requests within seconds, for flows that wait until it has.
const FORGETFUL: [&str; 2] = ["--simulator-time-window", "4s"];

/// What a service must agree with that on.
const SHORT: [&str; 4] = ["--upstream-time-window", "4s", "--create-timeout", "2s"];

/// Every flow.
pub(super) fn all() -> Vec<Flow> {
    vec![
        names(),
        throttled(),
        large(),
        retry(),
        cancel(),
        upload(),
        import(),
        lost_import(),
        throttled_import(),
        export_names(),
        export_import(),
        reconcile(),
        restored(),
        retention(),
        rotation(),
    ]
}

/// The three points of each of these requests.
fn requests(of: &[&str]) -> Vec<String> {
    points(
        &["request-written", "request-committed", "request-answering"],
        of,
    )
}

/// The points of a step in each of these lanes.
fn steps(of: &[&str]) -> Vec<String> {
    let before = points(&["permits-taken"], of);
    [before, of_rounds(of)].concat()
}

/// Those from its claim on.
fn of_rounds(of: &[&str]) -> Vec<String> {
    let points_of_a_step = [
        "claimed",
        "sending",
        "answered",
        "step-written",
        "step-committed",
    ];
    points(&points_of_a_step, of)
}

fn points(points: &[&str], of: &[&str]) -> Vec<String> {
    let all = of
        .iter()
        .flat_map(|of| points.iter().map(move |point| format!("{point}/{of}")));
    all.collect()
}

fn owned(points: &[&str]) -> Vec<String> {
    points.iter().map(|point| (*point).to_owned()).collect()
}

/// Twenty-five devices of which one breaks a rule, one repeats another and one exists.
fn some_devices() -> Vec<NewDevice> {
    let mut devices = new_devices("light", 25);
    devices[3] = named("a bad name");
    devices[7] = devices[2].clone();
    devices
}

const EXISTS: [&str; 2] = ["--simulator-exists", "a1Simulator/light-000005"];

fn counts(apply: &Apply) -> DeviceCounts {
    apply.counts.expect("counts")
}

#[track_caller]
fn assert_created(apply: &Apply, created: i64, invalid: i64) {
    let counts = counts(apply);
    let came_to = (apply.status(), counts.created, counts.invalid);
    assert_eq!(came_to, (S::CreateSuccess, created, invalid), "{apply:?}");
}

/// Checked, found wanting, and registered without the invalid ones.
fn names() -> Flow {
    Flow {
        points: [
            requests(&["submit", "register"]),
            steps(&[CHECK, STATUS, REGISTER, PAGE]),
            // The rest, checked again; its check passed; its creation.
            of_rounds(&["BatchCheckDeviceNames#2"]),
            of_rounds(&["QueryBatchRegisterDeviceStatus#2"]),
            of_rounds(&["QueryBatchRegisterDeviceStatus#3"]),
            owned(&["ring-passing", "ring-passed"]),
        ]
        .concat(),
        upstream: &[FAST[0], FAST[1], EXISTS[0], EXISTS[1]],
        flags: &[],
        drive: |life| {
            async {
                let apply = life.submit(some_devices(), AfterCheck::Stop).await;
                assert_eq!(life.rests(apply).await.status(), S::CheckFailed);
                life.register(apply, false).await;
                assert_created(&life.rests(apply).await, 22, 3);
            }
            .boxed_local()
        },
    }
}

async fn registers_a_thousand_and_one(life: &mut Life) {
    let devices = new_devices("light", 1_001);
    let apply = life.submit(devices, AfterCheck::RegisterValid).await;
    assert_created(&life.rests(apply).await, 1_001, 0);
}

/// Every action is throttled once.
fn throttled() -> Flow {
    Flow {
        points: points(
            &["slowed-down"],
            &[CHECK, STATUS, REGISTER, PAGE, PRODUCT_INFO],
        ),
        upstream: &[
            FAST[0],
            FAST[1],
            "--simulator-fault",
            r#"a={"kind":"throttle","calls":[1],"action":"BatchCheckDeviceNames"};b={"kind":"throttle","calls":[1],"action":"QueryBatchRegisterDeviceStatus"};c={"kind":"throttle","calls":[1],"action":"BatchRegisterDeviceWithApplyId"};d={"kind":"throttle","calls":[1],"action":"QueryPageByApplyId"};e={"kind":"throttle","calls":[1],"action":"QueryProduct"}"#,
        ],
        flags: &[],
        drive: |life| registers_a_thousand_and_one(life).boxed_local(),
    }
}

/// More devices than a product of certificates takes at a time, so that it is looked up.
fn large() -> Flow {
    Flow {
        points: [
            points(&["permits-taken", "sending", "answered"], &[PRODUCT_INFO]),
            owned(&["beside-recorded/QueryProduct", "product-learnt"]),
        ]
        .concat(),
        upstream: &FAST,
        flags: &[],
        drive: |life| registers_a_thousand_and_one(life).boxed_local(),
    }
}

/// Registered, of which two fail and are registered again.
fn retry() -> Flow {
    Flow {
        points: [
            requests(&["retry"]),
            of_rounds(&["BatchCheckDeviceNames#2"]),
            of_rounds(&["QueryBatchRegisterDeviceStatus#2"]),
            of_rounds(&["QueryBatchRegisterDeviceStatus#4"]),
            of_rounds(&["BatchRegisterDeviceWithApplyId#2"]),
        ]
        .concat(),
        upstream: &[
            FAST[0],
            FAST[1],
            "--simulator-fault",
            r#"fail={"kind":"fail-creates","names":["light-000001","light-000004"]}"#,
        ],
        flags: &[],
        drive: |life| {
            async {
                let devices = new_devices("light", 25);
                let apply = life.submit(devices, AfterCheck::RegisterValid).await;
                let ended = life.rests(apply).await;
                let came_to = (ended.status(), counts(&ended).failed);
                assert_eq!(came_to, (S::CreateFailed, 2));
                life.upstream.lift("fail").await;
                life.register(apply, true).await;
                assert_created(&life.rests(apply).await, 25, 0);
            }
            .boxed_local()
        },
    }
}

/// Cancelled while its creation is under way, or as soon as the service is there again.
fn cancel() -> Flow {
    Flow {
        points: [
            requests(&["cancel"]),
            of_rounds(&[CHECK, STATUS, REGISTER]),
            of_rounds(&["QueryBatchRegisterDeviceStatus#2"]),
        ]
        .concat(),
        upstream: &[
            FAST[0],
            FAST[1],
            FORGETFUL[0],
            FORGETFUL[1],
            "--simulator-fault",
            r#"hold={"kind":"stuck","phase":"CREATE"}"#,
        ],
        flags: &SHORT,
        drive: |life| {
            async {
                let devices = new_devices("light", 25);
                let apply = life.submit(devices, AfterCheck::RegisterValid).await;
                patiently(async {
                    while !life.is_dead() && life.upstream.ledger(REGISTER).await.is_empty() {
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    }
                })
                .await;
                if !life.is_dead() && !life.has_died() {
                    // The question that follows, of which some runs die.
                    asked(life, STATUS, 2).await;
                }
                life.cancel(apply).await;
                life.upstream.lift("hold").await;
                let ended = life.rests(apply).await;
                let counts = counts(&ended);
                assert_eq!(ended.status(), S::Cancelled);
                assert_eq!(counts.created + counts.cancelled, 25, "{ended:?}");
            }
            .boxed_local()
        },
    }
}

/// Waits until an action was called so often, or the service is dead.
async fn asked(life: &mut Life, action: &str, calls: usize) {
    patiently(async {
        while !life.is_dead() && life.upstream.ledger(action).await.len() < calls {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A chunk and some more, one stream of which is cut off; a device of the first is in the second again.
fn upload() -> Flow {
    Flow {
        points: [
            requests(&["begin-upload", "resume-upload", "append", "seal"]),
            points(&["claimed", "answered", "step-committed"], &[CHECK]),
            points(&["step-written", "step-committed"], &[STATUS]),
            points(&["answered", "step-committed"], &[REGISTER]),
        ]
        .concat(),
        upstream: &FAST,
        flags: &[],
        drive: |life| {
            async {
                let apply = uploads(life, &many_devices(), AfterCheck::RegisterValid).await;
                assert_created(&life.rests(apply).await, 10_023, 2);
            }
            .boxed_local()
        },
    }
}

/// A chunk and some more, of which one breaks a rule and one repeats one of the chunk.
pub(super) fn many_devices() -> Vec<NewDevice> {
    let mut devices = new_devices("light", 10_025);
    devices[3] = named("a bad name");
    devices[10_007] = devices[5].clone();
    devices
}

/// Uploads devices, by as many streams as it takes and at least two.
pub(super) async fn uploads(life: &mut Life, devices: &[NewDevice], then: AfterCheck) -> i64 {
    let mut cut = false;
    loop {
        let start = UploadStart {
            product_key: PRODUCT.to_owned(),
            after_check: then.into(),
            request_id: "upload".to_owned(),
            ..Default::default()
        };
        let mut client = life.client().await;
        let (upload, first) = match Upload::open(&mut client, start).await {
            Ok(opened) => opened,
            Err(status) => {
                life.mourn(&status.to_string()).await;
                continue;
            }
        };
        if !std::mem::replace(&mut cut, true) {
            upload.send(0, &devices[..4_000]).await;
            continue;
        }
        let apply = first.apply.expect("an apply");
        if life.asked.is_empty() {
            let mut asked = life::asked(apply.apply_id, devices, true);
            asked.may_register = then != AfterCheck::Stop;
            life.asked.push(asked);
        }
        if !apply.sealed {
            let next = first.next_ordinal as usize;
            upload.send_all(next, devices).await;
        }
        upload.seal(devices.len()).await;
        match upload.end().await {
            (_, None) => return apply.apply_id,
            (_, Some(status)) => life.mourn(&status.to_string()).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_registered_once_wherever_the_service_dies() {
    names().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_and_a_death_in_it_cost_time_alone() {
    throttled().runs().await;
    throttled_import().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_is_being_looked_up_when_the_service_dies_is_registered_all_the_same() {
    large().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_devices_are_registered_again_once_wherever_the_service_dies() {
    retry().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_after_a_cancel_wherever_the_service_dies() {
    cancel().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_stored_and_registered_once_wherever_the_service_dies() {
    upload().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_imported_once_wherever_the_service_dies() {
    import().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_an_answer_is_found_wherever_the_service_dies() {
    lost_import().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_asked_for_again_wherever_the_service_dies() {
    export_names().runs().await;
    export_import().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_cancels_and_removes_wherever_the_service_dies() {
    retention().runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_is_never_lost_wherever_the_service_dies() {
    rotation().runs().await;
}
