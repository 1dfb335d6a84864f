//! The shapes of the answers on the wire, the upstream's misspelt keys included.

use std::borrow::Cow;

use serde::Serialize;
use uuid::Uuid;

use super::product::Product;

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
    pub(super) data: Option<RefusedNames<'a>>,
}

/// What goes below `Data`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApplyData {
    pub(super) apply_id: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RefusedNames<'a> {
    pub(super) invalid_device_name_list: InvalidDeviceName<'a>,
    pub(super) invalid_device_nickname_list: InvalidDeviceNickname<'a>,
    pub(super) repeated_device_name_list: Repeated<'a>,
    pub(super) invalid_detail_list: Details<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InvalidDeviceName<'a> {
    pub(super) invalid_device_name: &'a [&'a str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InvalidDeviceNickname<'a> {
    pub(super) invalid_device_nickname: &'a [&'a str],
}

#[derive(Debug, Serialize)]
pub(super) struct Repeated<'a> {
    /// Misspelt upstream.
    #[serde(rename = "RepeatDevieNameList")]
    pub(super) names: &'a [&'a str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Details<'a> {
    pub(super) invalid_detail_list: Vec<Detail<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Detail<'a> {
    pub(super) device_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nick_name: Option<&'a str>,
    pub(super) error_msg: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StatusData<'a> {
    pub(super) status: &'static str,
    pub(super) valid_list: Names<'a>,
    pub(super) invalid_list: Names<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invalid_detail_list: Option<StatusDetails<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Names<'a> {
    pub(super) name: Vec<&'a str>,
}

/// Here, unlike in the answer to a check, the inner key starts in lower case.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusDetails<'a> {
    pub(super) invalid_detail_list: Vec<Detail<'a>>,
}

/// The rows of an apply: the one answer without `Data`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageOfDevices<'a> {
    pub(super) apply_device_list: ApplyDevices<'a>,
    pub(super) page: usize,
    pub(super) page_count: usize,
    pub(super) page_size: usize,
    pub(super) total: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ApplyDevices<'a> {
    pub(super) apply_device_info: Vec<DeviceRow<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeviceRow<'a> {
    pub(super) device_id: String,
    pub(super) device_name: &'a str,
    pub(super) device_secret: String,
    pub(super) iot_id: String,
}

/// The part of QueryProduct's Data that is the same for everyone or known here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ProductData {
    auth_type: &'static str,
    data_format: u8,
    device_count: usize,
    net_type: u8,
    node_type: u8,
    product_key: &'static str,
    product_name: &'static str,
    product_status: &'static str,
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
    data: &'a Option<RefusedNames<'a>>,
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

    pub(super) fn page(page: PageOfDevices<'_>) -> Answer {
        Answer::ok(&Inline {
            fields: page,
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
}

impl ProductData {
    pub(super) fn of(product: Product, devices: usize) -> ProductData {
        ProductData {
            auth_type: product.auth_type(),
            data_format: 1,
            device_count: devices,
            net_type: 3,
            node_type: 0,
            product_key: product.key(),
            product_name: product.name(),
            product_status: "DEVELOPMENT_STATUS",
        }
    }
}

impl std::fmt::Debug for DeviceRow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceRow")
            .field("iot_id", &self.iot_id)
            .finish_non_exhaustive()
    }
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("the answers hold no maps and nothing that can fail")
}

/// Upper case, as in all samples.
fn request_id() -> String {
    format!("{:X}", Uuid::new_v4().hyphenated())
}
