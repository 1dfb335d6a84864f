//! Reads the devices of a CSV file, and keeps in which line each of them stands.
//!
//! What this file refuses is what cannot be read as devices at all, or is too much for one call.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    numbering::Numbering,
    rows,
    table::{self, Table},
};
use crate::proto::NewDevice;

/// The most devices that one call takes (CheckDevicesRequest).
const MAX_ROWS: usize = 100_000;

/// Twice what one call carries (16 MiB), so that no file that could be sent is refused for its size.
const MAX_BYTES: u64 = 32 << 20;

/// The devices of a file in its order.
#[derive(Clone, Debug)]
pub(super) struct DeviceFile {
    pub(super) devices: Vec<NewDevice>,
    pub(super) lines: Numbering,
}

/// Why a file cannot be submitted, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub(super) struct Error {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Table(#[from] table::Problem),
    #[error(
        "is larger than {} MiB; `registrar upload` takes it, or split it into files of at most \
         {MAX_ROWS} rows",
        MAX_BYTES >> 20
    )]
    TooLarge,
    #[error(
        "line {line}: is device {}; `registrar upload` takes any number, or split the file, \
         {MAX_ROWS} go into one submission",
        MAX_ROWS + 1
    )]
    TooManyRows { line: u64 },
}

impl Error {
    /// What is wrong with the table in a file.
    pub(super) fn of(path: &Path, problem: impl Into<table::Problem>) -> Self {
        Self {
            path: named(path),
            problem: Problem::Table(problem.into()),
        }
    }
}

/// What a file is called.
pub(super) fn named(path: &Path) -> PathBuf {
    match path == Path::new("-") {
        true => "standard input".into(),
        false => path.to_owned(),
    }
}

/// Reads the file as [`read`] does, without holding up the tasks beside it.
pub(super) async fn load_devices(path: PathBuf, import: bool) -> anyhow::Result<DeviceFile> {
    let file = tokio::task::spawn_blocking(move || read(&path, import)).await;
    Ok(file.context("reading the file did not finish")??)
}

/// Reads the file, or standard input where the path is `-`. At most 100,000 rows and 32 MiB. The
/// devices of an import bring their own secrets.
pub(super) fn read(path: &Path, import: bool) -> Result<DeviceFile, Error> {
    let text = if path == Path::new("-") {
        load(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(unreadable);
        file.and_then(load)
    };
    text.and_then(|text| parse(&text, import))
        .map_err(|problem| Error {
            path: named(path),
            problem,
        })
}

fn load(source: impl io::Read) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    source
        .take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    Ok(text)
}

fn unreadable(error: io::Error) -> Problem {
    table::Problem::from(rows::Problem::Unreadable(error)).into()
}

