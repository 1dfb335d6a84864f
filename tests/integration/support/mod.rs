//! What tests share.

pub(crate) mod address;
pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod counting;
pub(crate) mod database;
pub(crate) mod dynamic;
pub(crate) mod load;
mod signed;
pub(crate) mod stack;
pub(crate) mod truth;
pub(crate) mod upstream;

use std::{path::PathBuf, sync::LazyLock};

use registrar::domain::Caller;

/// Who calls an open server.
pub(crate) static ANYONE: LazyLock<Caller> = LazyLock::new(Caller::anyone);

/// The root of the source, or of the copy that `script/test` makes for another user.
pub(crate) fn root() -> PathBuf {
    let copy = std::env::var_os("REGISTRAR_TEST_ROOT");
    copy.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The `registrar` of this build, or its copy.
pub(crate) fn registrar_binary() -> PathBuf {
    let copy = std::env::var_os("REGISTRAR_TEST_BIN");
    copy.map_or_else(|| env!("CARGO_BIN_EXE_registrar").into(), PathBuf::from)
}

/// Runs a command of the binary to its end, which must be a good one, and returns what it printed.
pub(crate) fn command(args: &[&str]) -> String {
    let output = std::process::Command::new(registrar_binary())
        .args(args)
        .env_remove("DATABASE_URL")
        .output()
        .expect("registrar starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_files_and_the_binary_that_tests_use_are_there() {
    assert!(root().join("proto/registrar/v1/registrar.proto").is_file());
    assert!(registrar_binary().is_file());
}
