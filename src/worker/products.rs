//! Whether a product's devices authenticate by certificate, so that a check takes 1,000 names.
//!
//! The upstream drops what exceeds that in silence. Asking first saves the rounds that would find
//! out by counting; that is all it saves, so nothing waits long for the answer, and where it is
//! refused registration goes on without it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Worker;
use crate::{
    domain::Lane,
    lanes,
    store::{self, BesideCall, Claim},
    upstream::{Product, ProductInfo},
};

/// How long the answer is good for. A product does not change how its devices authenticate; one may
/// be deleted and made again.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long nobody asks again after there was no answer.
const AGAIN_AFTER: Duration = Duration::from_secs(600);

/// How long a check waits for the answer. An upstream in order takes a tenth of that.
const WAITS: Duration = Duration::from_secs(3);

/// Products that are kept in memory. Beyond that all are looked up again, in the database first.
const KEPT: usize = 10_000;

/// What this process knows of products, by key and instance.
#[derive(Debug, Default)]
pub(super) struct Products(Mutex<HashMap<(String, String), Known>>);

/// One of them. Whoever asks for it holds the lock, so that the others wait for one answer.
type Known = Arc<tokio::sync::Mutex<Option<(bool, Instant)>>>;

impl Products {
    fn of(&self, claim: &Claim) -> Known {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.clear();
        }
        let key = (claim.product_key.clone(), claim.iot_instance_id.clone());
        all.entry(key).or_default().clone()
    }
}

impl Worker {
    /// Whether the devices of a claim's product authenticate by certificate, as far as the upstream
    /// says so.
    pub(super) async fn is_x509(
        &self,
        claim: &Claim,
        product: Product<'_>,
    ) -> Result<bool, store::Error> {
        let known = self.products.of(claim);
        let mut known = known.lock().await;
        if let Some((is_x509, until)) = *known
            && Instant::now() < until
        {
            return Ok(is_x509);
        }
        let (key, instance) = (&claim.product_key, &claim.iot_instance_id);
        let stored = self.store.product(key, instance).await?;
        let before = stored.as_ref().map(|stored| ProductInfo {
            auth_type: Some(stored.auth_type.clone()),
            ..ProductInfo::default()
        });
        let left = stored.and_then(|stored| GOOD_FOR.checked_sub(stored.learned_ago));
        let (info, good_for) = match left {
            Some(left) => (before, left),
            None => match self.ask_for(claim, product).await? {
                Some(info) => {
                    let auth_type = info.auth_type.as_deref().unwrap_or_default();
                    self.store.learn_product(key, instance, auth_type).await?;
                    (Some(info), GOOD_FOR)
                }
                None => (before, AGAIN_AFTER),
            },
        };
        let is_x509 = info.is_some_and(|info| info.is_x509());
        *known = Some((is_x509, Instant::now() + good_for));
        Ok(is_x509)
    }

    /// What the upstream says of a product, if it says so soon.
    async fn ask_for(
        &self,
        claim: &Claim,
        product: Product<'_>,
    ) -> Result<Option<ProductInfo>, store::Error> {
        let deadline = Instant::now() + WAITS;
        let call = self.upstream.product(product);
        let slots = self.lanes.slots(Lane::Product, 1, Duration::ZERO).await?;
        let Some(slot) = slots.into_iter().find(|slot| slot.open < deadline) else {
            return Ok(None);
        };
        let sent = self.lanes.send(Lane::Product, slot, deadline, &call, None);
        let Ok(answer) = sent.await? else {
            return Ok(None);
        };
        let made = BesideCall {
            round_no: claim.round_no,
            ended_at: Instant::now(),
            made: lanes::made(Lane::Product, None, &answer),
        };
        self.store.record_calls(claim.apply, &[made]).await?;
        if let Err(error) = &answer.outcome {
            tracing::warn!(
                product.key = claim.product_key,
                error = error as &dyn std::error::Error,
                "the upstream does not say how devices of a product authenticate; counts are \
                 proven all the same"
            );
        }
        Ok(answer.outcome.ok())
    }
}
