//! Turns what a call failed with into words that say what to do.

use std::error::Error;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{connect::WHERE_IT_LISTENS, credentials, genuine::NotGrpc, shown::escaped};

/// The failure of a call as an error that reads: what was being done, the code, the server's
/// message, and one indented line for each detail.
pub(super) fn while_doing(doing: &str, status: &Status) -> anyhow::Error {
    let mut text = format!("{doing}: {}", in_short(status));
    if status
        .source()
        .is_some_and(|source| NotGrpc::of(source).is_some())
    {
        text.push_str("\n  ");
        text.push_str(WHERE_IT_LISTENS);
    }
    if let Some(advice) = status
        .source()
        .and_then(|cause| credentials::advice(&root(cause)))
    {
        text.push_str("\n  ");
        text.push_str(advice);
    }
    if status.code() == Code::Unauthenticated {
        text.push_str(
            "\n  give a token with --token-file or in REGISTRAR_TOKEN, or a certificate with \
             --client-certificate and --client-key",
        );
    }
    if status.code() == Code::Unimplemented {
        text.push_str("\n  the server at this address is another service, or an older registrar");
    }
    for detail in details(status) {
        text.push_str("\n  ");
        text.push_str(&detail);
    }
    anyhow::Error::msg(text)
}

/// Code and message in one line.
pub(super) fn in_short(status: &Status) -> String {
    if let Some(other) = status.source().and_then(NotGrpc::of) {
        return other.to_string();
    }
    // A stream that was cut off, in the words of a library.
    if status.code() == Code::Unknown && status.message().starts_with("h2 protocol error") {
        return "the connection broke".to_owned();
    }
    let code = code(status.code());
    let message = escaped(status.message());
    match status.source().map(root) {
        // The transport says only that it failed; what is below it says why.
        Some(cause) if cause != status.message() => format!("{code}: {message} ({cause})"),
        _ if message.is_empty() => code.to_owned(),
        _ => format!("{code}: {message}"),
    }
}

/// The innermost cause, which names what happened where the outer ones name layers.
pub(super) fn root(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    escaped(&innermost.to_string())
}

fn details(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let mut lines = Vec::new();
    let mut say = |what: &str, description: &str| {
        lines.push(match (what.is_empty(), description.is_empty()) {
            (true, _) => escaped(description),
            (_, true) => escaped(what),
            _ => format!("{}: {}", escaped(what), escaped(description)),
        });
    };
    for violation in details
        .bad_request()
        .iter()
        .flat_map(|b| &b.field_violations)
    {
        say(&violation.field, &violation.description);
    }
    // Often all that these two have to say is what the message says.
    let is_news = |description: &str| description != status.message();
    for violation in details
        .precondition_failure()
        .iter()
        .flat_map(|p| &p.violations)
        .filter(|violation| is_news(&violation.description))
    {
        say(&violation.subject, &violation.description);
    }
    for violation in details.quota_failure().iter().flat_map(|q| &q.violations) {
        say(&violation.subject, &violation.description);
    }
    if let Some(resource) = details.resource_info()
        && is_news(&resource.description)
    {
        let what = format!("{} {}", resource.resource_type, resource.resource_name);
        say(what.trim(), &resource.description);
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        say("", &format!("try again in {:.1} s", delay.as_secs_f64()));
    }
    lines
}

/// The code as the proto files and every other client spell it.
fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_refusal_without_details_is_one_line() {
        let status = Status::not_found("there is no apply 17");

        let error = while_doing("watching the apply", &status);

        assert_eq!(
            error.to_string(),
            "watching the apply: NOT_FOUND: there is no apply 17"
        );
    }

    #[test]
    fn every_detail_is_a_line_of_its_own() {
        let mut details = ErrorDetails::new();
        details
            .add_bad_request_violation("product_key", "must not be empty")
            .add_bad_request_violation("devices", "must hold at least one")
            .add_precondition_failure_violation("STATUS", "apply 17", "watch it first")
            .set_resource_info("apply", "17", "", "was removed")
            .set_retry_info(Some(Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::InvalidArgument, "no", details);

        let error = while_doing("submitting", &status);

        assert_eq!(
            error.to_string(),
            "submitting: INVALID_ARGUMENT: no\n  product_key: must not be empty\n  devices: must \
             hold at least one\n  apply 17: watch it first\n  apply 17: was removed\n  try again \
             in 1.5 s"
        );
    }

    #[test]
    fn a_detail_that_only_repeats_the_message_is_left_out() {
        let mut details = ErrorDetails::new();
        details
            .set_resource_info("registrar.v1.Apply", "17", "", "there is no apply 17")
            .add_precondition_failure_violation("APPLY", "applies/17", "there is no apply 17");
        let status = Status::with_error_details(Code::NotFound, "there is no apply 17", details);

        let error = while_doing("reading the apply", &status);

        assert_eq!(
            error.to_string(),
            "reading the apply: NOT_FOUND: there is no apply 17"
        );
    }

    #[test]
    fn the_cause_below_the_transport_is_named() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(refused));

        assert!(
            in_short(&status).contains("connection refused"),
            "{}",
            in_short(&status)
        );
    }

    #[test]
    fn a_text_from_outside_cannot_steer_the_terminal() {
        let status = Status::internal("\u{1b}[2Jgone");

        assert_eq!(in_short(&status), "INTERNAL: \\u{1b}[2Jgone");
    }
}
