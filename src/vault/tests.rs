//! Keys from every source, sealing under them, and what neither tells.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::DeviceSecret;

const HEX: &str = "6361616e617279636161616e617279636161616e617279636161616e61727963";
const BASE64: &str = "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbmE=";

fn secrets(count: usize) -> Vec<DeviceSecret> {
    let text = |number| format!("canary-{number}:@_.");
    (0..count)
        .map(|number| DeviceSecret::new(text(number)))
        .collect()
}

fn text(keys: &str) -> Options {
    Options {
        secret_keys: keys.parse().ok(),
        ..Options::default()
    }
}

fn command(command: &str) -> Options {
    Options {
        secret_keys_command: command.parse().ok(),
        ..Options::default()
    }
}

async fn vault(keys: &str) -> Vault {
    Vault::open(&text(keys)).await.unwrap()
}

async fn refusal(options: &Options) -> LoadError {
    let error = Vault::open(options).await.unwrap_err();
    let mut said = format!("{error} {error:?} {options:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        said += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    for key in [HEX, &HEX[..60], BASE64, "caanary"] {
        assert!(!said.contains(key), "{said}");
    }
    error
}

#[tokio::test]
async fn what_is_sealed_opens_again_as_it_was_and_nowhere_else() {
    let vault = vault(&format!("k1:{HEX}")).await;
    let (key, wrapped) = vault.new_data_key().unwrap();

    for count in [0, 1, 3, 10_000] {
        let sealed = key.seal(&secrets(count), 7);

        let again = vault.unwrap(&wrapped.0).unwrap();
        assert_eq!(again.open(&sealed, 7).unwrap(), secrets(count));
        assert_eq!(again.open(&sealed, 8).unwrap_err(), Error::Damaged);
        let (other, _) = vault.new_data_key().unwrap();
        assert_eq!(other.open(&sealed, 7).unwrap_err(), Error::Damaged);
        assert!(!String::from_utf8_lossy(&sealed).contains("canary"));
        assert_ne!(key.seal(&secrets(count), 7), sealed, "each has its nonce");
    }
}

#[tokio::test]
async fn a_changed_bit_or_a_missing_byte_opens_nothing() {
    let vault = vault(&format!("k1:{HEX}")).await;
    let (key, Wrapped(wrapped)) = vault.new_data_key().unwrap();
    let sealed = key.seal(&secrets(2), 0);

    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(key.open(&changed, 0).unwrap_err(), Error::Damaged, "{at}");
        assert_eq!(key.open(&sealed[..at], 0).unwrap_err(), Error::Damaged);
    }
    for at in 0..wrapped.len() {
        let mut changed = wrapped.clone();
        changed[at] ^= 1;
        // Where the id is hit it is another one, which is told with it.
        let error = vault.unwrap(&changed).unwrap_err();
        let id_is_hit = matches!(error, Error::UnknownKey(_)) && (1..4).contains(&at);
        assert!(error == Error::Damaged || id_is_hit, "{at}: {error}");
        assert_eq!(vault.unwrap(&wrapped[..at]).unwrap_err(), Error::Damaged);
    }
}

#[tokio::test]
async fn a_new_first_key_seals_and_the_old_one_still_opens_until_it_is_gone() {
    let old = vault(&format!("old:{HEX}")).await;
    let (key, Wrapped(wrapped)) = old.new_data_key().unwrap();
    let sealed = key.seal(&secrets(3), 1);
    let mac = old.mac(b"request").unwrap();
    assert_eq!(old.rewrap(&wrapped).unwrap(), None);

    let both = vault(&format!("new:{BASE64};old:{HEX}")).await;
    let Wrapped(rewrapped) = both.rewrap(&wrapped).unwrap().unwrap();

    let opened = both.unwrap(&wrapped).unwrap().open(&sealed, 1);
    assert_eq!(opened.unwrap(), secrets(3));
    assert_eq!(both.rewrap(&rewrapped).unwrap(), None);
    assert!(both.mac_matches(&mac, b"request").unwrap());
    let new = vault(&format!("new:{BASE64}")).await;
    let opened = new.unwrap(&rewrapped).unwrap().open(&sealed, 1);
    assert_eq!(opened.unwrap(), secrets(3));
    let gone = Error::UnknownKey("old".into());
    assert_eq!(new.unwrap(&wrapped).unwrap_err(), gone);
    assert_eq!(new.rewrap(&wrapped).unwrap_err(), gone);
    assert_eq!(new.mac_matches(&mac, b"request").unwrap_err(), gone);
    assert!(gone.to_string().contains("the key old "), "{gone}");
}

