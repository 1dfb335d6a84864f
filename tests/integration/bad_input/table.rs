//! The table: what is sent, and what it must get.

use prost::Message;
use registrar::{
    proto::{
        CheckDevicesRequest, FindDeviceRequest, GetApplyRequest, ListAppliesRequest,
        ListDevicesRequest, NewDevice, RegisterRequest, UploadDevicesRequest, WatchApplyRequest,
    },
    simulator::PRODUCT,
};
use tonic::Code;

use crate::support::stack::{named, new_devices};

pub(super) const MIB: usize = 1 << 20;

/// One bad call, and what it must get.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
    pub(super) code: Code,
    pub(super) reason: &'static str,
    /// What its message holds: what to do.
    pub(super) says: &'static str,
}

/// The path of a method of the API.
macro_rules! method {
    ($name:literal) => {
        concat!("/registrar.v1.RegistrarService/", $name)
    };
}

type Expected = (Code, &'static str, &'static str);

/// A call with these bytes.
fn raw(name: &'static str, path: &'static str, body: Vec<u8>, expected: Expected) -> Row {
    let (code, reason, says) = expected;
    Row {
        name,
        path,
        headers: vec![("content-type", "application/grpc")],
        body,
        code,
        reason,
        says,
    }
}

/// A call with a message that can be read.
fn sent(name: &'static str, path: &'static str, message: impl Message, expected: Expected) -> Row {
    raw(name, path, framed(&message.encode_to_vec()), expected)
}

/// A message as it goes over the wire: not compressed, its length, itself.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// A message whose only field, with this key, holds another.
fn nested(key: u8, message: &[u8]) -> Vec<u8> {
    let mut nested = vec![key];
    prost::encoding::encode_varint(message.len() as u64, &mut nested);
    [nested, message.to_vec()].concat()
}

pub(super) fn submission(devices: Vec<NewDevice>) -> CheckDevicesRequest {
    CheckDevicesRequest {
        product_key: PRODUCT.to_owned(),
        devices,
        ..Default::default()
    }
}

/// What is wrong with the fields of a request. The token is one of ListDevices.
#[rustfmt::skip]
pub(super) fn fields(page_token: String) -> Vec<Row> {
    let wrong = |says| (Code::InvalidArgument, "INVALID_REQUEST", says);
    let applies = ListAppliesRequest::default();
    let devices = ListDevicesRequest { apply_id: 1, ..Default::default() };
    let watch = WatchApplyRequest { apply_id: 1, after_revision: -1, ..Default::default() };
    let no_key = CheckDevicesRequest { product_key: String::new(), ..submission(vec![named("light-1")]) };
    vec![
        sent("empty list", method!("CheckDevices"), submission(vec![]), wrong("must hold at least one device")),
        sent("missing product key", method!("CheckDevices"), no_key, wrong("product_key must have 1 to 64 letters")),
        sent("100,001 devices", method!("CheckDevices"), submission(new_devices("light", 100_001)),
            wrong("holds 100001 devices and at most 100,000 are taken at once; use UploadDevices, or split them into several applies")),
        raw("millions of devices", method!("CheckDevices"), framed(&[0x1a, 0].repeat(7 * MIB)), wrong("split them")),
        raw("millions of devices in a part", method!("UploadDevices"), framed(&nested(0x12, &[0x12, 0].repeat(MIB))),
            wrong("a part takes at most 10,000; send more parts")),
        raw("millions of labels of an upload", method!("UploadDevices"), framed(&nested(0x0a, &[0x2a, 0].repeat(MIB))),
            wrong("labels are more than 1,000")),
        sent("an upload without a start", method!("UploadDevices"), UploadDevicesRequest::default(), wrong("part must be a start")),
        sent("page token of another call", method!("ListApplies"), ListAppliesRequest { page_token, ..applies.clone() },
            wrong("leave it empty to begin")),
        sent("unknown filter", method!("ListApplies"), ListAppliesRequest { statuses: vec![99], ..applies },
            wrong("statuses[0] is not a status that an apply can have")),
        sent("unknown outcome", method!("ListDevices"), ListDevicesRequest { outcomes: vec![99], ..devices },
            wrong("outcomes[0] is not an outcome")),
        sent("negative revision", method!("WatchApply"), watch, wrong("must be 0 for all changes")),
        sent("no id", method!("GetApply"), GetApplyRequest::default(), wrong("the positive number that CheckDevices answered")),
        sent("no name", method!("FindDevice"), FindDeviceRequest::default(), wrong("must be the name to look for")),
    ]
}

