//! Failed calls, each judged once: may it be made again, may it have been done, and how far does
//! its cause reach. The table of codes is in [`judge`].

use std::{error, fmt, time::Duration};

use crate::upstream::{
    codes::{is_signature, is_throttling, judge, kind_of_code},
    refused::{Kind, Refused},
};

/// What stands for words of the upstream that may hold secrets.
pub const UNQUOTED: &str = "the upstream said more, and it may hold secrets";

/// Why a call did not succeed. `Display` holds no secret and no URL; nor does `Debug`.
pub struct Error {
    pub verdict: Verdict,
    pub scope: Scope,
    /// The upstream's code, if it answered with one.
    pub code: Option<String>,
    /// What happened, in the upstream's words where it had any: at most 256 bytes.
    pub message: String,
    /// How long the upstream asked us to wait, at most an hour.
    pub retry_after: Option<Duration>,
    /// The devices that a refusal names, each once.
    pub refused: Vec<Refused>,
    /// The clock was wrong and has been set by the upstream's own since this call was signed; the
    /// same call, sent without a date of the caller's, is worth an immediate repeat.
    pub clock_corrected: bool,
    pub(super) source: Option<Box<reqwest::Error>>,
    pub(super) throttled: bool,
    /// Whether the message is in the upstream's words.
    pub(super) quotes: bool,
}

/// What may be done about a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Refused; the same call again gets the same answer.
    Final,
    /// Certainly not done; the same call may be made again.
    Again,
    /// May or may not have been done: answer lost, 5xx, garbage.
    Unclear,
}

/// How far the cause of a failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This call and its devices.
    Call,
    /// Product or instance missing or not ours: all of the apply.
    Apply,
    /// This action is not permitted.
    Lane,
    /// Overdue, key refused, not authorised at all, service not opened.
    Account,
    /// The clock of this process was refused.
    Clock,
}

impl Error {
    /// Upstream denied the call for its quota only.
    pub fn throttled(&self) -> bool {
        self.throttled
    }

    /// The upstream does not know this ApplyId.
    pub fn not_found(&self) -> bool {
        self.is("iot.device.DeviceApplyIsNotFound")
    }

    /// The creation of this apply was asked for before and is still running.
    pub fn running(&self) -> bool {
        self.is("iot.device.CreateDeviceTaskIsRunning")
    }

    /// The gateway saw this very request before: proof that it arrived once, not of what became
    /// of it.
    pub fn nonce_used(&self) -> bool {
        self.is("SignatureNonceUsed")
    }

    /// The date of the request was too old when it arrived; of an earlier sending of the same one it
    /// says nothing.
    pub fn expired(&self) -> bool {
        self.is("InvalidTimeStamp.Expired")
    }

    /// The upstream has no device of this name, or did not when it looked.
    pub fn no_such_device(&self) -> bool {
        self.is("iot.device.NotExistedDevice")
    }

    /// The error without words of the upstream, for calls about secrets that nobody here knows, and so
    /// cannot cut out.
    pub fn unquoted(mut self) -> Self {
        if self.quotes {
            self.message = UNQUOTED.to_owned();
        }
        self
    }

    fn is(&self, code: &str) -> bool {
        self.code
            .as_deref()
            .is_some_and(|ours| ours.eq_ignore_ascii_case(code))
    }

    /// A call of which not a byte was sent.
    pub(super) fn unsent(message: &str, source: Option<reqwest::Error>) -> Self {
        Self::plain(Verdict::Again, message, source)
    }

    /// A call that may have arrived, and whose answer is no answer.
    pub(crate) fn unclear(message: &str, source: Option<reqwest::Error>) -> Self {
        Self::plain(Verdict::Unclear, message, source)
    }

