//! What the client proves with who it is, and how it knows the server.

use std::{fmt, fs, path::PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use tonic::{
    codegen::http::HeaderValue,
    transport::{Certificate, ClientTlsConfig, Identity},
};

use super::address::Address;

/// Who the client is, and which servers it trusts.
#[derive(Clone, Default, Args)]
#[group(skip)]
pub struct Credentials {
    /// File that holds the token which says who calls; read for each call, so that it may be
    /// replaced. REGISTRAR_TOKEN may hold the token itself
    #[arg(long, env = "REGISTRAR_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// The CAs that the server's certificate may be from, in PEM, instead of the public ones
    #[arg(long, env = "REGISTRAR_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// The certificate that says who calls, in PEM; with --client-key
    #[arg(
        long,
        env = "REGISTRAR_CLIENT_CERTIFICATE",
        value_name = "FILE",
        requires = "client_key"
    )]
    pub client_certificate: Option<PathBuf>,

    /// The key of that certificate, in PEM and not encrypted
    #[arg(
        long,
        env = "REGISTRAR_CLIENT_KEY",
        value_name = "FILE",
        requires = "client_certificate"
    )]
    pub client_key: Option<PathBuf>,

    /// Send the token to another machine without TLS, although everyone on the way can read it
    #[arg(long, env = "REGISTRAR_SEND_TOKEN_IN_PLAIN_TEXT")]
    pub send_token_in_plain_text: bool,

    /// The token, where the environment holds it.
    #[arg(skip)]
    pub token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token_file", &self.token_file)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("ca_file", &self.ca_file)
            .field("client_certificate", &self.client_certificate)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// What is sent with each call to a server.
    ///
    /// # Errors
    ///
    /// A token that cannot be read, and one that others could read on its way.
    pub(super) fn bearer(&self, address: &Address) -> anyhow::Result<Bearer> {
        let bearer = match (&self.token_file, &self.token) {
            (Some(file), _) => Bearer::File(file.clone()),
            (None, Some(token)) => Bearer::Given(header(token, "REGISTRAR_TOKEN")?),
            (None, None) => return Ok(Bearer::None),
        };
        if !address.is_tls && !address.is_loopback() && !self.send_token_in_plain_text {
            bail!(
                "the token would go to {} without TLS, and everyone on the way could read it; give \
                 the server as https://{}, or say --send-token-in-plain-text",
                address.url,
                address.socket
            );
        }
        bearer.header()?;
        Ok(bearer)
    }

    /// How the server is known, and the client to it.
    pub(super) fn tls(&self) -> anyhow::Result<ClientTlsConfig> {
        let read = |file: &PathBuf, flag: &str| {
            fs::read(file).with_context(|| format!("{} ({flag})", file.display()))
        };
        let mut config = match &self.ca_file {
            Some(file) => ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(read(file, "--ca-file")?)),
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        if let (Some(certificate), Some(key)) = (&self.client_certificate, &self.client_key) {
            let certificate = read(certificate, "--client-certificate")?;
            config = config.identity(Identity::from_pem(certificate, read(key, "--client-key")?));
        }
        Ok(config)
    }

    /// The files that TLS is made of, for what is said when that fails.
    pub(super) fn tls_files(&self) -> String {
        let files = [
            ("--ca-file", &self.ca_file),
            ("--client-certificate", &self.client_certificate),
            ("--client-key", &self.client_key),
        ];
        let given = files.into_iter().filter(|(_, file)| file.is_some());
        given.map(|(flag, _)| flag).collect::<Vec<_>>().join(", ")
    }
}

/// What is sent with each call.
#[derive(Clone)]
pub(super) enum Bearer {
    None,
    Given(HeaderValue),
    /// Read anew for each call.
    File(PathBuf),
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(***)")
    }
}

impl Bearer {
    /// The value of `authorization`, if there is one.
    pub(super) fn header(&self) -> anyhow::Result<Option<HeaderValue>> {
        match self {
            Self::None => Ok(None),
            Self::Given(header) => Ok(Some(header.clone())),
            Self::File(file) => {
                let told = format!("{} (--token-file)", file.display());
                let token = fs::read_to_string(file).with_context(|| told.clone())?;
                header(&token, &told).map(Some)
            }
        }
    }
}

