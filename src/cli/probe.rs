//! What listens at a port, told apart by its first bytes.
//!
//! A channel says of everything that is not its kind of server only that it broke, or nothing at
//! all. This greets as HTTP/2 does and reads what comes back.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::shown;

/// The preface of HTTP/2 and an empty SETTINGS frame (RFC 9113, 3.4). A server of HTTP/1 takes it
/// for a request, one of TLS for an alert.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Enough of an answer to tell what it is.
const ANSWER: usize = 512;

/// The most columns of an unknown answer that are shown.
const COLUMNS: usize = 40;

/// What listens.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    Http2,
    /// A web server that does not speak HTTP/2.
    Http1,
    Tls,
    /// It takes the connection and closes it.
    Closes,
    /// It takes the connection and then says nothing.
    Silent,
    /// How its answer begins.
    Other(String),
}

/// Connects to `host:port` and finds out. A server has `patience` to take the connection, and again
/// to answer.
pub(super) async fn look(socket: &str, patience: Duration) -> io::Result<Found> {
    let connected = timeout(patience, TcpStream::connect(socket)).await;
    let mut stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let mut answer = Vec::with_capacity(ANSWER);
    let hear = async {
        stream.write_all(GREETING).await?;
        while !is_enough(&answer) && stream.read_buf(&mut answer).await? > 0 {}
        io::Result::Ok(())
    };
    let heard = timeout(patience, hear).await;
    Ok(match heard {
        Err(_) if answer.is_empty() => Found::Silent,
        // One that resets the connection has said what it had to say before.
        Ok(_) | Err(_) => found(&answer),
    })
}

/// A frame's head, or the first line of a text. What a web server has to say is in its body.
fn is_enough(answer: &[u8]) -> bool {
    match answer {
        _ if answer.len() >= ANSWER => true,
        [b'H' | b'<', ..] => false,
        [first, ..] if first.is_ascii_graphic() => answer.contains(&b'\n'),
        _ => answer.len() >= 9,
    }
}

fn found(answer: &[u8]) -> Found {
    let text = String::from_utf8_lossy(answer);
    let lower = text.to_ascii_lowercase();
    match answer {
        [] => Found::Closes,
        // The head of a SETTINGS frame: three bytes of length, its type, flags, and stream 0.
        [0, _, _, 4, _, 0, 0, 0, 0, ..] => Found::Http2,
        // An alert of SSL 3.0 to TLS 1.3.
        [0x15, 3, ..] => Found::Tls,
        // What servers of HTTPS answer to a request in the clear.
        _ if lower.starts_with("http/1.") && lower.contains("https") => Found::Tls,
        _ if lower.starts_with("http/1.") || lower.contains("<html") => Found::Http1,
        _ => {
            let line = text.lines().next().unwrap_or_default();
            let line: String = line.chars().take(COLUMNS).collect();
            Found::Other(shown::escaped(&line))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, task::JoinSet};

    use super::*;
    use crate::cli::testing::{PATIENCE, Server};

    #[test]
    fn answers_are_told_apart() {
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
        assert_eq!(found(settings), Found::Http2);
        assert_eq!(found(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Found::Http1);
        assert_eq!(found(b"<!DOCTYPE HTML>\n<html lang=\"en\">"), Found::Http1);
        let in_the_clear = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an \
            HTTPS server.\n";
        assert_eq!(found(in_the_clear), Found::Tls);
        assert_eq!(found(b"\x15\x03\x01\0\x02\x02\x46"), Found::Tls);
        assert_eq!(found(b""), Found::Closes);
        let other = Found::Other("SSH-2.0-OpenSSH_9.2".into());
        assert_eq!(found(b"SSH-2.0-OpenSSH_9.2\r\n"), other);
        let steers = Found::Other("\\u{1b}[2J".into());
        assert_eq!(found(b"\x1b[2J"), steers);
    }

    #[test]
    fn no_more_is_waited_for_than_it_takes() {
        assert!(!is_enough(b""));
        assert!(!is_enough(b"\0\0\x06\x04\0\0\0\0"));
        assert!(is_enough(b"\0\0\x06\x04\0\0\0\0\0"));
        assert!(!is_enough(b"HTTP/1.1 400 Bad Request\r\n"));
        assert!(!is_enough(b"SSH-2.0-OpenSSH_9.2"));
        assert!(is_enough(b"SSH-2.0-OpenSSH_9.2\r\n"));
        assert!(is_enough(&[b'H'; ANSWER]));
    }

    #[tokio::test]
    async fn a_server_of_ours_is_found() {
        let server = Server::start(vec![], vec![], []).await;
        let socket = server.url.strip_prefix("http://").unwrap();

        assert_eq!(look(socket, PATIENCE).await.unwrap(), Found::Http2);
    }

    #[tokio::test]
    async fn one_that_closes_one_that_says_nothing_and_none_at_all_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut held = Vec::new();
            drop(listener.accept().await.unwrap());
            held.push(listener.accept().await.unwrap());
            std::future::pending::<()>().await;
        });

        assert_eq!(look(&socket, PATIENCE).await.unwrap(), Found::Closes);
        let shortly = Duration::from_millis(50);
        assert_eq!(look(&socket, shortly).await.unwrap(), Found::Silent);
        tasks.shutdown().await;
        let error = look(&socket, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