    /// A call that was answered with a code, or with the names of bad devices. `code` and `text`
    /// are fit to be kept.
    pub(crate) fn refused(
        http_status: u16,
        code: Option<String>,
        text: Option<String>,
        mut refused: Vec<Refused>,
    ) -> Self {
        let known = code.as_deref().unwrap_or_default();
        // A code that no document has: it was refused, and nobody can tell for how long.
        let (verdict, scope) = judge(known).unwrap_or((Verdict::Final, Scope::Call));
        let throttled = is_throttling(known) || http_status == 429;
        let (verdict, scope) = match http_status {
            _ if throttled => (Verdict::Again, Scope::Call),
            // Whatever it says, a server that broke does not know what it did.
            500.. => (Verdict::Unclear, Scope::Call),
            _ => (verdict, scope),
        };
        let quotes = text.is_some();
        let kind = kind_of_code(known);
        for device in refused
            .iter_mut()
            .filter(|device| device.kind == Kind::Other)
        {
            device.kind = kind;
        }
        let message = match text {
            // This text is the server's string to sign, which is every parameter of the call.
            _ if is_signature(known) => {
                "the signature was refused; check the AccessKey secret".into()
            }
            Some(text) => text,
            None => format!("upstream refused the call (HTTP {http_status})"),
        };
        Self {
            code,
            refused,
            throttled,
            quotes,
            ..Self::new(verdict, scope, message)
        }
    }

    fn plain(verdict: Verdict, message: &str, source: Option<reqwest::Error>) -> Self {
        let source = source.map(|error| Box::new(error.without_url()));
        Self {
            source,
            ..Self::new(verdict, Scope::Call, message.to_owned())
        }
    }

    fn new(verdict: Verdict, scope: Scope, message: String) -> Self {
        Self {
            verdict,
            scope,
            code: None,
            message,
            retry_after: None,
            refused: Vec::new(),
            clock_corrected: false,
            source: None,
            throttled: false,
            quotes: false,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("verdict", &self.verdict)
            .field("scope", &self.scope)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("retry_after", &self.retry_after)
            // Counted, since names are kept as the upstream wrote them, to be matched with ours.
            .field("refused", &self.refused.len())
            .field("clock_corrected", &self.clock_corrected)
            .field("throttled", &self.throttled)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(http_status: u16, code: &str) -> Error {
        Error::refused(http_status, Some(code.to_owned()), None, Vec::new())
    }

    #[test]
    fn the_codes_that_the_dance_asks_for_have_names() {
        assert!(refused(200, "iot.device.DeviceApplyIsNotFound").not_found());
        assert!(refused(200, "iot.device.CreateDeviceTaskIsRunning").running());
        assert!(refused(400, "SignatureNonceUsed").nonce_used());
        assert!(refused(400, "InvalidTimeStamp.Expired").expired());
        assert!(!refused(400, "InvalidTimeStamp.Format").expired());
        assert!(refused(200, "iot.device.NotExistedDevice").no_such_device());
        assert!(!refused(400, "Throttling").not_found());
    }

    #[test]
    fn the_text_of_a_refused_signature_is_not_kept() {
        for code in ["SignatureDoesNotMatch", "IncompleteSignature"] {
            let text = Some("server string to sign is:POST&canary".to_owned());

            let error = Error::refused(400, Some(code.to_owned()), text, Vec::new());

            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn an_error_without_the_words_of_the_upstream_keeps_its_code_and_our_own_words() {
        let code = Some("Forbidden.RAM".to_owned());
        let text = Some("of the canary".to_owned());

        let quoting = Error::refused(403, code, text, Vec::new()).unquoted();
        let own = Error::refused(403, None, None, Vec::new()).unquoted();

        assert_eq!(quoting.to_string(), format!("Forbidden.RAM: {UNQUOTED}"));
        assert!(own.to_string().ends_with("(HTTP 403)"));
    }

    #[test]
    fn the_code_says_what_is_wrong_with_names_that_are_only_listed() {
        let listed = vec![Refused {
            name: "n".into(),
            text: None,
            kind: Kind::Other,
        }];
        let code = "iot.device.AlreadyExistedDeviceName".to_owned();

        let error = Error::refused(200, Some(code), None, listed);

        assert_eq!(error.refused[0].kind, Kind::Exists);
    }
}
