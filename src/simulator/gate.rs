//! What the gateway asks of a call before anything of IoT is looked at.

use std::collections::{HashSet, VecDeque};

use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::action::{Action, VERSION};
use super::answers::Refusal;
use super::signature::{self, Authorization};
use super::{ACCESS_KEY_ID, ACCESS_KEY_SECRET};

/// How far a date may be from the clock, either way: 15 minutes (V3 page), in microseconds.
const WINDOW: u64 = 15 * 60 * 1_000_000;
/// Nonces remembered. Quotas admit fewer than that in the window; a caller without any quota
/// loses the oldest.
const MAX_NONCES: usize = 2_000_000;

/// The nonces of the calls whose date could still be valid.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    used: HashSet<u128>,
    order: VecDeque<(u64, u128)>,
}

/// Judges all but the quota, in the order that every SDK copes with: presence of parameters, key,
/// time, signature, nonce, version, action.
pub(super) fn admit(
    head: &Parts,
    body_sha256: &str,
    now: u64,
    nonces: impl FnOnce(&str) -> bool,
) -> Result<Action, Refusal> {
    let headers = &head.headers;
    let action = header(headers, "x-acs-action")?;
    let version = header(headers, "x-acs-version")?;
    let date = header(headers, "x-acs-date")?;
    let nonce = header(headers, "x-acs-signature-nonce")?;
    let claimed_sha256 = header(headers, "x-acs-content-sha256")?;
    header(headers, "host")?;
    let incomplete = |what: &str| {
        let message = format!("The request signature does not conform to the standards: {what}");
        Refusal::new(400, "IncompleteSignature", message)
    };
    let authorization = header(headers, "authorization")?;
    let authorization = Authorization::parse(authorization)
        .ok_or_else(|| incomplete("expected ACS3-HMAC-SHA256 and its three parts"))?;

    if authorization.key_id != ACCESS_KEY_ID {
        let message = "Specified access key is not found.";
        return Err(Refusal::new(404, "InvalidAccessKeyId.NotFound", message));
    }
    in_time(date, now)?;
    if let Some(unsigned) = authorization.unsigned(headers) {
        return Err(incomplete(&format!(
            "{unsigned} is not among the SignedHeaders"
        )));
    }
    let to_sign = signature::string_to_sign(
        head.method.as_str(),
        head.uri.path(),
        head.uri.query().unwrap_or_default(),
        headers,
        &authorization.signed,
        body_sha256,
    );
    let signature = signature::sign(ACCESS_KEY_SECRET, &to_sign);
    if signature != authorization.signature || claimed_sha256 != body_sha256 {
        // SDKs compare what follows the colon with their own text, to the byte.
        let message = "Specified signature is not matched with our calculation. \
                       server string to sign is:";
        return Err(Refusal::new(
            400,
            "SignatureDoesNotMatch",
            format!("{message}{to_sign}"),
        ));
    }
    if !nonces(nonce) {
        let message = "Specified signature nonce was used already.";
        return Err(Refusal::new(400, "SignatureNonceUsed", message));
    }
    if version != VERSION {
        let message = "Specified parameter Version is not valid.";
        return Err(Refusal::new(400, "InvalidVersion", message));
    }
    action.parse().map_err(|_| {
        let message = "Specified api is not found, please check your url and method.";
        Refusal::new(404, "InvalidAction.NotFound", message)
    })
}

impl Nonces {
    /// Whether this nonce is new. It is then remembered as long as its date can be valid: that
    /// may lie a window ahead and is accepted for a window after.
    pub(super) fn take(&mut self, nonce: &str, now: u64) -> bool {
        while self.order.front().is_some_and(|(until, _)| *until < now)
            || self.order.len() >= MAX_NONCES
        {
            if let Some((_, forgotten)) = self.order.pop_front() {
                self.used.remove(&forgotten);
            }
        }
        // Half a digest is as good as the text and bounds what a long nonce may cost.
        let digest = Sha256::digest(nonce);
        let (half, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        let half = u128::from_be_bytes(*half);
        let new = self.used.insert(half);
        if new {
            self.order.push_back((now + 2 * WINDOW, half));
        }
        new
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Refusal> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        let message = format!("The input parameter \"{name}\" that is mandatory is not supplied.");
        Refusal::new(400, "MissingParameter", message)
    })
}

