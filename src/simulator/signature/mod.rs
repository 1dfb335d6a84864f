//! Signatures, from the verifier's side: what a signed call claims of itself, and whether the key
//! it names has signed it.

pub(super) mod acs3;
pub(super) mod rpc;
mod sha1;

use std::borrow::Cow;
use std::fmt::{self, Write};

use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answers::Refusal;
use super::envelope::Dialect;

/// Everything but `A-Z a-z 0-9 - _ . ~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What a signed call claims, whichever way it is signed.
pub(super) struct Signed<'a> {
    pub(super) action: Cow<'a, str>,
    pub(super) version: Cow<'a, str>,
    pub(super) key_id: Cow<'a, str>,
    /// Beside a temporary key.
    pub(super) token: Option<Cow<'a, str>>,
    pub(super) date: Cow<'a, str>,
    pub(super) nonce: Cow<'a, str>,
    signature: Cow<'a, str>,
    string_to_sign: String,
    sign: fn(secret: &str, string_to_sign: &str) -> String,
}

impl<'a> Signed<'a> {
    /// Refused if something is missing without which no signature can be verified.
    pub(super) fn read(
        dialect: Dialect,
        head: &'a Parts,
        body: &'a str,
        body_sha256: &str,
    ) -> Result<Signed<'a>, Refusal> {
        match dialect {
            Dialect::Rpc => rpc::read(head, body),
            Dialect::Acs3 => acs3::read(head, body_sha256),
        }
    }

    /// Refuses what was not signed with `secret`.
    pub(super) fn verify(&self, secret: &str) -> Result<(), Refusal> {
        if (self.sign)(secret, &self.string_to_sign) == self.signature {
            Ok(())
        } else {
            Err(mismatch(&self.string_to_sign))
        }
    }
}

impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("action", &self.action)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes all that is written");
    }
    text
}

/// SDKs compare what follows the colon with their own text, to the byte; an old one breaks down if
/// there is no colon.
fn mismatch(string_to_sign: &str) -> Refusal {
    let message = "Specified signature is not matched with our calculation. \
                   server string to sign is:";
    let message = format!("{message}{string_to_sign}");
    Refusal::new(400, "SignatureDoesNotMatch", message)
}

fn missing(name: &str) -> Refusal {
    let message = format!("The input parameter \"{name}\" that is mandatory is not supplied.");
    Refusal::new(400, "MissingParameter", message)
}

fn encode(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, RESERVED)
}
