//! Finds the server, or says what is there instead.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use tonic::transport::{Channel, Endpoint};

use super::{
    address::Address,
    aside::{self, Outage},
    client::Client,
    credentials::{self, Credentials},
    failure,
    genuine::Genuine,
    options::Connection,
    probe::{self, Found},
};

/// For one attempt to connect, and for one greeting to be answered.
const CONNECT: Duration = Duration::from_secs(5);

/// The server may have been started in the same breath.
const CONNECT_FOR: Duration = Duration::from_secs(10);

/// Between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// A watch may be silent for minutes; a ping tells a quiet server from a lost one.
const PING_EVERY: Duration = Duration::from_secs(20);

/// For the answer to a ping.
const PING: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, PartialEq)]
enum Failed {
    /// It may be there in a moment.
    NotYet(String),
    /// Something else is there, and this is what to do about it.
    Other(String),
    /// The two do not trust each other, and this is what to do about it.
    Untrusted(String),
}

/// Connects, and goes on trying for about ten seconds where no server answers.
///
/// # Errors
///
/// An address that is none, something else than a gRPC server at it, or nothing; a token or a
/// certificate that is of no use. The text says what was found and what to do.
pub(super) async fn connect(connection: &Connection) -> anyhow::Result<Client> {
    connect_for(CONNECT_FOR, CONNECT, connection, aside::say).await
}

async fn connect_for(
    lasts: Duration,
    each: Duration,
    connection: &Connection,
    say: impl FnMut(&str),
) -> anyhow::Result<Client> {
    let address = Address::parse(&connection.server)?;
    let bearer = connection.credentials.bearer(&address)?;
    let endpoint = endpoint(&address, &connection.credentials, each)?;
    let mut outage = Outage::new(&address.url, say);
    let started = Instant::now();
    loop {
        let why = match attempt(&address, &endpoint, each).await {
            Ok(channel) => {
                outage.is_over();
                let server = address.url;
                return Ok(Client::new(Genuine {
                    channel,
                    bearer,
                    server,
                }));
            }
            Err(Failed::Other(what)) => bail!("{} is not a registrar: {what}", address.url),
            Err(Failed::Untrusted(what)) => bail!("no connection to {}: {what}", address.url),
            Err(Failed::NotYet(why)) => why,
        };
        if started.elapsed() >= lasts {
            return Err(anyhow!(
                "{} does not answer ({why}); is the service running there?",
                address.url
            ));
        }
        outage.goes_on(&why, lasts);
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

/// How a server is spoken to.
pub(super) fn endpoint(
    address: &Address,
    credentials: &Credentials,
    each: Duration,
) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(address.url.clone())?
        .connect_timeout(each)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING);
    if address.is_tls {
        let files = credentials.tls_files();
        // The library's words may quote what stands in the files.
        return endpoint.tls_config(credentials.tls()?).map_err(|_| {
            anyhow!(
                "what stands in the files of {files} cannot be used; it must be PEM, and the \
                     key that of the certificate"
            )
        });
    }
    Ok(endpoint)
}

async fn attempt(
    address: &Address,
    endpoint: &Endpoint,
    each: Duration,
) -> Result<Channel, Failed> {
    if !address.is_tls {
        let found = probe::look(&address.socket, each).await;
        let found = found.map_err(|error| Failed::NotYet(failure::root(&error)))?;
        without_tls(found, address)?;
    }
    let error = match endpoint.connect().await {
        Ok(channel) => return Ok(channel),
        Err(error) => failure::root(&error),
    };
    if address.is_tls {
        let found = probe::look(&address.socket, each).await;
        return Err(with_tls(error, found.ok(), address));
    }
    Err(Failed::NotYet(error))
}

/// What to say of a server that was greeted in the clear, unless it is as it should be.
fn without_tls(found: Found, address: &Address) -> Result<(), Failed> {
    let other = |what: String| Err(Failed::Other(what));
    match found {
        Found::Http2 => Ok(()),
        Found::Http1 => other(format!("a web server answers there. {WHERE_IT_LISTENS}")),
        Found::Tls => other(format!(
            "it wants TLS. Give it as https://{}",
            address.socket
        )),
        Found::Other(said) => other(format!(
            "it speaks another protocol, which begins with `{said}`. {WHERE_IT_LISTENS}"
        )),
        // A proxy whose server is away does so, and a server that has just begun to stop.
        Found::Closes => Err(Failed::NotYet(
            "it closes each connection without a word".into(),
        )),
        Found::Silent => Err(Failed::NotYet(
            "it takes connections and says nothing".into(),
        )),
    }
}

