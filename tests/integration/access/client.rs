//! The client of the command line: how it says who it is, and what it says where that fails. And what
//! the server says where it refuses to start.

use std::process::{Command, Stdio};

use super::{certificates::secured, *};
use crate::support::{certificates::Authority, registrar_binary};

/// Runs `registrar` and gives its code and what it says.
fn run(line: &[&str], token: Option<&str>) -> (i32, String) {
    let mut command = Command::new(registrar_binary());
    command
        .args(line)
        .stdin(Stdio::null())
        .env_remove("DATABASE_URL")
        .env_remove("REGISTRAR_TOKEN");
    if let Some(token) = token {
        command.env("REGISTRAR_TOKEN", token);
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_proves_who_it_is_and_says_what_to_do_where_it_cannot() {
    let authority = Authority::new("ours");
    let (token, hash) = token();
    let access = entry("one", "a", "read", "*", &[&hash]);
    let flags = [
        "--tls-client-ca",
        "DIR/ca.pem",
        "--tls-client-certificates",
        "optional",
    ];
    let stack = secured(&authority, &access, &flags).await;
    fs::write(stack.path("token"), format!("{token}\n")).unwrap();
    let file = |name: &str| stack.path(name).display().to_string();
    let (secure, plain) = (
        format!("https://{}", stack.server.address),
        format!("http://{}", stack.server.address),
    );
    let (ca, token_file) = (file("ca.pem"), file("token"));
    let stranger = Authority::new("others").client("x:y");
    fs::write(stack.path("client.pem"), &stranger.certificate).unwrap();
    fs::write(stack.path("client.key"), &stranger.key).unwrap();
    let (certificate, key) = (file("client.pem"), file("client.key"));

    for (server, flags, variable, code, what) in [
        (
            &secure,
            vec!["--ca-file", &*ca, "--token-file", &token_file],
            None,
            0,
            "no applies",
        ),
        (&secure, vec!["--ca-file", &ca], Some(&*token), 0, ""),
        (
            &secure,
            vec!["--ca-file", &ca],
            None,
            1,
            "give a token with --token-file",
        ),
        (
            &secure,
            vec!["--ca-file", &ca],
            Some("other"),
            1,
            "UNAUTHENTICATED: the token is not known",
        ),
        (
            &secure,
            vec!["--token-file", &token_file],
            None,
            1,
            "give the CA's certificate with --ca-file",
        ),
        (
            &plain,
            vec!["--token-file", &token_file],
            None,
            1,
            "it wants TLS. Give it as https://",
        ),
        (
            &secure,
            vec![
                "--ca-file",
                &ca,
                "--client-certificate",
                &certificate,
                "--client-key",
                &key,
            ],
            None,
            1,
            "--client-certificate",
        ),
        (&secure, vec!["--ca-file", &key], None, 1, "--ca-file"),
    ] {
        let line = [&["list", "--server", server.as_str()][..], &flags].concat();
        let (ended, said) = run(&line, variable);
        assert_eq!(ended, code, "{line:?}: {said}");
        assert!(code == 0 || said.contains(what), "{line:?}: {said}");
        assert!(!said.contains(&token));
    }
    let submit = [
        "check",
        "--server",
        &secure,
        "--ca-file",
        &ca,
        "--product-key",
        "a1Simulator",
        "--generate",
        "x-{seq}",
        "--count",
        "1",
    ];
    let (code, said) = run(&submit, Some(&token));
    assert_eq!(code, 1);
    assert!(
        said.contains("PERMISSION_DENIED: this needs the right submit"),
        "{said}"
    );
    let (code, said) = run(
        &["list", "--server", "http://registrar.invalid:1"],
        Some(&token),
    );
    assert_eq!(code, 1);
    assert!(
        said.contains("--send-token-in-plain-text") && !said.contains(&token),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_and_an_export_go_over_tls_with_a_token_from_a_file() {
    let authority = Authority::new("ours");
    let (token, hash) = token();
    let access = entry("one", "a", ALL, "*", &[&hash]);
    let stack = secured(&authority, &access, &[]).await;
    fs::write(stack.path("token"), &token).unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("light-{n}")).collect();
    let rows = format!("device_name\n{}\n", names.join("\n"));
    fs::write(stack.path("devices.csv"), rows).unwrap();
    let file = |name: &str| stack.path(name).display().to_string();
    let (ca, token_file, devices, written) = (
        file("ca.pem"),
        file("token"),
        file("devices.csv"),
        file("written.csv"),
    );
    let server = format!("https://{}", stack.server.address);
    let reach = [
        "--server",
        &server,
        "--ca-file",
        &ca,
        "--token-file",
        &token_file,
    ];
    let told = |line: &[&str]| {
        let line = [line, &reach].concat();
        let (code, said) = run(&line, None);
        assert_eq!(code, 0, "{line:?}: {said}");
        assert!(!said.contains(&token));
    };

    told(&[
        "upload",
        &devices,
        "--product-key",
        "a1Simulator",
        "--after-check",
        "register-valid",
    ]);
    told(&["watch", "1"]);
    told(&["export", "1", "--credentials", "-o", &written]);

    let text = fs::read_to_string(stack.path("written.csv")).unwrap();
    let made = stack.upstream.credentials("a1Simulator").await;
    assert_eq!((text.lines().count(), made.len()), (21, 20));
    for device in made {
        let secret = device["device_secret"].as_str().unwrap();
        assert!(text.contains(secret), "{device}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_port_without_it_is_told() {
    let (token, hash) = token();
    let stack = Stack::with(&entry("one", "a", "read", "*", &[&hash])).await;
    let server = format!("https://{}", stack.server.address);

    let (code, said) = run(&["list", "--server", &server], Some(&token));

    assert_eq!(code, 1);
    assert!(
        said.contains("does not speak TLS. Give it as http://"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_would_stand_open_or_cannot_be_trusted_does_not_start() {
    let database = database().await;
    let upstream = Upstream::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let pair = Authority::new("ours").server();
    let other = Authority::new("ours").server();
    for (name, text) in [
        ("server.pem", &*pair.certificate),
        ("server.key", &*pair.key),
        ("other.key", &*other.key),
        (
            "bad.toml",
            "[[caller]]\nname = \"one\"\ntoken = \"SECRET\"\n",
        ),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let place = dir.path().display().to_string();

    for (flags, what) in [
        ("--listen 0.0.0.0:0", "--access-file"),
        (
            "--listen [::]:0 --tls-certificate DIR/server.pem --tls-key DIR/server.key",
            "--open-to-everyone",
        ),
        (
            "--listen 0.0.0.0:0 --access-file DIR/bad.toml",
            "--plain-text",
        ),
        (
            "--listen 127.0.0.1:0 --access-file DIR/bad.toml",
            "bad.toml: line 3: no such key",
        ),
        (
            "--listen 127.0.0.1:0 --access-file DIR/none.toml",
            "none.toml: No such file",
        ),
        (
            "--listen 127.0.0.1:0 --tls-certificate DIR/server.pem --tls-key DIR/other.key",
            "is not that of the first certificate",
        ),
    ] {
        let flags = flags.replace("DIR", &place);
        let line = [
            "serve",
            "--database-url",
            &database.url(),
            "--upstream-url",
            &upstream.url,
            "--upstream-access-key-id",
            "simulator",
            "--upstream-access-key-secret",
            "simulator-secret",
            "--admin-listen",
            "127.0.0.1:0",
        ];
        let line: Vec<_> = line.into_iter().chain(flags.split(' ')).collect();
        let (code, said) = run(&line, None);
        assert_eq!(code, 1, "{flags}");
        assert!(said.contains(what), "{flags}: {said}");
        assert!(!said.contains("SECRET"));
    }
}

#[test]
fn a_token_is_made_with_the_lines_for_the_file() {
    let made = Command::new(registrar_binary())
        .args(["token", "press-line"])
        .output()
        .unwrap();
    let (token, lines) = (
        String::from_utf8(made.stdout).unwrap(),
        String::from_utf8(made.stderr).unwrap(),
    );

    assert!(token.starts_with("registrar_") && token.trim().lines().count() == 1);
    assert!(lines.contains("name = \"press-line\"") && lines.contains("tokens = [\"sha256:"));
    assert!(!lines.contains(token.trim()));
}
