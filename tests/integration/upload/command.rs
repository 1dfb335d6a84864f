use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use registrar::proto::{ApplyStatus as S, ListAppliesRequest};

use super::*;
use crate::{
    support::{
        registrar_binary,
        stack::{Server, list_devices, new_devices, watch},
    },
    surface::stack,
};

/// A CSV of so many devices.
fn csv(devices: &[NewDevice]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "device_name").unwrap();
    for device in devices {
        writeln!(file, "{}", device.device_name).unwrap();
    }
    file.flush().unwrap();
    file
}

fn upload(server: &Server, file: &Path) -> Child {
    Command::new(registrar_binary())
        .arg("upload")
        .arg(file)
        .args(["--product-key", PRODUCT, "--after-check", "register-valid"])
        .args(["--server", &format!("http://{}", server.address)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("registrar starts")
}

async fn ended(child: Child) -> Output {
    let waiting = tokio::task::spawn_blocking(|| child.wait_with_output());
    patiently(waiting).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_killed_goes_on_when_it_is_run_again() {
    let (_upstream, server, mut client, _database) = stack(&[]).await;
    let devices = new_devices("light", 100_000);
    let file = csv(&devices);

    let mut killed = upload(&server, file.path());
    let said = BufReader::new(killed.stderr.take().unwrap());
    // The first tenth is stored when that is said.
    let mut lines = said.lines().map_while(Result::ok);
    let begun = lines.find(|line| line.contains("of 100000 devices stored"));
    assert!(begun.is_some());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let again = ended(upload(&server, file.path())).await;

    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success(), "{said}");
    assert!(said.contains("the upload goes on: "), "{said}");
    let out = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(out.contains("CREATE_SUCCESS"), "{out}");
    let all = client.list_applies(ListAppliesRequest::default()).await;
    let applies = all.unwrap().into_inner().applies;
    assert_eq!(applies.len(), 1);
    let listed = list_devices(&mut client, applies[0].apply_id).await;
    let names = listed.iter().map(|device| &device.device_name);
    assert!(names.eq(devices.iter().map(|device| &device.device_name)));

    // And once more finds what is there already.
    let third = ended(upload(&server, file.path())).await;
    let said = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(
        third.status.success() && said.contains("were uploaded before"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_come_from_standard_input_too_and_refused_ones_are_told_with_their_lines() {
    let (_upstream, server, mut client, _database) = stack(&[]).await;
    let mut child = upload(&server, Path::new("-"));
    let text = "device_name,nickname\nlight-1,\n\nno,\nlight-2,nick_name\nlight-1,\n";
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);

    let output = ended(child).await;

    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{out}");
    let refused: Vec<&str> = out
        .lines()
        .filter(|line| line.starts_with("line "))
        .collect();
    assert!(refused[0].starts_with("line 4       no "), "{out}");
    assert!(refused[1].ends_with("line 2 has the same name"), "{out}");
    let seen = watch(&mut client, 1, 0).await;
    assert_eq!(seen.last().unwrap().status(), S::CreateSuccess);
}