fn in_time(date: &str, now: u64) -> Result<(), Refusal> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let parsed = PrimitiveDateTime::parse(date, format).map_err(|_| {
        let message = "Specified time stamp or date value is not well formatted.";
        Refusal::new(400, "InvalidTimeStamp.Format", message)
    })?;
    let seconds = u64::try_from(parsed.assume_utc().unix_timestamp()).unwrap_or(0);
    if (seconds * 1_000_000).abs_diff(now) > WINDOW {
        let message = "Specified time stamp or date value is expired.";
        return Err(Refusal::new(400, "InvalidTimeStamp.Expired", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    /// 2026-01-02T03:04:05Z.
    const DATE: u64 = 1_767_323_045_000_000;

    fn head(change: impl FnOnce(&mut HeaderMap), secret: &str) -> Parts {
        let request = http::Request::post("/?ProductKey=a1Simulator&ApplyId=1")
            .body(())
            .unwrap();
        let mut head = request.into_parts().0;
        for (name, value) in [
            ("host", "127.0.0.1:1"),
            ("x-acs-action", "QueryBatchRegisterDeviceStatus"),
            ("x-acs-version", VERSION),
            ("x-acs-date", "2026-01-02T03:04:05Z"),
            ("x-acs-signature-nonce", "n1"),
            ("x-acs-content-sha256", NO_BODY),
        ] {
            head.headers.insert(name, value.parse().unwrap());
        }
        change(&mut head.headers);
        let signed: Vec<_> = head.headers.keys().map(|name| name.as_str()).collect();
        let query = head.uri.query().unwrap();
        let to_sign =
            signature::string_to_sign("POST", "/", query, &head.headers, &signed, NO_BODY);
        let signature = signature::sign(secret, &to_sign);
        let signed = signed.join(";");
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential=simulator,SignedHeaders={signed},Signature={signature}"
        );
        head.headers
            .insert("authorization", authorization.parse().unwrap());
        head
    }

    fn code(head: &Parts, now: u64) -> Cow<'static, str> {
        admit(head, NO_BODY, now, |_| true).map_or_else(|refusal| refusal.code, |_| "OK".into())
    }

    #[test]
    fn a_well_signed_call_is_admitted() {
        let action = admit(&head(|_| {}, ACCESS_KEY_SECRET), NO_BODY, DATE, |_| true);

        assert_eq!(action, Ok(Action::QueryBatchRegisterDeviceStatus));
    }

    #[test]
    fn a_wrong_secret_is_told_the_string_to_sign() {
        let refusal = admit(&head(|_| {}, "wrong"), NO_BODY, DATE, |_| true).unwrap_err();

        assert_eq!(
            (refusal.status, refusal.code.as_ref()),
            (400, "SignatureDoesNotMatch")
        );
        let (_, to_sign) = refusal.message.split_once(':').unwrap();
        assert!(to_sign.starts_with("ACS3-HMAC-SHA256\n"));
        assert_eq!(to_sign.len(), "ACS3-HMAC-SHA256\n".len() + 64);
    }

    #[test]
    fn another_body_than_the_signed_one_is_refused() {
        let head = head(|_| {}, ACCESS_KEY_SECRET);
        let refusal = admit(&head, &"0".repeat(64), DATE, |_| true).unwrap_err();

        assert_eq!(refusal.code, "SignatureDoesNotMatch");
    }

    #[test]
    fn dates_count_for_fifteen_minutes_either_way() {
        let head = head(|_| {}, ACCESS_KEY_SECRET);

        assert_eq!(code(&head, DATE + WINDOW), "OK");
        assert_eq!(code(&head, DATE - WINDOW), "OK");
        assert_eq!(code(&head, DATE + WINDOW + 1), "InvalidTimeStamp.Expired");
        assert_eq!(code(&head, DATE - WINDOW - 1), "InvalidTimeStamp.Expired");
    }

    #[test]
    fn each_flaw_has_its_code() {
        let flawed = |name: &'static str, value: Option<&str>| {
            let change = |headers: &mut HeaderMap| match value {
                Some(value) => drop(headers.insert(name, value.parse().unwrap())),
                None => drop(headers.remove(name)),
            };
            code(&head(change, ACCESS_KEY_SECRET), DATE)
        };

        assert_eq!(flawed("x-acs-signature-nonce", None), "MissingParameter");
        assert_eq!(
            flawed("x-acs-date", Some("yesterday")),
            "InvalidTimeStamp.Format"
        );
        assert_eq!(
            flawed("x-acs-version", Some("2017-04-20")),
            "InvalidVersion"
        );
        assert_eq!(
            flawed("x-acs-action", Some("Pub")),
            "InvalidAction.NotFound"
        );

        let mut unsigned = head(|_| {}, ACCESS_KEY_SECRET);
        unsigned
            .headers
            .insert("x-acs-retry-delay", "1".parse().unwrap());
        assert_eq!(code(&unsigned, DATE), "IncompleteSignature");
    }

    #[test]
    fn a_nonce_is_refused_until_no_date_can_be_valid() {
        let mut nonces = Nonces::default();

        assert!(nonces.take("n1", 0));
        assert!(!nonces.take("n1", 2 * WINDOW));
        assert!(nonces.take("n2", 2 * WINDOW));
        assert!(nonces.take("n1", 2 * WINDOW + 1));
        assert_eq!((nonces.used.len(), nonces.order.len()), (2, 2));
    }
}