#[tokio::test]
async fn a_fingerprint_holds_to_its_bytes_and_its_key() {
    let one = vault(&format!("k:{HEX}")).await;
    let other = vault(&format!("k:{BASE64}")).await;
    let mac = one.mac(b"request").unwrap();

    assert_eq!(one.mac(b"request").unwrap(), mac);
    assert!(one.mac_matches(&mac, b"request").unwrap());
    assert!(!one.mac_matches(&mac, b"requesu").unwrap());
    assert!(!other.mac_matches(&mac, b"request").unwrap());
    assert!(!one.mac_matches(&mac[..mac.len() - 1], b"request").unwrap());
    assert_eq!(one.mac_matches(&[], b"").unwrap_err(), Error::Damaged);
}

#[tokio::test]
async fn a_vault_without_keys_is_closed() {
    let vault = Vault::open(&Options::default()).await.unwrap();
    let sealed = self::vault(&format!("k1:{HEX}")).await.new_data_key();

    assert!(!vault.is_open());
    assert_eq!(vault.new_data_key().unwrap_err(), Error::Closed);
    assert_eq!(vault.mac(b"").unwrap_err(), Error::Closed);
    let (_, Wrapped(wrapped)) = sealed.unwrap();
    assert_eq!(
        vault.unwrap(&wrapped).unwrap_err(),
        Error::UnknownKey("k1".into())
    );
}

#[tokio::test]
async fn keys_are_read_in_every_way_in_which_they_are_written() {
    let url_safe = BASE64.replace(['='], "");
    assert!(text("# the new one\n\n n.e-w_1 : \n").check().is_err());
    let lines = format!("# the new one\n\nn.e-w_1: {HEX} \r\nb:{url_safe}\nc:{BASE64};;d:{HEX}\n");

    let vault = vault(&lines).await;

    assert_eq!(
        format!("{vault:?}"),
        r#"Vault { keys: ["n.e-w_1", "b", "c", "d"], .. }"#
    );
    let same = self::vault(&format!("b:{}", HEX.to_uppercase())).await;
    let (_, Wrapped(wrapped)) = same.new_data_key().unwrap();
    assert_eq!(
        vault.unwrap(&wrapped).unwrap_err(),
        Error::Damaged,
        "b is another key here"
    );
}

#[tokio::test]
async fn a_line_that_is_none_is_told_by_its_number_alone() {
    for (keys, line, what) in [
        (HEX.to_owned(), 1, "no colon"),
        (format!("k:{HEX}\n:{HEX}"), 2, "an id"),
        (format!("k {HEX}:{HEX}"), 1, "an id"),
        (format!("{}:{HEX}", "k".repeat(65)), 1, "an id"),
        (format!("k:{}", &HEX[1..]), 1, "not 32 bytes"),
        (format!("k:{HEX}{HEX}"), 1, "not 32 bytes"),
        (format!("k:é{}", &HEX[2..]), 1, "not 32 bytes"),
        (format!("k:{}", &BASE64[4..]), 1, "not 32 bytes"),
        (format!("k:{BASE64}AAAA"), 1, "not 32 bytes"),
        (format!("k:{HEX};k:{BASE64}"), 2, "the id of a line before"),
    ] {
        let options = text(&keys);

        let error = refusal(&options).await;

        let told = error.to_string();
        assert!(
            told.contains(&format!("line {line} ")) && told.contains(what),
            "{told}"
        );
        assert!(options.check().unwrap_err().contains(&told));
    }
    assert!(matches!(refusal(&text("\n#\n")).await, LoadError::Empty));
}

#[tokio::test]
async fn keys_from_two_places_are_refused() {
    let both = Options {
        secret_keys_file: Some("/nowhere".into()),
        ..text(&format!("k:{HEX}"))
    };

    assert!(both.check().unwrap_err().contains("--secret-keys-file"));
    assert!(matches!(refusal(&both).await, LoadError::Options(_)));
    let empty = Options {
        secret_keys: "".parse().ok(),
        secret_keys_file: Some("".into()),
        ..Options::default()
    };
    assert!(empty.check().is_ok() && empty.names_no_source());
}

