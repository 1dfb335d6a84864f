use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Mutex};

use super::*;
use crate::{
    cli::{
        file,
        testing::{Cut, Script, Server, apply_at, exported, ran},
    },
    proto::{ApplyStatus, ExportedDevice, Reason, ReasonCode},
};

/// Names that a spreadsheet would execute, and others.
const NAMES: [&str; 6] = [
    "-2+3",
    "@SUM(1)",
    "=1+1",
    "'-quoted",
    "pump,\"1\"\n",
    "泵站五号",
];

fn devices() -> Vec<ExportedDevice> {
    let of = |(n, name): (usize, &&str)| {
        let mut device = exported(n as i64);
        let inner = device.device.as_mut().unwrap();
        inner.device_name = (*name).to_owned();
        inner.nickname = if n % 2 == 0 { "@nick" } else { "" }.to_owned();
        device
    };
    NAMES.iter().enumerate().map(of).collect()
}

async fn server(exported: Vec<ExportedDevice>, cuts: Vec<Cut>) -> Server {
    Server::with(Script {
        history: vec![apply_at(5, ApplyStatus::CreateSuccess, [0, 0, 6])],
        exported,
        cuts: Mutex::new(cuts.into()),
        ..Script::default()
    })
    .await
}

async fn written(server: &Server, file: &Path, more: &str) -> (anyhow::Result<Ended>, String) {
    let line = format!("export 17 -o {}{more}", file.display());
    let (ended, _) = ran(server, &line).await;
    (ended, fs::read_to_string(file).unwrap_or_default())
}

#[tokio::test]
async fn a_csv_is_executed_by_no_spreadsheet_and_read_back_as_the_devices_it_was_made_of() {
    let server = server(devices(), vec![]).await;
    let dir = tempfile::tempdir().unwrap();
    for more in ["", " --credentials"] {
        let path = dir.path().join("devices.csv");

        let (ended, text) = written(&server, &path, more).await;

        assert_eq!(ended.unwrap(), Ended::Well);
        let rows = csv::Reader::from_reader(text.as_bytes());
        for row in rows.into_records() {
            let row = row.unwrap();
            assert!(
                row.iter()
                    .all(|cell| !cell.starts_with(['=', '+', '-', '@'])),
                "{row:?}"
            );
        }
        let read = file::read(&path, false).unwrap();
        let names: Vec<_> = read.devices.iter().map(|one| &one.device_name).collect();
        assert_eq!(names, NAMES);
        assert_eq!(read.devices[0].nickname, "@nick");
    }
}

