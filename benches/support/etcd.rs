//! etcd as a peer: a server of its own on loopback, with its defaults, and the two calls that a
//! watch needs, through the same tonic as ours.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use tonic::{client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use super::process::die_with_us;

const KEY: &[u8] = b"bench/watched";

/// A running etcd; killed when this value ends.
#[derive(Debug)]
pub(crate) struct Etcd {
    child: Child,
    pub(crate) address: String,
    _data: tempfile::TempDir,
}

impl Etcd {
    /// Starts one in a directory of its own and waits until it takes a put.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let [clients, peers] = [free_port()?, free_port()?];
        let (clients, peers) = (
            format!("http://127.0.0.1:{clients}"),
            format!("http://127.0.0.1:{peers}"),
        );
        let mut command = Command::new("etcd");
        command
            .arg("--data-dir")
            .arg(data.path())
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        die_with_us(&mut command);
        let child = command.spawn().context("etcd does not start")?;
        let etcd = Self {
            child,
            address: clients.trim_start_matches("http://").to_owned(),
            _data: data,
        };
        let channel = Channel::from_shared(clients)?.connect_lazy();
        let ready = async {
            while put(&channel, Vec::new()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ready = tokio::time::timeout(Duration::from_secs(30), ready).await;
        ready.context("etcd takes no put")?;
        Ok(etcd)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says its version is: `3.4.23`.
    pub(crate) fn version() -> anyhow::Result<String> {
        let told = Command::new("etcd").arg("--version").output();
        let told = told.context("etcd is missing; script/bootstrap --bench installs it")?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let first = told.lines().next().and_then(|line| line.rsplit(' ').next());
        Ok(first.unwrap_or_default().to_owned())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Writes the watched key; the version that it has then is the number of the event.
pub(crate) async fn put(channel: &Channel, value: Vec<u8>) -> anyhow::Result<()> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await?;
    let put = PutRequest {
        key: KEY.into(),
        value,
    };
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
    let codec = ProstCodec::<_, PutResponse>::default();
    grpc.unary(tonic::Request::new(put), path, codec).await?;
    Ok(())
}

/// Watches the key: the version with each event. The stream is open, as the server knows it, once
/// this returns.
pub(crate) async fn watch(channel: &Channel) -> anyhow::Result<impl Stream<Item = i64> + use<>> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await?;
    let create = WatchRequest {
        create: Some(CreateWatch { key: KEY.into() }),
    };
    // The watch lasts as long as what is asked is not over.
    let asked = stream::iter([create]).chain(stream::pending());
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    let codec = ProstCodec::<_, WatchResponse>::default();
    let answer = grpc.streaming(tonic::Request::new(asked), path, codec);
    let mut events = answer.await?.into_inner();
    let created = events.message().await?.context("the watch ended")?;
    anyhow::ensure!(created.created, "etcd did not create the watch");
    Ok(events
        .map(|answer| answer.map_or_else(|_| Vec::new(), |answer| answer.events))
        .flat_map(stream::iter)
        .filter_map(async |event| event.kv.map(|kv| kv.version)))
}

// What is needed of etcd's messages (etcd 3.4, etcdserver/etcdserverpb/rpc.proto and mvcc/mvccpb/kv.proto).

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<CreateWatch>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateWatch {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Event {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(int64, tag = "4")]
    version: i64,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
}
