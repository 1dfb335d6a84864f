//! The same of an UploadDevicesRequest, whose texts and devices are one level deeper.

use tonic::Status;

use super::{DEVICE_TEXTS, Field, UNPACKED_LABELS, about_text, fields, wrong};
use crate::service::complaints::Complaints;

/// The numbers of the fields, as the proto file has them.
const START: u32 = 1;
const PART: u32 = 2;
const START_TEXTS: [(u32, &str); 3] = [
    (2, "product_key"),
    (3, "iot_instance_id"),
    (7, "request_id"),
];
const LABEL: u32 = 5;
const DEVICE: u32 = 2;

/// Up to so many devices are unpacked, so that a part that is a little too long is refused with its
/// size.
const UNPACKED: usize = 20_000;

/// Refuses a message of far more devices or labels than are taken.
pub(in crate::service) fn bounded(message: &[u8]) -> Result<(), Status> {
    let mut complaints = Complaints::default();
    if inner(message, PART, DEVICE).nth(UNPACKED).is_some() {
        complaints.add(
            "devices",
            "holds more than 20,000 devices and a part takes at most 10,000; send more parts",
        );
    }
    if inner(message, START, LABEL).nth(UNPACKED_LABELS).is_some() {
        complaints.add("labels", "are more than 1,000 and at most 16 are taken");
    }
    complaints.refuse()
}

/// The refusal of a message that cannot be read for a text that is not UTF-8, which it names.
pub(in crate::service) fn not_text(message: &[u8]) -> Option<Status> {
    let of_start = fields(message)
        .filter(|field| field.number == START)
        .find_map(|start| wrong(start.bytes?, &START_TEXTS));
    let of_device = || {
        let mut devices = inner(message, PART, DEVICE).enumerate();
        devices.find_map(|(at, device)| {
            let text = wrong(device.bytes?, &DEVICE_TEXTS)?;
            Some(format!("devices[{at}].{text}"))
        })
    };
    let field = of_start.map(str::to_owned).or_else(of_device)?;
    Some(about_text(&field))
}

/// The fields of one number in the messages that are the fields of another.
fn inner(message: &[u8], outer: u32, number: u32) -> impl Iterator<Item = Field<'_>> {
    let outers = fields(message).filter(move |field| field.number == outer);
    let inners = outers.flat_map(|field| fields(field.bytes.unwrap_or_default()));
    inners.filter(move |field| field.number == number)
}

#[cfg(test)]
mod tests {
    use prost::{
        Message as _,
        encoding::{WireType, encode_key},
    };
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::proto::{
        NewDevice, UploadDevicesRequest, UploadPart, UploadStart, upload_devices_request::Part,
    };

    fn encoded(part: Part) -> Vec<u8> {
        UploadDevicesRequest { part: Some(part) }.encode_to_vec()
    }

    /// A message whose only field holds this.
    fn wrapped(number: u32, inner: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        encode_key(number, WireType::LengthDelimited, &mut message);
        prost::encoding::encode_varint(inner.len() as u64, &mut message);
        message.extend(inner);
        message
    }

    fn field(status: &Status) -> String {
        let details = status.get_error_details();
        details.bad_request().unwrap().field_violations[0]
            .field
            .clone()
    }

    #[test]
    fn a_message_that_would_unpack_to_far_too_much_is_refused() {
        let devices = wrapped(PART, &[0x12, 0].repeat(UNPACKED + 1));
        let labels = wrapped(START, &[0x2a, 0].repeat(UNPACKED_LABELS + 1));
        // In two fields, which are one when they are unpacked.
        let half = wrapped(PART, &[0x12, 0].repeat(UNPACKED / 2 + 1));

        assert_eq!(field(&bounded(&devices).unwrap_err()), "devices");
        assert_eq!(field(&bounded(&half.repeat(2)).unwrap_err()), "devices");
        assert_eq!(field(&bounded(&labels).unwrap_err()), "labels");
        assert!(bounded(&wrapped(PART, &[0x12, 0].repeat(UNPACKED))).is_ok());
    }

    #[test]
    fn a_text_that_is_not_utf8_is_named() {
        let part = Part::Devices(UploadPart {
            first_ordinal: 7,
            devices: vec![
                NewDevice::default(),
                NewDevice {
                    nickname: "nick_name".into(),
                    ..Default::default()
                },
            ],
        });
        let start = Part::Start(UploadStart {
            request_id: "nick_name".into(),
            ..Default::default()
        });
        for (message, named) in [
            (encoded(part), "devices[1].nickname"),
            (encoded(start), "request_id"),
        ] {
            let at = message.windows(9).position(|bytes| bytes == b"nick_name");
            let mut broken = message.clone();
            broken[at.unwrap()] = 0xff;

            assert!(UploadDevicesRequest::decode(&broken[..]).is_err());
            assert_eq!(field(&not_text(&broken).unwrap()), named);
            assert!(not_text(&message).is_none());
        }
    }
}
