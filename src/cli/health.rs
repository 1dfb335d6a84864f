//! `registrar health`: whether a server wants calls, for whoever restarts or routes.

use std::{io::Write, time::Duration};

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    Ended,
    address::Address,
    connect,
    options::{Connection, OTHER_CODES},
    shown,
};

/// For all of it. Whoever asks, asks again soon.
const PATIENCE: Duration = Duration::from_secs(3);

/// Bytes of an answer over HTTP that are read; ours have some 200.
const LONGEST: u64 = 4096;

/// Settings of `health`.
#[derive(Clone, Debug, Args)]
#[command(after_help = OTHER_CODES)]
pub struct Health {
    /// Ask the admin port over HTTP instead of the API, such as `http://127.0.0.1:9464`. It also
    /// tells what is in the way
    #[arg(long, env = "REGISTRAR_ADMIN", value_name = "URL")]
    pub admin: Option<String>,

    /// The server.
    #[command(flatten)]
    pub connection: Connection,
}

impl Health {
    /// One line, and success if the server is ready.
    pub(super) async fn run(self, out: &mut impl Write) -> anyhow::Result<Ended> {
        let asked = async {
            match &self.admin {
                Some(admin) => over_http(admin).await,
                None => over_grpc(&self.connection).await,
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asked).await;
        asked.unwrap_or_else(|_| bail!("it does not answer within {PATIENCE:?}"))?;
        writeln!(out, "ready")?;
        Ok(Ended::Well)
    }
}

/// Whoever may connect may ask; no token is needed, and none is sent.
async fn over_grpc(connection: &Connection) -> anyhow::Result<()> {
    let address = Address::parse(&connection.server)?;
    let channel = connect::endpoint(&address, &connection.credentials, PATIENCE)?;
    let channel = channel.connect().await;
    let channel = channel.with_context(|| format!("{} is not reachable", address.url))?;
    let request = HealthCheckRequest::default();
    let answer = HealthClient::new(channel).check(request).await;
    let status = answer.map_err(|status| anyhow::anyhow!(shown::escaped(status.message())))?;
    match status.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        _ => bail!("not ready"),
    }
}

/// One request in the clear, as it takes no more: the admin port is for machines beside it.
async fn over_http(admin: &str) -> anyhow::Result<()> {
    let Address {
        url,
        socket,
        is_tls,
    } = Address::parse(admin)?;
    if is_tls {
        bail!("the admin port has no TLS; give it as http://host:port");
    }
    let stream = TcpStream::connect(&socket).await;
    let mut stream = stream.with_context(|| format!("{url} is not reachable"))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {socket}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => bail!("not ready: {}", shown::escaped(body.trim())),
        _ => bail!("{url} is not the admin port of a registrar"),
    }
}
