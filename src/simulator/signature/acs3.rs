//! The signature ACS3-HMAC-SHA256, whose every part is a header.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::super::answers::Refusal;
use super::super::request;
use super::{Signed, encode, hex, missing};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What the `Authorization` header says.
#[derive(Debug, PartialEq, Eq)]
struct Authorization<'a> {
    key_id: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

pub(super) fn read<'a>(head: &'a Parts, body_sha256: &str) -> Result<Signed<'a>, Refusal> {
    let headers = &head.headers;
    let required = |name| header(headers, name).ok_or_else(|| missing(name));
    let action = required("x-acs-action")?;
    let version = required("x-acs-version")?;
    let date = required("x-acs-date")?;
    let nonce = required("x-acs-signature-nonce")?;
    let claimed_sha256 = required("x-acs-content-sha256")?;
    required("host")?;
    let authorization = Authorization::parse(required("authorization")?)
        .ok_or_else(|| incomplete("expected ACS3-HMAC-SHA256 and its three parts"))?;
    if let Some(unsigned) = authorization.unsigned(headers) {
        let what = format!("{unsigned} is not among the SignedHeaders");
        return Err(incomplete(&what));
    }
    let string_to_sign = string_to_sign(
        head.method.as_str(),
        head.uri.path(),
        head.uri.query().unwrap_or_default(),
        headers,
        &authorization.signed,
        body_sha256,
    );
    // The key and the date come first, and no signature is empty.
    let signature = match claimed_sha256 == body_sha256 {
        true => authorization.signature,
        false => "",
    };
    Ok(Signed {
        action: action.into(),
        version: version.into(),
        key_id: authorization.key_id.into(),
        token: header(headers, "x-acs-security-token").map(Cow::Borrowed),
        date: date.into(),
        nonce: nonce.into(),
        signature: signature.into(),
        string_to_sign,
        sign,
    })
}

impl<'a> Authorization<'a> {
    /// None if the algorithm is another one or a part is missing.
    fn parse(header: &'a str) -> Option<Authorization<'a>> {
        let mut key_id = None;
        let mut signed = None;
        let mut signature = None;
        for part in header
            .strip_prefix(ALGORITHM)?
            .strip_prefix(' ')?
            .split(',')
        {
            match part.trim().split_once('=')? {
                ("Credential", value) => key_id = Some(value),
                ("SignedHeaders", value) => signed = Some(value.split(';').collect()),
                ("Signature", value) => signature = Some(value),
                _ => {}
            }
        }
        Some(Authorization {
            key_id: key_id?,
            signed: signed?,
            signature: signature?,
        })
    }

    /// A header that had to be signed and was not: `host`, or any `x-acs-*` that is present.
    fn unsigned<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let names = headers.keys().map(http::HeaderName::as_str);
        let mut owed = names.filter(|name| *name == "host" || name.starts_with("x-acs-"));
        owed.find(|name| !self.signed.contains(name))
    }
}

/// The text that the client must have signed, given what arrived.
pub(in crate::simulator) fn string_to_sign(
    method: &str,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    signed: &[&str],
    body_sha256: &str,
) -> String {
    let mut signed = signed.to_vec();
    signed.sort_unstable();
    let mut canonical = format!("{method}\n{path}\n{}\n", canonical_query(query));
    for name in &signed {
        let values: Vec<_> = headers.get_all(*name).iter().map(text).collect();
        let values: Vec<_> = values.iter().map(|value| value.trim()).collect();
        canonical.push_str(name);
        canonical.push(':');
        canonical.push_str(&values.join(","));
        canonical.push('\n');
    }
    canonical.push('\n');
    canonical.push_str(&signed.join(";"));
    canonical.push('\n');
    canonical.push_str(body_sha256);
    format!("{ALGORITHM}\n{}", hex(&Sha256::digest(canonical)))
}

/// The signature of that text, in lower-case hex.
pub(in crate::simulator) fn sign(secret: &str, string_to_sign: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = mac
        .expect("HMAC takes keys of any length")
        .chain_update(string_to_sign);
    hex(&mac.finalize().into_bytes())
}

