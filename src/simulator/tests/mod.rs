//! The simulator over a real socket, called as the upstream's SDKs call it.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::task::JoinHandle;

use super::*;

mod calls;
mod devices;
mod faults;
mod fuzz;
mod gateway;
mod harm;
mod imports;
mod limits;
mod open_questions;
mod random;
mod refusals;
mod restart;
mod rpc;
mod time_taken;
mod xml;

struct Server {
    address: String,
    stop: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
    http: reqwest::Client,
}

struct Call<'a> {
    action: &'a str,
    query: &'a str,
    body: String,
    key_id: &'a str,
    secret: &'a str,
    token: Option<&'a str>,
    nonce: Option<&'a str>,
    late: Duration,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client signs the date of its own clock"
)]
fn date(late: Duration) -> String {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap() - late;
    now.format(&Rfc3339).unwrap()
}

fn next_nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

impl<'a> Call<'a> {
    fn new(action: &'a str, query: &'a str) -> Call<'a> {
        Call {
            action,
            query,
            body: String::new(),
            key_id: ACCESS_KEY_ID,
            secret: ACCESS_KEY_SECRET,
            token: None,
            nonce: None,
            late: Duration::ZERO,
        }
    }

    fn check(query: &'a str, names: impl IntoIterator<Item = impl AsRef<str>>) -> Call<'a> {
        let names = (1..).zip(names);
        let pairs = names.map(|(n, name)| format!("DeviceName.{n}={}", name.as_ref()));
        let body = pairs.collect::<Vec<_>>().join("&");
        Call {
            body,
            ..Call::new("BatchCheckDeviceNames", query)
        }
    }
}

impl Server {
    async fn start(options: Options) -> Server {
        let simulator = Simulator::open(&options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let serving = tokio_util::task::TaskTracker::new();
        let serving = serving.spawn(simulator.serve(listener, stop.clone()));
        // The client wants a provider even for plain HTTP; another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Server {
            address,
            stop,
            serving,
            http,
        }
    }

    /// One where all is done in the very call.
    async fn instant() -> Server {
        Server::start(Options {
            speed: 0.0,
            ..Options::default()
        })
        .await
    }

    async fn stop(self) {
        drop(self.http);
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
    }

    async fn send(&self, call: Call<'_>) -> (u16, Value) {
        let response = self.request(call).send().await.unwrap();
        assert_eq!(
            response.headers()["content-type"],
            "application/json;charset=utf-8"
        );
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_str(&response.text().await.unwrap()).unwrap(),
        )
    }

    fn request(&self, call: Call<'_>) -> reqwest::RequestBuilder {
        let next = next_nonce();
        let date = date(call.late);
        let sha = hex::encode(Sha256::digest(&call.body));
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("host", self.address.as_str()),
            ("x-acs-action", call.action),
            ("x-acs-version", "2018-01-20"),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", call.nonce.unwrap_or(&next)),
            ("x-acs-content-sha256", &sha),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        if let Some(token) = call.token {
            headers.insert("x-acs-security-token", token.parse().unwrap());
        }
        let mut signed: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        signed.sort();
        let to_sign =
            signature::acs3::string_to_sign("POST", "/", call.query, &headers, &signed, &sha);
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential={},SignedHeaders={},Signature={}",
            call.key_id,
            signed.join(";"),
            signature::acs3::sign(call.secret, &to_sign)
        );
        headers.insert("authorization", authorization.parse().unwrap());
        let request = self
            .http
            .post(format!("http://{}/?{}", self.address, call.query));
        request.headers(headers).body(call.body)
    }

    async fn ask(&self, action: &str, query: &str) -> Value {
        let (status, mut answer) = self.send(Call::new(action, query)).await;
        assert_eq!(status, 200, "{answer}");
        answer.as_object_mut().unwrap().remove("RequestId").unwrap();
        answer
    }

    /// As `ask`, with a form body.
    async fn post(&self, action: &str, query: &str, body: String) -> Value {
        let call = Call {
            body,
            ..Call::new(action, query)
        };
        let (status, mut answer) = self.send(call).await;
        assert_eq!(status, 200, "{answer}");
        answer.as_object_mut().unwrap().remove("RequestId").unwrap();
        answer
    }

    /// One where all is done in the very call, with other switches.
    async fn switched(change: impl FnOnce(&mut Options)) -> Server {
        let mut options = Options {
            speed: 0.0,
            ..Options::default()
        };
        change(&mut options);
        options.check().unwrap();
        Server::start(options).await
    }

    async fn lines(&self, path: &str) -> Vec<Value> {
        let url = format!("http://{}/_simulator/{path}", self.address);
        let text = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The ApplyId of an accepted check.
    async fn checked(&self, names: &[&str]) -> u64 {
        let (_, answer) = self
            .send(Call::check("ProductKey=a1Simulator", names))
            .await;
        answer["Data"]["ApplyId"].as_u64().unwrap()
    }

    async fn registered(&self, apply: u64) -> Value {
        let query = format!("ProductKey=a1Simulator&ApplyId={apply}");
        self.ask("BatchRegisterDeviceWithApplyId", &query).await
    }

    async fn status(&self, apply: u64) -> Value {
        let query = format!("ApplyId={apply}&ProductKey=a1Simulator");
        self.ask("QueryBatchRegisterDeviceStatus", &query).await
    }

    /// The status and the text of the answer.
    async fn admin(&self, method: Method, path: &str, body: String) -> (u16, String) {
        let url = format!("http://{}/_simulator/{path}", self.address);
        let request = self.http.request(method, url).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn set(&self, name: &str, fault: Value) {
        let path = format!("faults/{name}");
        let (status, text) = self.admin(Method::PUT, &path, fault.to_string()).await;
        assert_eq!(status, 204, "{text}");
    }

    async fn lift(&self, name: &str) {
        let path = format!("faults/{name}");
        let (status, text) = self.admin(Method::DELETE, &path, String::new()).await;
        assert_eq!(status, 204, "{text}");
    }

    async fn phase(&self, apply: u64) -> String {
        let answer = self.status(apply).await;
        answer["Data"]["Status"].as_str().unwrap().to_owned()
    }

    /// The HTTP status and the code of a call for product and apply 1.
    async fn code(&self, action: &str) -> (u16, Value) {
        let call = Call::new(action, "ProductKey=a1Simulator&ApplyId=1");
        let (status, answer) = self.send(call).await;
        (status, answer["Code"].clone())
    }

    /// Of the last call.
    async fn ledger_line(&self) -> Value {
        self.lines("ledger").await.pop().unwrap()
    }
}
