//! The tasks of a process.

use std::future::Future;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

/// Tasks that the process cannot do without: when one ends, all are asked to, and if it failed the
/// process fails. A half-alive server is worse than a restart.
pub(super) struct Essentials {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Essentials {
    pub(super) fn new(stop: &CancellationToken) -> Self {
        Self {
            tasks: JoinSet::new(),
            stop: stop.clone(),
        }
    }

    pub(super) fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let fuse = self.stop.clone().drop_guard(); // fires on return and on panic alike
        let run = async move {
            let _fuse = fuse;
            task.await.with_context(|| format!("{name} failed"))
        };
        self.tasks
            .spawn(run.instrument(info_span!("task", task = name)));
    }

    /// Waits for all of them; fails if one did.
    pub(super) async fn wait(&mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.unwrap_or_else(|panic| Err(panic.into()));
            first = first.and(ended);
        }
        first
    }
}

/// A task that ends only when it is told to.
pub(super) async fn endless(task: impl Future<Output = ()>) -> anyhow::Result<()> {
    task.await;
    Ok(())
}
