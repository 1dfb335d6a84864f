//! Refusals of the transport, in the words of this API: each with one reason and what to do.

use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;

use super::call::Call;
use crate::{
    proto::registrar_service_server::SERVICE_NAME,
    service::{MAX_MESSAGE, open::Kept, status::info, upload},
};

const ACCEPTED: &str = "grpc-accept-encoding";

/// The refusal of what is no call of gRPC at all. Its HTTP status is an error too, as gRPC over
/// HTTP/2 asks, so that other clients do not take it for a success.
pub(super) fn not_grpc(request: &Request<Body>) -> Option<Response<Body>> {
    let content = request.headers().get(CONTENT_TYPE);
    let content = content.map_or(&b""[..], |value| value.as_bytes());
    let content = content
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or(content);
    let known: [&[u8]; 2] = [b"application/grpc", b"application/grpc+proto"];
    if request.method() == http::Method::POST && known.contains(&content.trim_ascii()) {
        return None;
    }
    let message = "this port speaks gRPC: POST over HTTP/2 with content-type application/grpc; use \
                   a gRPC client, such as grpcurl or `registrar get`";
    let status = Status::with_error_details(Code::InvalidArgument, message, info("NOT_GRPC", []));
    let mut response = status.into_http();
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some(response)
}

/// Rewrites a refusal that has no details, at the beginning or the end of an answer: ours all have.
pub(super) fn in_our_words(mut response: Response<Body>, call: Call) -> Response<Body> {
    let Some(refusal) = refusal(response.headers()) else {
        let kept: Option<Kept> = response.extensions_mut().remove();
        return response.map(|body| {
            Body::new(body.map_frame(move |mut frame| {
                let _until_the_body_ends = &kept;
                if let Some(trailers) = frame.trailers_mut()
                    && let Some(refusal) = refusal(trailers)
                {
                    trailers.clear();
                    // Fails on text that no header can hold, and ours is printable.
                    of_transport(refusal.code(), &call, None)
                        .add_header(trailers)
                        .ok();
                }
                frame
            }))
        });
    };
    // Comes with the refusal of an encoding, and with no other.
    let encodings = response.headers().get(ACCEPTED);
    let status = of_transport(refusal.code(), &call, encodings.map(|it| it.as_bytes()));
    let mut rewritten = status.into_http();
    if let Some(encodings) = encodings {
        rewritten.headers_mut().insert(ACCEPTED, encodings.clone());
    }
    rewritten
}

/// A message is not what its method takes.
pub(in crate::service) fn unreadable() -> Status {
    let message = "the message cannot be read: it is cut short, not of this method, not compressed \
                   as it says, or holds text that is not UTF-8; encode it by registrar.v1";
    Status::with_error_details(
        Code::InvalidArgument,
        message,
        info("MALFORMED_MESSAGE", []),
    )
}

fn refusal(headers: &HeaderMap) -> Option<Status> {
    let status = Status::from_header_map(headers)?;
    (status.code() != Code::Ok && status.details().is_empty()).then_some(status)
}

fn of_transport(code: Code, call: &Call, encodings: Option<&[u8]>) -> Status {
    match code {
        // The transport calls a message that is too large out of range.
        Code::OutOfRange | Code::ResourceExhausted => too_large(call),
        // The transport takes a message that it cannot read for a fault of its own.
        Code::Internal | Code::InvalidArgument => unreadable(),
        Code::Unimplemented => match encodings {
            Some(encodings) => unknown_encoding(&String::from_utf8_lossy(encodings)),
            None => unknown_method(call),
        },
        Code::NotFound => Status::with_error_details(
            Code::NotFound,
            format!("this server has nothing of that name; it serves {SERVICE_NAME}"),
            info("UNKNOWN_NAME", []),
        ),
        other => Status::with_error_details(
            other,
            "the call was cut off; call again with the same request_id",
            info("CALL_CUT_OFF", []),
        ),
    }
}

