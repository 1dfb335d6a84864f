//! What each action answers, taken from the envelope of a success.

use std::mem;

use crate::upstream::{asked::Asked, loose::Object, refused::Refused, wire::Envelope};

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

/// The answer of a success.
pub(super) struct Success<'a> {
    pub(super) envelope: Envelope,
    /// As it came, for who wants more of it than envelopes have, such as secrets.
    pub(super) body: &'a [u8],
    pub(super) asked: &'a Asked,
}

/// The answer to one action, taken from a success; `None` if it is not all there.
pub(super) type Take<T> = fn(Success<'_>) -> Option<T>;

pub(super) fn checked(mut success: Success<'_>) -> Option<Checked> {
    let apply_id = success
        .envelope
        .take_data()?
        .apply_id
        .0
        .filter(|id| *id > 0)?;
    Some(Checked { apply_id })
}

// That it succeeded is all of this answer; `Option` only makes it a `Take`.
pub(super) fn registered(mut success: Success<'_>) -> Option<Registered> {
    Some(Registered {
        apply_id: success
            .envelope
            .take_data()
            .and_then(|data| data.apply_id.0),
    })
}

pub(super) fn status(mut success: Success<'_>) -> Option<Status> {
    let mut data = success.envelope.take_data()?;
    let phase = match data.status.0.take()?.as_str() {
        "CHECK" => Phase::Check,
        "CHECK_SUCCESS" => Phase::CheckSuccess,
        "CHECK_FAILED" => Phase::CheckFailed,
        "CREATE" => Phase::Create,
        "CREATE_SUCCESS" => Phase::CreateSuccess,
        "CREATE_FAILED" => Phase::CreateFailed,
        other => Phase::Other(success.asked.clean(other)),
    };
    Some(Status {
        phase,
        valid: mem::take(&mut data.valid_list.0),
        invalid: data.refused(success.asked),
    })
}

pub(super) fn page(success: Success<'_>) -> Option<Page> {
    let envelope = success.envelope;
    let rows = envelope.apply_device_list.0.into_iter();
    let page_count = envelope.page_count.0;
    Some(Page {
        names: rows.filter_map(|Object(row)| row.device_name.0).collect(),
        total: envelope.total.0?.try_into().ok()?,
        page_count: page_count.and_then(|count| count.try_into().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::refused::Kind;

    fn read<T>(take: Take<T>, json: &str) -> Option<T> {
        take(Success {
            envelope: Envelope::parse(json.as_bytes())?,
            body: json.as_bytes(),
            asked: &Asked::nothing(),
        })
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
