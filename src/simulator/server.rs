//! The way of one call: its arrival is stamped and counted, its body read, the gateway's questions
//! asked, the action done, the ledger written, the answer sent.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::serve::ListenerExt;
use http::request::Parts;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::action::Action;
use super::admin;
use super::answers::{Answer, Refusal};
use super::business::{self, Done};
use super::clock::Clock;
use super::fault;
use super::faults::Faults;
use super::gate::{self, Nonces};
use super::ledger::{Call, Ledger};
use super::options::Options;
use super::quota::{Quotas, Ticket};
use super::request::Params;
use super::signature::hex;
use super::world::World;

/// The largest legal check has a body of 3.9 MB.
const MAX_BODY: usize = 8 << 20;
/// How long a body may take to arrive. SDKs give up on an answer after 10 s.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// How long calls in flight may take after a stop.
const GRACE: Duration = Duration::from_secs(2);

/// What all calls share. No two of its locks are held together, but for a look into the world
/// while the ledger in memory is read.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) world: Mutex<World>,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) clock: Clock,
    pub(super) run: u64,
    options: Options,
    quotas: Mutex<Quotas>,
    nonces: Mutex<Nonces>,
}

struct Received {
    bytes: Vec<u8>,
    sha256: String,
}

impl Shared {
    pub(super) fn open(options: &Options) -> anyhow::Result<Shared> {
        let clock = Clock::start();
        let world = World::open(options, clock.now())?;
        let ledger = Ledger::open(options.dir.as_deref().map(Path::new))?;
        Ok(Shared {
            run: world.run,
            world: Mutex::new(world),
            ledger: Mutex::new(ledger),
            clock,
            options: options.clone(),
            quotas: Mutex::new(Quotas::new(&options.qps)),
            nonces: Mutex::default(),
        })
    }

    /// The action of a call whose head is all right, unless a fault has it refused, or there were
    /// too many of them. Only a call that passes spends quota.
    fn admit(
        &self,
        head: &Parts,
        body: &Received,
        faults: &Faults,
        ticket: Option<Ticket>,
        arrived: u64,
    ) -> Result<Action, Refusal> {
        let nonces = |nonce: &str| locked(&self.nonces).take(nonce, arrived);
        let admitted = gate::admit(head, &body.sha256, arrived, nonces);
        let admitted = admitted.and_then(|action| match faults.blocked(action) {
            Some(code) => Err(code.refusal()),
            None => Ok(action),
        });
        match (admitted, ticket) {
            (Ok(action), Some(_)) => Ok(action),
            (Ok(_), None) => {
                let message = "Request was denied due to user flow control.";
                Err(Refusal::new(400, "Throttling.User", message))
            }
            (Err(refusal), ticket) => {
                self.give_back(ticket);
                Err(refusal)
            }
        }
    }

    fn give_back(&self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            locked(&self.quotas).give_back(ticket);
        }
    }

    fn perform(&self, head: &Parts, action: Action, body: &[u8]) -> Result<Done, Refusal> {
        let body = std::str::from_utf8(body)
            .map_err(|_| Refusal::new(400, "InvalidParameter", "The form body is not valid."))?;
        let params = Params::parse(head.uri.query().unwrap_or_default(), body);
        let mut world = locked(&self.world);
        business::perform(&mut world, &self.options, action, &params, self.clock.now())
    }

    /// Writes the ledger; a call that cannot be written down is not answered as done.
    fn record(
        &self,
        action: &str,
        done: &Done,
        answered: bool,
        arrived: u64,
    ) -> Result<(), Refusal> {
        let names = done.names.as_ref();
        let call = Call {
            run: self.run,
            seq: 0,
            action,
            apply_id: done.apply_id,
            names: names.map(|names| names.count),
            dropped: names.map_or(0, |names| names.dropped),
            code: &done.answer.code,
            http_status: done.answer.status,
            arrived_us: arrived,
            took_us: self.clock.now().saturating_sub(arrived),
            answered,
            name_list: names.and_then(|names| names.list.as_deref()),
        };
        locked(&self.ledger).add(call).map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "ledger not written"
            );
            Refusal::internal()
        })
    }

    /// Lets go of the files, whoever still holds a connection.
    fn close(&self) {
        locked(&self.world).close();
        locked(&self.ledger).close();
    }
}