fn too_large(call: &Call) -> Status {
    let most = match call.largest >> 20 {
        0 => format!("{} KiB", call.largest >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    };
    let what_to_do = match call.largest {
        MAX_MESSAGE => "use UploadDevices, or split the devices into several applies",
        upload::MAX_MESSAGE => "send the devices in smaller parts",
        _ => "only CheckDevices and UploadDevices take large messages",
    };
    let message = format!("a message of this method may have at most {most}; {what_to_do}");
    let metadata = [("most_bytes", call.largest.to_string())];
    let mut details = info("MESSAGE_TOO_LARGE", metadata);
    details.add_quota_failure_violation("bytes of a message", message.clone());
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

fn unknown_encoding(accepted: &str) -> Status {
    let message = format!(
        "this server does not read the message's encoding (grpc-encoding); it takes {accepted}"
    );
    let metadata = [("accepted", accepted.to_owned())];
    Status::with_error_details(
        Code::Unimplemented,
        message,
        info("UNKNOWN_ENCODING", metadata),
    )
}

fn unknown_method(call: &Call) -> Status {
    let message = format!(
        "this server has no method {}; it serves {SERVICE_NAME}, whose methods reflection lists",
        call.path()
    );
    let metadata = [("method", call.path())];
    Status::with_error_details(
        Code::Unimplemented,
        message,
        info("UNKNOWN_METHOD", metadata),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(largest: usize) -> Call {
        Call {
            uri: http::Uri::from_static("/x.Y/Z"),
            largest,
        }
    }

    fn reason(status: &Status) -> String {
        status.get_details_error_info().unwrap().reason
    }

    #[test]
    fn each_refusal_has_a_reason_and_says_what_to_do() {
        for (code, encodings, expected, reason_of_it, what_to_do) in [
            (
                Code::OutOfRange,
                None,
                Code::ResourceExhausted,
                "MESSAGE_TOO_LARGE",
                "use UploadDevices, or split the",
            ),
            (
                Code::Internal,
                None,
                Code::InvalidArgument,
                "MALFORMED_MESSAGE",
                "encode it by",
            ),
            (
                Code::Unimplemented,
                None,
                Code::Unimplemented,
                "UNKNOWN_METHOD",
                "/x.Y/Z",
            ),
            (
                Code::NotFound,
                None,
                Code::NotFound,
                "UNKNOWN_NAME",
                "it serves",
            ),
            (
                Code::Unknown,
                None,
                Code::Unknown,
                "CALL_CUT_OFF",
                "call again",
            ),
            (
                Code::Unimplemented,
                Some(&b"gzip,identity"[..]),
                Code::Unimplemented,
                "UNKNOWN_ENCODING",
                "it takes gzip,identity",
            ),
        ] {
            let status = of_transport(code, &call(16 << 20), encodings);

            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (expected, reason_of_it)
            );
            assert!(status.message().contains(what_to_do), "{status}");
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_told_how_large_it_may_be() {
        let message = |largest| too_large(&call(largest)).message().to_owned();

        assert!(message(16 << 20).contains("at most 16 MiB; use UploadDevices"));
        assert!(message(4 << 20).contains("at most 4 MiB; send the devices in smaller parts"));
        assert!(message(64 << 10).contains("at most 64 KiB; only CheckDevices"));
    }

    #[tokio::test]
    async fn the_end_of_a_stream_is_in_our_words_too() {
        let mut trailers = HeaderMap::new();
        Status::not_found("symbol 'x' not found")
            .add_header(&mut trailers)
            .unwrap();
        let trailers = async { Some(Ok(trailers)) };
        let body = Body::new(http_body_util::Empty::new().with_trailers(trailers));

        let answer = in_our_words(Response::new(body), call(1));

        let collected = answer.into_body().collect().await.unwrap();
        let status = Status::from_header_map(collected.trailers().unwrap()).unwrap();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "UNKNOWN_NAME")
        );
        assert!(!status.message().contains("symbol"));
    }

    #[test]
    fn only_a_post_of_grpc_is_a_call() {
        let refused = |method, content: &'static str| {
            let request = Request::builder()
                .method(method)
                .header(CONTENT_TYPE, content);
            not_grpc(&request.body(Body::empty()).unwrap()).is_some()
        };

        for call in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; a=b",
        ] {
            assert!(!refused("POST", call) && refused("GET", call));
        }
        for other in [
            "",
            "text/html",
            "application/grpc-web",
            "application/grpc+json",
        ] {
            assert!(refused("POST", other));
        }
    }
}
