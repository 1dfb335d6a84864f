//! The files of TLS, and what they are together.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_rustls::rustls::{
    Error, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use x509_parser::parse_x509_certificate;

use super::{ClientCertificates, Options};

/// Which files there are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<(PathBuf, ClientCertificates)>,
}

impl Files {
    pub(super) fn of(options: &Options) -> Option<Self> {
        let demanded = options.tls_client_certificates;
        Some(Self {
            certificate: options.tls_certificate.clone()?,
            key: options.tls_key.clone()?,
            client_ca: options.tls_client_ca.clone().map(|file| (file, demanded)),
        })
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let client_ca = self.client_ca.as_ref().map(|(file, _)| file);
        let files = [&self.certificate, &self.key].into_iter().chain(client_ca);
        files.cloned().collect()
    }

    /// What they are together, if that is of use now.
    pub(super) fn read(&self) -> anyhow::Result<ServerConfig> {
        let chain = certificates(&self.certificate, "--tls-certificate")?;
        is_valid_at(&chain[0], UnixTime::now())
            .with_context(|| format!("the certificate in {}", self.certificate.display()))?;
        let key = key(&self.key)?;
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_client_cert_verifier(self.verifier()?)
            .with_single_cert(chain, key);
        let mut config = config.map_err(|error| self.unusable(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn verifier(&self) -> anyhow::Result<Arc<dyn ClientCertVerifier>> {
        let Some((file, demanded)) = &self.client_ca else {
            return Ok(Arc::new(NoClientAuth));
        };
        let told = || {
            format!(
                "{} (--tls-client-ca) holds a certificate that is of no use as a CA",
                file.display()
            )
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file, "--tls-client-ca")? {
            roots.add(certificate).with_context(told)?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = match demanded {
            ClientCertificates::Required => verifier,
            ClientCertificates::Optional => verifier.allow_unauthenticated(),
        };
        verifier.build().with_context(told)
    }

    fn unusable(&self, error: &Error) -> anyhow::Error {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        match error {
            Error::InconsistentKeys(_) => anyhow!(
                "the key in {key} is not that of the first certificate in {certificate}; give the two \
                 that were made for each other, the server's certificate first"
            ),
            _ => anyhow!(
                "the certificate in {certificate} and the key in {key} cannot be used: {error}"
            ),
        }
    }
}

/// All certificates of a file, at least one.
fn certificates(file: &Path, flag: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(file).with_context(|| format!("{} ({flag})", file.display()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => bail!(
            "{} ({flag}) holds no certificate that can be read; it must be PEM, between `BEGIN \
             CERTIFICATE` and `END CERTIFICATE`",
            file.display()
        ),
    }
}

/// The key of a file. What stands there instead is not told.
fn key(file: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let pem = fs::read(file).with_context(|| format!("{} (--tls-key)", file.display()))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        anyhow!(
            "{} (--tls-key) holds no private key that can be read; it must be PEM (PKCS#8, PKCS#1 or \
             SEC1) and not encrypted",
            file.display()
        )
    })
}

/// Refuses a certificate that nobody would accept now.
fn is_valid_at(certificate: &CertificateDer<'_>, now: UnixTime) -> anyhow::Result<()> {
    let (_, parsed) = parse_x509_certificate(certificate)
        .map_err(|_| anyhow!("cannot be read; it must be one of X.509"))?;
    let validity = parsed.validity();
    let now = now.as_secs() as i64;
    if now < validity.not_before.timestamp() {
        bail!(
            "is not valid before {}; set the clock, or give another",
            date(validity.not_before.timestamp())
        );
    }
    if now > validity.not_after.timestamp() {
        bail!(
            "has expired at {}; give a new one",
            date(validity.not_after.timestamp())
        );
    }
    Ok(())
}

fn date(seconds: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let date = date.and_then(|date| date.format(&Rfc3339).ok());
    date.unwrap_or_else(|| format!("{seconds} s after 1970"))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate valid in some years, and its key.
    fn made(from: i32, until: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// What reading these files comes to; the text of the failure.
    fn read(certificate: &str, key: &str, client_ca: Option<&str>) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let options = Options {
            tls_certificate: Some(file("server.pem", certificate)),
            tls_key: Some(file("server.key", key)),
            tls_client_ca: client_ca.map(|text| file("ca.pem", text)),
            tls_client_certificates: ClientCertificates::Required,
        };
        let read = Files::of(&options).unwrap().read();
        let dir = format!("{}/", dir.path().display());
        read.map(drop)
            .map_err(|error| format!("{error:#}").replace(&dir, ""))
    }

    #[test]
    fn files_that_are_no_use_are_refused_by_name_and_without_what_they_hold() {
        let (certificate, key) = made(2020, 2100);
        let (other, _) = made(2020, 2100);
        let (expired, key_of_expired) = made(2020, 2021);
        let (early, key_of_early) = made(2099, 2100);

        assert_eq!(read(&certificate, &key, Some(&other)), Ok(()));
        for (certificate, key, client_ca, what) in [
            (
                "",
                &*key,
                None,
                "server.pem (--tls-certificate) holds no certificate",
            ),
            (
                &key,
                &key,
                None,
                "server.pem (--tls-certificate) holds no certificate",
            ),
            (
                &certificate,
                "SECRET",
                None,
                "server.key (--tls-key) holds no private key",
            ),
            (
                &certificate,
                &certificate,
                None,
                "server.key (--tls-key) holds no private key",
            ),
            (
                &other,
                &key,
                None,
                "the key in server.key is not that of the first certificate",
            ),
            (
                &expired,
                &key_of_expired,
                None,
                "has expired at 2021-01-01T00:00:00Z",
            ),
            (
                &early,
                &key_of_early,
                None,
                "is not valid before 2099-01-01T00:00:00Z",
            ),
            (
                &certificate,
                &key,
                Some("SECRET"),
                "ca.pem (--tls-client-ca) holds no certificate",
            ),
        ] {
            let refused = read(certificate, key, client_ca).unwrap_err();
            assert!(refused.contains(what), "{refused}");
            assert!(!refused.contains("SECRET"));
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let options = Options {
            tls_certificate: Some("/none/server.pem".into()),
            tls_key: Some("/none/server.key".into()),
            ..Options::default()
        };

        let error = Files::of(&options).unwrap().read().unwrap_err();

        assert!(
            format!("{error:#}").starts_with("/none/server.pem (--tls-certificate): No such file")
        );
    }
}
