//! The upstream of a test: the simulator in this process, and what a test asks of it beside the API.

use clap::Parser as _;
use registrar::simulator;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A simulator that ends with this value.
pub(crate) struct Upstream {
    pub(crate) url: String,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    simulator: simulator::Options,
}

impl Upstream {
    /// Starts a simulator with these flags.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let flags = Flags::parse_from(["simulator"].iter().chain(flags));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let stop = CancellationToken::new();
        let simulator = simulator::Simulator::open(&flags.simulator).expect("the simulator");
        let task = tokio::spawn(simulator.serve(listener, stop.clone()));
        Self { url, stop, task }
    }

    /// All calls of one action, or of all (`""`), that reached the upstream, with their names.
    pub(crate) async fn ledger(&self, action: &str) -> Vec<Value> {
        let mut calls: Vec<Value> = Vec::new();
        loop {
            let after = calls
                .last()
                .map_or(0, |call| call["seq"].as_u64().expect("a number"));
            let filter = if action.is_empty() {
                String::new()
            } else {
                format!("&action={action}")
            };
            let page = self
                .lines(&format!(
                    "ledger?run=all&names=true&limit=1000&after={after}{filter}"
                ))
                .await;
            if page.is_empty() {
                return calls;
            }
            calls.extend(page);
        }
    }

    /// All devices of a product, with how often each was created.
    pub(crate) async fn devices(&self, product: &str) -> Vec<Value> {
        self.lines(&format!("devices?product={product}")).await
    }

    /// All devices that applies created in a product, with their credentials.
    pub(crate) async fn credentials(&self, product: &str) -> Vec<Value> {
        self.lines(&format!("devices?product={product}&credentials=true"))
            .await
    }

    /// Sets a fault.
    pub(crate) async fn set(&self, fault: &str, json: &str) {
        let path = format!("/_simulator/faults/{fault}");
        self.send("PUT", &path, Some(json.to_owned())).await;
    }

    /// Lifts a fault.
    pub(crate) async fn lift(&self, fault: &str) {
        let url = format!("{}/_simulator/faults/{fault}", self.url);
        let answer = http()
            .delete(url)
            .send()
            .await
            .expect("the simulator answers");
        answer.error_for_status().expect("success");
    }

    /// Tells the simulator something, as a person does with curl.
    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<String>) {
        let method = method.parse().expect("a method");
        let request = http().request(method, format!("{}{path}", self.url));
        let request = request.body(body.unwrap_or_default());
        let answer = request.send().await.expect("the simulator answers");
        answer.error_for_status().expect("success");
    }

    async fn lines(&self, path: &str) -> Vec<Value> {
        let url = format!("{}/_simulator/{path}", self.url);
        let answer = http().get(url).send().await.expect("the simulator answers");
        let text = answer
            .error_for_status()
            .expect("success")
            .text()
            .await
            .expect("text");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic").expect("a clean end");
    }
}

/// A client that speaks to this machine alone.
pub(crate) fn http() -> reqwest::Client {
    // An error only says that the process has a provider already.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .expect("an HTTP client")
}
