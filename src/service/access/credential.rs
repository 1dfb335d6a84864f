//! What a call brings to prove who makes it.

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use tonic::Status;

use super::{known::Known, refusal, token::TokenHash};
use crate::{
    domain::{Caller, Proof},
    service::tls::Peer,
};

/// A token as its hash, or the names in a certificate whose chain was verified.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    /// Nothing, at an open server.
    None,
    Token(TokenHash),
    Certificate(Arc<[String]>),
}

impl Credential {
    /// What a call with these headers over this connection brings. A token, where there is one,
    /// says who calls; then the certificate does not.
    pub(super) fn of(headers: &HeaderMap, peer: &Peer) -> Result<Self, Status> {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        match (given.next(), given.next(), &peer.certificate) {
            (Some(value), None, _) => match bearer(value.as_bytes()) {
                Some(token) => Ok(Self::Token(TokenHash::of(token))),
                None => Err(refusal::no_bearer()),
            },
            (Some(_), Some(_), _) => Err(refusal::no_bearer()),
            (None, _, Some(names)) => Ok(Self::Certificate(names.clone())),
            (None, _, None) => Err(refusal::no_credentials()),
        }
    }

    /// Who that is, and by what.
    pub(super) fn caller(&self, known: &Known) -> Result<(Arc<Caller>, Proof), Status> {
        let (caller, proof) = match self {
            Self::None => return Err(refusal::no_credentials()),
            Self::Token(hash) => (known.by_token(hash), Proof::Token),
            Self::Certificate(names) => (known.by_certificate(names), Proof::Certificate),
        };
        match (caller, self) {
            (Some(caller), _) => Ok((caller.clone(), proof)),
            (None, Self::Certificate(names)) => Err(refusal::unknown_certificate(names)),
            (None, Self::Token(_) | Self::None) => Err(refusal::unknown_token()),
        }
    }
}

/// The token in `Bearer TOKEN`; the first word has no case.
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = str::from_utf8(value).ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;

    use super::{super::file, *};

    const FILE: &str = r#"
        [[caller]]
        name = "press"
        tenant = "factory"
        rights = ["read"]
        products = ["*"]
        tokens = ["sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"]
        certificates = ["DNS:press.example", "CN:press"]

        [[caller]]
        name = "lamp"
        tenant = "factory"
        rights = ["read"]
        products = ["*"]
        certificates = ["URI:spiffe://factory/lamp", "CN:lamp"]
    "#;

    fn who(authorization: &[&'static str], certificate: Option<&[&str]>) -> Result<String, Status> {
        let headers = authorization
            .iter()
            .map(|one| (AUTHORIZATION, one.parse().unwrap()));
        let names = certificate.map(|names| names.iter().map(|one| one.to_string()).collect());
        let peer = Peer {
            certificate: names,
            ..Peer::UNKNOWN
        };
        let credential = Credential::of(&headers.collect(), &peer)?;
        let (caller, _) = credential.caller(&file::parse(FILE).unwrap())?;
        Ok(caller.name.to_string())
    }

    fn refused(answer: Result<String, Status>) -> String {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        status.get_details_error_info().unwrap().reason
    }

    #[test]
    fn a_token_or_a_certificate_says_who_calls_and_the_token_goes_first() {
        assert_eq!(who(&["Bearer x"], None).unwrap(), "press");
        assert_eq!(who(&["bearer   x "], None).unwrap(), "press");
        assert_eq!(who(&[], Some(&["DNS:other", "CN:press"])).unwrap(), "press");
        assert_eq!(
            who(&[], Some(&["URI:spiffe://factory/lamp"])).unwrap(),
            "lamp"
        );
        assert_eq!(who(&["Bearer x"], Some(&["CN:lamp"])).unwrap(), "press");
    }

    #[test]
    fn what_proves_nobody_is_refused_by_its_reason() {
        assert_eq!(refused(who(&[], None)), "NO_CREDENTIALS");
        assert_eq!(refused(who(&["Bearer y"], None)), "UNKNOWN_CREDENTIALS");
        assert_eq!(
            refused(who(&["Bearer y"], Some(&["CN:lamp"]))),
            "UNKNOWN_CREDENTIALS"
        );
        assert_eq!(
            refused(who(&[], Some(&["CN:other"]))),
            "UNKNOWN_CREDENTIALS"
        );
        assert_eq!(refused(who(&[], Some(&[]))), "UNKNOWN_CREDENTIALS");
        // The names of two callers prove neither.
        assert_eq!(
            refused(who(&[], Some(&["CN:lamp", "CN:press"]))),
            "UNKNOWN_CREDENTIALS"
        );
        for bad in ["x", "Bearer", "Bearer ", "Basic x", "Bearerx"] {
            assert_eq!(refused(who(&[bad], None)), "NO_CREDENTIALS", "{bad}");
        }
        assert_eq!(
            refused(who(&["Bearer x", "Bearer x"], None)),
            "NO_CREDENTIALS"
        );
    }
}