fn parse(text: &[u8], import: bool) -> Result<DeviceFile, Problem> {
    let mut table = Table::new(text, import)?;
    let mut file = DeviceFile {
        devices: Vec::new(),
        lines: Numbering::default(),
    };
    while let Some((line, device)) = table.next()? {
        if file.devices.len() == MAX_ROWS {
            return Err(Problem::TooManyRows { line });
        }
        file.devices.push(device);
        file.lines.push(line);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u64, String, String)> {
        let file = parse(text.as_bytes(), false).unwrap();
        let devices = (0..).zip(file.devices);
        devices
            .map(|(at, d)| (file.lines.line(at).unwrap(), d.device_name, d.nickname))
            .collect()
    }

    fn problem(text: impl Into<Vec<u8>>) -> String {
        parse(&text.into(), false).unwrap_err().to_string()
    }

    fn row(line: u64, name: &str, nickname: &str) -> (u64, String, String) {
        (line, name.into(), nickname.into())
    }

    #[test]
    fn the_columns_may_stand_in_any_order_and_the_nickname_may_be_missing() {
        assert_eq!(
            rows("device_name,nickname\np-01,泵一\n"),
            [row(2, "p-01", "泵一")]
        );
        assert_eq!(
            rows("nickname,device_name\n泵一,p-01\n"),
            [row(2, "p-01", "泵一")]
        );
        assert_eq!(rows("device_name\np-01"), [row(2, "p-01", "")]);
    }

    #[test]
    fn values_are_not_trimmed_and_quoted_ones_are_kept_whole() {
        let text = "device_name,nickname\n p-01 ,\"a,b\"\n\"p\"\"2\",\"two\nlines\"\np-03,\n";

        assert_eq!(
            rows(text),
            [
                row(2, " p-01 ", "a,b"),
                row(3, "p\"2", "two\nlines"),
                row(5, "p-03", "")
            ]
        );
    }

    #[test]
    fn the_devices_of_an_import_come_with_what_they_bring() {
        let text = "sn,device_name,device_secret\nSN_1,p-01,s-1\n,p-02,s-2\n";

        let file = parse(text.as_bytes(), true).unwrap();

        let brought: Vec<_> = file
            .devices
            .iter()
            .map(|device| (&*device.device_name, &*device.device_secret, &*device.sn))
            .collect();
        assert_eq!(brought, [("p-01", "s-1", "SN_1"), ("p-02", "s-2", "")]);
        assert!(!format!("{file:?}").contains("s-1"));
    }

    #[test]
    fn an_empty_name_is_the_servers_to_refuse() {
        assert_eq!(rows("device_name,nickname\n,泵一\n"), [row(2, "", "泵一")]);
    }

    #[test]
    fn a_file_without_header_or_devices_is_refused() {
        assert!(problem("").starts_with("is empty"));
        assert!(problem("\u{feff}\n\n").starts_with("is empty"));
        assert!(problem("device_name\n\n").starts_with("has no row below its header"));
        assert!(problem("p-01\np-02\n").contains("and is `p-01`; begin the file"));
        assert!(problem("\nnickname\nx\n").starts_with("line 2: the header should be"));
    }

    #[test]
    fn a_column_that_is_unknown_or_there_twice_is_refused() {
        assert!(problem("device_name,note\n").starts_with("line 1: the header should be"));
        assert!(problem("device_name,device_name\n").contains("has the column device_name twice"));
    }

    #[test]
    fn what_is_not_utf_8_is_refused_with_its_line() {
        assert!(problem(b"device_name\np-01\n\xB1\xC3\n").starts_with("line 3: is not UTF-8"));
    }

    #[test]
    fn a_header_is_taken_however_it_is_spelt_and_ended() {
        let text = "\u{feff}Nick Name, DeviceName \r\n泵一,p-01\r\n";
        assert_eq!(rows(text), [row(2, "p-01", "泵一")]);
    }

    #[test]
    fn a_row_with_more_or_fewer_values_than_the_header_is_refused_with_its_line() {
        assert!(problem("device_name\r\np-01\r\np-02,x\r\n").starts_with("line 3: has 2 values"));
        assert!(problem("device_name,nickname\np-01\n").starts_with("line 2: has 1 value "));
    }

    #[test]
    fn an_open_quote_is_refused_where_it_stands_rather_than_as_a_row_of_too_few_values() {
        let text = "device_name,nickname\n\"p-01,x\np-02,y\n";

        assert!(problem(text).starts_with("line 2: a double quote is opened"));
    }

    #[test]
    fn one_row_more_than_a_call_takes_is_refused() {
        let most = format!("device_name\n{}", "p-01\n".repeat(MAX_ROWS));
        assert_eq!(rows(&most).len(), MAX_ROWS);

        let more = format!("{most}p-02\n");
        assert!(
            problem(more).starts_with("line 100002: is device 100001; `registrar upload` takes")
        );
    }

    #[test]
    fn an_error_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("none.csv");

        let error = read(&missing, false).unwrap_err().to_string();

        assert!(
            error.starts_with(&format!("{}: cannot be read: ", missing.display())),
            "{error}"
        );
        assert!(
            read(directory.path(), false)
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
    }

    #[test]
    fn a_file_beyond_the_bound_is_not_read_to_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_BYTES + 1).unwrap();

        assert!(
            read(file.path(), false)
                .unwrap_err()
                .to_string()
                .contains("larger than 32 MiB; `registrar upload` takes it")
        );
    }
}
