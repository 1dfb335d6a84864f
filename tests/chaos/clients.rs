//! Clients that submit, repeat, register, try again and cancel.

use std::{
    fmt::Debug,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng as _, seq::IndexedRandom as _};
use registrar::{
    proto::{
        AfterCheck, Apply, ApplyStatus as S, CancelApplyRequest, CheckDevicesRequest,
        GetApplyRequest, RegisterRequest,
    },
    simulator::PRODUCT,
};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tonic::{Response, Status};

use crate::{
    caller::Caller,
    devices,
    record::{Told, add},
    support::stack::Client,
    upload, watcher,
};

const AFTER_CHECK: [AfterCheck; 4] = [
    AfterCheck::Stop,
    AfterCheck::RegisterIfAllValid,
    AfterCheck::RegisterValid,
    AfterCheck::RegisterValid,
];

/// What all clients of a run share.
#[derive(Clone)]
pub(crate) struct Scene {
    /// Those who go on after their client: watchers, and those who look after an apply.
    pub(crate) tasks: TaskTracker,
    pub(crate) watchers: TaskTracker,
    /// When no new work is begun any more.
    pub(crate) ends: Instant,
    /// Nothing is asked of any apply any more.
    pub(crate) done: watch::Receiver<bool>,
}

/// Submits one apply after the other until the scene ends.
pub(crate) async fn submit(mut caller: Caller, number: usize, scene: Scene) {
    let mut serial = 0;
    while Instant::now() < scene.ends {
        serial += 1;
        let prefix = format!("c{number}-{serial:03}");
        let after_check = *AFTER_CHECK.choose(&mut caller.rng).expect("some");
        let accepted = match caller.rng.random_range(0..20) {
            0 => upload::upload(&mut caller, &prefix, after_check, scene.ends).await,
            1..5 => check(&mut caller, &prefix, after_check, true).await,
            _ => check(&mut caller, &prefix, after_check, false).await,
        };
        if let Some(apply_id) = accepted {
            for _ in 0..caller.rng.random_range(1..4) {
                let watching = watcher::watch(caller.another(), apply_id, scene.done.clone());
                scene.watchers.spawn(watching);
            }
            scene
                .tasks
                .spawn(look_after(caller.another(), apply_id, scene.ends));
        }
        let pause = caller.rng.random_range(100..2_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Submits devices in one call.
async fn check(
    caller: &mut Caller,
    prefix: &str,
    after_check: AfterCheck,
    import: bool,
) -> Option<i64> {
    let devices = match import {
        true => devices::import(&mut caller.rng, prefix),
        false => devices::names(&mut caller.rng, prefix),
    };
    let request = Arc::new(CheckDevicesRequest {
        product_key: PRODUCT.to_owned(),
        devices: devices.clone(),
        after_check: after_check.into(),
        request_id: format!("check {prefix}"),
        import,
        ..Default::default()
    });
    let answer = ask(caller, "CheckDevices", move |mut client: Client| {
        let request = request.as_ref().clone();
        async move { client.check_devices(request).await }
    })
    .await;
    match answer {
        Ok(answer) => {
            let apply = answer.apply.expect("an apply");
            let told = Told::new(devices, import, after_check);
            caller.record.accepted(apply.apply_id, told);
            caller.record.seen("its submitter", &apply);
            Some(apply.apply_id)
        }
        Err(status) => {
            caller
                .record
                .violation(&format!("{prefix} is refused: {status:?}"));
            None
        }
    }
}

/// Registers an apply, has what failed registered again, or cancels it, as it comes.
async fn look_after(mut caller: Caller, apply_id: i64, ends: Instant) {
    let cancel_in = Duration::from_millis(caller.rng.random_range(0..6_000));
    let cancels = caller
        .rng
        .random_bool(0.2)
        .then(|| Instant::now() + cancel_in);
    let (mut asked, mut retries) = (0, caller.rng.random_range(0..3));
    while Instant::now() < ends {
        let pause = Duration::from_millis(caller.rng.random_range(100..1_200));
        let wake = cancels.map_or(Instant::now() + pause, |at| at.min(Instant::now() + pause));
        tokio::time::sleep_until(wake.into()).await;
        if cancels.is_some_and(|at| at <= Instant::now()) {
            return cancel(&mut caller, apply_id).await;
        }
        let Some(apply) = get(&mut caller, apply_id).await else {
            return;
        };
        let retry = match apply.status() {
            S::CreateSuccess | S::Cancelled => return,
            S::CreateFailed if retries == 0 => return,
            S::CreateFailed => true,
            S::CheckSuccess | S::CheckFailed => false,
            _ => continue,
        };
        if asked > 6 {
            return;
        }
        asked += 1;
        retries -= i32::from(retry);
        register(&mut caller, apply_id, asked, retry).await;
    }
}

/// The apply as it stands.
pub(crate) async fn get(caller: &mut Caller, apply_id: i64) -> Option<Apply> {
    let request = GetApplyRequest {
        apply_id,
        include_lists: false,
    };
    let answer = caller
        .call("GetApply", |mut client| async move {
            client.get_apply(request).await
        })
        .await;
    match answer {
        Ok(answer) => {
            let apply = answer.apply.expect("an apply");
            caller.record.seen("a reader", &apply);
            Some(apply)
        }
        Err(status) => {
            caller
                .record
                .violation(&format!("apply {apply_id} is not told: {status:?}"));
            None
        }
    }
}

async fn register(caller: &mut Caller, apply_id: i64, asked: u32, retry: bool) {
    let request = Arc::new(RegisterRequest {
        apply_id,
        skip_invalid: caller.rng.random_bool(0.7),
        retry_failed: retry,
        request_id: format!("register {apply_id} {asked}"),
    });
    caller.record.note(apply_id, |told| told.registers = true);
    let answer = ask(caller, "Register", move |mut client: Client| {
        let request = request.as_ref().clone();
        async move { client.register(request).await }
    })
    .await;
    match answer {
        Ok(answer) => {
            let apply = answer.apply.expect("an apply");
            caller.record.seen("who registers", &apply);
            if !matches!(
                apply.status(),
                S::Create | S::CreateSuccess | S::CreateFailed
            ) {
                let what = format!("apply {apply_id}: register answers {apply:?}");
                caller.record.violation(&what);
            }
        }
        // Skipping was not asked for, nothing is valid, or it was cancelled meanwhile.
        Err(status) if status.code() == tonic::Code::FailedPrecondition => {}
        Err(status) => {
            let what = format!("apply {apply_id}: register is refused: {status:?}");
            caller.record.violation(&what);
        }
    }
}

async fn cancel(caller: &mut Caller, apply_id: i64) {
    let request = Arc::new(CancelApplyRequest {
        apply_id,
        request_id: format!("cancel {apply_id}"),
    });
    let answer = ask(caller, "CancelApply", move |mut client: Client| {
        let request = request.as_ref().clone();
        async move { client.cancel_apply(request).await }
    })
    .await;
    match answer {
        Ok(answer) => {
            let now = OffsetDateTime::now_utc();
            caller
                .record
                .note(apply_id, |told| told.cancelled = Some(now));
            let apply = answer.apply.expect("an apply");
            caller.record.seen("who cancels", &apply);
            if !(apply.cancelling || matches!(apply.status(), S::Cancelled | S::CreateSuccess)) {
                let what = format!("apply {apply_id}: cancel answers {apply:?}");
                caller.record.violation(&what);
            }
        }
        Err(status) => {
            let what = format!("apply {apply_id}: cancel is refused: {status:?}");
            caller.record.violation(&what);
        }
    }
}

/// Asks once, or twice under one request id: at once, or one after the other. Both get one answer.
async fn ask<T, F>(caller: &mut Caller, what: &str, call: impl Fn(Client) -> F) -> Result<T, Status>
where
    T: PartialEq + Debug,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let how = caller.rng.random_range(0..10);
    if how > 5 {
        return caller.call(what, call).await;
    }
    let mut other = caller.another();
    add(&caller.record.counts.repeats);
    let (first, second) = if how < 3 {
        tokio::join!(caller.call(what, &call), other.call(what, &call))
    } else {
        let first = caller.call(what, &call).await;
        caller.pause().await;
        (first, other.call(what, &call).await)
    };
    if let (Ok(first), Ok(second)) = (&first, &second)
        && first != second
    {
        let both = format!("{first:?} and {second:?}");
        caller
            .record
            .violation(&format!("{what}: one request was answered with {both}"));
    }
    first.or(second)
}
