//! A client that calls any replica, and calls again until it has an answer.

use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use registrar::proto::registrar_service_client::RegistrarServiceClient;
use tonic::{Code, Response, Status, transport::Endpoint};

use crate::{
    record::{Record, add},
    support::stack::Client,
};

/// How long a client waits for an answer before it asks another replica.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long it pauses at most before it calls again.
const PAUSE_MS: u64 = 300;

pub(crate) struct Caller {
    clients: Vec<Client>,
    addresses: Arc<[SocketAddr]>,
    pub(crate) rng: StdRng,
    pub(crate) record: Arc<Record>,
    /// When there must be an answer: the trouble has been over for long by then.
    pub(crate) until: Instant,
}

impl Caller {
    pub(crate) fn new(
        addresses: Arc<[SocketAddr]>,
        seed: u64,
        record: Arc<Record>,
        until: Instant,
    ) -> Self {
        Self {
            clients: addresses.iter().map(connected).collect(),
            addresses,
            rng: StdRng::seed_from_u64(seed),
            record,
            until,
        }
    }

    /// Another client, with connections of its own.
    pub(crate) fn another(&mut self) -> Self {
        let (addresses, record) = (self.addresses.clone(), self.record.clone());
        Self::new(addresses, self.rng.random(), record, self.until)
    }

    /// A connection to any replica.
    pub(crate) fn any(&mut self) -> Client {
        self.any_of_them().1
    }

    /// Any replica's number, and a connection to it.
    pub(crate) fn any_of_them(&mut self) -> (usize, Client) {
        let one = self.rng.random_range(0..self.clients.len());
        (one, self.clients[one].clone())
    }

    /// The answer to a call that may be repeated: from whichever replica gives one.
    pub(crate) async fn call<T, F>(
        &mut self,
        what: &str,
        call: impl Fn(Client) -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            let answer = tokio::time::timeout(PATIENCE, call(self.any())).await;
            match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if !self.is_again(what, &status) => return Err(status),
                Ok(Err(_)) | Err(_) => {}
            }
            if self.until < Instant::now() {
                self.record.violation(&format!("{what} was never answered"));
                return Err(Status::cancelled("the run is over"));
            }
            add(&self.record.counts.repeats);
            self.pause().await;
        }
    }

    pub(crate) async fn pause(&mut self) {
        let pause = self.rng.random_range(10..PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// Whether a failure says to call again. A fault of the server is none that may be.
    pub(crate) fn is_again(&self, what: &str, status: &Status) -> bool {
        match status.code() {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::ResourceExhausted => true,
            // What the connection came to: the server says INTERNAL in its own words.
            Code::Unknown => true,
            Code::Internal => {
                if status.message() == "internal error" {
                    self.record
                        .violation(&format!("{what} met a fault of the server: {status:?}"));
                }
                true
            }
            _ => false,
        }
    }
}

fn connected(address: &SocketAddr) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint
        .connect_timeout(Duration::from_millis(500))
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(1))
        .keep_alive_while_idle(true)
        .connect_lazy();
    RegistrarServiceClient::new(channel).max_decoding_message_size(64 << 20)
}
