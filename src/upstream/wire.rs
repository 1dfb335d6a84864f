//! What the upstream answers, read with tolerance: lists may be absent, null, bare or wrapped in
//! an object of any key, numbers may be texts, and fields that nobody asked for are skipped
//! (device secrets among them).

use std::mem;

use serde::Deserialize;

use crate::upstream::{
    loose::{List, Number},
    refused::{self, Detail, Kind, Refused},
    secret::Redaction,
};

/// A check was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub apply_id: i64,
}

/// A creation was queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The upstream repeats the ApplyId; not relied on.
    pub apply_id: Option<i64>,
}

/// How far an upstream apply is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub phase: Phase,
    /// Names that passed, or were created. Filled only in the two failed phases.
    pub valid: Vec<String>,
    /// Names that did not, each once. Filled only in the two failed phases.
    pub invalid: Vec<Refused>,
}

/// The statuses of the upstream documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Check,
    CheckSuccess,
    CheckFailed,
    Create,
    CreateSuccess,
    CreateFailed,
    /// A status that no document mentions; go on asking.
    Other(String),
}

/// One page of what an upstream apply created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub names: Vec<String>,
    /// Devices on all pages together.
    pub total: u64,
    pub page_count: Option<u32>,
}

/// Any answer; which of its fields are filled depends on the action.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Envelope {
    pub(super) success: Option<bool>,
    pub(super) code: Option<String>,
    /// Of the product; the gateway says `Message`.
    error_message: Option<String>,
    message: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) data: Option<Data>,
    apply_device_list: List<Row>,
    total: Number,
    page_count: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Data {
    apply_id: Number,
    status: Option<String>,
    valid_list: List<String>,
    invalid_list: List<String>,
    #[serde(alias = "invalidDetailList")]
    invalid_detail_list: List<Detail>,
    invalid_device_name_list: List<String>,
    invalid_device_nickname_list: List<String>,
    repeated_device_name_list: List<String>,
    // Of a product.
    pub(super) product_name: Option<String>,
    pub(super) auth_type: Option<String>,
    pub(super) node_type: Number,
    pub(super) device_count: Number,
}

/// The part of an answer that says whether it is a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Head {
    success: Option<bool>,
    code: Option<String>,
    error_message: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    device_name: Option<String>,
}

impl Envelope {
    /// `None` for what is not an answer of the upstream. The parser's own error is not kept: it
    /// quotes what it did not like.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok().or_else(|| {
            // A refusal stays readable even where its data is of another shape.
            let head: Head = serde_json::from_slice(body).ok()?;
            (head.success != Some(true)).then(|| Self {
                success: head.success,
                code: head.code,
                error_message: head.error_message,
                message: head.message,
                request_id: head.request_id,
                ..Self::default()
            })
        })
    }

    pub(super) fn take_text(&mut self) -> Option<String> {
        self.error_message
            .take()
            .or(self.message.take())
            .filter(|text| !text.is_empty())
    }

    /// The devices that a refusal names.
    pub(super) fn take_refused(&mut self, redaction: &Redaction) -> Vec<Refused> {
        let Some(data) = self.data.take() else {
            return Vec::new();
        };
        refused::merge(
            data.invalid_detail_list,
            [
                (data.invalid_list, Kind::Other),
                (data.invalid_device_name_list, Kind::Name),
                (data.invalid_device_nickname_list, Kind::Nickname),
                (data.repeated_device_name_list, Kind::Exists),
            ],
            redaction,
        )
    }
}

/// An answer to one action, taken from the envelope of a success; `None` if it is not all there.
pub(super) type Take<T> = fn(Envelope, &Redaction) -> Option<T>;

pub(super) fn checked(envelope: Envelope, _: &Redaction) -> Option<Checked> {
    let apply_id = envelope.data?.apply_id.0.filter(|id| *id > 0)?;
    Some(Checked { apply_id })
}

// That it succeeded is all of this answer; `Option` only makes it a `Take`.
pub(super) fn registered(envelope: Envelope, _: &Redaction) -> Option<Registered> {
    Some(Registered {
        apply_id: envelope.data.and_then(|data| data.apply_id.0),
    })
}

