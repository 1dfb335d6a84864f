//! Why a device was refused.

use super::{Corrupt, Ordinal, outcome::words};

words! {
    /// The rule that a device broke, or what the upstream said. Stable: stored and sent to callers.
    pub enum ReasonCode ("a reason") {
        /// The name is too short or too long.
        NameLength = "NAME_LENGTH",
        /// The name holds a character that is not allowed.
        NameCharacter = "NAME_CHARACTER",
        /// The nickname is too short or too long.
        NicknameLength = "NICKNAME_LENGTH",
        /// The nickname holds a character that is not allowed.
        NicknameCharacter = "NICKNAME_CHARACTER",
        /// An earlier device of the apply has the name.
        Duplicate = "DUPLICATE",
        /// The product has a device of the name.
        Exists = "EXISTS",
        /// The upstream refused the name.
        NameRefused = "NAME_REFUSED",
        /// The upstream refused the nickname.
        NicknameRefused = "NICKNAME_REFUSED",
        /// The upstream refused the device without saying why, or took it again and again and did not
        /// create it.
        Refused = "REFUSED",
        /// The upstream gave no usable answer, however often it was asked.
        UpstreamUnclear = "UPSTREAM_UNCLEAR",
        /// The upstream refused the product or the instance for too long.
        Blocked = "BLOCKED",
        /// The upstream has not said in time what became of the registration.
        Unresolved = "UNRESOLVED",
        /// The secret that the device brings is missing or too long.
        SecretLength = "SECRET_LENGTH",
        /// The secret that the device brings holds a character that is not allowed.
        SecretCharacter = "SECRET_CHARACTER",
        /// The serial number is too long.
        SnLength = "SN_LENGTH",
        /// The serial number holds a character that is not allowed.
        SnCharacter = "SN_CHARACTER",
        /// The upstream refused the secret that the device brings.
        SecretRefused = "SECRET_REFUSED",
        /// The upstream refused the serial number.
        SnRefused = "SN_REFUSED",
    }
}

/// Why one device was refused, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The rule.
    pub code: ReasonCode,
    /// The same in words, at most 256 bytes.
    pub text: String,
    /// The upstream's RequestId of the answer that said so; none for local rules.
    pub request_id: Option<String>,
    /// With `Duplicate`: the first device of the name.
    pub first: Option<Ordinal>,
}

impl Reason {
    /// A reason found by the rules here.
    pub fn local(code: ReasonCode, text: String) -> Self {
        Self {
            code,
            text,
            request_id: None,
            first: None,
        }
    }

    /// The reason of a device whose name an earlier one has.
    pub fn duplicate(first: Ordinal) -> Self {
        let text = format!("device {first} of this apply has the same name");
        Self {
            first: Some(first),
            ..Self::local(ReasonCode::Duplicate, text)
        }
    }
}
