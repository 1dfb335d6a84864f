//! Certificates, tokens and CAs are changed under load, and no call fails.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Certificate;

use super::{certificates::secured, *};
use crate::support::certificates::{Authority, Pair};

const CALLERS: usize = 16;

/// What the callers call with now.
#[derive(Clone)]
struct Means {
    token: String,
    identity: Pair,
    /// The CAs that they trust.
    trusted: String,
}

impl Means {
    async fn connect(&self, stack: &Stack) -> Result<Channel, tonic::transport::Error> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.trusted))
            .identity(self.identity.identity());
        stack.secure(tls).await
    }

    /// Whether a call on a new connection is answered.
    async fn works(&self, stack: &Stack) -> bool {
        let Ok(channel) = self.connect(stack).await else {
            return false;
        };
        let mut api = Api::new(channel, Some(&self.token));
        api.call("ListApplies", &json!({})).await.is_ok()
    }
}

/// Callers that call without a pause, half of them on one connection each and half on a new one for
/// each call.
struct Load {
    stack: Arc<Stack>,
    means: Arc<Mutex<Means>>,
    calls: Arc<[AtomicU64]>,
    failures: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
    callers: JoinSet<()>,
}

impl Load {
    fn start(stack: Arc<Stack>, means: Means) -> Self {
        let mut load = Self {
            stack,
            means: Arc::new(Mutex::new(means)),
            calls: (0..CALLERS).map(|_| AtomicU64::new(0)).collect(),
            failures: Arc::default(),
            stop: CancellationToken::new(),
            callers: JoinSet::new(),
        };
        for number in 0..CALLERS {
            let (stack, means, stop) = (load.stack.clone(), load.means.clone(), load.stop.clone());
            let (calls, failures) = (load.calls.clone(), load.failures.clone());
            load.callers.spawn(async move {
                let mut kept: Option<Channel> = None;
                while !stop.is_cancelled() {
                    let now = means.lock().unwrap().clone();
                    let called = call(&stack, &now, &mut kept).await;
                    if number % 2 == 0 {
                        kept = None;
                    }
                    if let Err(error) = called {
                        failures.lock().unwrap().push(error);
                    }
                    calls[number].fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        load
    }

    /// Has the callers call with something else, and waits until each of them does.
    async fn switch(&self, change: impl FnOnce(&mut Means)) {
        change(&mut self.means.lock().unwrap());
        let count = |calls: &AtomicU64| calls.load(Ordering::SeqCst);
        let before: Vec<u64> = self.calls.iter().map(count).collect();
        // The call that is under way, and one more.
        until(async || {
            let now = self.calls.iter().map(count);
            now.zip(&before)
                .all(|(now, before)| now >= before + 2)
                .then_some(())
        })
        .await;
    }

    fn means(&self) -> Means {
        self.means.lock().unwrap().clone()
    }

    async fn finish(mut self) -> u64 {
        self.stop.cancel();
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        let failures = self.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} calls failed: {:?}",
            failures.len(),
            failures.first()
        );
        self.calls
            .iter()
            .map(|calls| calls.load(Ordering::SeqCst))
            .sum()
    }
}

async fn call(stack: &Stack, means: &Means, kept: &mut Option<Channel>) -> Result<(), String> {
    let channel = match kept.take() {
        Some(channel) => channel,
        None => means
            .connect(stack)
            .await
            .map_err(|error| format!("{error:?}"))?,
    };
    *kept = Some(channel.clone());
    let mut api = Api::new(channel, Some(&means.token));
    let answer = api.call("ListApplies", &json!({})).await;
    answer.map(drop).map_err(|status| format!("{status:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_certificates_tokens_and_cas_change() {
    let mut authority = Authority::new("first");
    let (mut token_now, mut hash) = token();
    let access = |hashes: &[&str]| entry("one", "a", "read", "*", hashes);
    let flags = ["--tls-client-ca", "DIR/ca.pem"];
    let stack = Arc::new(secured(&authority, &access(&[&hash]), &flags).await);
    let means = Means {
        token: token_now.clone(),
        identity: authority.client("x:y"),
        trusted: authority.pem.clone(),
    };
    let load = Load::start(stack.clone(), means);

    for _ in 0..3 {
        // The token: both are good for a while.
        let old = load.means();
        let (next_token, next_hash) = token();
        stack.replace("access.toml", &access(&[&hash, &next_hash]));
        let next = Means {
            token: next_token.clone(),
            ..old.clone()
        };
        until(async || next.works(&stack).await.then_some(())).await;
        load.switch(|means| means.token = next_token.clone()).await;
        stack.replace("access.toml", &access(&[&next_hash]));
        until(async || (!old.works(&stack).await).then_some(())).await;
        (token_now, hash) = (next_token, next_hash);

        // The client CA, and the CA of the server with it.
        let old = load.means();
        let next_authority = Authority::new("next");
        let both = format!("{}{}", authority.pem, next_authority.pem);
        stack.replace("ca.pem", &both);
        let identity = next_authority.client("x:y");
        let next = Means {
            identity: identity.clone(),
            trusted: both.clone(),
            ..old.clone()
        };
        until(async || next.works(&stack).await.then_some(())).await;
        load.switch(|means| (means.identity, means.trusted) = (identity, both))
            .await;
        // Two files, one after the other: between them they do not go together.
        let server = next_authority.server();
        stack.replace("server.pem", &server.certificate);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        stack.replace("server.key", &server.key);
        let next = Means {
            trusted: next_authority.pem.clone(),
            ..load.means()
        };
        until(async || next.works(&stack).await.then_some(())).await;
        load.switch(|means| means.trusted = next_authority.pem.clone())
            .await;
        stack.replace("ca.pem", &next_authority.pem);
        let old = Means {
            token: token_now.clone(),
            trusted: next_authority.pem.clone(),
            ..old
        };
        until(async || (!old.works(&stack).await).then_some(())).await;
        authority = next_authority;

        // What is not as it should be changes nothing.
        stack.replace("access.toml", "[[caller]]");
        stack.replace("server.key", "no key");
        let seen = |what: &str| stack.server.log().text().matches(what).count();
        let (access_before, tls_before) = (seen("who was known stays"), seen("former ones stay"));
        until(async || (seen("who was known stays") > access_before).then_some(())).await;
        until(async || (seen("former ones stay") > tls_before).then_some(())).await;
        stack.replace("access.toml", &access(&[&hash]));
        stack.replace("server.key", &server.key);
    }

    let calls = load.finish().await;
    eprintln!("{calls} calls, none of which failed");
}
