//! Answers: what all of them have in common on the wire, and how the upstream says no.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::gateway_options::ThrottlingStatus;

/// Exactly this text: an old SDK refuses what it does not know.
pub(super) const JSON: &str = "application/json;charset=utf-8";
const HTML: &str = "text/html";

/// An answer ready to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `OK`, or the error's code.
    pub(super) code: Cow<'static, str>,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// A call that is refused before its action is looked at: by the gateway with an HTTP error, or,
/// where the status is 200, in the service's way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
}

/// A call that the service refuses: HTTP 200 with `Success: false`.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) code: Cow<'static, str>,
    pub(super) message: Cow<'a, str>,
    /// What is wrong, item by item.
    pub(super) data: Option<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WithData<D> {
    data: D,
    request_id: String,
    success: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inline<D> {
    #[serde(flatten)]
    fields: D,
    request_id: String,
    success: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailureBody<'a> {
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: &'a Option<Value>,
    error_message: &'a str,
    request_id: String,
    success: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RefusalBody<'a> {
    request_id: &'a str,
    host_id: &'a str,
    code: &'a str,
    message: &'a str,
    recommend: String,
}

impl Answer {
    pub(super) fn with_data(data: impl Serialize) -> Answer {
        Answer::ok(&WithData {
            data,
            request_id: request_id(),
            success: true,
        })
    }

    /// With these fields beside the common ones.
    pub(super) fn with_fields(fields: impl Serialize) -> Answer {
        Answer::ok(&Inline {
            fields,
            request_id: request_id(),
            success: true,
        })
    }

    /// With nothing but the common fields.
    pub(super) fn done() -> Answer {
        Answer::ok(&Inline {
            fields: (),
            request_id: request_id(),
            success: true,
        })
    }

    pub(super) fn failure(failure: &Failure<'_>) -> Answer {
        let Failure {
            code,
            message,
            data,
        } = failure;
        let request_id = request_id();
        let body = FailureBody {
            code,
            data,
            error_message: message,
            request_id,
            success: false,
        };
        Answer {
            status: 200,
            code: code.clone(),
            content_type: JSON,
            body: json(&body),
        }
    }

    /// `host` is the endpoint as the client calls it.
    pub(super) fn refusal(refusal: &Refusal, host: &str) -> Answer {
        let Refusal {
            status,
            code,
            message,
        } = refusal;
        if *status == 200 {
            let message = message.as_str();
            return Answer::failure(&Failure::new(code.clone(), message));
        }
        let request_id = request_id();
        let recommend = format!(
            "https://api.aliyun.com/troubleshoot?q={code}&product=Iot&requestId={request_id}"
        );
        let request_id = &request_id;
        let body = RefusalBody {
            code,
            host_id: host,
            message,
            recommend,
            request_id,
        };
        Answer {
            status: *status,
            code: code.clone(),
            content_type: JSON,
            body: json(&body),
        }
    }

    /// What a proxy says in place of the server.
    pub(super) fn unavailable(status: u16) -> Answer {
        let title = format!("{status} The server does not answer");
        Answer {
            status,
            code: Cow::Borrowed("Unavailable"),
            content_type: HTML,
            body: format!(
                "<html>\n<head><title>{title}</title></head>\n\
                 <body><center><h1>{title}</h1></center></body>\n</html>\n"
            ),
        }
    }

    /// What a caller whose connection is closed gets. Its status is none of HTTP.
    pub(super) fn none() -> Answer {
        Answer {
            status: 0,
            code: Cow::Borrowed("Cut"),
            content_type: HTML,
            body: String::new(),
        }
    }

    fn ok(body: &impl Serialize) -> Answer {
        Answer {
            status: 200,
            code: Cow::Borrowed("OK"),
            content_type: JSON,
            body: json(body),
        }
    }
}

impl Refusal {
    pub(super) fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Refusal {
        Refusal {
            status,
            code: code.into(),
            message: message.into(),
        }
    }

    /// There were too many calls.
    pub(super) fn throttled(status: ThrottlingStatus) -> Refusal {
        let message = "Request was denied due to user flow control.";
        Refusal::new(status.code(), "Throttling.User", message)
    }

    /// The simulator cannot do its work, for example because the disk is full.
    pub(super) fn internal() -> Refusal {
        Refusal::new(
            500,
            "InternalError",
            "The request processing has failed due to some error.",
        )
    }
}

impl<'a> Failure<'a> {
    pub(super) fn new(
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'a, str>>,
    ) -> Failure<'a> {
        Failure {
            code: code.into(),
            message: message.into(),
            data: None,
        }
    }

    /// With these lists below `Data`.
    pub(super) fn with_data(self, data: impl Serialize) -> Failure<'a> {
        let data = serde_json::to_value(data);
        Failure {
            data: Some(data.expect("the answers hold nothing that can fail")),
            ..self
        }
    }
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("the answers hold no maps and nothing that can fail")
}

/// Upper case, as in all samples.
fn request_id() -> String {
    format!("{:X}", Uuid::new_v4().hyphenated())
}