#[tokio::test]
async fn a_command_prints_keys_within_its_bounds_or_is_refused() {
    let vault = Vault::open(&command(&format!("printf 'k:%s' {HEX} | cat")))
        .await
        .unwrap();
    assert!(vault.is_open());

    let failed = refusal(&command(&format!("echo k:{HEX}; echo {HEX} >&2; exit 3"))).await;
    assert!(failed.to_string().contains("exit status: 3"), "{failed}");
    assert!(matches!(
        refusal(&command("yes caanary")).await,
        LoadError::TooLong(_)
    ));
    assert!(matches!(refusal(&command("true")).await, LoadError::Empty));
}

#[tokio::test]
async fn a_command_that_does_not_end_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    // Whoever holds the pipe open for writing keeps its reader waiting.
    let script = format!(
        "mkfifo {0}; sleep 600 > {0} & cat {0}; wait",
        pipe.display()
    );
    let time = Duration::from_millis(500);

    let slow = source::run(&script, time).await.unwrap_err();

    assert!(
        matches!(slow, LoadError::CommandSlow(told) if told == time),
        "{slow}"
    );
    let read = tokio::task::spawn_blocking(move || {
        let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe);
        drop(reader.unwrap());
        // With no writer left, this reader would wait for one; a writer that finds no reader fails.
        let mut options = fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.write(true), libc::O_NONBLOCK);
        options.open(&pipe).unwrap_err().raw_os_error()
    });
    assert_eq!(
        read.await.unwrap(),
        Some(libc::ENXIO),
        "nobody reads the pipe any more"
    );
}

#[tokio::test]
async fn a_file_is_made_for_its_owner_alone_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/keys");
    fs::create_dir(dir.path().join("data")).unwrap();
    // What a process that was killed left behind, for all to read.
    fs::write(dir.path().join("data/keys.unfinished"), "dev:").unwrap();

    write_new_key_file(&path, "dev").unwrap();

    let made = fs::read_to_string(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(vault(&made).await.is_open() && made.starts_with("dev:"));
    write_new_key_file(&path, "other").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), made);
    assert_ne!(*new_key_line("dev"), made);
    let files = fs::read_dir(dir.path().join("data")).unwrap();
    assert_eq!(files.count(), 1);
}

#[tokio::test]
async fn a_file_that_changes_is_loaded_and_a_bad_one_leaves_the_old_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, format!("one:{HEX}")).unwrap();
    let options = Options {
        secret_keys_file: Some(path.clone()),
        ..Options::default()
    };
    let vault = Vault::open(&options).await.unwrap();
    let clone = vault.clone();
    let (_, Wrapped(wrapped)) = vault.new_data_key().unwrap();

    fs::write(&path, "one:short").unwrap();
    assert!(matches!(
        vault.reload().await,
        Err(LoadError::Line { line: 1, .. })
    ));
    fs::write(&path, format!("two:{BASE64}\none:{BASE64}")).unwrap();
    let changed = vault.reload().await.unwrap_err();
    assert!(matches!(changed, LoadError::Changed(id) if id == "one"));
    fs::remove_file(&path).unwrap();
    assert!(matches!(vault.reload().await, Err(LoadError::File(_))));
    assert!(clone.unwrap(&wrapped).is_ok() && clone.rewrap(&wrapped).unwrap().is_none());

    fs::write(&path, format!("two:{BASE64}\none:{HEX}")).unwrap();
    vault.reload().await.unwrap();
    assert!(clone.rewrap(&wrapped).unwrap().is_some());
}

#[tokio::test]
async fn a_watched_file_is_loaded_when_it_is_replaced_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let (path, next) = (dir.path().join("keys"), dir.path().join("next"));
    fs::write(&path, format!("one:{HEX}")).unwrap();
    let options = Options {
        secret_keys_file: Some(path.clone()),
        ..Options::default()
    };
    let vault = Vault::open(&options).await.unwrap();
    let (_, Wrapped(wrapped)) = vault.new_data_key().unwrap();
    let stop = CancellationToken::new();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(vault.clone().watch(stop.clone()));

    assert_eq!(vault.rewrap(&wrapped).unwrap(), None);
    fs::write(&next, format!("two:{BASE64}\none:{HEX}")).unwrap();
    fs::rename(&next, &path).unwrap();

    while vault.rewrap(&wrapped).unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn nothing_of_the_vault_prints_a_key_or_a_secret() {
    let vault = vault(&format!("k1:{HEX}")).await;
    let (key, _) = vault.new_data_key().unwrap();
    let options = command(&format!("echo k1:{HEX}"));

    let printed = format!("{vault:?} {key:?} {options:?} {:?}", secrets(1));

    assert!(
        !printed.contains("canary") && !printed.contains(HEX),
        "{printed}"
    );
    assert!(printed.contains("k1"));
}
