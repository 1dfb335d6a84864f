//! A device's secret, which does not print.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The secret that a client brings for a device, or that the upstream made for one: what the device
/// proves itself with. Nothing shows it but [`Self::reveal`], and its memory is wiped when it goes.
#[derive(Clone)]
pub struct DeviceSecret(Zeroizing<String>);

impl DeviceSecret {
    /// Takes any text; whether the upstream would take it is for others to judge.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: to be sealed, sent to the upstream, or handed to who may have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// In a time that tells nothing but whether the lengths agree.
impl PartialEq for DeviceSecret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for DeviceSecret {}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_by_its_text_and_does_not_print() {
        let secret = |text: &str| DeviceSecret::new(text.to_owned());

        assert_eq!(secret("canary"), secret("canary").clone());
        for other in ["canarz", "canar", "canaryy", ""] {
            assert_ne!(secret("canary"), secret(other), "{other}");
        }
        assert_eq!(format!("{:?}", Some(secret("canary"))), "Some(***)");
        assert_eq!(secret("canary").reveal(), "canary");
    }
}
