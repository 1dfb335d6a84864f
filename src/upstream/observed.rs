//! What is told of a call while nobody asks: a span and metrics. Nothing goes to the upstream.

use tracing::Span;

use crate::{
    telemetry::{metrics, trace},
    upstream::{Answer, Client, Error, Scope, Verdict, action::Action},
};

/// The span of a call that begins now.
pub(super) fn span(client: &Client, action: Action) -> Span {
    let origin = &client.shared.origin;
    trace::upstream(
        action.name(),
        origin.host_str().unwrap_or_default(),
        origin.port_or_known_default().unwrap_or_default(),
        origin.path(),
    )
}

/// Tells what became of it.
pub(super) fn tell<T>(span: &Span, action: Action, answer: &Answer<T>) {
    let class = answer.outcome.as_ref().map_or_else(class, |_| "ok");
    metrics().upstream_calls.add(1, [action.name(), class]);
    metrics().upstream_call.record(answer.took, [action.name()]);
    if let Some(status) = answer.http_status {
        span.record("http.response.status_code", status);
    }
    if let Some(request_id) = &answer.request_id {
        span.record("upstream.request_id", request_id);
    }
    if let Err(error) = &answer.outcome {
        span.record("error.type", error.code.as_deref().unwrap_or(class));
        span.record("otel.status_code", "ERROR");
    }
}

/// What kind of a failure it is, for whoever counts them.
fn class(error: &Error) -> &'static str {
    match (error.scope, error.verdict) {
        _ if error.throttled => "throttled",
        (Scope::Clock, _) => "clock",
        (Scope::Account | Scope::Lane | Scope::Apply, _) => "blocked",
        (Scope::Call, Verdict::Final) => "refused",
        (Scope::Call, Verdict::Again) => "unsent",
        (Scope::Call, Verdict::Unclear) => "unclear",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_of_one_class() {
        let refused = |status, code: &str| {
            class(&Error::refused(
                status,
                Some(code.to_owned()),
                None,
                Vec::new(),
            ))
        };

        assert_eq!(refused(400, "Throttling.User"), "throttled");
        assert_eq!(refused(400, "InvalidTimeStamp.Expired"), "clock");
        assert_eq!(refused(200, "Iot.system.BillIsOverDue"), "blocked");
        assert_eq!(refused(200, "iot.prod.NotExistedProduct"), "blocked");
        assert_eq!(refused(200, "iot.device.NoneDeviceNameElement"), "refused");
        assert_eq!(refused(503, "ServiceUnavailable"), "unclear");
        assert_eq!(class(&Error::unsent("no route", None)), "unsent");
        assert_eq!(class(&Error::unclear("cut off", None)), "unclear");
    }
}
