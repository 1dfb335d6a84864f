//! What the gateway asks of a call before anything of IoT is looked at.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use http::request::Parts;
use sha2::{Digest, Sha256};
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::access;
use super::action::{Action, VERSION};
use super::answers::Refusal;
use super::envelope::Dialect;
use super::gateway_options::GatewayOptions;
use super::server::locked;
use super::signature::Signed;

/// Nonces remembered. Quotas admit fewer than that in the usual memory of 30 minutes; a caller
/// without any quota loses the oldest.
const MAX_NONCES: usize = 2_000_000;

/// Lets calls in.
#[derive(Debug)]
pub(super) struct Gate {
    /// How far a date may be from the clock, either way, in microseconds.
    window: u64,
    token: String,
    nonces: Mutex<Nonces>,
}

/// The nonces of the calls whose signature was right, as long as they are remembered.
#[derive(Debug, Default)]
struct Nonces {
    /// In microseconds.
    memory: u64,
    used: HashSet<u128>,
    order: VecDeque<(u64, u128)>,
}

impl Gate {
    pub(super) fn new(options: &GatewayOptions) -> Gate {
        let nonces = Nonces {
            memory: micros(options.nonce_memory),
            ..Nonces::default()
        };
        Gate {
            window: micros(options.time_window),
            token: options.security_token.clone(),
            nonces: Mutex::new(nonces),
        }
    }

    /// Judges all but the quota, in the order that every SDK copes with: presence of parameters,
    /// key, time, signature, nonce, version, action. The nonce is used up even if what follows is
    /// refused.
    pub(super) fn admit(
        &self,
        dialect: Dialect,
        head: &Parts,
        body: &str,
        body_sha256: &str,
        now: u64,
    ) -> Result<Action, Refusal> {
        let signed = Signed::read(dialect, head, body, body_sha256)?;
        let secret = access::secret(&signed.key_id, signed.token.as_deref(), &self.token)?;
        self.in_time(&signed.date, now)?;
        signed.verify(secret)?;
        if !locked(&self.nonces).take(&signed.nonce, now) {
            let message = "Specified signature nonce was used already.";
            return Err(Refusal::new(400, "SignatureNonceUsed", message));
        }
        if signed.version != VERSION {
            let message = "Specified parameter Version is not valid.";
            return Err(Refusal::new(400, "InvalidVersion", message));
        }
        signed.action.parse().map_err(|_| not_found())
    }

    fn in_time(&self, date: &str, now: u64) -> Result<(), Refusal> {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        let parsed = PrimitiveDateTime::parse(date, format).map_err(|_| {
            let message = "Specified time stamp or date value is not well formatted.";
            Refusal::new(400, "InvalidTimeStamp.Format", message)
        })?;
        let seconds = u64::try_from(parsed.assume_utc().unix_timestamp()).unwrap_or(0);
        if (seconds * 1_000_000).abs_diff(now) > self.window {
            let message = "Specified time stamp or date value is expired.";
            return Err(Refusal::new(400, "InvalidTimeStamp.Expired", message));
        }
        Ok(())
    }
}

/// There is no such action, path or method.
pub(super) fn not_found() -> Refusal {
    let message = "Specified api is not found, please check your url and method.";
    Refusal::new(404, "InvalidAction.NotFound", message)
}

impl Nonces {
    /// Whether this nonce is new, as far as anyone remembers. It is then remembered.
    fn take(&mut self, nonce: &str, now: u64) -> bool {
        if self.memory == 0 {
            return true;
        }
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
            self.order
                .push_back((now.saturating_add(self.memory), half));
        }
        new
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use http::HeaderMap;

    use super::super::ACCESS_KEY_SECRET;
    use super::super::signature::acs3;
    use super::*;

    const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    /// 2026-01-02T03:04:05Z.
    const DATE: u64 = 1_767_323_045_000_000;
    /// 15 minutes.
    const WINDOW: u64 = 900_000_000;

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
        let to_sign = acs3::string_to_sign("POST", "/", query, &head.headers, &signed, NO_BODY);
        let signature = acs3::sign(secret, &to_sign);
        let signed = signed.join(";");
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential=simulator,SignedHeaders={signed},Signature={signature}"
        );
        head.headers
            .insert("authorization", authorization.parse().unwrap());
        head
    }

    fn admit(head: &Parts, body_sha256: &str, now: u64) -> Result<Action, Refusal> {
        let gate = Gate::new(&GatewayOptions::default());
        gate.admit(Dialect::Acs3, head, "", body_sha256, now)
    }

    fn code(head: &Parts, now: u64) -> Cow<'static, str> {
        admit(head, NO_BODY, now).map_or_else(|refusal| refusal.code, |_| "OK".into())
    }

    #[test]
    fn a_well_signed_call_is_admitted() {
        let action = admit(&head(|_| {}, ACCESS_KEY_SECRET), NO_BODY, DATE);

        assert_eq!(action, Ok(Action::QueryBatchRegisterDeviceStatus));
    }

    #[test]
    fn a_wrong_secret_is_told_the_string_to_sign() {
        let refusal = admit(&head(|_| {}, "wrong"), NO_BODY, DATE).unwrap_err();

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
        let refusal = admit(&head, &"0".repeat(64), DATE).unwrap_err();

        assert_eq!(refusal.code, "SignatureDoesNotMatch");
    }

    #[test]
    fn the_key_and_the_date_are_asked_for_before_the_body() {
        let other = "0".repeat(64);
        let mut unknown = head(|_| {}, ACCESS_KEY_SECRET);
        let authorization = &unknown.headers["authorization"];
        let authorization = authorization.to_str().unwrap();
        let authorization = authorization.replace("Credential=simulator", "Credential=nobody");
        unknown
            .headers
            .insert("authorization", authorization.parse().unwrap());
        let code = |head, now| admit(head, &other, now).unwrap_err().code;

        assert_eq!(code(&unknown, DATE), "InvalidAccessKeyId.NotFound");
        let late = head(|_| {}, ACCESS_KEY_SECRET);
        assert_eq!(code(&late, DATE + WINDOW + 1), "InvalidTimeStamp.Expired");
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
    fn the_window_is_a_setting() {
        let gate = Gate::new(&GatewayOptions {
            time_window: Duration::from_secs(31 * 60),
            nonce_memory: Duration::ZERO,
            ..GatewayOptions::default()
        });
        let head = head(|_| {}, ACCESS_KEY_SECRET);
        let admitted = |now| gate.admit(Dialect::Acs3, &head, "", NO_BODY, now).is_ok();

        assert!(admitted(DATE + 31 * 60_000_000));
        assert!(!admitted(DATE + 31 * 60_000_000 + 1));
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
    fn a_nonce_is_refused_as_long_as_it_is_remembered() {
        let remembering = |memory| Nonces {
            memory,
            ..Nonces::default()
        };
        let mut nonces = remembering(100);

        assert!(nonces.take("n1", 0));
        assert!(!nonces.take("n1", 100));
        assert!(nonces.take("n2", 100));
        assert!(nonces.take("n1", 101));
        assert_eq!((nonces.used.len(), nonces.order.len()), (2, 2));
        let mut forgetful = remembering(0);
        assert!(forgetful.take("n1", 0) && forgetful.take("n1", 0));
    }
}
