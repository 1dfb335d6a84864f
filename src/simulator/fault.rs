//! What a fault is, and how it is written: as JSON, in settings and in calls to set one.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::action::Action;
use super::answers::Refusal;
use super::gateway_options::ThrottlingStatus;
use super::product::Product;
use super::which::{Share, Which};

/// A body that sets a fault is no longer than this; names for a whole check fit.
pub(super) const MAX_JSON: usize = 1 << 20;
/// What a refusal says beside its code.
const TOLD: &str = "The simulator was told to refuse this.";

/// A fault with the name it is lifted by; written `NAME=JSON`.
#[derive(Debug, Clone)]
pub struct NamedFault {
    pub(super) name: String,
    pub(super) fault: Fault,
}

/// One way in which the upstream is out of order, and for which calls.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Fault {
    #[serde(flatten)]
    pub(super) kind: Kind,
    /// Said of the kinds in [`OF_CALLS`] and of no others.
    #[serde(flatten)]
    pub(super) which: Option<Which>,
}

/// The kinds that take `action`, `share` and `calls`.
const OF_CALLS: [&str; 8] = [
    "no-answer",
    "cut",
    "delay",
    "garbage",
    "truncated",
    "throttle",
    "refuse",
    "unavailable",
];

/// One way in which the upstream can be out of order.
///
/// Where `names` or `product` may be left out, all are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Kind {
    /// These names, and this share of all, are not created. It is decided when a creation begins,
    /// by product and name, so that a name fails each time or never.
    FailCreates {
        #[serde(skip_serializing_if = "Option::is_none")]
        share: Option<Share>,
        #[serde(skip_serializing_if = "Option::is_none")]
        names: Option<Names>,
        #[serde(skip_serializing_if = "Option::is_none")]
        product: Option<Product>,
    },
    /// Every call is refused once its signature was found right. It spends no quota.
    BlockAccount {
        #[serde(default = "bill_is_overdue")]
        code: Code,
    },
    /// Every call of the action is refused once its signature was found right. It spends no quota.
    BlockAction {
        action: Action,
        #[serde(default = "permission_deny")]
        code: Code,
    },
    /// Calls for the product, and for the devices of its applies, are refused. What they are for
    /// is read by the service and not by the gateway, so they have spent their quota.
    BlockProduct {
        product: Product,
        #[serde(default = "not_existed_product")]
        code: Code,
    },
    /// A check that begins with one of these names ends in CHECK_FAILED without a word why.
    NamelessCheckFailure {
        #[serde(skip_serializing_if = "Option::is_none")]
        names: Option<Names>,
    },
    /// Checks or creations, those under way too, do not end before this is lifted.
    Stuck {
        phase: Stage,
        #[serde(skip_serializing_if = "Option::is_none")]
        product: Option<Product>,
        #[serde(skip_serializing_if = "Option::is_none")]
        names: Option<Names>,
    },
    /// The call is done, whatever its outcome, and the connection closed without an answer.
    NoAnswer {},
    /// The connection is closed before anything is done, in the middle of the answer, or after the
    /// call is done and before a byte of the answer, as by `no-answer`.
    Cut { at: Cut },
    /// The call is done at once, and its answer sent that much later, in milliseconds.
    Delay { ms: u32 },
    /// The call is done, and the body of its answer replaced by bytes that are no text.
    Garbage {},
    /// The call is done, and the second half of the answer's body left out, in good order: as long
    /// as the head says.
    Truncated {},
    /// The call is refused as one above its quota once its signature was found right. With
    /// `retry_after_ms` it is told when to come back, whatever the settings say; otherwise it is not.
    Throttle {
        #[serde(default)]
        status: ThrottlingStatus,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u32>,
    },
    /// The call is refused once its signature was found right and its nonce used up. It spends no
    /// quota.
    Refuse {
        #[serde(default = "internal_error")]
        code: Code,
    },
    /// The gateway's clock, by which it judges dates and forgets nonces, and which the `Date` of
    /// its answers shows, is ahead by so many seconds; behind if negative.
    ClockSkew { seconds: i32 },
    /// The call is answered as a proxy without a server behind it does: no signature is looked at,
    /// no quota spent, and the body is HTML.
    Unavailable {
        #[serde(default)]
        status: Status,
    },
}

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Cut {
    Before,
    Middle,
    After,
}

