//! The rows of a CSV text, each with the line in which an editor shows it. The text is read as rows
//! are asked for, and of it no more is kept than a row and what was read ahead.

use std::{
    collections::VecDeque,
    io::{self, Chain, Cursor, Read},
};

use csv::ByteRecord;

use super::recognize::{BEGINNING, NoCsv, Ruler, recognize};

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A row of our own after the last one. Where it does not come back as a row, an open quote has
/// swallowed it, and all that stood between.
const LAST_ROW: &[u8] = b"\n\x03";

/// Of one row, and what was read ahead: twice the longest line. What is longer has an open quote.
const MAX_ROW: usize = 128 << 10;

/// Why there is no next row.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error(transparent)]
    NoCsv(#[from] NoCsv),
    #[error("line {line}: a double quote is opened in this row and never closed; close it")]
    OpenQuote { line: u64 },
}

/// Goes through the rows of a text, without a byte order mark and without blank lines.
#[derive(Debug)]
pub(super) struct Rows<R> {
    reader: csv::Reader<Text<R>>,
    row: ByteRecord,
    line: u64,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(mut source: R) -> Result<Self, Problem> {
        let mut beginning = Vec::new();
        let begun = source.by_ref().take(BEGINNING as u64);
        let begun = { begun }.read_to_end(&mut beginning);
        begun.map_err(Problem::Unreadable)?;
        recognize(&beginning)?;
        if beginning.starts_with(BOM) {
            beginning.drain(..BOM.len());
        }
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(Text {
                inner: Cursor::new(beginning).chain(source).chain(LAST_ROW),
                ruler: Ruler::default(),
                kept: VecDeque::new(),
                counted: 0,
                is_over: false,
                problem: None,
            });
        let (row, line) = (ByteRecord::new(), 1);
        Ok(Self { reader, row, line })
    }

    /// Moves to the next row; `false` after the last.
    pub(super) fn next(&mut self) -> Result<bool, Problem> {
        let after_last = self.reader.position().byte();
        let found = match self.reader.read_byte_record(&mut self.row) {
            Ok(found) => found,
            Err(error) => {
                self.line += self.reader.get_mut().count_to(after_last);
                return Err(self.problem(error));
            }
        };
        let start = self.row.position().map_or(0, csv::Position::byte);
        let end = self.reader.position().byte();
        let text = self.reader.get_mut();
        self.line += text.count_to(start);
        let length = text.counted + text.kept.len() as u64;
        if !found || (text.is_over && text.counted + 1 == length) {
            return Ok(false);
        }
        if text.is_over && end == length {
            return Err(Problem::OpenQuote { line: self.line });
        }
        Ok(true)
    }

    /// The row moved to.
    pub(super) fn row(&self) -> &ByteRecord {
        &self.row
    }

    /// The line in which the row begins, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    fn problem(&mut self, error: csv::Error) -> Problem {
        match (self.reader.get_mut().problem.take(), error.into_kind()) {
            (Some(Refused::NoCsv(no_csv)), _) => Problem::NoCsv(no_csv),
            (Some(Refused::LongRow), _) => Problem::OpenQuote { line: self.line },
            (None, csv::ErrorKind::Io(error)) => Problem::Unreadable(error),
            (None, _) => unreachable!("rows of bytes may differ in length"),
        }
    }
}

/// What is read, on its way to where it is taken apart.
#[derive(Debug)]
struct Text<R> {
    inner: Chain<Chain<Cursor<Vec<u8>>, R>, &'static [u8]>,
    ruler: Ruler,
    /// The bytes from `counted` on, as far as they are read.
    kept: VecDeque<u8>,
    /// Up to where the line ends are counted.
    counted: u64,
    is_over: bool,
    problem: Option<Refused>,
}

#[derive(Debug)]
enum Refused {
    NoCsv(NoCsv),
    LongRow,
}

