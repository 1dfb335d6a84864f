//! The way of one call: its arrival is stamped and counted, its body read, the gateway's questions
//! asked, the action done, the ledger written, the answer sent.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::serve::ListenerExt;
use http::request::Parts;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::action::Action;
use super::admin;
use super::answers::{Answer, Refusal};
use super::business::{self, Done};
use super::clock::Clock;
use super::envelope::{Envelope, Format};
use super::fault;
use super::gate::{self, Gate};
use super::harm::Harm;
use super::ledger::{Call, Ledger};
use super::options::Options;
use super::quota::{Quotas, Ticket};
use super::received::{self, Received};
use super::request::Params;
use super::world::World;
use super::xml;

/// In milliseconds.
const RETRY_AFTER: &str = "x-acs-retry-after";
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
    pub(super) gate: Gate,
}

/// A call that has come in.
struct Arrival {
    head: Parts,
    received: Result<Received, Refusal>,
    /// Its action as far as its head tells.
    early: Option<Action>,
    early_ticket: Option<Ticket>,
    at: u64,
}

/// What a call is answered.
enum Answered {
    Now(Response),
    /// Once this is done to it; none is what nobody is sent.
    Harmed(Option<Response>, Harm),
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
            gate: Gate::new(&options.gateway),
        })
    }

    /// A ticket for a call that arrives with this action, unless it is unknown or there were too
    /// many.
    fn arrive(&self, action: Option<Action>, arrived: u64) -> Option<Ticket> {
        action.and_then(|action| locked(&self.quotas).arrive(action, arrived))
    }

    /// The action of a call that the gateway lets in, unless a fault has it refused, or there were
    /// too many of them. Only a call that passes spends quota.
    fn admit(
        &self,
        head: &Parts,
        envelope: &Envelope<'_>,
        body: &Received,
        harm: &Harm,
        ticket: Option<Ticket>,
        arrived: u64,
    ) -> Result<Action, Refusal> {
        let (dialect, text, sha256) = (envelope.dialect, &body.text, &body.sha256);
        let shown = harm.shown(arrived);
        let admitted = self.gate.admit(dialect, head, text, sha256, shown);
        let admitted = admitted.and_then(|action| match harm.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(action),
        });
        match (admitted, ticket) {
            (Ok(action), Some(_)) => Ok(action),
            (Ok(_), None) => {
                let status = self.options.gateway.throttling_status;
                Err(Refusal::throttled(status))
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

    pub(super) fn perform(
        &self,
        head: &Parts,
        action: Action,
        body: &str,
    ) -> Result<Done, Refusal> {
        let params = Params::parse(head.uri.query().unwrap_or_default(), body);
        let mut world = locked(&self.world);
        business::perform(&mut world, &self.options, action, &params, self.clock.now())
    }

    /// Does what a call asks for.
    fn answer(&self, arrival: Arrival) -> Answered {
        let Arrival {
            head,
            received,
            early,
            early_ticket,
            at: arrived,
        } = arrival;
        let text = received.as_ref().map_or("", |body| body.text.as_str());
        let envelope = Envelope::read(&head, text);
        let action = envelope.action();
        let ticket = if action == early {
            early_ticket
        } else {
            self.give_back(early_ticket);
            self.arrive(action, arrived)
        };

        let faults = Arc::clone(locked(&self.world).faults());
        let harm = faults.harm(action);
        let refuse = |refusal: &Refusal| Answer::refusal(refusal, host(&head));
        let outcome = match (harm.turned_away(), &received) {
            (Some(answer), _) => {
                self.give_back(ticket);
                Err(answer)
            }
            (None, Err(refusal)) => Err(refuse(refusal)),
            (None, Ok(body)) => self
                .admit(&head, &envelope, body, &harm, ticket, arrived)
                .and_then(|action| self.perform(&head, action, &body.text))
                .map_err(|refusal| refuse(&refusal)),
        };
        let mut done = outcome.unwrap_or_else(|answer| Done {
            answer,
            apply_id: None,
            names: None,
        });
        let written = envelope.action_name.chars();
        let written: String = written
            .filter(char::is_ascii_alphanumeric)
            .take(64)
            .collect();
        if let Err(refusal) = self.record(&written, &done, harm.answered(), arrived) {
            done.answer = refuse(&refusal);
            return Answered::Now(self.send(done.answer, &envelope, &harm));
        }
        let answer = (!harm.hangs_up()).then(|| self.send(done.answer, &envelope, &harm));
        Answered::Harmed(answer, harm)
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

    /// In the form that the call wants.
    fn send(&self, answer: Answer, envelope: &Envelope<'_>, harm: &Harm) -> Response {
        let answer = match envelope.format {
            Format::Json => answer,
            Format::Xml => xml::rendered(answer, envelope.action()),
        };
        let retry_after = harm.retry_after(self.options.gateway.retry_after);
        let retry_after = retry_after.filter(|_| answer.code.starts_with("Throttling"));
        let retry_after = retry_after.map(|after| [(RETRY_AFTER, after.as_millis().to_string())]);
        let status =
            StatusCode::from_u16(answer.status).expect("answers have the codes written here");
        let content_type = [(header::CONTENT_TYPE, answer.content_type)];
        match retry_after {
            Some(retry_after) => (status, content_type, retry_after, answer.body).into_response(),
            None => (status, content_type, answer.body).into_response(),
        }
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
        // Left to itself, GET speaks for HEAD.
        .route("/", get(call).post(call).head(nowhere))
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
    // Counted now, since the body of another call may come in sooner. A call that breaks off in
    // its body stays counted.
    let early = Envelope::read(&head, "").action();
    let early_ticket = shared.arrive(early, arrived);
    let received = received::read(body).await;
    let arrival = Arrival {
        head,
        received,
        early,
        early_ticket,
        at: arrived,
    };
    // A world that grows takes its time now and then, in which the arrival of others is stamped.
    let working = Arc::clone(&shared);
    let answered = tokio::task::spawn_blocking(move || working.answer(arrival)).await;
    match answered {
        Ok(Answered::Now(answer)) => answer,
        Ok(Answered::Harmed(answer, harm)) => harm.done_to(answer, &shared.clock).await,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn nowhere(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let answer = Answer::refusal(&gate::not_found(), host(&head));
    shared.send(answer, &Envelope::read(&head, ""), &Harm::default())
}

/// The endpoint as the client calls it.
fn host(head: &Parts) -> &str {
    let host = head.headers.get(header::HOST);
    host.and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
