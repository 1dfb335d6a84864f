//! The rows of a CSV text, each with the line in which an editor shows it.

use csv::ByteRecord;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A row of our own after the last one. Where it does not come back as a row, an open quote has
/// swallowed it, and all that stood between.
const LAST_ROW: &[u8] = b"\n\x03";

/// The bytes of a file, made ready to be read as rows.
#[derive(Debug)]
pub(super) struct Text(Vec<u8>);

/// Goes through the rows of a text.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    text: &'a [u8],
    reader: csv::Reader<&'a [u8]>,
    row: ByteRecord,
    line: u32,
    /// Up to where the line ends are counted.
    counted: usize,
}

/// The row that begins in this line opens a quote that nothing closes.
#[derive(Debug, PartialEq)]
pub(super) struct OpenQuote {
    pub(super) line: u32,
}

impl Text {
    pub(super) fn new(mut bytes: Vec<u8>) -> Self {
        bytes.extend_from_slice(LAST_ROW);
        Self(bytes)
    }

    /// The rows, without a byte order mark and without blank lines.
    pub(super) fn rows(&self) -> Rows<'_> {
        let text = self.0.strip_prefix(BOM).unwrap_or(&self.0);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text);
        Rows {
            text,
            reader,
            row: ByteRecord::new(),
            line: 1,
            counted: 0,
        }
    }
}

impl Rows<'_> {
    /// Moves to the next row; `false` after the last.
    pub(super) fn next(&mut self) -> Result<bool, OpenQuote> {
        let found = self
            .reader
            .read_byte_record(&mut self.row)
            .expect("bytes in memory are read without failing, and rows may differ in length");
        let last = self.text.len() - (LAST_ROW.len() - 1);
        if !found || self.count_to_row() == last {
            return Ok(false);
        }
        if self.reader.position().byte() == self.text.len() as u64 {
            return Err(OpenQuote { line: self.line });
        }
        Ok(true)
    }

    /// The row moved to.
    pub(super) fn row(&self) -> &ByteRecord {
        &self.row
    }

    /// The line in which the row begins, from 1.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Counts lines up to where the row begins, and returns that place.
    ///
    /// The reader's own position is before the blank lines that it skips and before the second half
    /// of a CRLF, so its line number is not the one that an editor shows.
    fn count_to_row(&mut self) -> usize {
        let from = self
            .row
            .position()
            .map_or(0, |position| position.byte() as usize);
        while let Some(&byte) = self.text.get(self.counted) {
            if self.counted >= from && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.counted += 1;
            let is_end =
                byte == b'\n' || (byte == b'\r' && self.text.get(self.counted) != Some(&b'\n'));
            self.line += u32::from(is_end);
        }
        self.counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and first value of each row.
    fn rows(text: &str) -> Result<Vec<(u32, String)>, OpenQuote> {
        let text = Text::new(text.into());
        let mut rows = text.rows();
        let mut found = Vec::new();
        while rows.next()? {
            found.push((
                rows.line(),
                String::from_utf8(rows.row()[0].to_vec()).unwrap(),
            ));
        }
        Ok(found)
    }

    fn expected<const N: usize>(rows: [(u32, &str); N]) -> Result<Vec<(u32, String)>, OpenQuote> {
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
        assert_eq!(rows("a\n\"b\nc\nd\n"), Err(OpenQuote { line: 2 }));
        assert_eq!(rows("a\nb\n\""), Err(OpenQuote { line: 3 }));
        assert_eq!(rows("\"a\nb"), Err(OpenQuote { line: 1 }));
        assert_eq!(rows("a\n\"b\n\""), expected([(1, "a"), (2, "b\n")]));
        assert_eq!(rows("a\n\"b\"\"\""), expected([(1, "a"), (2, "b\"")]));
    }
}