/// What does not fit the state of things; the apply has no valid device.
#[rustfmt::skip]
pub(super) fn states(apply_id: i64) -> Vec<Row> {
    let stranger = GetApplyRequest { apply_id: apply_id + 999, ..Default::default() };
    let register = RegisterRequest { apply_id, ..Default::default() };
    let name = |says| (Code::NotFound, "UNKNOWN_NAME", says);
    vec![
        sent("unknown id", method!("GetApply"), stranger, (Code::NotFound, "APPLY_NOT_FOUND", "ListApplies tells which there are")),
        sent("wrong status", method!("Register"), register,
            (Code::FailedPrecondition, "APPLY_HAS_NO_VALID_DEVICE", "submit corrected devices")),
        raw("health of a stranger", "/grpc.health.v1.Health/Check", framed(b"\x0a\x01x"), name("it serves registrar.v1")),
        // Its refusal comes at the end of a stream.
        raw("symbol of a stranger", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", framed(b"\x22\x01x"),
            name("it serves registrar.v1")),
    ]
}

/// What is larger than any message may be.
#[rustfmt::skip]
pub(super) fn too_large() -> Vec<Row> {
    let too_large = |says| (Code::ResourceExhausted, "MESSAGE_TOO_LARGE", says);
    vec![
        raw("17 MiB", method!("CheckDevices"), framed(&vec![0; 17 * MIB]),
            too_large("at most 16 MiB; use UploadDevices, or split the devices into several applies")),
        raw("5 MiB to an upload", method!("UploadDevices"), framed(&vec![0; 5 * MIB]),
            too_large("at most 4 MiB; send the devices in smaller parts")),
        raw("17 MiB to another method", method!("GetApply"), framed(&vec![0; 17 * MIB]),
            too_large("at most 64 KiB; only CheckDevices and UploadDevices take large messages")),
    ]
}

/// What nobody can read, or nobody here.
#[rustfmt::skip]
pub(super) fn unreadable() -> Vec<Row> {
    let malformed = |says| (Code::InvalidArgument, "MALFORMED_MESSAGE", says);
    let unknown = |says| (Code::Unimplemented, "UNKNOWN_METHOD", says);
    let encoding = (Code::Unimplemented, "UNKNOWN_ENCODING", "it takes gzip,identity");
    let not_grpc = (Code::InvalidArgument, "NOT_GRPC", "use a gRPC client");
    let with = |name, value, row: Row| Row { headers: [&row.headers[..], &[(name, value)]].concat(), ..row };
    let without = |row| Row { headers: vec![], ..row };
    let flagged = |message| [&[1], &framed(message)[1..]].concat();
    let latin1 = [&b"\x0a\x01a\x1a\x07\x0a\x05light"[..], b"\x1a\x07\x0a\x05caf\xe9s"].concat();
    vec![
        raw("invalid UTF-8 in a name", method!("CheckDevices"), framed(&latin1),
            malformed("devices[1].device_name is not UTF-8; convert the text")),
        raw("invalid UTF-8 in a token", method!("ListApplies"), framed(b"\x12\x01\xe9"), malformed("not UTF-8; encode it")),
        raw("invalid UTF-8 in a part", method!("UploadDevices"), framed(&nested(0x12, b"\x12\x03\x0a\x01\xe9")),
            malformed("devices[0].device_name is not UTF-8; convert the text")),
        raw("half a message", method!("CheckDevices"), framed(b"\x1a\x07\x0a"), malformed("it is cut short")),
        raw("another message", method!("CheckDevices"), framed(b"\x08\x07"), malformed("not of this method")),
        raw("less than announced", method!("CheckDevices"), framed(&[0; 99])[..50].to_vec(), malformed("it is cut short")),
        raw("more than announced", method!("GetApply"), [framed(b"\x08\x07"), vec![9; 9]].concat(), malformed("cannot be read")),
        raw("half a length", method!("GetApply"), vec![0, 0], malformed("it is cut short")),
        raw("nothing", method!("GetApply"), vec![], malformed("it is cut short")),
        raw("unknown flag", method!("GetApply"), vec![7; 9], malformed("cannot be read")),
        raw("compressed by nothing", method!("GetApply"), flagged(b"\x08\x07"), malformed("not compressed as it says")),
        with("grpc-encoding", "gzip", raw("gzip that is none", method!("CheckDevices"), flagged(b"\x08\x07"),
            malformed("not compressed as it says"))),
        with("grpc-encoding", "bogus", raw("unknown encoding", method!("CheckDevices"), flagged(b"\x08\x07"), encoding)),
        raw("unknown method", method!("Nope"), framed(b""), unknown("/registrar.v1.RegistrarService/Nope; it serves")),
        raw("unknown service", "/x.Y/Z", framed(b""), unknown("/x.Y/Z; it serves registrar.v1.RegistrarService")),
        raw("no method", "/", framed(b""), unknown("whose methods reflection lists")),
        without(raw("no content-type", method!("GetApply"), framed(b""), not_grpc)),
        with("content-type", "application/json", without(raw("JSON", method!("GetApply"), b"{}".to_vec(), not_grpc))),
    ]
}

/// What takes longer than its caller waits.
pub(super) fn too_slow() -> Row {
    let says = "call again with the same request_id and a longer deadline";
    let expected = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", says);
    let submission = submission(vec![named("light-1")]);
    sent(
        "a deadline of 1 ms",
        method!("CheckDevices"),
        submission,
        expected,
    )
}
