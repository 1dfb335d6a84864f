//! A CheckDevicesRequest before it is unpacked: how much is in it, and which text is none.
//!
//! Unpacked, a device without a name is 24 times as large as packed: 16 MiB of them would take
//! half a gigabyte only to be refused.

pub(super) mod upload;

use std::iter;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{complaints::Complaints, convert::DEVICES, transport::unreadable};

/// The numbers of the fields, as the proto file has them.
const TEXTS: [(u32, &str); 3] = [
    (1, "product_key"),
    (2, "iot_instance_id"),
    (5, "request_id"),
];
const DEVICE: u32 = 3;
const DEVICE_TEXTS: [(u32, &str); 4] = [
    (1, "device_name"),
    (2, "nickname"),
    (3, "device_secret"),
    (4, "sn"),
];
const LABEL: u32 = 8;

/// Up to so many devices and labels are unpacked, so that a list that is a little too long is
/// refused together with whatever else is wrong with the request.
const UNPACKED: usize = 2 * DEVICES;
const UNPACKED_LABELS: usize = 1_000;

/// Refuses a message of far more devices or labels than are taken.
pub(super) fn bounded(message: &[u8]) -> Result<(), Status> {
    let (mut devices, mut labels) = (0, 0);
    let mut complaints = Complaints::default();
    for field in fields(message) {
        match field.number {
            DEVICE => devices += 1,
            LABEL => labels += 1,
            _ => {}
        }
        // No further: the rest may be millions.
        if devices > UNPACKED {
            complaints.about_devices("more than 200,000");
            break;
        }
        if labels > UNPACKED_LABELS {
            complaints.add("labels", "are more than 1,000 and at most 16 are taken");
            break;
        }
    }
    complaints.refuse()
}

/// The refusal of a message that cannot be read for a text that is not UTF-8, which it names.
pub(super) fn not_text(message: &[u8]) -> Option<Status> {
    let of_request = wrong(message, &TEXTS).map(str::to_owned);
    let of_device = || {
        let devices = fields(message).filter(|field| field.number == DEVICE);
        let mut wrong = devices.enumerate().filter_map(|(at, device)| {
            Some(format!(
                "devices[{at}].{}",
                wrong(device.bytes?, &DEVICE_TEXTS)?
            ))
        });
        wrong.next()
    };
    let field = of_request.or_else(of_device)?;
    Some(about_text(&field))
}

/// The refusal of a message for a text in it that is not UTF-8.
fn about_text(field: &str) -> Status {
    let what = "is not UTF-8; convert the text before it is sent";
    let mut details = unreadable().get_error_details();
    details.add_bad_request_violation(field, what);
    let code = unreadable().code();
    Status::with_error_details(code, format!("{field} {what}"), details)
}

/// The first of these texts that is not UTF-8.
fn wrong<'a>(message: &[u8], texts: &[(u32, &'a str)]) -> Option<&'a str> {
    fields(message).find_map(|field| {
        let (_, name) = texts.iter().find(|(number, _)| *number == field.number)?;
        let is_text = str::from_utf8(field.bytes?).is_ok();
        (!is_text).then_some(*name)
    })
}

struct Field<'a> {
    number: u32,
    /// What it holds, if that has a length.
    bytes: Option<&'a [u8]>,
}

/// The fields of a message in their order, up to where it cannot be read.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Field<'_>> {
    iter::from_fn(move || {
        let (number, wire) = decode_key(&mut rest).ok()?;
        let bytes = match wire {
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                Some(rest.split_off(..length)?)
            }
            // A group too, whatever is in it: no message of the API has one, and yet it is skipped
            // when the message is unpacked.
            other => {
                skip_field(other, number, &mut rest, DecodeContext::default()).ok()?;
                None
            }
        };
        Some(Field { number, bytes })
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tonic::Code;

    use super::*;
    use crate::proto::{CheckDevicesRequest, GeneratedNames, NewDevice};

    fn request() -> CheckDevicesRequest {
        let device = |name: &str| NewDevice {
            device_name: name.to_owned(),
            nickname: "nick_name".to_owned(),
            device_secret: "s-1".to_owned(),
            sn: "SN_1".to_owned(),
        };
        CheckDevicesRequest {
            product_key: "a1".to_owned(),
            devices: vec![device("light-1"), device("light-2")],
            after_check: 1,
            generated: Some(GeneratedNames::default()),
            ..Default::default()
        }
    }

    /// The message with one byte of this text replaced by one that no UTF-8 holds.
    fn broken(request: CheckDevicesRequest, text: &str) -> Vec<u8> {
        let mut message = request.encode_to_vec();
        let at = message
            .windows(text.len())
            .position(|part| part == text.as_bytes());
        message[at.unwrap()] = 0xff;
        message
    }

    fn field(status: &Status) -> String {
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        details.bad_request().unwrap().field_violations[0]
            .field
            .clone()
    }

    #[test]
    fn a_text_that_is_not_utf8_is_named() {
        for (text, named) in [
            ("a1", "product_key"),
            ("light-1", "devices[0].device_name"),
            ("light-2", "devices[1].device_name"),
            ("nick_name", "devices[0].nickname"),
            ("s-1", "devices[0].device_secret"),
            ("SN_1", "devices[0].sn"),
        ] {
            let status = not_text(&broken(request(), text)).unwrap();

            assert_eq!(field(&status), named);
            assert_eq!(
                status.get_details_error_info().unwrap().reason,
                "MALFORMED_MESSAGE"
            );
        }
        assert!(not_text(&request().encode_to_vec()).is_none());
    }

    #[test]
    fn a_message_that_would_unpack_to_far_too_much_is_refused() {
        let devices = [0x1a, 0].repeat(8 << 20);
        let labels = [0x42, 0].repeat(1_001);

        assert_eq!(field(&bounded(&devices).unwrap_err()), "devices");
        assert_eq!(field(&bounded(&labels).unwrap_err()), "labels");
        assert!(bounded(&[0x1a, 0].repeat(UNPACKED)).is_ok());
    }

    #[test]
    fn a_message_that_lies_about_its_lengths_is_read_as_far_as_it_goes() {
        for message in [
            &[0x1a][..],
            &[0x1a, 9, 1],
            &[
                0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            &[0x0d, 1],
            &[0x0b],
            &[0xff; 20],
        ] {
            assert!(bounded(message).is_ok() && not_text(message).is_none());
        }
    }

    #[test]
    fn what_stands_behind_a_group_is_counted_too() {
        // Field 15, begun as a group and ended, and then more devices than are unpacked.
        let mut message = vec![0x7b, 0x7c];
        message.extend([0x1a, 0].repeat(UNPACKED + 1));

        let refused = bounded(&message).unwrap_err();

        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}
