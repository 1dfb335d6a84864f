//! Where a call says what it is: in headers, if it is signed as ACS3, otherwise in parameters.

use std::borrow::Cow;

use http::header::AUTHORIZATION;
use http::request::Parts;

use super::action::Action;
use super::request;

/// How a call is signed; with it goes where everything stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// RPC v1: everything is a parameter. A call that is not signed at all counts as one.
    Rpc,
    /// ACS3: everything is a header.
    Acs3,
}

/// In which form a call wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
}

/// What is read of a call before anyone knows whether it is right. What is missing is empty.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) dialect: Dialect,
    pub(super) action_name: Cow<'a, str>,
    pub(super) format: Format,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(head: &'a Parts, body: &'a str) -> Envelope<'a> {
        let header = |name| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        if header(AUTHORIZATION.as_str()).starts_with("ACS3-") {
            return Envelope {
                dialect: Dialect::Acs3,
                action_name: header("x-acs-action").into(),
                format: Format::Json,
            };
        }
        let mut action_name = Cow::default();
        let mut format = Cow::default();
        let query = head.uri.query().unwrap_or_default();
        for (name, value) in request::raw_pairs(query).chain(request::raw_pairs(body)) {
            let meant = match request::decode(name).as_ref() {
                "Action" => &mut action_name,
                "Format" => &mut format,
                _ => continue,
            };
            *meant = request::decode(value);
        }
        Envelope {
            dialect: Dialect::Rpc,
            action_name,
            format: Format::asked_for(&format),
        }
    }

    /// None if it is not one that is known.
    pub(super) fn action(&self) -> Option<Action> {
        self.action_name.parse().ok()
    }
}

impl Format {
    /// XML is what RPC v1 gives to whoever does not ask. SDKs write `JSON` or `json`, an old one
    /// `None`.
    fn asked_for(format: &str) -> Format {
        if format.is_empty() || format.eq_ignore_ascii_case("xml") {
            Format::Xml
        } else {
            Format::Json
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, headers: &[(&'static str, &str)]) -> Parts {
        let mut head = http::Request::post(target).body(()).unwrap().into_parts().0;
        for (name, value) in headers {
            head.headers.insert(*name, value.parse().unwrap());
        }
        head
    }

    #[test]
    fn an_rpc_call_speaks_in_parameters_of_query_and_body() {
        let sdk = [("x-acs-action", "InHeader"), ("authorization", "Basic x")];
        let head = head("/?Action=In%51uery&Format=json", &sdk);

        let early = Envelope::read(&head, "");
        let late = Envelope::read(&head, "Action=QueryProduct&Format=xMl");

        assert_eq!((early.dialect, early.format), (Dialect::Rpc, Format::Json));
        assert_eq!(early.action_name, "InQuery");
        assert_eq!(late.action(), Some(Action::QueryProduct), "the body wins");
        assert_eq!(late.format, Format::Xml);
    }

    #[test]
    fn an_acs3_call_speaks_in_headers_and_gets_json() {
        let headers = [
            ("authorization", "ACS3-HMAC-SHA256 x"),
            ("x-acs-action", "QueryProduct"),
        ];
        let head = head("/?Action=InQuery&Format=XML", &headers);

        let envelope = Envelope::read(&head, "Action=InBody");

        assert_eq!(
            (envelope.dialect, envelope.format),
            (Dialect::Acs3, Format::Json)
        );
        assert_eq!(envelope.action(), Some(Action::QueryProduct));
    }

    #[test]
    fn whoever_names_no_format_gets_xml_and_an_unknown_one_is_json() {
        let format = |target| Envelope::read(&head(target, &[]), "").format;

        assert_eq!(format("/"), Format::Xml);
        assert_eq!(format("/?Format="), Format::Xml);
        assert_eq!(format("/?Format=None"), Format::Json);
    }
}
