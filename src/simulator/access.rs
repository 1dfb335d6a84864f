//! The access keys of the account: one that stays, and one that is temporary and needs its token.

use super::answers::Refusal;
use super::{ACCESS_KEY_ID, ACCESS_KEY_SECRET, STS_ACCESS_KEY_ID, STS_ACCESS_KEY_SECRET};

/// The secret of a key, if the token beside it is the right one: `accepted` for the temporary key,
/// none for the other.
pub(super) fn secret(
    key_id: &str,
    token: Option<&str>,
    accepted: &str,
) -> Result<&'static str, Refusal> {
    match (key_id, token) {
        (ACCESS_KEY_ID, None) => Ok(ACCESS_KEY_SECRET),
        (ACCESS_KEY_ID, Some(_)) => Err(invalid("MismatchWithAccessKey")),
        (STS_ACCESS_KEY_ID, Some(token)) if token == accepted => Ok(STS_ACCESS_KEY_SECRET),
        (STS_ACCESS_KEY_ID, Some(_)) => Err(invalid("Malformed")),
        (STS_ACCESS_KEY_ID, None) => {
            let message = "The SecurityToken that goes with a temporary access key is missing.";
            Err(Refusal::new(400, "MissingSecurityToken", message))
        }
        _ => {
            let message = "Specified access key is not found.";
            Err(Refusal::new(404, "InvalidAccessKeyId.NotFound", message))
        }
    }
}

/// Which of these codes stands for a token that nobody issued is not published.
fn invalid(how: &str) -> Refusal {
    let code = format!("InvalidSecurityToken.{how}");
    Refusal::new(400, code, "Specified SecurityToken is not valid.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_wants_its_own_company() {
        let code = |key_id, token| match secret(key_id, token, "token") {
            Ok(secret) => secret.to_owned(),
            Err(refusal) => format!("{} {}", refusal.status, refusal.code),
        };

        assert_eq!(code("simulator", None), ACCESS_KEY_SECRET);
        assert_eq!(code("STS.simulator", Some("token")), STS_ACCESS_KEY_SECRET);
        let mismatch = "400 InvalidSecurityToken.MismatchWithAccessKey";
        assert_eq!(code("simulator", Some("token")), mismatch);
        let malformed = "400 InvalidSecurityToken.Malformed";
        assert_eq!(code("STS.simulator", Some("other")), malformed);
        assert_eq!(code("STS.simulator", None), "400 MissingSecurityToken");
        assert_eq!(code("nobody", None), "404 InvalidAccessKeyId.NotFound");
    }
}
