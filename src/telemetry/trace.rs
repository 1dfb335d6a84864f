//! What is traced: a call of the API, a step, a part of a stream, and within them a call of the
//! upstream or of the database. Each begins a span here and nowhere else, and none lasts as long as a
//! watch.
//!
//! The context of a call comes from its client, as W3C says. It is kept with the apply, and every
//! step is a trace of its own that links to it: an apply lives for days, and a trace should not.
//! Nothing of it is sent on to the upstream, which belongs to someone else: it could do nothing
//! with our ids but keep them, and its own RequestId is on the span instead.

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{FutureExt as _, SpanContext, TraceContextExt as _, WithContext},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, error_span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::Directive;

/// Of spans that are exported and stand in no log line.
pub(super) const TARGET: &str = "otel";

/// Keeps them out of log lines.
pub(super) fn unlogged() -> Directive {
    let directive = format!("{TARGET}=off");
    directive.parse().expect("a target and a level")
}

const TRACEPARENT: &str = "traceparent";

/// A call of the API, for the exporter and for the lines that are logged meanwhile.
#[derive(Clone, Debug)]
pub struct Rpc {
    traced: Span,
    logged: Span,
}

impl Rpc {
    /// Begins with a call of a method, continuing what its headers name. The names must be ours and
    /// not the caller's.
    pub fn begin(service: &str, method: &str, request_id: &str, headers: &HeaderMap) -> Self {
        let traced = info_span!(
            target: TARGET,
            parent: None,
            "rpc",
            otel.name = %format_args!("{service}/{method}"),
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = method,
            rpc.grpc.status_code = Empty,
            request_id,
            apply.id = Empty,
        );
        // Nothing is exported otherwise, and nobody has to know whose call it is a part of.
        if !traced.is_disabled() {
            let caller = TraceContextPropagator::new().extract(&Headers(headers));
            traced.set_parent(caller).ok(); // fails where the exporter does not sample
        }
        let logged = logged_with(&traced, Some(request_id));
        Self { traced, logged }
    }

    /// What the call does is to be done within this, and within that inside [`Rpc::logged`].
    pub fn traced(&self) -> Span {
        self.traced.clone()
    }

    /// Names the request in every line that is logged.
    pub fn logged(&self) -> Span {
        self.logged.clone()
    }

    /// The answer: the code of its status, and whether the server is to blame.
    pub fn answered(&self, code: i32, is_fault: bool) {
        self.traced.record("rpc.grpc.status_code", code);
        if is_fault {
            self.traced.record("otel.status_code", "ERROR");
        }
    }
}

/// Names the apply on the call that is being traced.
pub fn about_apply(id: i64) {
    Context::current()
        .span()
        .set_attribute(KeyValue::new("apply.id", id));
}

/// Where to link to: the call that is being traced, as W3C writes it.
pub fn traceparent() -> Option<String> {
    let context = Context::current();
    let span = context.span().span_context().clone();
    let (trace, id, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    span.is_valid()
        .then(|| format!("00-{trace}-{id}-{flags:02x}"))
}

/// What is done for the call that is being traced after it was answered, as a stream in a task of its
/// own is.
pub fn carried<F: Future>(task: F) -> WithContext<F> {
    task.with_context(Context::current())
}

/// A part of what is [`carried`] on: a trace of its own that links to the call, since a stream may
/// last for hours.
pub fn part(name: &'static str, apply: i64) -> Span {
    let call = Context::current().span().span_context().clone();
    let span = info_span!(
        target: TARGET,
        parent: None,
        "part",
        otel.name = name,
        otel.kind = "internal",
        apply.id = apply,
    );
    if call.is_valid() {
        span.add_link(call);
    }
    span
}

/// A step: a trace of its own that links to the call which set it going. The first span is the
/// exporter's, and the second one, within it, names the trace in every line that is logged.
pub fn step(
    lane: &'static str,
    apply: i64,
    round_no: i32,
    submitted_by: Option<&str>,
) -> [Span; 2] {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "step",
        otel.name = %format_args!("step {lane}"),
        otel.kind = "consumer",
        lane,
        apply.id = apply,
        round.no = round_no,
    );
    if let Some(call) = submitted_by.and_then(parse) {
        span.add_link(call);
    }
    let logged = logged_with(&span, None);
    [span, logged]
}

/// A call of the upstream: no query, which has the product and the signature.
pub fn upstream(action: &'static str, host: &str, port: u16, path: &str) -> Span {
    info_span!(
        target: TARGET,
        "upstream",
        otel.name = %format_args!("POST {action}"),
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = "POST",
        url.path = path,
        server.address = host,
        server.port = port,
        http.response.status_code = Empty,
        upstream.action = action,
        upstream.request_id = Empty,
        error.type = Empty,
    )
}

/// A span for the lines that are logged within `span`, of which it is no child: a watch keeps the
/// one for as long as it lasts, and the other ends with the opening.
fn logged_with(span: &Span, request_id: Option<&str>) -> Span {
    let context = match span.is_disabled() {
        true => Context::new(),
        false => span.context(),
    };
    let trace = context.span().span_context().trace_id();
    let trace_id = context
        .span()
        .span_context()
        .is_valid()
        .then(|| trace.to_string());
    match (request_id, trace_id) {
        (Some(request_id), Some(trace_id)) => {
            error_span!(parent: None, "call", request_id, trace_id)
        }
        (Some(request_id), None) => error_span!(parent: None, "call", request_id),
        (None, Some(trace_id)) => error_span!(parent: None, "step", trace_id),
        (None, None) => Span::none(),
    }
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    let headers = HeaderMap::from_iter([(
        http::HeaderName::from_static(TRACEPARENT),
        traceparent.parse().ok()?,
    )]);
    let context = TraceContextPropagator::new().extract(&Headers(&headers));
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_context_is_linked_to() {
        let whole = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

        let read = parse(whole).unwrap();

        assert_eq!(
            read.trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(read.span_id().to_string(), "00f067aa0ba902b7");
        for part in [
            "",
            "00",
            "00-0-0-00",
            &whole[..50],
            "\n",
            "x'; DROP TABLE applies",
        ] {
            assert!(parse(part).is_none(), "{part}");
        }
    }

    #[test]
    fn without_an_exporter_there_is_nothing_to_link_to() {
        assert_eq!(traceparent(), None);
    }
}
