//! Where the server is, as `--server` says it.

use std::net::IpAddr;

use anyhow::bail;
use tonic::codegen::http::Uri;

use super::shown;

/// An address that a channel can be made to.
#[derive(Debug)]
pub(super) struct Address {
    /// Scheme, host and, unless it is the scheme's own, port.
    pub(super) url: String,
    /// `host:port`, as a socket is connected to.
    pub(super) socket: String,
    pub(super) is_tls: bool,
}

impl Address {
    /// # Errors
    ///
    /// What is not `http://host:port` or `https://host:port`; the text says what it is instead and,
    /// where that can be known, how it is meant.
    pub(super) fn parse(server: &str) -> anyhow::Result<Self> {
        let told = shown::escaped(server);
        let Some((scheme, rest)) = server.split_once("://") else {
            // What follows it may still be anything; the advice is only good for a host.
            let plausible = format!("http://{server}");
            match Self::parse(&plausible) {
                Ok(meant) if server.contains(':') => {
                    bail!("`{told}` has no scheme; give it as {}", meant.url)
                }
                _ => bail!("`{told}` is not the address of a server; {FORM}"),
            }
        };
        if !matches!(scheme, "http" | "https") {
            bail!("the scheme of `{told}` is not known; {FORM}, or https:// where it has TLS");
        }
        let uri: Option<Uri> = server.parse().ok();
        let (Some(uri), false) = (uri, rest.contains('@')) else {
            bail!("`{told}` is not the address of a server; {FORM}");
        };
        let (Some(host), is_tls) = (uri.host(), scheme == "https") else {
            bail!("`{told}` names no host; {FORM}");
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let url = format!("{scheme}://{authority}");
        if !matches!(&rest[authority.len()..], "" | "/") {
            bail!("`{told}` has something behind host and port; give it as {url}");
        }
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self {
            url,
            socket: format!("{host}:{port}"),
            is_tls,
        })
    }

    /// Whether it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.socket.rsplit_once(':').map_or("", |(host, _)| host);
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

const FORM: &str = "give it as http://host:port";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(server: &str) -> String {
        Address::parse(server).unwrap_err().to_string()
    }

    #[test]
    fn both_schemes_are_taken_and_ports_of_their_own_filled_in() {
        let parsed = |server: &str| {
            let address = Address::parse(server).unwrap();
            (address.url, address.socket, address.is_tls)
        };

        let (url, socket) = ("http://127.0.0.1:50051", "127.0.0.1:50051");
        assert_eq!(parsed(url), (url.into(), socket.into(), false));
        assert_eq!(
            parsed("http://127.0.0.1:50051/"),
            (url.into(), socket.into(), false)
        );
        let url = "https://registrar.example";
        assert_eq!(
            parsed(url),
            (url.into(), "registrar.example:443".into(), true)
        );
        assert_eq!(parsed("http://[::1]:7").1, "[::1]:7");
        assert_eq!(parsed("http://host").1, "host:80");
    }

    #[test]
    fn an_address_without_a_scheme_is_shown_with_one() {
        assert_eq!(
            refused("127.0.0.1:50051"),
            "`127.0.0.1:50051` has no scheme; give it as http://127.0.0.1:50051"
        );
        assert_eq!(
            refused("localhost:50051"),
            "`localhost:50051` has no scheme; give it as http://localhost:50051"
        );
    }

    #[test]
    fn what_is_no_address_is_told_the_form_of_one() {
        for server in [
            "",
            "unix:/tmp/socket",
            "http//host",
            "http://",
            "http://a b:1",
        ] {
            assert_eq!(
                refused(server),
                format!("`{server}` is not the address of a server; give it as http://host:port")
            );
        }
    }

    #[test]
    fn another_scheme_and_a_path_are_named() {
        assert_eq!(
            refused("grpc://host:50051"),
            "the scheme of `grpc://host:50051` is not known; give it as http://host:port, or \
             https:// where it has TLS"
        );
        for rest in ["/registrar.v1", "/?a=b", "#x"] {
            assert_eq!(
                refused(&format!("http://host:50051{rest}")),
                format!(
                    "`http://host:50051{rest}` has something behind host and port; give it as \
                     http://host:50051"
                )
            );
        }
    }
}
