//! Data keys under the newest master key, so that an older one can be retired.

use std::error::Error as StdError;

use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::{store, vault};

/// Data keys that are read and stored at a time, some 100 bytes each.
const BATCH: i64 = 1_000;

/// What a pass over all data keys came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pass {
    /// Those that were under an older key.
    found: u64,
    /// Those of them that were stored under the newest one.
    rewrapped: u64,
    /// Those under a key that is not at hand.
    locked: u64,
}

impl Worker {
    /// Seals data keys anew that are not under the newest master key, now and then, until `stop`. Any
    /// number of processes may.
    pub(super) async fn rewrap(self, stop: CancellationToken) {
        let mut rotating = false;
        while !stop.is_cancelled() {
            if self.vault.is_open() {
                match self.rewrap_all(&stop).await {
                    Ok(pass) => rotating = tell(&pass, rotating),
                    Err(error) => {
                        let error = &error as &dyn StdError;
                        tracing::warn!(error, "data keys cannot be sealed anew; tried again later");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.options.rewrap_every) => {}
            }
        }
    }

    async fn rewrap_all(&self, stop: &CancellationToken) -> Result<Pass, store::Error> {
        let mut pass = Pass::default();
        let mut after = None;
        while !stop.is_cancelled() {
            let keys = self.store.data_keys(after, BATCH).await?;
            let Some(last) = keys.last() else { break };
            after = Some(last.apply);
            let mut changed = Vec::new();
            for key in keys {
                match self.vault.rewrap(&key.wrapped) {
                    Ok(None) => {}
                    Ok(Some(new)) => changed.push((key, new.0)),
                    Err(error) => {
                        pass.locked += 1;
                        tell_locked(&pass, &key, &error);
                    }
                }
            }
            pass.found += changed.len() as u64;
            if !changed.is_empty() {
                pass.rewrapped += self.store.rewrap(&changed).await?;
            }
        }
        Ok(pass)
    }
}

/// Tells how a rotation goes; whether one is under way after this pass.
fn tell(pass: &Pass, rotating: bool) -> bool {
    if pass.found > 0 {
        let (rewrapped, left) = (pass.rewrapped, pass.found - pass.rewrapped);
        tracing::info!(
            rewrapped,
            left,
            "data keys are being sealed under the newest secret key"
        );
        return true;
    }
    if rotating && pass.locked == 0 {
        tracing::info!("every data key is under the newest secret key; older ones can be retired");
    }
    rotating && pass.locked > 0
}

/// Once a pass: what is true of one is as a rule true of many.
fn tell_locked(pass: &Pass, key: &store::WrappedKey, error: &vault::Error) {
    if pass.locked == 1 {
        tracing::error!(
            apply.id = %key.apply,
            error = error as &dyn StdError,
            "the data key of an apply cannot be opened"
        );
    }
}
