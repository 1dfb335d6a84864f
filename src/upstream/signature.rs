//! The signature ACS3-HMAC-SHA256, as a pure function of what is sent.

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::upstream::secret::Secret;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
const VERSION: &str = "2018-01-20";

/// RFC 3986: letters, digits and `-_.~` stay, all else is `%XX`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// As whom calls are signed.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: Secret,
    /// Only with a temporary key.
    pub(super) token: Option<Secret>,
}

/// All of a request that the signature covers.
pub(super) struct Request<'a> {
    pub(super) action: &'a str,
    /// As the Host header says it: with the port, unless it is the default one.
    pub(super) host: &'a str,
    /// Encoded and sorted by name.
    pub(super) query: &'a str,
    /// Only with a body.
    pub(super) content_type: Option<&'a str>,
    /// [`sha256`] of the body, in hexadecimal.
    pub(super) body_sha256: &'a str,
    pub(super) user_agent: &'a str,
    /// `YYYY-MM-DDThh:mm:ssZ`.
    pub(super) date: &'a str,
    pub(super) nonce: &'a str,
}

impl Request<'_> {
    /// The headers to send, the signature last.
    pub(super) fn sign(&self, credentials: &Credentials) -> Vec<(&'static str, String)> {
        let mut headers = self.headers(credentials);
        let canonical = self.canonical(&headers);
        let to_sign = format!("{ALGORITHM}\n{}", sha256(canonical.as_bytes()));
        let mut mac = Hmac::<Sha256>::new_from_slice(credentials.secret.reveal().as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(to_sign.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let authorization = format!(
            "{ALGORITHM} Credential={},SignedHeaders={},Signature={signature}",
            credentials.id,
            names(&headers),
        );
        headers.push(("authorization", authorization));
        headers
    }

    /// The signed headers, sorted by name.
    fn headers(&self, credentials: &Credentials) -> Vec<(&'static str, String)> {
        let provider = if credentials.token.is_some() {
            "static_sts"
        } else {
            "static_ak"
        };
        let mut headers = vec![
            ("accept", "application/json".to_owned()),
            ("host", self.host.to_owned()),
            ("user-agent", self.user_agent.to_owned()),
            ("x-acs-action", self.action.to_owned()),
            ("x-acs-content-sha256", self.body_sha256.to_owned()),
            ("x-acs-credentials-provider", provider.to_owned()),
            ("x-acs-date", self.date.to_owned()),
            ("x-acs-signature-nonce", self.nonce.to_owned()),
            ("x-acs-version", VERSION.to_owned()),
        ];
        if let Some(content_type) = self.content_type {
            headers.push(("content-type", content_type.to_owned()));
        }
        if let Some(token) = &credentials.token {
            headers.push(("x-acs-accesskey-id", credentials.id.clone()));
            headers.push(("x-acs-security-token", token.reveal().to_owned()));
        }
        headers.sort();
        headers
    }

    fn canonical(&self, headers: &[(&'static str, String)]) -> String {
        let mut text = format!("POST\n/\n{}\n", self.query);
        for (name, value) in headers {
            text.push_str(name);
            text.push(':');
            text.push_str(value.trim());
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&names(headers));
        text.push('\n');
        text.push_str(self.body_sha256);
        text
    }
}

/// Percent-encoding as the upstream signs it; also good in form bodies.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn names(headers: &[(&'static str, String)]) -> String {
    headers
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(";")
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY_A: &str = "DeviceNameList.1.DeviceName=light%3A1%40a.b&DeviceNameList.1.DeviceNickname=%E6%99%BA%E8%83%BD%E7%81%AF+1%2A~&DeviceNameList.10.DeviceName=dev0010&DeviceNameList.2.DeviceName=light_2&DeviceNameList.3.DeviceName=dev0003&DeviceNameList.4.DeviceName=dev0004&DeviceNameList.5.DeviceName=dev0005&DeviceNameList.6.DeviceName=dev0006&DeviceNameList.7.DeviceName=dev0007&DeviceNameList.8.DeviceName=dev0008&DeviceNameList.9.DeviceName=dev0009";
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn request<'a>(action: &'a str, query: &'a str) -> Request<'a> {
        Request {
            action,
            host: "iot.cn-shanghai.aliyuncs.com",
            query,
            content_type: None,
            body_sha256: EMPTY,
            user_agent: "test-agent/1.0",
            date: "2026-01-02T03:04:05Z",
            nonce: "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        }
    }

    fn credentials(id: &str, token: Option<&str>) -> Credentials {
        Credentials {
            id: id.to_owned(),
            secret: "testsecret".parse().unwrap(),
            token: token.map(|token| token.parse().unwrap()),
        }
    }

    fn check(
        request: &Request<'_>,
        credentials: &Credentials,
        canonical: &str,
        signed: &str,
        signature: &str,
    ) {
        let headers = request.headers(credentials);
        assert_eq!(sha256(request.canonical(&headers).as_bytes()), canonical);
        let id = &credentials.id;
        assert_eq!(
            request.sign(credentials).pop().unwrap(),
            (
                "authorization",
                format!(
                    "ACS3-HMAC-SHA256 Credential={id},SignedHeaders={signed},Signature={signature}"
                )
            )
        );
    }

    #[test]
    fn a_call_without_a_body_is_signed_as_the_sdk_signs_it() {
        let request = request(
            "QueryBatchRegisterDeviceStatus",
            "ApplyId=1295006&ProductKey=a1BwAGVtest",
        );

        assert_eq!(sha256(b""), EMPTY);
        check(
            &request,
            &credentials("testid", None),
            "cc94200055519880ba0465e9b3f9c87f457969bed1e5d2b7946829f200e1f7d2",
            "accept;host;user-agent;x-acs-action;x-acs-content-sha256;x-acs-credentials-provider;x-acs-date;x-acs-signature-nonce;x-acs-version",
            "dc30f2d0d239dd9f88c7b8073f1d8be0276f5370dabcc48083f1cdb2f2215eff",
        );
    }

    #[test]
    fn a_call_with_a_body_is_signed_as_the_sdk_signs_it() {
        let body = sha256(BODY_A.as_bytes());
        let request = Request {
            content_type: Some("application/x-www-form-urlencoded"),
            body_sha256: &body,
            ..request(
                "BatchCheckDeviceNames",
                "IotInstanceId=iot-cn-0pp1n8t1234&ProductKey=a1BwAGVtest",
            )
        };

        assert_eq!(
            body,
            "05eb252fb530c815c7206b2ef9509196c473eaff79f34948e163d64c0414a428"
        );
        check(
            &request,
            &credentials("testid", None),
            "21a3384dde4da5749976b6be3a4e94a2eb944d833984671495ba1f8bcc6a36bc",
            "accept;content-type;host;user-agent;x-acs-action;x-acs-content-sha256;x-acs-credentials-provider;x-acs-date;x-acs-signature-nonce;x-acs-version",
            "3f890fd52758e23baf5057ea47b092d41e5afcac70d3efe820b4f045cc04097a",
        );
    }

    #[test]
    fn a_call_with_a_temporary_key_is_signed_as_the_sdk_signs_it() {
        check(
            &request(
                "QueryPageByApplyId",
                "ApplyId=1295006&CurrentPage=2&PageSize=50",
            ),
            &credentials("STS.testid", Some("CAISxAJ1q6Ft5B2y+/abc==")),
            "00781ca3425f4353cacbaa116c6098370e59ee7e778e1a891488b19c2f10c96c",
            "accept;host;user-agent;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-credentials-provider;x-acs-date;x-acs-security-token;x-acs-signature-nonce;x-acs-version",
            "795e48d5efd018f6663159abf3da1a0199718577328cac918a019c5768d63461",
        );
    }

    #[test]
    fn encoding_keeps_only_what_rfc_3986_leaves_unreserved() {
        assert_eq!(
            encode("aZ9-_.~ *@:/+智"),
            "aZ9-_.~%20%2A%40%3A%2F%2B%E6%99%BA"
        );
    }
}