/// What to say where a server was greeted with TLS to no avail.
fn with_tls(error: String, in_the_clear: Option<Found>, address: &Address) -> Failed {
    match in_the_clear {
        Some(Found::Http2 | Found::Http1 | Found::Other(_)) => Failed::Other(format!(
            "it does not speak TLS. Give it as http://{} if it is in a network that you trust",
            address.socket
        )),
        Some(Found::Tls | Found::Closes | Found::Silent) | None => {
            match credentials::advice(&error) {
                Some(advice) => Failed::Untrusted(format!("{advice} ({error})")),
                None => Failed::NotYet(error),
            }
        }
    }
}

/// The advice for who has got hold of another port.
pub(super) const WHERE_IT_LISTENS: &str = "Give the port of the gRPC API, which is 50051 unless \
    --listen says otherwise; 9464 tells health, 8090 is the simulator";

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinSet,
    };

    use super::*;
    use crate::cli::testing::{PATIENCE, Server};

    /// Connects to a server that answers each connection with `answer`; the error.
    async fn error_of(scheme: &str, answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // What is not read would be told as a reset, before the answer is read.
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        let server = format!("{scheme}://{socket}");
        let error = connect_for(Duration::ZERO, PATIENCE, &Connection::to(&server), |_| {}).await;
        error.unwrap_err().to_string().replace(&socket, "host:1")
    }

    #[tokio::test]
    async fn what_is_no_registrar_is_told_for_what_it_is_and_what_to_do() {
        let web = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        assert_eq!(
            error_of("http", web).await,
            "http://host:1 is not a registrar: a web server answers there. Give the port of the \
             gRPC API, which is 50051 unless --listen says otherwise; 9464 tells health, 8090 is \
             the simulator"
        );
        assert_eq!(
            error_of("http", b"\x15\x03\x03\0\x02\x02\x46").await,
            "http://host:1 is not a registrar: it wants TLS. Give it as https://host:1"
        );
        let other = error_of("http", b"SSH-2.0-OpenSSH\r\n").await;
        assert!(other.contains("begins with `SSH-2.0-OpenSSH`"), "{other}");
        let tls = error_of("https", web).await;
        assert!(tls.contains("does not speak TLS. Give it as http://host:1"));
        assert_eq!(
            error_of("http", b"").await,
            "http://host:1 does not answer (it closes each connection without a word); is the \
             service running there?"
        );
    }

    #[test]
    fn a_certificate_that_is_not_to_be_trusted_is_not_tried_again() {
        let address = Address::parse("https://host").unwrap();
        let with = |error: &str, found| with_tls(error.into(), found, &address);

        let untrusted = with("invalid peer certificate: UnknownIssuer", Some(Found::Tls));
        assert!(matches!(untrusted, Failed::Untrusted(what) if what.contains("--ca-file")));
        let refused = with("connection refused", None);
        assert_eq!(refused, Failed::NotYet("connection refused".into()));
    }

    #[tokio::test]
    async fn a_server_that_comes_up_is_waited_for_and_both_are_said_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let server = format!("http://{address}");
        let connection = Connection::to(&server);
        let mut told = Vec::new();
        let mut started = Vec::new();
        let (away, mut is_away) = tokio::sync::mpsc::unbounded_channel();

        let connecting = connect_for(PATIENCE, PATIENCE, &connection, |line: &str| {
            told.push(line.to_owned());
            let _ = away.send(());
        });
        let starting = async {
            is_away.recv().await.unwrap();
            started.push(Server::at(address).await);
        };
        let (client, ()) = tokio::join!(connecting, starting);

        client.unwrap();
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with(&format!(
            "the server at {server} does not answer yet (Connection refused"
        )));
        assert_eq!(told[1], format!("the server at {server} answers again"));
    }
}
