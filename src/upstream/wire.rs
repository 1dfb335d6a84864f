//! What the upstream writes, read with tolerance: lists may be absent, null, bare or wrapped in an
//! object of any key, numbers may be texts, and fields that nobody asked for are skipped (device
//! secrets among them).

use serde::Deserialize;

use crate::upstream::{
    asked::Asked,
    loose::{List, Number, Object, Text},
    refused::{self, Detail, Kind, Refused},
};

/// Any answer; which of its fields are filled depends on the action.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Envelope {
    pub(super) success: Option<bool>,
    pub(super) code: Text,
    /// Of the product; the gateway says `Message`.
    error_message: Text,
    message: Text,
    pub(super) request_id: Text,
    data: Option<Object<Data>>,
    pub(super) apply_device_list: List<Object<Row>>,
    pub(super) total: Number,
    pub(super) page_count: Number,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Data {
    pub(super) apply_id: Number,
    pub(super) status: Text,
    pub(super) valid_list: List<String>,
    invalid_list: List<String>,
    #[serde(alias = "invalidDetailList")]
    invalid_detail_list: List<Object<Detail>>,
    invalid_device_name_list: List<String>,
    invalid_device_nickname_list: List<String>,
    repeated_device_name_list: List<String>,
    // Of an import.
    invalid_device_secret_list: List<String>,
    invalid_sn_list: List<String>,
    // Of a product.
    pub(super) product_name: Text,
    pub(super) auth_type: Text,
    pub(super) node_type: Number,
    pub(super) device_count: Number,
}

/// The part of an answer that says whether it is a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Head {
    success: Option<bool>,
    code: Text,
    error_message: Text,
    message: Text,
    request_id: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Row {
    pub(super) device_name: Text,
}

impl Envelope {
    /// `None` for what is not an answer of the upstream. The parser's own error is not kept: it
    /// quotes what it did not like.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        if let Ok(Object(envelope)) = serde_json::from_slice(body) {
            return Some(envelope);
        }
        // A refusal stays readable even where its data is of another shape.
        let Object(head): Object<Head> = serde_json::from_slice(body).ok()?;
        (head.success != Some(true)).then(|| Self {
            success: head.success,
            code: head.code,
            error_message: head.error_message,
            message: head.message,
            request_id: head.request_id,
            ..Self::default()
        })
    }

    pub(super) fn take_data(&mut self) -> Option<Data> {
        self.data.take().map(|Object(data)| data)
    }

    pub(super) fn take_text(&mut self) -> Option<String> {
        self.error_message.0.take().or(self.message.0.take())
    }

    /// The devices that a refusal names.
    pub(super) fn take_refused(&mut self, asked: &Asked) -> Vec<Refused> {
        let data = self.take_data();
        data.map_or_else(Vec::new, |data| data.refused(asked))
    }
}

impl Data {
    /// The devices that it names as refused.
    pub(super) fn refused(self, asked: &Asked) -> Vec<Refused> {
        refused::merge(
            self.invalid_detail_list,
            [
                (self.invalid_list, Kind::Other),
                (self.invalid_device_name_list, Kind::Name),
                (self.invalid_device_nickname_list, Kind::Nickname),
                (self.invalid_device_secret_list, Kind::Secret),
                (self.invalid_sn_list, Kind::Sn),
                (self.repeated_device_name_list, Kind::Exists),
            ],
            asked,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, text: Option<&str>, kind: Kind) -> Refused {
        Refused {
            name: name.to_owned(),
            text: text.map(str::to_owned),
            kind,
        }
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
            envelope.take_refused(&Asked::nothing()),
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

        assert_eq!(refusal.code.0.as_deref(), Some("X"));
        assert!(Envelope::parse(br#"{"Success":true,"Data":"none"}"#).is_none());
        let texts = br#"{"Success":true,"Data":{"Status":"CREATE_FAILED","InvalidList":"x"}}"#;
        assert!(Envelope::parse(texts).is_none());
    }

    #[test]
    fn a_refusal_with_texts_of_another_shape_keeps_its_code() {
        let refusal = br#"{"Code":"X","Message":{"a":1},"RequestId":7,"HostId":[]}"#;

        let mut refusal = Envelope::parse(refusal).unwrap();

        assert_eq!(refusal.code.0.take().as_deref(), Some("X"));
        assert_eq!((refusal.take_text(), refusal.request_id.0), (None, None));
    }

    #[test]
    fn a_list_of_values_is_no_answer() {
        for json in [
            "[true]",
            r#"[true,null,null,null,null,[9,"CREATE"]]"#,
            r#"{"Success":true,"Data":[9,"CREATE_SUCCESS"]}"#,
            r#"{"Success":true,"ApplyDeviceList":[["dev1"]]}"#,
        ] {
            assert!(Envelope::parse(json.as_bytes()).is_none(), "{json}");
        }
    }

    #[test]
    fn either_text_of_a_refusal_is_read() {
        for json in [
            r#"{"Code":"X","ErrorMessage":"why"}"#,
            r#"{"Code":"X","Message":"why"}"#,
            r#"{"Code":"X","ErrorMessage":"","Message":"why"}"#,
            r#"{"Code":"X","ErrorMessage":"why","Message":"else"}"#,
        ] {
            let mut refusal = Envelope::parse(json.as_bytes()).unwrap();
            assert_eq!(refusal.take_text().as_deref(), Some("why"), "{json}");
        }
    }
}