fn canonical_query(query: &str) -> String {
    let encoded = |text: Cow<'_, str>| encode(&text).to_string();
    let pairs = request::pairs(query).map(|(name, value)| (encoded(name), encoded(value)));
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn text(value: &http::HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.filter(|value| !value.is_empty())
}

fn incomplete(what: &str) -> Refusal {
    let message = format!("The request signature does not conform to the standards: {what}");
    Refusal::new(400, "IncompleteSignature", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// Signs with the inputs that the published vectors share.
    fn result(
        action: &str,
        query: &str,
        more: &[(&'static str, &str)],
        sha: &str,
    ) -> (String, String) {
        let mut headers = HeaderMap::new();
        let common = [
            ("accept", "application/json"),
            ("host", "iot.cn-shanghai.aliyuncs.com"),
            ("user-agent", "test-agent/1.0"),
            ("x-acs-action", action),
            ("x-acs-content-sha256", sha),
            ("x-acs-credentials-provider", "static_ak"),
            ("x-acs-date", "2026-01-02T03:04:05Z"),
            (
                "x-acs-signature-nonce",
                "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
            ),
            ("x-acs-version", "2018-01-20"),
        ];
        for (name, value) in common.iter().chain(more) {
            headers.insert(*name, value.parse().unwrap());
        }
        let signed: Vec<_> = headers.keys().map(|name| name.as_str()).collect();
        let to_sign = string_to_sign("POST", "/", query, &headers, &signed, sha);
        let signature = sign("testsecret", &to_sign);
        (to_sign, signature)
    }

    #[test]
    fn vector_acs3_1_is_met() {
        let (to_sign, signature) = result(
            "QueryBatchRegisterDeviceStatus",
            "ProductKey=a1BwAGVtest&ApplyId=1295006",
            &[],
            NO_BODY,
        );

        let sha = "cc94200055519880ba0465e9b3f9c87f457969bed1e5d2b7946829f200e1f7d2";
        assert_eq!(to_sign, format!("ACS3-HMAC-SHA256\n{sha}"));
        let expected = "dc30f2d0d239dd9f88c7b8073f1d8be0276f5370dabcc48083f1cdb2f2215eff";
        assert_eq!(signature, expected);
    }

    #[test]
    fn vector_acs3_2_with_a_body_is_met() {
        let body = "DeviceNameList.1.DeviceName=light%3A1%40a.b&DeviceNameList.1.DeviceNickname=\
            %E6%99%BA%E8%83%BD%E7%81%AF+1%2A~&DeviceNameList.10.DeviceName=dev0010&\
            DeviceNameList.2.DeviceName=light_2&DeviceNameList.3.DeviceName=dev0003&\
            DeviceNameList.4.DeviceName=dev0004&DeviceNameList.5.DeviceName=dev0005&\
            DeviceNameList.6.DeviceName=dev0006&DeviceNameList.7.DeviceName=dev0007&\
            DeviceNameList.8.DeviceName=dev0008&DeviceNameList.9.DeviceName=dev0009";
        let (to_sign, signature) = result(
            "BatchCheckDeviceNames",
            "IotInstanceId=iot-cn-0pp1n8t1234&ProductKey=a1BwAGVtest",
            &[("content-type", "application/x-www-form-urlencoded")],
            &hex(&Sha256::digest(body)),
        );

        let sha = "21a3384dde4da5749976b6be3a4e94a2eb944d833984671495ba1f8bcc6a36bc";
        assert_eq!(to_sign, format!("ACS3-HMAC-SHA256\n{sha}"));
        let expected = "3f890fd52758e23baf5057ea47b092d41e5afcac70d3efe820b4f045cc04097a";
        assert_eq!(signature, expected);
    }

    #[test]
    fn vector_acs3_3_with_a_security_token_is_met() {
        let (to_sign, signature) = result(
            "QueryPageByApplyId",
            "ApplyId=1295006&CurrentPage=2&PageSize=50",
            &[
                ("x-acs-accesskey-id", "STS.testid"),
                ("x-acs-credentials-provider", "static_sts"),
                ("x-acs-security-token", "CAISxAJ1q6Ft5B2y+/abc=="),
            ],
            NO_BODY,
        );

        let sha = "00781ca3425f4353cacbaa116c6098370e59ee7e778e1a891488b19c2f10c96c";
        assert_eq!(to_sign, format!("ACS3-HMAC-SHA256\n{sha}"));
        let expected = "795e48d5efd018f6663159abf3da1a0199718577328cac918a019c5768d63461";
        assert_eq!(signature, expected);
    }

    #[test]
    fn an_authorization_is_read_in_parts() {
        let header = "ACS3-HMAC-SHA256 Credential=id,SignedHeaders=host;x-acs-date,Signature=ab";
        let read = Authorization::parse(header).unwrap();

        assert_eq!((read.key_id, read.signature), ("id", "ab"));
        assert_eq!(read.signed, ["host", "x-acs-date"]);
        assert_eq!(Authorization::parse("ACS3-HMAC-SM3 Credential=id"), None);
        assert_eq!(Authorization::parse("ACS3-HMAC-SHA256 Credential=id"), None);
    }

    #[test]
    fn host_and_every_acs_header_must_be_signed() {
        let mut headers = HeaderMap::new();
        for name in ["host", "accept", "x-acs-date", "x-acs-retry-delay"] {
            headers.insert(name, "x".parse().unwrap());
        }
        let unsigned = |signed: &[&'static str]| {
            let signed = signed.to_vec();
            Authorization {
                key_id: "",
                signed,
                signature: "",
            }
            .unsigned(&headers)
        };

        assert_eq!(unsigned(&["host", "x-acs-date"]), Some("x-acs-retry-delay"));
        assert_eq!(unsigned(&["x-acs-date", "x-acs-retry-delay"]), Some("host"));
        assert_eq!(unsigned(&["host", "x-acs-date", "x-acs-retry-delay"]), None);
    }
}
