//! How the upstream is asked: several calls at a time within the lane of their action, each until it
//! is answered, and all of them recorded.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use super::{Credentials, Error};
use crate::{
    domain::{Apply, Lane, retry::pause_after},
    lanes::{self, Shown, THROTTLED, Turns},
    store::BesideCall,
    upstream::{self, Answer, Call, Client, Product, Scope},
};

/// How often an answer that contradicts what is known (no such apply, fewer devices than there are)
/// is asked for again before it is believed: the upstream does not say that its answers agree at once.
pub(super) const BELIEVED_AFTER: u32 = 3;

/// How late a call may come for its slot before it is given up, and taken up again.
const CALL: Duration = Duration::from_secs(60);

/// Asks for the devices of one apply, as many calls at a time as an export may make.
pub(super) struct Asking<'a> {
    credentials: &'a Credentials,
    apply: &'a Apply,
    lane: Lane,
    turns: &'a Turns,
    room: Semaphore,
    /// When the upstream last gave what was asked for.
    given_at: Mutex<Instant>,
    /// What it said when it last did not.
    said: Mutex<Option<String>>,
    calls: Mutex<Vec<BesideCall>>,
}

/// What a call is about, for the history of the apply.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) round_no: i32,
    pub(super) upstream_apply: Option<i64>,
}

impl<'a> Asking<'a> {
    /// `by_name`: looks devices up, and reads no pages.
    pub(super) fn new(credentials: &'a Credentials, apply: &'a Apply, by_name: bool) -> Self {
        let (lane, turns) = match by_name {
            true => (Lane::Details, &credentials.turns.details),
            false => (Lane::Page, &credentials.turns.pages),
        };
        Self {
            credentials,
            apply,
            lane,
            turns,
            room: Semaphore::new(credentials.options.export_pages as usize),
            given_at: Mutex::new(Instant::now()),
            said: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// What `reading` comes to, unless nothing is given for as long as the patience lasts. Its calls
    /// are recorded for whoever asks for the history of the apply, also when it failed.
    pub(super) async fn read<T>(
        &self,
        reading: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let read = self.patiently(reading).await;
        let calls = std::mem::take(&mut *lock(&self.calls));
        let recorded = self.credentials.store.record_calls(self.apply.id, &calls);
        recorded.await?;
        read
    }

    pub(super) fn upstream(&self) -> &Client {
        &self.credentials.upstream
    }

    pub(super) fn product(&self) -> Product<'a> {
        let instance = self.apply.iot_instance_id.as_str();
        Product {
            product_key: &self.apply.product_key,
            iot_instance_id: Some(instance).filter(|id| !id.is_empty()),
        }
    }

    /// How many calls are made at a time.
    pub(super) fn at_once(&self) -> usize {
        self.credentials.options.export_pages as usize
    }

    /// What a call is answered with, made until it is; none once it was often enough denied that there
    /// is what it is about.
    pub(super) async fn answer<T: Shown>(
        &self,
        about: About,
        call: &Call<T>,
    ) -> Result<Option<T>, Error> {
        let (mut failures, mut denials) = (0, 0);
        loop {
            let Some(answer) = self.ask(about, call).await? else {
                continue;
            };
            let error = match answer.outcome {
                Ok(given) => {
                    *lock(&self.given_at) = Instant::now();
                    return Ok(Some(given));
                }
                Err(error) => error,
            };
            if error.not_found() || error.no_such_device() {
                denials += 1;
                if denials > BELIEVED_AFTER {
                    return Ok(None);
                }
            }
            failures += 1;
            *lock(&self.said) = Some(error.to_string());
            let pause = pause(&error, failures, self.credentials.probe_every);
            tokio::time::sleep(pause).await;
        }
    }

    /// Also where the quota gives no turn, as after a call that was told to come back late.
    async fn patiently<T>(
        &self,
        reading: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut reading = std::pin::pin!(reading);
        loop {
            let until = *lock(&self.given_at) + self.credentials.patience();
            if let Ok(read) = tokio::time::timeout_at(until, &mut reading).await {
                return read;
            }
            if lock(&self.given_at).elapsed() >= self.credentials.patience() {
                let said = lock(&self.said).take();
                let said = said.unwrap_or_else(|| "nothing; the call had no turn".to_owned());
                return Err(Error::Upstream { said });
            }
        }
    }

    /// Makes a call once; none if it came too late to be sent.
    async fn ask<T: Shown>(
        &self,
        about: About,
        call: &Call<T>,
    ) -> Result<Option<Answer<T>>, Error> {
        let _room = self.room.acquire().await.expect("never closed");
        let slot = self.turns.next().await?;
        let deadline = Instant::now() + CALL;
        let lanes = &self.credentials.lanes;
        let sent = lanes.send(self.lane, slot, deadline, call, None).await?;
        let Ok(mut answer) = sent else {
            return Ok(None);
        };
        if self.apply.import {
            // Its devices' secrets are not kept here, so nobody could cut them out.
            answer.outcome = answer.outcome.map_err(upstream::Error::unquoted);
        }
        let made = lanes::made(self.lane, about.upstream_apply, &answer);
        if let Err(error) = &answer.outcome {
            tracing::warn!(
                apply.id = %self.apply.id,
                round.no = about.round_no,
                action = self.lane.as_str(),
                error = error as &dyn std::error::Error,
                "an export got no credentials; they are asked for again"
            );
        }
        lock(&self.calls).push(BesideCall {
            round_no: about.round_no,
            ended_at: Instant::now(),
            made,
        });
        Ok(Some(answer))
    }
}

/// How long to wait after a failure. A throttled call has slowed its lane down as well.
fn pause(error: &upstream::Error, failures: u32, probe_every: Duration) -> Duration {
    let asked_for = error.retry_after.unwrap_or_default();
    let own = match error.scope {
        _ if error.throttled() => THROTTLED,
        Scope::Clock if error.clock_corrected => Duration::ZERO,
        Scope::Account | Scope::Lane | Scope::Apply => probe_every,
        Scope::Call | Scope::Clock => pause_after(failures, rand::random()),
    };
    own.max(asked_for)
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