pub(super) fn status(mut envelope: Envelope, redaction: &Redaction) -> Option<Status> {
    let data = envelope.data.as_mut()?;
    let phase = match data.status.take()?.as_str() {
        "" => return None,
        "CHECK" => Phase::Check,
        "CHECK_SUCCESS" => Phase::CheckSuccess,
        "CHECK_FAILED" => Phase::CheckFailed,
        "CREATE" => Phase::Create,
        "CREATE_SUCCESS" => Phase::CreateSuccess,
        "CREATE_FAILED" => Phase::CreateFailed,
        other => Phase::Other(redaction.clean(other)),
    };
    let valid = mem::take(&mut data.valid_list).0;
    Some(Status {
        phase,
        valid,
        invalid: envelope.take_refused(redaction),
    })
}

pub(super) fn page(envelope: Envelope, _: &Redaction) -> Option<Page> {
    let rows = envelope.apply_device_list.0;
    Some(Page {
        names: rows.into_iter().filter_map(|row| row.device_name).collect(),
        total: envelope.total.0?.try_into().ok()?,
        page_count: envelope
            .page_count
            .0
            .and_then(|count| count.try_into().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(take: Take<T>, json: &str) -> Option<T> {
        take(Envelope::parse(json.as_bytes())?, &Redaction::of([]))
    }

    fn refused(name: &str, text: Option<&str>, kind: Kind) -> Refused {
        Refused {
            name: name.to_owned(),
            text: text.map(str::to_owned),
            kind,
        }
    }

    #[test]
    fn an_apply_id_is_a_number_or_the_text_of_one() {
        for json in [
            r#"{"Success":true,"Data":{"ApplyId":4399,"InvalidDetailList":null,"New":{"A":[1]}}}"#,
            r#"{"Success":true,"Data":{"ApplyId":"4399"},"Code":""}"#,
        ] {
            assert_eq!(
                read(checked, json),
                Some(Checked { apply_id: 4399 }),
                "{json}"
            );
        }
        for json in [
            r#"{"Success":true,"Data":{"ApplyId":"None"}}"#,
            r#"{"Success":true,"Data":{"ApplyId":0}}"#,
            r#"{"Success":true,"Data":{}}"#,
            r#"{"Success":true,"Data":null}"#,
            r#"{"Success":true}"#,
            "",
            "<html>",
        ] {
            assert_eq!(read(checked, json), None, "{json}");
        }
        assert_eq!(
            read(registered, r#"{"Success":true,"Data":{"ApplyId":{}}}"#),
            Some(Registered { apply_id: None })
        );
    }

    #[test]
    fn the_sample_of_the_documents_reads_as_all_created() {
        let json = r#"{"Data":{"Status":"CREATE_SUCCESS","ValidList":{"Name":[]},"InvalidList":{"Name":[]}},"RequestId":"R","Success":true}"#;

        let status = read(status, json).unwrap();

        assert_eq!(status.phase, Phase::CreateSuccess);
        assert!(status.valid.is_empty() && status.invalid.is_empty());
    }

    #[test]
    fn lists_and_details_in_any_shape_are_joined_by_name() {
        let expected = Status {
            phase: Phase::CheckFailed,
            valid: vec!["good".into()],
            invalid: vec![
                refused("bad", Some("The device name is illegal."), Kind::Name),
                refused("nick", Some("The nick name is illegal."), Kind::Nickname),
                refused("mute", None, Kind::Other),
            ],
        };
        let details = r#"[{"DeviceName":"bad","NickName":null,"ErrorMsg":"The device name is illegal."},null,
            {"DeviceName":"nick","NickName":"n!","ErrorMsg":"The nick name is illegal.","More":1}]"#;
        for json in [
            format!(
                r#"{{"Data":{{"Status":"CHECK_FAILED","ValidList":{{"Name":["good"]}},"InvalidList":{{"Name":["bad","mute","bad"]}},"InvalidDetailList":{{"invalidDetailList":{details}}}}}}}"#
            ),
            format!(
                r#"{{"Data":{{"Status":"CHECK_FAILED","ValidList":["good"],"InvalidList":["nick","mute"],"invalidDetailList":{{"InvalidDetailList":{details}}}}}}}"#
            ),
            format!(
                r#"{{"Data":{{"Status":"CHECK_FAILED","ValidList":{{"Name":["good"]}},"InvalidList":{{"name":["mute"]}},"InvalidDetailList":{details}}}}}"#
            ),
        ] {
            assert_eq!(read(status, &json).as_ref(), Some(&expected), "{json}");
        }
    }

    #[test]
    fn an_unknown_status_is_kept_and_a_missing_one_is_no_answer() {
        let phase = |json| read(status, json).map(|status| status.phase);

        assert_eq!(
            phase(r#"{"Data":{"Status":"PAUSED"}}"#),
            Some(Phase::Other("PAUSED".into()))
        );
        assert_eq!(phase(r#"{"Data":{"Status":""}}"#), None);
        assert_eq!(phase(r#"{"Data":{"ValidList":null}}"#), None);
    }

    #[test]
    fn the_lists_of_an_immediate_refusal_say_what_is_wrong() {
        let json = r#"{"Success":false,"Code":"iot.device.InvalidDeviceNickNameExisted","Data":{
            "InvalidDeviceNameList":{"InvalidDeviceName":["n1"]},
            "InvalidDeviceNicknameList":{"InvalidDeviceNickname":["nick-2","nick-3"]},
            "RepeatedDeviceNameList":{"RepeatDevieNameList":["n4"]},
            "InvalidDetailList":{"InvalidDetailList":[{"DeviceName":"n2","NickName":"nick-2","ErrorMsg":"?"}]}}}"#;

        let mut envelope = Envelope::parse(json.as_bytes()).unwrap();

        assert_eq!(
            envelope.take_refused(&Redaction::of([])),
            [
                refused("n2", Some("?"), Kind::Nickname),
                refused("n1", None, Kind::Name),
                refused("nick-3", None, Kind::Nickname),
                refused("n4", None, Kind::Exists),
            ]
        );
    }

    #[test]
    fn a_refusal_with_data_of_another_shape_keeps_its_code_and_a_success_is_no_answer() {
        let refusal = Envelope::parse(br#"{"Success":false,"Code":"X","Data":"none"}"#).unwrap();

        assert_eq!(refusal.code.as_deref(), Some("X"));
        assert!(Envelope::parse(br#"{"Success":true,"Data":"none"}"#).is_none());
        assert!(
            read(
                status,
                r#"{"Data":{"Status":"CREATE_FAILED","InvalidList":"x"}}"#
            )
            .is_none()
        );
    }

    #[test]
    fn a_page_has_names_and_a_total_and_no_secret() {
        let json = r#"{"Success":true,"Page":1,"PageSize":50,"PageCount":1,"Total":"2","ApplyDeviceList":
            {"ApplyDeviceInfo":[{"DeviceName":"a","DeviceSecret":"canary"},{"DeviceName":"b","IotId":"i"}]}}"#;

        let read_page = read(page, json).unwrap();

        assert!(!format!("{read_page:?}").contains("canary"));
        assert_eq!(
            read_page,
            Page {
                names: vec!["a".into(), "b".into()],
                total: 2,
                page_count: Some(1)
            }
        );
        assert_eq!(
            read(page, r#"{"Success":true,"ApplyDeviceList":null,"Total":0}"#)
                .unwrap()
                .total,
            0
        );
        assert_eq!(
            read(
                page,
                r#"{"Success":true,"ApplyDeviceList":{"ApplyDeviceInfo":[]}}"#
            ),
            None
        );
    }

    #[test]
    fn ten_thousand_refused_names_are_all_read() {
        let names: Vec<_> = (0..10_000).map(|n| format!("dev-{n:05}")).collect();
        let details: Vec<_> = names
            .iter()
            .map(|name| serde_json::json!({"DeviceName": name, "ErrorMsg": "exists"}))
            .collect();
        let json = serde_json::json!({"Data": {"Status": "CREATE_FAILED",
            "InvalidList": {"Name": names}, "InvalidDetailList": {"invalidDetailList": details}}});

        let status = read(status, &json.to_string()).unwrap();

        assert_eq!(status.invalid.len(), 10_000);
        assert!(
            status
                .invalid
                .iter()
                .all(|refused| refused.kind == Kind::Exists)
        );
    }
}
