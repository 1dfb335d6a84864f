//! `registrar dev`: the service with a private database and the simulator.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Essentials, bind, open_store, serve};
use crate::{
    cli::Submit,
    config::Dev,
    dev::Database,
    simulator::{self, Simulator},
    vault,
};

/// Everything in one process. The database is stopped last, whatever happened before.
pub(super) async fn run(mut settings: Dev, stop: CancellationToken) -> anyhow::Result<()> {
    // A file that is none is told before anything is started for it.
    let submission = match settings.submit.take() {
        Some(file) => Some(Submit::read(file, simulator::PRODUCT).await?),
        None => None,
    };
    let database = match settings.serve.rooms.store.database_url {
        Some(_) => None,
        None => {
            let database = Database::start(&settings.dev).await?;
            settings.serve.rooms.store.database_url = Some(database.url());
            Some(database)
        }
    };
    let work = on_database(settings, submission, &stop);
    let Some(database) = database else {
        return work.await;
    };
    tokio::pin!(work);
    let result = tokio::select! {
        result = &mut work => result,
        failure = database.failed() => {
            stop.cancel();
            work.await.and(Err(failure))
        }
    };
    database.stop().await;
    result
}

async fn on_database(
    mut settings: Dev,
    submission: Option<Submit>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    open_store(&settings.serve.rooms.store)?.migrate().await?;
    let listener = bind(settings.simulator_listen, "--simulator-listen").await?;
    settings
        .simulator
        .dir
        .get_or_insert(settings.dev.simulator_dir());
    let simulator = Simulator::open(&settings.simulator)?;
    tracing::info!(
        data_dir = %settings.dev.data_dir.display(),
        simulator = %listener.local_addr()?,
        "dev keeps its data here and simulates the upstream there"
    );
    let vault = &mut settings.serve.rooms.vault;
    if vault.names_no_source() {
        let keys = settings.dev.data_dir.join("secret-keys");
        vault::write_new_key_file(&keys, "dev").with_context(|| {
            let keys = keys.display();
            format!("the keys that seal device secrets cannot be written to {keys}")
        })?;
        vault.secret_keys_file = Some(keys);
    }
    let upstream = &mut settings.serve.rooms.upstream;
    upstream.upstream_url = Some(format!("http://{}", listener.local_addr()?));
    upstream.upstream_access_key_id = Some(simulator::ACCESS_KEY_ID.to_owned());
    upstream.upstream_access_key_secret = Some(simulator::ACCESS_KEY_SECRET.parse()?);

    let mut tasks = Essentials::new(stop);
    let (ready, address) = oneshot::channel();
    // The simulator ends after the service, so that steps in flight get their answers.
    let served = CancellationToken::new();
    tasks.spawn("simulator", simulator.serve(listener, served.clone()));
    let submit = submit(address, submission, settings.exit, stop);
    let serve = async {
        let _fuse = stop.clone().drop_guard();
        serve(settings.serve, stop, Some(ready)).await
    };
    let (serving, submitted) = tokio::join!(serve, submit);
    served.cancel();
    let simulated = tasks.wait().await;
    serving.and(submitted).and(simulated)
}

/// Submits what was read as a client would, once calls are served. A failure stops the process.
async fn submit(
    address: oneshot::Receiver<SocketAddr>,
    submission: Option<Submit>,
    exit: bool,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let (Some(submission), Ok(address)) = (submission, address.await) else {
        return Ok(());
    };
    let server = format!("http://{address}");
    let mut out = std::io::stdout();
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        result = submission.run(&server, &mut out) => {
            if exit || result.is_err() {
                stop.cancel();
            }
            result.map(drop)
        }
    }
}