#[tokio::test]
async fn an_import_exported_with_credentials_is_taken_back_as_the_import_that_it_was() {
    let mut devices = devices();
    for (n, secret) in ["-2+3", "'=1", "@s", "a,b", "+", "plain"]
        .iter()
        .enumerate()
    {
        let inner = devices[n].device.as_mut().unwrap();
        (inner.nickname, inner.sn) = (String::new(), format!("SN_{n}"));
        devices[n].device_secret = (*secret).to_owned();
    }
    let given = devices.clone();
    let server = server(devices, vec![]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devices.csv");

    written(&server, &path, " --credentials").await.0.unwrap();

    let read = file::read(&path, true).unwrap();
    assert_eq!(read.devices.len(), given.len());
    for (read, given) in read.devices.iter().zip(&given) {
        let device = given.device.as_ref().unwrap();
        assert_eq!(read.device_name, device.device_name);
        assert_eq!(read.sn, device.sn);
        assert_eq!(read.device_secret, given.device_secret);
    }
    // As names alone, without what they brought.
    let read = file::read(&path, false).unwrap();
    assert!(
        read.devices
            .iter()
            .all(|one| one.sn.is_empty() && one.device_secret.is_empty())
    );
    written(&server, &path, "").await.0.unwrap();
    let bare = file::read(&path, true).unwrap_err().to_string();
    assert!(bare.contains("export them with"), "{bare}");
}

#[tokio::test]
async fn the_columns_of_a_csv_are_those_that_the_documents_promise() {
    let mut refused = exported(0);
    refused.device.as_mut().unwrap().reason = Some(Reason {
        code: ReasonCode::Duplicate.into(),
        message: "the same, as device 3".into(),
        request_id: "R".into(),
        first_ordinal: Some(3),
    });
    let server = server(vec![refused], vec![]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devices.csv");

    let (_, plain) = written(&server, &path, "").await;
    let (_, secret) = written(&server, &path, " --credentials").await;

    assert_eq!(
        plain,
        "ordinal,device_name,nickname,sn,outcome,reason,message,first_ordinal,request_id\n\
         0,pump-0,,,CREATED,DUPLICATE,\"the same, as device 3\",3,R\n"
    );
    assert_eq!(
        secret.lines().next().unwrap(),
        "ordinal,device_name,nickname,sn,outcome,reason,message,first_ordinal,request_id,iot_id,\
         device_secret,credentials_missing"
    );
    assert!(secret.contains(",R,iot-0,secret-0,\n"), "{secret}");
}

#[tokio::test]
async fn an_export_that_is_cut_resumes_by_itself_and_repeats_no_row() {
    let cuts = vec![Cut::Unavailable { after: 1 }, Cut::End { after: 1 }];
    let server = server((0..10).map(exported).collect(), cuts).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devices.jsonl");

    let (ended, text) = written(&server, &path, " --credentials").await;

    assert_eq!(ended.unwrap(), Ended::Well);
    let rows: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ordinals = rows.iter().map(|row| row["device"]["ordinal"].as_i64());
    assert!(ordinals.eq((0..10).map(Some)));
    assert_eq!(rows[3]["device_secret"], "secret-3");
}

#[tokio::test]
async fn a_file_with_credentials_is_its_owners_alone() {
    let server = server(devices(), vec![]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devices.csv");

    written(&server, &path, " --credentials").await.0.unwrap();

    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn an_export_that_fails_leaves_no_file_and_the_one_before_as_it_was() {
    let cuts = vec![Cut::Unavailable { after: 1 }];
    let mut scrambled: Vec<_> = (0..10).map(exported).collect();
    scrambled.swap(1, 8);
    let server = server(scrambled, cuts).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devices.csv");
    fs::write(&path, "before").unwrap();

    let (ended, text) = written(&server, &path, "").await;

    let error = ended.unwrap_err().to_string();
    assert!(error.contains("out of their order"), "{error}");
    assert_eq!(text, "before");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn credentials_that_are_missing_are_told_by_the_exit_code() {
    let mut gone = exported(0);
    (gone.iot_id, gone.device_secret) = Default::default();
    gone.credentials_missing = true;
    let server = server(vec![gone, exported(1)], vec![]).await;
    let dir = tempfile::tempdir().unwrap();

    let (ended, text) = written(&server, &dir.path().join("d.csv"), " --credentials").await;

    assert_eq!(ended.unwrap(), Ended::Short);
    assert!(text.contains(",,,true\n"), "{text}");
}

#[test]
fn credentials_are_not_shown_on_a_terminal_unless_asked_for() {
    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        export: Export,
    }
    let refused = |line: &str| {
        let line = ["export", "17"].into_iter().chain(line.split_whitespace());
        let line: Line = clap::Parser::parse_from(line);
        line.export.refuse_terminal(true).is_err()
    };

    assert!(refused("--credentials"));
    assert!(!refused(""));
    assert!(!refused("--credentials -o file.csv"));
    assert!(!refused("--credentials --to-terminal"));
}

#[test]
fn the_form_is_that_of_the_ending_unless_another_is_asked_for() {
    assert_eq!(Format::of(Path::new("a.csv")), Some(Format::Csv));
    assert_eq!(Format::of(Path::new("a.JSONL")), Some(Format::Jsonl));
    assert_eq!(Format::of(Path::new("a.txt")), None);
}
