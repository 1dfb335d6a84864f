//! Makes answers, and changes them.

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::upstream::fuzz::{DEVICE_SECRET, SECRET};

const TOP: [&str; 13] = [
    "Success",
    "Success",
    "Success",
    "Data",
    "Data",
    "Code",
    "ErrorMessage",
    "Message",
    "RequestId",
    "ApplyDeviceList",
    "Total",
    "DeviceList",
    "TotalPage",
];

const DATA: [&str; 22] = [
    "ApplyId",
    "Status",
    "ValidList",
    "InvalidList",
    "InvalidDetailList",
    "invalidDetailList",
    "InvalidDeviceNameList",
    "InvalidDeviceNicknameList",
    "RepeatedDeviceNameList",
    "RepeatDevieNameList",
    "ProductName",
    "AuthType",
    "NodeType",
    "DeviceCount",
    "PageCount",
    "InvalidDeviceSecretList",
    "InvalidSnList",
    "Data",
    "DeviceName",
    "DeviceSecret",
    "IotId",
    "New",
];

const CODES: [&str; 10] = [
    "Throttling.User",
    "SignatureDoesNotMatch",
    "InvalidTimeStamp.Expired",
    "Forbidden.RAM",
    "iot.device.InvalidDeviceNickNameExisted",
    "iot.device.CreateDeviceTaskIsRunning",
    "iot.prod.NotExistedProduct",
    "iot.device.InvalidDeviceParams",
    "iot.device.NotExistedDevice",
    "",
];

/// Fragments of JSON and of what is none.
const FRAGMENTS: [&str; 24] = [
    "null",
    "true",
    "\"true\"",
    "0",
    "-1",
    "9223372036854775808",
    "99999999999999999999999999",
    "1e999",
    "-0.5",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\u{feff}",
    "[]",
    "{}",
    "[[",
    "{\"a\":",
    "}",
    "<html>502 Bad Gateway</html>",
    "<Error><Code>Throttling</Code></Error>",
    "<?xml version='1.0'?><ActionResponse><Success>true</Success></ActionResponse>",
    "\"Success\":true,",
    "\\",
    ",",
];

/// How long an answer may become by changes: bounds the time of one input.
const LONGEST: usize = 1 << 20;

/// An answer that has much of what the documents have, and not always in its place.
pub(super) fn grow(rng: &mut StdRng) -> String {
    let keys = rng.random_range(0..8);
    let fields: Vec<_> = (0..keys)
        .map(|_| {
            let key = pick(rng, &TOP);
            let value = match key {
                "Success" if rng.random_ratio(9, 10) => rng.random_bool(0.6).to_string(),
                "Data" if rng.random_ratio(9, 10) => data(rng),
                "Code" if rng.random_ratio(9, 10) => format!("\"{}\"", pick(rng, &CODES)),
                "ApplyDeviceList" | "DeviceList" | "Total" => list(rng),
                _ => value(rng, 0),
            };
            format!("\"{key}\":{value}")
        })
        .collect();
    let text = format!("{{{}}}", fields.join(","));
    match rng.random_range(0..40) {
        0 => format!("[{text}]"),
        1 => text.replace("},", "},\n  "),
        _ => text,
    }
}

/// Changes some bytes of it, or puts in some of the other.
pub(super) fn change(rng: &mut StdRng, body: &mut Vec<u8>, other: &[u8]) {
    let at = rng.random_range(0..=body.len());
    let to = (at + rng.random_range(0..64)).min(body.len());
    match rng.random_range(0..9) {
        0 => body.truncate(at),
        1 => body.extend_from_slice(pick(rng, &FRAGMENTS).as_bytes()),
        2 => drop(body.drain(at..to)),
        3 if to > at => body[at] = rng.random(),
        4 if to > at => body[at] ^= 1 << rng.random_range(0..8),
        5 => {
            let repeated = body[at..to].repeat(rng.random_range(1..200));
            body.splice(at..at, repeated);
        }
        6 => {
            let from = rng.random_range(0..=other.len());
            let until = rng.random_range(from..=other.len());
            body.splice(at..to, other[from..until].iter().copied());
        }
        _ => {
            let fragment = pick(rng, &FRAGMENTS);
            let times = if rng.random_ratio(1, 10) { 500 } else { 1 };
            body.splice(at..at, fragment.repeat(times).into_bytes());
        }
    }
    body.truncate(LONGEST);
}

fn data(rng: &mut StdRng) -> String {
    let keys = rng.random_range(0..6);
    let fields: Vec<_> = (0..keys)
        .map(|_| {
            let key = pick(rng, &DATA);
            let value = match key {
                "Status" => format!("\"{}\"", pick(rng, &["CHECK", "CREATE_FAILED", "NEW", ""])),
                key if key.ends_with("List") && rng.random_ratio(9, 10) => list(rng),
                _ => value(rng, 0),
            };
            format!("\"{key}\":{value}")
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// A list, bare or wrapped, now and then as long as an answer may have it.
fn list(rng: &mut StdRng) -> String {
    let items = match rng.random_range(0..300) {
        0 => 10_000,
        1..100 => 1,
        _ => rng.random_range(0..5),
    };
    let details = rng.random_bool(0.4);
    let items: Vec<_> = (0..items)
        .map(|number| match rng.random_range(0..20) {
            0 => value(rng, 0),
            1 => format!("\"{DEVICE_SECRET}\""),
            2 => format!(
                "{{\"DeviceName\":\"dev{number}\",\"DeviceSecret\":\"{DEVICE_SECRET}\",\"Sn\":\"nick\",\
                 \"ErrorMsg\":\"{DEVICE_SECRET} is illegal|dev{number}:{DEVICE_SECRET}\"}}"
            ),
            _ if details => {
                let (nickname, text) = (value(rng, 9), value(rng, 9));
                format!(
                    "{{\"DeviceName\":\"dev{number}\",\"NickName\":{nickname},\"ErrorMsg\":{text}}}"
                )
            }
            _ => format!("\"dev{number}\""),
        })
        .collect();
    let items = format!("[{}]", items.join(","));
    match rng.random_bool(0.6) {
        true => format!(
            "{{\"{}\":{items}}}",
            pick(rng, &["Name", "InvalidDetailList", "a"])
        ),
        false => items,
    }
}

/// Any value; the deeper, the simpler.
fn value(rng: &mut StdRng, depth: u32) -> String {
    match rng.random_range(0..if depth < 4 { 12 } else { 9 }) {
        0 => "null".to_owned(),
        1 => rng.random::<bool>().to_string(),
        2 => rng.random::<i64>().to_string(),
        3 => rng.random::<f64>().to_string(),
        4 => format!("\"{}\"", rng.random::<u32>()),
        5 => format!("\"{SECRET} string to sign is:POST&%2F&{SECRET}\""),
        6 => "\"The nick name is illegal.\"".to_owned(),
        7 => "\"nick\"".to_owned(),
        8 => format!("\"{}\"", "智é😀x".repeat(rng.random_range(0..60))),
        9 => format!("[{},{}]", value(rng, depth + 1), value(rng, depth + 1)),
        10 => format!("{{\"{}\":{}}}", pick(rng, &DATA), value(rng, depth + 1)),
        _ => {
            let deep = rng.random_range(1..300);
            format!("{}{}", "[".repeat(deep), "]".repeat(deep))
        }
    }
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(rng).expect("there is something to pick from")
}
