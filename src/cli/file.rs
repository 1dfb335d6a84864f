//! Reads the devices of a CSV file, and keeps in which line each of them stands.
//!
//! Values are taken as they are: a space around a name is the server's to refuse, with a reason.
//! What this file refuses is what cannot be read as devices at all.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    header::{self, Columns},
    recognize::{NoCsv, recognize},
    rows::{OpenQuote, Text},
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
    /// The line of each device, from 1, by its place in `devices`.
    pub(super) lines: Vec<u32>,
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
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("is larger than {} MiB; split it into files of at most {MAX_ROWS} rows", MAX_BYTES >> 20)]
    TooLarge,
    #[error("is empty; begin it with the header device_name or device_name,nickname")]
    Empty,
    #[error(transparent)]
    NoCsv(#[from] NoCsv),
    #[error("line {line}: {problem}")]
    Row { line: u32, problem: header::Problem },
    #[error("line {line}: a double quote is opened in this row and never closed; close it")]
    OpenQuote { line: u32 },
    #[error("has no row below its header; add at least one device")]
    NoDevice,
    #[error("line {line}: is device {}; split the file, {MAX_ROWS} go into one submission", MAX_ROWS + 1)]
    TooManyRows { line: u32 },
}

impl From<OpenQuote> for Problem {
    fn from(OpenQuote { line }: OpenQuote) -> Self {
        Self::OpenQuote { line }
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
    let (path, text) = if path == Path::new("-") {
        ("standard input".into(), load(io::stdin().lock()))
    } else {
        let file = File::open(path).map_err(Problem::Unreadable);
        (path.to_owned(), file.and_then(load))
    };
    text.and_then(|text| parse(text, import))
        .map_err(|problem| Error { path, problem })
}

fn load(source: impl io::Read) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    source
        .take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(Problem::Unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    Ok(text)
}

fn parse(text: Vec<u8>, import: bool) -> Result<DeviceFile, Problem> {
    recognize(&text)?;
    let text = Text::new(text);
    let mut rows = text.rows();
    if !rows.next()? {
        return Err(Problem::Empty);
    }
    let in_line = |line| move |problem| Problem::Row { line, problem };
    let columns = Columns::of(rows.row(), import).map_err(in_line(rows.line()))?;
    let mut file = DeviceFile {
        devices: Vec::new(),
        lines: Vec::new(),
    };
    while rows.next()? {
        if file.devices.len() == MAX_ROWS {
            return Err(Problem::TooManyRows { line: rows.line() });
        }
        let device = columns.device(rows.row()).map_err(in_line(rows.line()))?;
        file.devices.push(device);
        file.lines.push(rows.line());
    }
    if file.devices.is_empty() {
        return Err(Problem::NoDevice);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u32, String, String)> {
        let file = parse(text.into(), false).unwrap();
        let devices = file.devices.into_iter();
        file.lines
            .into_iter()
            .zip(devices)
            .map(|(l, d)| (l, d.device_name, d.nickname))
            .collect()
    }

    fn problem(text: impl Into<Vec<u8>>) -> String {
        parse(text.into(), false).unwrap_err().to_string()
    }

    fn row(line: u32, name: &str, nickname: &str) -> (u32, String, String) {
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

        let file = parse(text.into(), true).unwrap();

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
        assert!(problem(more).starts_with("line 100002: is device 100001; split the file"));
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
                .contains("larger than 32 MiB; split")
        );
    }
}