fn header(token: &str, told: &str) -> anyhow::Result<HeaderValue> {
    let token = token.trim();
    let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::from_str(&format!("Bearer {token}")).ok();
    let mut header = header.filter(|_| is_one).ok_or_else(|| {
        anyhow!("{told} holds no token; it is one word, as `registrar token` writes it")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// What to do about a failure of TLS, by the words of the library for it.
pub(super) fn advice(error: &str) -> Option<&'static str> {
    let known = [
        (
            "UnknownIssuer",
            "its certificate is from a CA that is not trusted here; give the CA's certificate with --ca-file",
        ),
        (
            "NotValidForName",
            "its certificate is for another name; give the server by the name that it is for",
        ),
        (
            "Expired",
            "its certificate has expired; whoever runs the server must renew it",
        ),
        (
            "NotValidYet",
            "its certificate is not valid yet; is the clock of this machine right?",
        ),
        (
            "invalid peer certificate",
            "its certificate is not to be trusted; give the CA's certificate with --ca-file if it is your own",
        ),
        (
            "alert: CertificateRequired",
            "it wants a certificate of the client; give --client-certificate and --client-key",
        ),
        (
            "alert: HandshakeFailure",
            "it does not agree on how to speak TLS; it may want --client-certificate and --client-key",
        ),
        (
            "alert: UnknownCA",
            "it does not know the CA of --client-certificate; give one from a CA that it knows",
        ),
        (
            "alert: DecryptError",
            "it does not know the CA of --client-certificate; give one from a CA that it knows",
        ),
        (
            "alert: BadCertificate",
            "it refuses --client-certificate; give one from a CA that it knows",
        ),
        (
            "alert: CertificateUnknown",
            "it refuses --client-certificate; give one from a CA that it knows",
        ),
        (
            "alert: CertificateExpired",
            "--client-certificate has expired; give a new one",
        ),
    ];
    let found = known.iter().find(|(word, _)| error.contains(word));
    found.map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(token: &str) -> Credentials {
        Credentials {
            token: Some(token.into()),
            ..Credentials::default()
        }
    }

    #[test]
    fn a_token_goes_in_plain_text_to_this_machine_only_unless_that_is_asked_for() {
        let sent = |credentials: &Credentials, server| {
            let sent = credentials.bearer(&Address::parse(server).unwrap());
            sent.and_then(|bearer| bearer.header())
                .map(|header| header.is_some())
        };

        for server in [
            "https://host",
            "http://127.0.0.1:1",
            "http://localhost:1",
            "http://[::1]:1",
        ] {
            assert!(sent(&with("x"), server).unwrap(), "{server}");
        }
        for server in [
            "http://host:1",
            "http://10.0.0.1:1",
            "http://localhost.example:1",
        ] {
            let refused = sent(&with("x"), server).unwrap_err().to_string();
            assert!(
                refused.contains("without TLS") && refused.contains("https://"),
                "{refused}"
            );
            let asked = Credentials {
                send_token_in_plain_text: true,
                ..with("x")
            };
            assert!(sent(&asked, server).unwrap());
            assert!(!sent(&Credentials::default(), server).unwrap());
        }
    }

    #[test]
    fn a_token_is_one_word_in_a_file_that_may_change_and_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let credentials = Credentials {
            token_file: Some(file.path().to_owned()),
            ..with("SECRET")
        };
        let address = Address::parse("https://host").unwrap();
        let header = |bearer: &Bearer| bearer.header().unwrap().unwrap();

        fs::write(file.path(), "one\n").unwrap();
        let bearer = credentials.bearer(&address).unwrap();
        assert_eq!(header(&bearer), "Bearer one");
        fs::write(file.path(), "two").unwrap();
        assert_eq!(header(&bearer), "Bearer two");
        assert!(header(&bearer).is_sensitive());
        for bad in ["", "SECRET two", "SECRET\u{e9}"] {
            fs::write(file.path(), bad).unwrap();
            let refused = bearer.header().unwrap_err().to_string();
            assert!(refused.contains("holds no token") && !refused.contains("SECRET"));
        }
        assert!(!format!("{credentials:?} {bearer:?}").contains("SECRET"));
    }

    #[test]
    fn each_failure_of_tls_has_advice() {
        let of = |error| advice(error).unwrap_or_default();

        assert!(of("invalid peer certificate: UnknownIssuer").contains("--ca-file"));
        assert!(
            of("invalid peer certificate: certificate not valid for name \"x\"; NotValidForName")
                .contains("another name")
        );
        assert!(of("received fatal alert: CertificateRequired").contains("--client-key"));
        assert_eq!(advice("connection refused"), None);
    }
}
