//! TLS of the API's listener, with certificate, key and client CA read again when they change.
//!
//! A connection keeps what it began with; each new one takes the latest that was good. Handshakes
//! go on beside each other and beside the accepting: a client that connects and says nothing costs
//! its own place, and that only for a while.

mod connection;
mod files;
mod incoming;
mod places;

use std::{path::PathBuf, sync::Arc};

use clap::ValueEnum;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use self::files::Files;
use super::reload::Watched;

pub(super) use self::{
    connection::Peer,
    incoming::incoming,
    places::{Calling, Place},
};

/// How connections are secured.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Options {
    /// The server's certificate and those between it and the CA, in PEM; with --tls-key. Read again
    /// when it changes, as the two others are. Without one, connections are in plain text
    #[arg(
        long,
        env = "REGISTRAR_TLS_CERTIFICATE",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_certificate: Option<PathBuf>,

    /// The key of the certificate, in PEM and not encrypted
    #[arg(
        long,
        env = "REGISTRAR_TLS_KEY",
        value_name = "FILE",
        requires = "tls_certificate"
    )]
    pub tls_key: Option<PathBuf>,

    /// The CAs whose certificates prove who calls, in PEM
    #[arg(
        long,
        env = "REGISTRAR_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_certificate"
    )]
    pub tls_client_ca: Option<PathBuf>,

    /// With --tls-client-ca: whether a client must have a certificate to connect, or may prove by a
    /// token who it is
    #[arg(
        long,
        env = "REGISTRAR_TLS_CLIENT_CERTIFICATES",
        value_enum,
        default_value_t
    )]
    pub tls_client_certificates: ClientCertificates,
}

/// Whether clients must have certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ClientCertificates {
    /// Without one there is no connection.
    #[default]
    Required,
    /// Without one a token says who calls.
    Optional,
}

/// The TLS of a listener. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls {
    files: Files,
    watched: Watched,
    config: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files; none if there is no certificate.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or holds something else, a key of another certificate, a
    /// certificate that is not valid now. The text names the file and says what to do.
    pub fn open(options: &Options) -> anyhow::Result<Option<Self>> {
        let Some(files) = Files::of(options) else {
            return Ok(None);
        };
        let watched = Watched::new(files.paths());
        let config = watch::Sender::new(Arc::new(files.read()?));
        Ok(Some(Self {
            files,
            watched,
            config,
        }))
    }

    pub(super) fn watched(&self) -> Watched {
        self.watched.clone()
    }

    /// Reads the files again; what was good stays in use if they are not.
    pub(super) fn renew(&self) {
        match self.files.read() {
            Ok(config) => {
                tracing::info!(
                    "the certificate, its key or the client CA has changed and was read again"
                );
                self.config.send_replace(Arc::new(config));
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the certificate, its key or the client CA has changed and cannot be used; the former \
                 ones stay in use"
            ),
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.config.borrow().clone().into()
    }
}