/// What can get stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Stage {
    Check,
    Create,
}

/// At least one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<String>")]
pub(super) struct Names(BTreeSet<String>);

/// An error's code: of the service if it starts with `iot.`, in upper case or lower, else of the
/// gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Code(String);

/// An HTTP status from 500 to 599; 503 if left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub(super) struct Status(u16);

impl Fault {
    /// Reads a fault; the error says what is allowed.
    pub(super) fn parse(json: &str) -> Result<Fault, String> {
        let said = |error: serde_json::Error| error.to_string();
        let mut fields: Map<String, Value> = serde_json::from_str(json).map_err(said)?;
        let kind = fields.get("kind").and_then(Value::as_str);
        let of_calls = kind.is_some_and(|kind| OF_CALLS.contains(&kind));
        let which = of_calls.then(|| Which::take(&mut fields)).transpose()?;
        match serde_json::from_value(Value::Object(fields)).map_err(said)? {
            Kind::FailCreates {
                share: None,
                names: None,
                ..
            } => Err("`fail-creates` needs a `share`, `names` or both".into()),
            kind => Ok(Fault { kind, which }),
        }
    }
}

impl Code {
    /// The refusal with this code; HTTP 200 stands for one by the service.
    pub(super) fn refusal(&self) -> Refusal {
        let code = self.0.as_str();
        let status = if code.to_ascii_lowercase().starts_with("iot.") {
            200
        } else {
            match code {
                "InvalidAccessKeyId.NotFound" | "InvalidAction.NotFound" => 404,
                "Forbidden.RAM" => 403,
                "InternalError" | "UnknownError" => 500,
                "ServiceUnavailable" => 503,
                _ => 400,
            }
        };
        Refusal::new(status, self.0.clone(), TOLD)
    }
}

impl Names {
    pub(super) fn have(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

impl Default for Status {
    fn default() -> Status {
        Status(503)
    }
}

impl FromStr for NamedFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, json) = text.trim().split_once('=').ok_or("expected NAME=JSON")?;
        Ok(NamedFault {
            name: name.into(),
            fault: Fault::parse(json)?,
        })
    }
}

impl TryFrom<BTreeSet<String>> for Names {
    type Error = &'static str;

    fn try_from(names: BTreeSet<String>) -> Result<Names, Self::Error> {
        let some = !names.is_empty();
        some.then_some(Names(names))
            .ok_or("`names` needs at least one; leave it out to mean all")
    }
}

impl TryFrom<String> for Code {
    type Error = &'static str;

    fn try_from(code: String) -> Result<Code, Self::Error> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let allowed = (1..=100).contains(&code.len()) && code.bytes().all(legal);
        allowed
            .then_some(Code(code))
            .ok_or("a code is 1 to 100 letters, digits, `.`, `_` and `-`")
    }
}

impl TryFrom<u16> for Status {
    type Error = &'static str;

    fn try_from(status: u16) -> Result<Status, Self::Error> {
        let allowed = (500..=599).contains(&status);
        allowed
            .then_some(Status(status))
            .ok_or("a status is from 500 to 599")
    }
}

impl From<Status> for u16 {
    fn from(status: Status) -> u16 {
        status.0
    }
}

fn internal_error() -> Code {
    Code("InternalError".into())
}

fn bill_is_overdue() -> Code {
    Code("Iot.system.BillIsOverDue".into())
}

fn permission_deny() -> Code {
    Code("iot.common.RamActionPermissionDeny".into())
}

