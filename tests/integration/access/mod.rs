//! Who may call: what a server that has an access file tells whom, over real sockets.

mod audit;
mod certificates;
mod client;
mod rotation;
mod strangers;
mod streams;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use registrar::service::{Token, make_token};
use tempfile::TempDir;
use tonic::{
    Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::support::{
    database::{Database, database},
    dynamic::Api,
    stack::{Server, Upstream},
};

const ALL: &str = "submit register cancel read credentials";

/// A new token, and its hash.
fn token() -> (String, String) {
    let settings = Token {
        name: "any".to_owned(),
    };
    let (token, lines) = make_token(&settings);
    let hash = &lines[lines.find("sha256:").unwrap()..][..71];
    (token, hash.to_owned())
}

/// A caller in an access file, with these rights and hashes of tokens.
fn entry(name: &str, tenant: &str, rights: &str, products: &str, hashes: &[&str]) -> String {
    let list = |words: Vec<&str>| format!("{words:?}");
    format!(
        "[[caller]]\nname = {name:?}\ntenant = {tenant:?}\nrights = {}\nproducts = {}\ntokens = {}\n",
        list(rights.split_whitespace().collect()),
        list(products.split_whitespace().collect()),
        list(hashes.to_vec()),
    )
}

/// A server whose files are in a directory of its own.
struct Stack {
    dir: TempDir,
    database: Database,
    server: Server,
    upstream: Upstream,
}

impl Stack {
    /// Starts with these files, and these flags in which `DIR` is their directory.
    async fn start(files: &[(&str, &str)], flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let place = dir.path().display().to_string();
        let flags: Vec<String> = flags.iter().map(|it| it.replace("DIR", &place)).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let database = database().await;
        let upstream = Upstream::start(&["--simulator-speed", "0"]).await;
        let server = Server::start(&database.url(), &upstream.url, &flags);
        Self {
            dir,
            database,
            server,
            upstream,
        }
    }

    /// Starts with an access file, in plain text.
    async fn with(access: &str) -> Self {
        let flags = ["--access-file", "DIR/access.toml"];
        Self::start(&[("access.toml", access)], &flags).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file as one should.
    fn replace(&self, name: &str, text: &str) {
        replace(&self.path(name), text);
    }

    /// The API in plain text, with a token.
    async fn api(&self, token: Option<&str>) -> Api {
        let url = format!("http://{}", self.server.address);
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        Api::new(channel, token)
    }

    /// A new connection with TLS.
    async fn secure(&self, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
        let url = format!("https://{}", self.server.address);
        Endpoint::from_shared(url)?.tls_config(tls)?.connect().await
    }
}

fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

/// Tries until it succeeds.
async fn until<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    crate::support::stack::patiently(async move {
        loop {
            if let Some(done) = attempt().await {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}