pub(super) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let routes = Router::new()
        .route("/", get(call).post(call))
        .route("/_simulator/ledger", get(admin::ledger))
        .route("/_simulator/devices", get(admin::devices))
        .route("/_simulator/faults", get(admin::faults))
        .route(
            "/_simulator/faults/{name}",
            put(admin::set_fault)
                .delete(admin::lift_fault)
                .layer(DefaultBodyLimit::max(fault::MAX_JSON)),
        )
        .fallback(nowhere)
        .method_not_allowed_fallback(nowhere)
        .with_state(Arc::clone(&shared));
    let listener = listener.tap_io(|connection| {
        // An answer is one write; waiting for more would only delay it.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "nodelay not set");
        }
    });
    let serving =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    let grace_over = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let served = tokio::select! {
        served = serving => served.context("the simulator's listener failed"),
        () = grace_over => Ok(()),
    };
    shared.close();
    served
}

/// A panic elsewhere does not make the data unusable: all changes are single steps.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let arrived = shared.clock.now();
    let (head, body) = request.into_parts();
    let named = text(&head, "x-acs-action");
    // Counted now, since the body of another call may come in sooner. A call that breaks off in
    // its body stays counted.
    let action = named.parse().ok();
    let ticket = action.and_then(|action| locked(&shared.quotas).arrive(action, arrived));
    let received = match tokio::time::timeout(BODY_WITHIN, receive(body)).await {
        Ok(received) => received,
        Err(_) => Err(Refusal::new(
            408,
            "RequestTimeout",
            "The body did not arrive in time.",
        )),
    };

    let faults = Arc::clone(locked(&shared.world).faults());
    let host = text(&head, header::HOST.as_str());
    let refuse = |refusal| Answer::refusal(&refusal, host);
    let outcome = match faults.unavailable(action) {
        Some(status) => {
            shared.give_back(ticket);
            Err(Answer::unavailable(status))
        }
        None => received
            .and_then(|body| {
                let action = shared.admit(&head, &body, &faults, ticket, arrived)?;
                shared.perform(&head, action, &body.bytes)
            })
            .map_err(refuse),
    };
    let done = outcome.unwrap_or_else(|answer| Done {
        answer,
        apply_id: None,
        names: None,
    });
    let answered = !faults.unanswered(action, text(&head, "x-acs-signature-nonce"));
    let action: String = named
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(64)
        .collect();
    match shared.record(&action, &done, answered, arrived) {
        Ok(()) if !answered => hang_up(),
        Ok(()) => send(done.answer),
        Err(refusal) => send(refuse(refusal)),
    }
}

async fn receive(mut body: Body) -> Result<Received, Refusal> {
    let mut bytes = Vec::new();
    let mut digest = Sha256::new();
    while let Some(frame) = body.frame().await {
        let cut = |_| Refusal::new(400, "InvalidParameter", "The body broke off.");
        let Ok(data) = frame.map_err(cut)?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > MAX_BODY {
            return Err(Refusal::new(
                413,
                "RequestEntityTooLarge",
                "The body exceeds 8 MB.",
            ));
        }
        digest.update(&data);
        bytes.extend_from_slice(&data);
    }
    Ok(Received {
        bytes,
        sha256: hex(&digest.finalize()),
    })
}

async fn nowhere(request: Request) -> Response {
    let message = "Specified api is not found, please check your url and method.";
    let refusal = Refusal::new(404, "InvalidAction.NotFound", message);
    let (head, _) = request.into_parts();
    send(Answer::refusal(
        &refusal,
        text(&head, header::HOST.as_str()),
    ))
}

fn send(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).expect("answers have the codes written here");
    let content_type = [(header::CONTENT_TYPE, answer.content_type)];
    (status, content_type, answer.body).into_response()
}

/// Has the connection closed without a byte: the server gives up on a body that fails before the
/// head has gone out.
fn hang_up() -> Response {
    let failing = tokio_stream::once(Err::<&[u8], _>(io::Error::other("told not to answer")));
    Body::from_stream(failing).into_response()
}

fn text<'h>(head: &'h Parts, name: &str) -> &'h str {
    head.headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