fn not_existed_product() -> Code {
    Code("iot.prod.NotExistedProduct".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        let read = |json: &str| serde_json::to_value(Fault::parse(json).unwrap()).unwrap();

        let account = json!({"kind": "block-account", "code": "Iot.system.BillIsOverDue"});
        assert_eq!(read(r#"{"kind":"block-account"}"#), account);
        let no_answer = json!({"kind": "no-answer"});
        assert_eq!(read(r#"{"kind":"no-answer"}"#), no_answer);
        let unavailable = json!({"kind": "unavailable", "status": 503});
        assert_eq!(read(r#"{"kind":"unavailable"}"#), unavailable);
        let throttle = json!({"kind": "throttle", "status": 400});
        assert_eq!(read(r#"{"kind":"throttle"}"#), throttle);
        let refuse = json!({"kind": "refuse", "code": "InternalError"});
        assert_eq!(read(r#"{"kind":"refuse"}"#), refuse);
    }

    #[test]
    fn the_calls_that_are_meant_are_written_beside_what_is_done_to_them() {
        let all = [
            ("no-answer", json!({})),
            ("cut", json!({"at": "middle"})),
            ("delay", json!({"ms": 20})),
            ("garbage", json!({})),
            ("truncated", json!({})),
            ("throttle", json!({"status": 429, "retry_after_ms": 250})),
            ("refuse", json!({"code": "ServiceUnavailable"})),
            ("unavailable", json!({"status": 500})),
        ];
        assert_eq!(all.each_ref().map(|(kind, _)| *kind), OF_CALLS);
        for (kind, mut fault) in all {
            fault["kind"] = kind.into();
            fault["action"] = "QueryProduct".into();
            fault["share"] = 0.5.into();
            fault["calls"] = json!([1, 3]);
            let read = Fault::parse(&fault.to_string()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), fault);
        }
    }

    #[test]
    fn what_is_unknown_is_refused_with_what_is_allowed() {
        let cases = [
            (r#"{"kind":"fire"}"#, "`nameless-check-failure`"),
            (r#"{"kind":"fail-creates"}"#, "`share`"),
            (r#"{"kind":"fail-creates","share":1.1}"#, "from 0 to 1"),
            (r#"{"kind":"fail-creates","names":[]}"#, "at least one"),
            (r#"{"kind":"block-account","colour":1}"#, "`code`"),
            (r#"{"kind":"block-account","code":""}"#, "1 to 100"),
            (
                r#"{"kind":"block-product","product":"a1"}"#,
                "`a1SimulatorX`",
            ),
            (r#"{"kind":"block-product"}"#, "`product`"),
            (
                r#"{"kind":"block-action","action":"Pub"}"#,
                "`QueryProduct`",
            ),
            (r#"{"kind":"stuck","phase":"OPEN"}"#, "`CREATE`"),
            (r#"{"kind":"unavailable","status":200}"#, "from 500 to 599"),
            (r#"{"kind":"block-account","share":1}"#, "`share`"),
            (r#"{"kind":"no-answer","share":2}"#, "from 0 to 1"),
            (r#"{"kind":"no-answer","calls":[]}"#, "numbers from 1"),
            (r#"{"kind":"no-answer","calls":[0]}"#, "numbers from 1"),
            (r#"{"kind":"garbage","action":"Pub"}"#, "`QueryProduct`"),
            (r#"{"kind":"garbage","at":"after"}"#, "`at`"),
            (r#"{"kind":"cut","at":"dawn"}"#, "`middle`"),
            (r#"{"kind":"throttle","status":503}"#, "400 or 429"),
            (r#"{"share":1}"#, "`kind`"),
            ("{", "EOF"),
        ];
        for (json, allowed) in cases {
            let said = Fault::parse(json).unwrap_err();
            assert!(said.contains(allowed), "{json}: {said}");
        }
    }

    #[test]
    fn a_code_tells_who_refuses_and_how() {
        let status = |code: &str| Code(code.into()).refusal().status;

        assert_eq!(status("iot.common.InvalidTenant"), 200);
        assert_eq!(status("Iot.system.BillIsOverDue"), 200);
        assert_eq!(status("InvalidAccessKeyId.Inactive"), 400);
        assert_eq!(status("Forbidden.RAM"), 403);
        assert_eq!(status("Whatever"), 400);
    }
}
