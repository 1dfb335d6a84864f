//! A connection, in plain text or by TLS, and who is at its other end.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};
use tokio_rustls::{rustls::pki_types::CertificateDer, server::TlsStream};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::places::Place;

/// Who is at the other end, as far as the connection tells. In the extensions of each request.
#[derive(Clone, Debug)]
pub(in crate::service) struct Peer {
    /// Its address.
    pub(in crate::service) address: Option<SocketAddr>,
    /// The names in its certificate, if it has one, whose chain was verified.
    pub(in crate::service) certificate: Option<Arc<[String]>>,
    /// What its connection takes.
    pub(in crate::service) place: Option<Arc<Place>>,
}

impl Peer {
    /// Nothing is told.
    pub(in crate::service) const UNKNOWN: Self = Self {
        address: None,
        certificate: None,
        place: None,
    };
}

/// How long a connection may take to say its first words, once it can. They are sent at once.
const FIRST_WORDS: Duration = Duration::from_secs(10);

/// Bytes of the words that HTTP/2 begins with (RFC 9113, 3.4). Who has said them is asked for signs
/// of life from then on.
const PREFACE: usize = 24;

/// A connection that was accepted. Reading fails if it is silent from the start; reading and writing
/// do once it has to make room for another one.
#[derive(Debug)]
pub(in crate::service) struct Connection {
    stream: Stream,
    peer: Peer,
    /// Until it has said its first words: how many bytes it has, and when its time is up.
    silent: Option<(usize, Pin<Box<Sleep>>)>,
    makes_room: Pin<Box<WaitForCancellationFutureOwned>>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, place: Arc<Place>) -> Self {
        let peer = Peer {
            address: stream.peer_addr().ok(),
            certificate: None,
            place: Some(place.clone()),
        };
        Self::new(Stream::Plain(stream), peer, &place)
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, place: Arc<Place>) -> Self {
        let (tcp, session) = stream.get_ref();
        let certificate = session
            .peer_certificates()
            .and_then(<[_]>::first)
            .map(names);
        let peer = Peer {
            address: tcp.peer_addr().ok(),
            certificate,
            place: Some(place.clone()),
        };
        Self::new(Stream::Tls(Box::new(stream)), peer, &place)
    }

    fn new(stream: Stream, peer: Peer, place: &Place) -> Self {
        let patience = tokio::time::sleep(FIRST_WORDS);
        Self {
            stream,
            peer,
            silent: Some((0, Box::pin(patience))),
            makes_room: Box::pin(place.given_up().cancelled_owned()),
        }
    }

    /// What has come of reading or writing, or its end where it waits and must wait no longer.
    fn or_makes_room<T>(
        &mut self,
        done: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => self
                .makes_room
                .as_mut()
                .poll(context)
                .map(|()| Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

/// The names in a certificate: `DNS:…` in lower case, `URI:…` and `CN:…`.
fn names(certificate: &CertificateDer<'_>) -> Arc<[String]> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
        return [].into();
    };
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let alternatives = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names);
    let alternatives = alternatives.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{}", name.to_ascii_lowercase())),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        _ => None,
    });
    let common = parsed.subject().iter_common_name();
    let common = common.filter_map(|name| Some(format!("CN:{}", name.as_str().ok()?)));
    alternatives.chain(common).collect()
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
        };
        let read = this.or_makes_room(read, context);
        let Some((said, patience)) = &mut this.silent else {
            return read;
        };
        *said += into.filled().len() - before;
        match read {
            Poll::Pending => patience
                .as_mut()
                .poll(context)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            Poll::Ready(_) => {
                if *said >= PREFACE {
                    this.silent = None;
                }
                read
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        this.or_makes_room(done, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let done = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        this.or_makes_room(done, context)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let done = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        };
        this.or_makes_room(done, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_is_known_by_its_alternative_names_and_its_common_name() {
        let mut params =
            CertificateParams::new(vec!["Press.Example".into(), "127.0.0.1".into()]).unwrap();
        let uri = "spiffe://factory/press".try_into().unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name.push(DnType::CommonName, "Press");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();

        let names = names(certificate.der());

        assert_eq!(
            *names,
            [
                "DNS:press.example",
                "URI:spiffe://factory/press",
                "CN:Press"
            ]
        );
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        assert!(names(&CertificateDer::from(vec![1, 2, 3])).is_empty());
    }
}
