//! Master keys that change while we run.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    Vault,
    error::LoadError,
    keys::Keyring,
    source::{self, Identity, Source},
};

/// How often a file is looked at: one cheap call.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a command is run again. It may cost a call of a key service, and keys change seldom.
const RUN_EVERY: Duration = Duration::from_secs(300);

impl Vault {
    /// Loads the keys anew when they change, until `stop`. Keys that cannot be loaded leave the old
    /// ones in place, and are told of once.
    pub async fn watch(self, stop: CancellationToken) {
        let mut failing = false;
        let mut seen: Option<Identity> = None;
        loop {
            let (changed, pause) = match &self.shared.source {
                Source::File(path) => {
                    let now = source::identity(path).await;
                    (seen.replace(now) != Some(now), LOOK_EVERY)
                }
                Source::Command(_) => (seen.replace(None).is_some(), RUN_EVERY),
                Source::None | Source::Text(_) => return stop.cancelled().await,
            };
            if changed {
                let loaded = self.reload().await;
                if loaded.is_err() && matches!(self.shared.source, Source::File(_)) {
                    // Tried again at the next look, in case it was not the file's own fault.
                    seen = None;
                }
                match loaded {
                    Ok(()) => failing = false,
                    Err(error) if !std::mem::replace(&mut failing, true) => {
                        let error = &error as &dyn StdError;
                        tracing::error!(
                            error,
                            "the secret keys cannot be loaded; the old ones stay"
                        );
                    }
                    Err(_) => {}
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Loads the keys anew. Those that are sealed with from now on come first.
    pub(super) async fn reload(&self) -> Result<(), LoadError> {
        let next = Keyring::parse(&self.shared.source.read().await?)?;
        let before = self.keys();
        before.check_next(&next)?;
        if before.ids().ne(next.ids()) {
            tracing::info!(keys = ?next, "the secret keys were loaded anew");
        }
        *self.shared.keys.write().expect("the lock is sound") = Arc::new(next);
        Ok(())
    }
}
