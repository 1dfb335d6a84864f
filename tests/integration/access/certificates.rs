//! TLS: who is known by a certificate, and who does not hold up others.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use super::*;
use crate::support::certificates::{Authority, Pair};

const FLAGS: [&str; 6] = [
    "--access-file",
    "DIR/access.toml",
    "--tls-certificate",
    "DIR/server.pem",
    "--tls-key",
    "DIR/server.key",
];

/// A stack with TLS, certificates of `authority`, and these flags besides.
pub(super) async fn secured(authority: &Authority, access: &str, more: &[&str]) -> Stack {
    let Pair { certificate, key } = authority.server();
    let files = [
        ("access.toml", access),
        ("server.pem", &certificate),
        ("server.key", &key),
        ("ca.pem", &authority.pem),
    ];
    let flags = [&FLAGS, more].concat();
    Stack::start(&files, &flags).await
}

fn known_by(uri: &str) -> String {
    format!(
        "[[caller]]\nname = \"press\"\ntenant = \"a\"\nrights = [\"read\"]\nproducts = [\"*\"]\n\
         certificates = [\"URI:{uri}\"]\n"
    )
}

fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(authority.trusted())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_known_by_a_name_in_its_certificate() {
    let authority = Authority::new("ours");
    let access = known_by("spiffe://factory/press");
    let stack = secured(&authority, &access, &["--tls-client-ca", "DIR/ca.pem"]).await;
    let press = authority.client("spiffe://factory/press");
    let lamp = authority.client("spiffe://factory/lamp");
    let forged = Authority::new("ours").client("spiffe://factory/press");

    let channel = stack
        .secure(trusting(&authority).identity(press.identity()))
        .await;
    let mut api = Api::new(channel.unwrap(), None);
    assert!(api.call("GetQuota", &json!({})).await.is_ok());
    let refused = api
        .call("Register", &json!({"apply_id": 1}))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let channel = stack
        .secure(trusting(&authority).identity(lamp.identity()))
        .await;
    let refused = Api::new(channel.unwrap(), None)
        .call("GetQuota", &json!({}))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::Unauthenticated, "UNKNOWN_CREDENTIALS")
    );
    assert!(refused.message().contains("URI:spiffe://factory/lamp"));

    for tls in [
        trusting(&authority),
        trusting(&authority).identity(forged.identity()),
    ] {
        // The refusal may come when the connection is made or when it is used.
        if let Ok(channel) = stack.secure(tls).await {
            let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
            let request = tonic_health::pb::HealthCheckRequest::default();
            assert!(
                health.check(request).await.is_err(),
                "even health wants a certificate"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_certificates_are_optional_a_token_does_as_well() {
    let authority = Authority::new("ours");
    let (token, hash) = token();
    let access = known_by("spiffe://factory/press") + &entry("other", "a", "read", "*", &[&hash]);
    let flags = [
        "--tls-client-ca",
        "DIR/ca.pem",
        "--tls-client-certificates",
        "optional",
    ];
    let stack = secured(&authority, &access, &flags).await;
    let press = authority.client("spiffe://factory/press");

    for (tls, token, code) in [
        (trusting(&authority), Some(&*token), Code::Ok),
        (trusting(&authority), None, Code::Unauthenticated),
        (
            trusting(&authority).identity(press.identity()),
            None,
            Code::Ok,
        ),
        (
            trusting(&authority).identity(press.identity()),
            Some("other"),
            Code::Unauthenticated,
        ),
    ] {
        let channel = stack.secure(tls).await.unwrap();
        let answer = Api::new(channel, token).call("GetQuota", &json!({})).await;
        assert_eq!(
            answer.map_or_else(|status| status.code(), |_| Code::Ok),
            code
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_connect_and_say_nothing_hold_up_nobody() {
    let authority = Authority::new("ours");
    let (token, hash) = token();
    let access = entry("one", "a", "read", "*", &[&hash]);
    let stack = secured(&authority, &access, &[]).await;
    // More than there are places for handshakes: the oldest makes room.
    let mut silent = Vec::new();
    for _ in 0..1_100 {
        silent.push(TcpStream::connect(&stack.server.address).await.unwrap());
    }

    for _ in 0..3 {
        let channel = stack.secure(trusting(&authority)).await.unwrap();
        assert!(
            Api::new(channel, Some(&token))
                .call("GetQuota", &json!({}))
                .await
                .is_ok()
        );
    }
    let oldest = &mut silent[0];
    let ended = crate::support::stack::patiently(oldest.read(&mut [0; 16])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_come_to_the_point_is_closed() {
    let (_, hash) = token();
    let stack = Stack::with(&entry("one", "a", "read", "*", &[&hash])).await;
    let begun = ["", "PRI * HTTP/2.0\r\n\r\n"].map(async |word| {
        let mut stream = TcpStream::connect(&stack.server.address).await.unwrap();
        stream.write_all(word.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });

    let [silent, hesitant] = begun;
    let ended = async { tokio::join!(silent, hesitant) };
    let (silent, hesitant) = crate::support::stack::patiently(ended).await;
    for error in [silent, hesitant].into_iter().filter_map(Result::err) {
        // What the server has left unread ends in a reset.
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_plain_text_to_it_is_told_so_in_the_words_of_tls() {
    let authority = Authority::new("ours");
    let stack = secured(&authority, &known_by("x:y"), &[]).await;
    let mut stream = TcpStream::connect(&stack.server.address).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();

    let mut answer = Vec::new();
    crate::support::stack::patiently(stream.read_to_end(&mut answer))
        .await
        .unwrap();

    // An alert of TLS.
    assert_eq!(answer[..2], [0x15, 3]);
}
