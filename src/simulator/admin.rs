//! What tests may look at, unsigned: the ledger, the devices and the faults, as JSON lines; and
//! how they set and lift faults.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::credentials::{Credentials, Place};
use super::fault::Fault;
use super::ledger::{Ledger, MAX_LINES, Wanted};
use super::product::Product;
use super::server::{Shared, locked};

/// Lines of the ledger in one answer unless the call says otherwise.
const USUAL_LINES: usize = 10_000;

#[derive(Debug, Deserialize)]
pub(super) struct LedgerQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    /// `current` (the default), `all`, or the number of a run.
    run: Option<String>,
    action: Option<String>,
    #[serde(default)]
    names: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct DevicesQuery {
    product: String,
    #[serde(default)]
    credentials: bool,
}

/// `GET /_simulator/ledger?after=SEQ&limit=N&run=current|all|N&action=A&names=true`.
pub(super) async fn ledger(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<LedgerQuery>,
) -> Response {
    let run = match query.run.as_deref().unwrap_or("current") {
        "current" => Some(shared.run),
        "all" => None,
        number => match number.parse() {
            Ok(run) => Some(run),
            Err(_) => return refuse("run is `current`, `all` or a number"),
        },
    };
    let limit = query.limit.unwrap_or(USUAL_LINES).min(MAX_LINES);
    let wanted = Wanted {
        after: query.after,
        limit,
        run,
        action: query.action,
    };
    // A long ledger takes a while to read, and calls go on meanwhile.
    let read = tokio::task::spawn_blocking(move || {
        let names = |apply| names_of(&shared, apply);
        Ledger::read(&shared.ledger, &wanted, query.names.then_some(&names))
    });
    match read.await {
        Ok(Ok(text)) => lines(Body::from(text)),
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "ledger not read");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// `GET /_simulator/devices?product=KEY&credentials=true`: those that existed from the beginning,
/// then apply by apply. Credentials are those that pages of the apply show.
pub(super) async fn devices(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<DevicesQuery>,
) -> Response {
    let Some(product) = Product::of_key(&query.product) else {
        return refuse("there is no such product");
    };
    let (existing, creators) = {
        let mut world = locked(&shared.world);
        world.state.settle(shared.clock.now());
        let mut text = String::new();
        let devices = world.state.devices(product);
        for name in devices.existing() {
            device(&mut text, name, None, devices.times_created(name), None);
        }
        (text, world.state.creators(product))
    };
    // A product may have millions of them, so each apply is written when its turn comes.
    let applies = creators
        .into_iter()
        .map(move |apply| devices_of(&shared, product, apply, query.credentials));
    let existing = Some(existing).filter(|text| !text.is_empty());
    let chunks = existing.into_iter().chain(applies).map(Ok::<_, Infallible>);
    lines(Body::from_stream(tokio_stream::iter(chunks)))
}

/// `GET /_simulator/faults`: those that are set, by name.
pub(super) async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    let faults = Arc::clone(locked(&shared.world).faults());
    let mut text = String::new();
    for (name, fault) in faults.all() {
        let line = serde_json::json!({"name": name, "fault": fault});
        writeln!(text, "{line}").expect("a String takes all that is written");
    }
    lines(Body::from(text))
}

/// `PUT /_simulator/faults/NAME` with the fault as JSON. From the answer on it is set.
pub(super) async fn set_fault(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    json: String,
) -> Response {
    let fault = match Fault::parse(&json) {
        Ok(fault) => fault,
        Err(why) => return refuse(why),
    };
    let mut world = locked(&shared.world);
    let mut faults = world.faults().as_ref().clone();
    match faults.set(&name, fault) {
        Ok(()) => changed(world.set_faults(faults, shared.clock.now())),
        Err(why) => refuse(why),
    }
}

/// `DELETE /_simulator/faults/NAME`. From the answer on it is lifted.
pub(super) async fn lift_fault(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Response {
    let mut world = locked(&shared.world);
    let mut faults = world.faults().as_ref().clone();
    if faults.lift(&name) {
        changed(world.set_faults(faults, shared.clock.now()))
    } else {
        (StatusCode::NOT_FOUND, "there is no such fault").into_response()
    }
}

fn changed(set: io::Result<()>) -> Response {
    match set {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "journal not written"
            );
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn devices_of(shared: &Shared, product: Product, apply_id: u64, credentials: bool) -> String {
    let world = locked(&shared.world);
    let mut text = String::new();
    if let Some(apply) = world.state.apply(apply_id) {
        for (position, name) in apply.created() {
            let created = world.state.devices(product).times_created(name);
            let place = Place {
                product,
                apply: apply_id,
                position,
            };
            let proof = credentials.then(|| {
                let made = world.credentials(place, name);
                let brought = apply.brought_secret(position).map(str::to_owned);
                Credentials {
                    secret: brought.unwrap_or(made.secret.clone()),
                    ..made
                }
            });
            device(&mut text, name, Some(apply_id), created, proof);
        }
    }
    text
}

/// Names, ids and secrets hold nothing that JSON would escape.
fn device(
    text: &mut String,
    name: &str,
    apply_id: Option<u64>,
    created: u32,
    proof: Option<Credentials>,
) {
    let apply_id = apply_id.map_or("null".into(), |id| id.to_string());
    let proof = proof.map_or(String::new(), |it| {
        format!(
            r#","iot_id":"{}","device_secret":"{}""#,
            it.iot_id, it.secret
        )
    });
    writeln!(
        text,
        r#"{{"name":"{name}","apply_id":{apply_id},"created":{created}{proof}}}"#
    )
    .expect("a String takes all that is written");
}

/// The names of an accepted check: the well-formed ones in their order, then the others.
fn names_of(shared: &Shared, apply: u64) -> Option<Vec<String>> {
    let world = locked(&shared.world);
    Some(
        world
            .state
            .apply(apply)?
            .all_names()
            .map(Into::into)
            .collect(),
    )
}

fn lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}

fn refuse(why: impl Into<String>) -> Response {
    (StatusCode::BAD_REQUEST, why.into()).into_response()
}
