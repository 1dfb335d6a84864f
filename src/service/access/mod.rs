//! Who is calling: an identity for every call of the API, before the call is read.
//!
//! The access file says who there is: callers with a tenant, rights, products, tokens (as hashes)
//! and names of certificates. It is read again when it changes. The [`Guard`] stands before the API
//! and puts a [`Pass`] into each request; handlers ask [`caller`] who it is. Without an access file
//! the server is open, and anyone may do everything.
//!
//! Health and reflection stay open: they tell nothing that is not published with the server.

mod credential;
mod file;
mod guard;
mod known;
mod refusal;
mod rights;
mod token;

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use http::HeaderMap;
use tokio::sync::watch;
use tonic::{Request, Status};

use self::{credential::Credential, known::Known};
use super::{reload::Watched, tls::Peer};
use crate::domain::{Caller, Right};

pub use self::token::{Token, make};
pub(super) use self::{
    guard::Guard,
    refusal::{Refusals, revoked},
};

/// Who may call.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Options {
    /// File that says who may call and do what, in TOML; read again when it changes. Without one,
    /// anyone may do everything. `registrar token` makes an entry
    #[arg(long, env = "REGISTRAR_ACCESS_FILE", value_name = "FILE")]
    pub access_file: Option<PathBuf>,
}

/// Knows who may call. Clones share what is known.
#[derive(Clone, Debug)]
pub struct Access {
    /// None: the server is open.
    known: Option<watch::Sender<Arc<Known>>>,
    file: PathBuf,
    watched: Watched,
}

impl Access {
    /// Reads the access file, or lets anyone call if there is none.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is not as it should be. The text has the line, says what to do
    /// and holds nothing of the file.
    pub fn open(options: &Options) -> anyhow::Result<Self> {
        let watched = Watched::new(options.access_file.iter().cloned().collect());
        let file = options.access_file.clone().unwrap_or_default();
        let known = match options.access_file {
            Some(_) => Some(watch::Sender::new(read(&file)?)),
            None => None,
        };
        Ok(Self {
            known,
            file,
            watched,
        })
    }

    /// The file to look at for changes, as it was when it was opened.
    pub(super) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Reads the file again; what was known stays known if it is not as it should be.
    pub(super) fn renew(&self) {
        let Some(known) = &self.known else { return };
        match read(&self.file) {
            Ok(now) => {
                tracing::info!(
                    callers = now.len(),
                    "the access file has changed and was read again"
                );
                known.send_replace(now);
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the access file has changed and is not as it should be; who was known stays known"
            ),
        }
    }

    /// Who makes a call with these headers over this connection.
    fn identify(&self, headers: &HeaderMap, peer: &Peer) -> Result<Pass, Status> {
        let Some(known) = &self.known else {
            let peer = peer.address;
            let caller = Caller {
                peer,
                ..Caller::anyone()
            };
            return Ok(Pass {
                caller,
                credential: Credential::None,
                known: None,
            });
        };
        let credential = Credential::of(headers, peer)?;
        let (caller, proof) = credential.caller(&known.borrow())?;
        let caller = Caller {
            proof,
            peer: peer.address,
            ..Caller::clone(&caller)
        };
        Ok(Pass {
            caller,
            credential,
            known: Some(known.subscribe()),
        })
    }
}

fn read(file: &PathBuf) -> anyhow::Result<Arc<Known>> {
    let told = || format!("the access file {}", file.display());
    let text = fs::read_to_string(file).with_context(told)?;
    Ok(Arc::new(file::parse(&text).with_context(told)?))
}

/// What let a call in: who makes it, and by what that is known for as long as the call lasts.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) caller: Caller,
    credential: Credential,
    /// None: the server is open.
    known: Option<watch::Receiver<Arc<Known>>>,
}

impl Pass {
    /// Returns once the credential of the call no longer stands for its caller, or that one has no
    /// longer one of these rights to this product. For streams, which outlive what let them in.
    pub(super) async fn ended(
        mut self,
        rights: impl IntoIterator<Item = Right>,
        product_key: String,
    ) {
        let Some(mut known) = self.known.take() else {
            return std::future::pending().await;
        };
        let rights: Vec<Right> = rights.into_iter().collect();
        let stands = |known: &Arc<Known>| {
            let now = self.credential.caller(known);
            now.is_ok_and(|(now, _)| {
                let is_same = (&now.tenant, &now.name) == (&self.caller.tenant, &self.caller.name);
                let may = rights.iter().all(|right| now.may(*right));
                is_same && may && now.products.allow(&product_key)
            })
        };
        // The server keeps what it knows for as long as it runs.
        if known.wait_for(|known| !stands(known)).await.is_err() {
            std::future::pending().await
        }
    }
}

/// What let a request in.
///
/// # Errors
///
/// INTERNAL, if it came past the guard.
pub(super) fn pass<T>(request: &Request<T>) -> Result<Pass, Status> {
    let pass = request.extensions().get().cloned();
    pass.ok_or_else(refusal::unguarded)
}

/// Who makes a request.
///
/// # Errors
///
/// INTERNAL, if it came past the guard.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    pass(request).map(|pass| pass.caller)
}
