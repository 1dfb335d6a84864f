//! The result pages of one upstream apply, each asked for until it is there.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::Semaphore, time::Instant};

use super::{Credential, Credentials, Error};
use crate::{
    domain::{Apply, CHUNK, Lane, retry::pause_after},
    lanes::{self, THROTTLED},
    store::{BesideCall, Creation},
    upstream::{self, Answer, Product, Scope},
};

/// How often an answer that contradicts what is known (no such apply, fewer rows than it counts) is
/// asked for before it is believed: the upstream does not say that its answers agree at once.
const BELIEVED_AFTER: u32 = 3;

/// The most pages that are asked for of one upstream apply: it has at most 10,000 devices, and a page
/// has 10 of them where the upstream keeps to its default.
const MOST_PAGES: u32 = CHUNK as u32 / 10;

/// How late a call may come for its slot before it is given up, and taken up again.
const CALL: Duration = Duration::from_secs(60);

/// Reads pages, as many at a time as an export may.
pub(super) struct Pages<'a> {
    credentials: &'a Credentials,
    apply: &'a Apply,
    room: Semaphore,
    /// When the upstream gave the last page.
    given_at: Mutex<Instant>,
    /// What it said when it last gave none.
    said: Mutex<Option<String>>,
    calls: Mutex<Vec<BesideCall>>,
}

/// A page, or that the upstream does not know its apply.
type Page = Option<upstream::Credentials>;

impl<'a> Pages<'a> {
    pub(super) fn new(credentials: &'a Credentials, apply: &'a Apply) -> Self {
        Self {
            credentials,
            apply,
            room: Semaphore::new(credentials.options.export_pages as usize),
            given_at: Mutex::new(Instant::now()),
            said: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// All that an upstream apply lists. Read anew if there are fewer rows than it counts, since rows
    /// move between pages when devices are deleted meanwhile.
    pub(super) async fn of(
        &self,
        creation: Creation,
    ) -> Result<(Creation, HashMap<String, Credential>), Error> {
        let mut tries = 0;
        loop {
            let mut rows = HashMap::new();
            let Some(first) = self.page(creation, 1).await? else {
                return Ok((creation, rows));
            };
            let (total, count) = (first.total, page_count(&first));
            take(&mut rows, first);
            let others: Vec<Page> = stream::iter(2..=count)
                .map(|page| self.page(creation, page))
                .buffer_unordered(self.credentials.options.export_pages as usize)
                .try_collect()
                .await?;
            for page in others.into_iter().flatten() {
                take(&mut rows, page);
            }
            if rows.len() as u64 >= total || tries == BELIEVED_AFTER {
                return Ok((creation, rows));
            }
            tries += 1;
            tokio::time::sleep(pause_after(tries, rand::random())).await;
        }
    }

    /// What `reading` comes to, unless no page is given for as long as the patience lasts: also where
    /// the quota gives no turn, as after a call that was told to come back late.
    pub(super) async fn patiently<T>(
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

    /// Records the calls that were made, for whoever asks for the history of the apply.
    pub(super) async fn record(&self) -> Result<(), Error> {
        let calls = std::mem::take(&mut *lock(&self.calls));
        Ok(self
            .credentials
            .store
            .record_calls(self.apply.id, &calls)
            .await?)
    }

    /// One page, asked for until it is there.
    async fn page(&self, creation: Creation, page: u32) -> Result<Page, Error> {
        let (mut failures, mut denials) = (0, 0);
        loop {
            let Some(answer) = self.ask(creation, page).await? else {
                continue;
            };
            let error = match answer.outcome {
                Ok(page) => {
                    *lock(&self.given_at) = Instant::now();
                    return Ok(Some(page));
                }
                Err(error) => error,
            };
            if error.not_found() {
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

    /// Asks for a page once; none if the call came too late to be sent.
    async fn ask(
        &self,
        creation: Creation,
        page: u32,
    ) -> Result<Option<Answer<upstream::Credentials>>, Error> {
        let Credentials {
            upstream,
            lanes,
            turns,
            ..
        } = self.credentials;
        let product = Product {
            product_key: &self.apply.product_key,
            iot_instance_id: Some(self.apply.iot_instance_id.as_str()).filter(|id| !id.is_empty()),
        };
        // Where another kind of apply has its devices listed by another action, it is chosen here.
        let call = upstream.credentials(product, creation.upstream_apply, page);
        let _room = self.room.acquire().await.expect("never closed");
        let slot = turns.next().await?;
        let deadline = Instant::now() + CALL;
        let Ok(answer) = lanes.send(Lane::Page, slot, deadline, &call, None).await? else {
            return Ok(None);
        };
        let made = lanes::made(Lane::Page, Some(creation.upstream_apply), &answer);
        if let Err(error) = &answer.outcome {
            tracing::warn!(
                apply.id = %self.apply.id,
                upstream.apply.id = creation.upstream_apply,
                page,
                error = error as &dyn std::error::Error,
                "an export got no page; it is asked for again"
            );
        }
        lock(&self.calls).push(BesideCall {
            round_no: creation.round_no,
            ended_at: Instant::now(),
            made,
        });
        Ok(Some(answer))
    }
}

/// How many pages there are.
fn page_count(first: &upstream::Credentials) -> u32 {
    let rows = first.devices.len().max(1) as u64;
    let counted = u32::try_from(first.total.div_ceil(rows)).unwrap_or(MOST_PAGES);
    first.page_count.unwrap_or(counted).min(MOST_PAGES)
}

fn take(rows: &mut HashMap<String, Credential>, page: upstream::Credentials) {
    let devices = page.devices.into_iter();
    rows.extend(devices.map(|device| (device.name.clone(), device)));
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