impl<R> Text<R> {
    /// Counts line ends up to the row that begins at `place`, or after the blank lines there.
    ///
    /// The reader's own position is before the blank lines that it skips and before the second half
    /// of a CRLF, so its line number is not the one that an editor shows.
    fn count_to(&mut self, place: u64) -> u64 {
        let mut ends = 0;
        while let Some(&byte) = self.kept.front() {
            if self.counted >= place && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.kept.pop_front();
            self.counted += 1;
            let is_end = byte == b'\n' || (byte == b'\r' && self.kept.front() != Some(&b'\n'));
            ends += u64::from(is_end);
        }
        ends
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        let bytes = &bytes[..read];
        self.is_over |= read == 0;
        self.kept.extend(bytes);
        let refused = match self.ruler.take(bytes) {
            Err(no_csv) => Some(Refused::NoCsv(no_csv)),
            Ok(()) => (self.kept.len() > MAX_ROW).then_some(Refused::LongRow),
        };
        match refused {
            None => Ok(read),
            refused => {
                self.problem = refused;
                Err(io::Error::other("no rows of devices"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text that comes byte by byte.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let one = bytes.len().min(1);
            self.0.read(&mut bytes[..one])
        }
    }

    /// Line and first value of each row, however the text comes; or the line of an open quote.
    fn rows(text: &str) -> Result<Vec<(u64, String)>, u64> {
        let at_once = found(text.as_bytes());
        assert_eq!(found(Slow(text.as_bytes())), at_once);
        at_once
    }

    fn found(text: impl Read) -> Result<Vec<(u64, String)>, u64> {
        let mut rows = Rows::new(text).unwrap();
        let mut found = Vec::new();
        loop {
            match rows.next() {
                Ok(true) => {}
                Ok(false) => return Ok(found),
                Err(Problem::OpenQuote { line }) => return Err(line),
                Err(other) => panic!("{other}"),
            }
            let value = String::from_utf8(rows.row()[0].to_vec()).unwrap();
            found.push((rows.line(), value));
        }
    }

    fn expected<const N: usize>(rows: [(u64, &str); N]) -> Result<Vec<(u64, String)>, u64> {
        Ok(rows.map(|(line, value)| (line, value.to_owned())).to_vec())
    }

    #[test]
    fn a_bom_windows_line_ends_and_blank_lines_do_not_disturb_the_line_numbers() {
        let windows = "\u{feff}a\r\nb\r\n\r\n\r\nc\r\nd\r\n";
        assert_eq!(
            rows(windows),
            expected([(1, "a"), (2, "b"), (5, "c"), (6, "d")])
        );

        let unix = "\n\na\n\nb\nc\n\n\nd\n\n";
        assert_eq!(
            rows(unix),
            expected([(3, "a"), (5, "b"), (6, "c"), (9, "d")])
        );

        let old_mac = "a\rb\r\rc\r";
        assert_eq!(rows(old_mac), expected([(1, "a"), (2, "b"), (4, "c")]));

        let without_last_end = "a\nb";
        assert_eq!(rows(without_last_end), expected([(1, "a"), (2, "b")]));
    }

    #[test]
    fn a_quoted_value_over_several_lines_counts_all_of_them() {
        assert_eq!(
            rows("a\n\"b\r\nb\n\"\nc"),
            expected([(1, "a"), (2, "b\r\nb\n"), (5, "c")])
        );
    }

    #[test]
    fn nothing_has_no_rows() {
        assert_eq!(rows(""), expected([]));
        assert_eq!(rows("\u{feff}"), expected([]));
        assert_eq!(rows("\r\n\n"), expected([]));
    }

    #[test]
    fn an_open_quote_is_refused_where_it_stands_and_swallows_nothing() {
        assert_eq!(rows("a\n\"b\nc\nd\n"), Err(2));
        assert_eq!(rows("a\nb\n\""), Err(3));
        assert_eq!(rows("\"a\nb"), Err(1));
        assert_eq!(rows("a\n\"b\n\""), expected([(1, "a"), (2, "b\n")]));
        assert_eq!(rows("a\n\"b\"\"\""), expected([(1, "a"), (2, "b\"")]));
    }

    #[test]
    fn an_open_quote_in_a_long_text_is_refused_before_all_of_it_is_taken_for_one_row() {
        let text = format!("a\nb\n\n\"c\n{}", "light-0001\n".repeat(1_000_000));
        let mut rest = text.as_bytes();

        assert_eq!(found(&mut rest), Err(4));
        assert!(rest.len() > text.len() / 2);
    }

    #[test]
    fn a_row_that_is_too_long_to_be_one_is_told_with_its_line() {
        let mut rows = Rows::new(Cursor::new(format!("a\n{}", ",".repeat(70_000)))).unwrap();

        assert!(rows.next().unwrap());
        let problem = rows.next().unwrap_err().to_string();
        assert!(problem.starts_with("line 2: is longer"), "{problem}");
    }
}
