//! Tells a CSV from what is none, before it is taken apart.

/// A hundred times what a valid name and nickname take.
const MAX_LINE: usize = 64 << 10;

/// Why a file is no CSV of devices.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCsv {
    #[error("is UTF-16; save it as UTF-8 (in Excel: \"CSV UTF-8\")")]
    Utf16,
    #[error("is no text; save the table as CSV (in Excel: \"CSV UTF-8\")")]
    Binary,
    #[error(
        "line {line}: is longer than {} KiB, which no device takes; is this the file, and has it \
         line ends?",
        MAX_LINE >> 10
    )]
    LongLine { line: u64 },
}

/// Bytes that tell a file for what it is.
pub(super) const BEGINNING: usize = 4;

/// Refuses a file that begins as no CSV does.
pub(super) fn recognize(beginning: &[u8]) -> Result<(), NoCsv> {
    if beginning.starts_with(b"\xFF\xFE") || beginning.starts_with(b"\xFE\xFF") {
        return Err(NoCsv::Utf16);
    }
    // A workbook is a ZIP file; ASCII in UTF-16 without its mark has a NUL in each character.
    match beginning {
        [b'P', b'K', 3, 4, ..] => Err(NoCsv::Binary),
        [0, letter, ..] | [letter, 0, ..] if letter.is_ascii_graphic() => Err(NoCsv::Utf16),
        _ => Ok(()),
    }
}

/// Sees that no line is longer than one can be, before it is taken apart: a table of a million empty
/// values would take much more memory than its text.
#[derive(Debug)]
pub(super) struct Ruler {
    line: u64,
    length: usize,
    after_cr: bool,
}

impl Default for Ruler {
    fn default() -> Self {
        Self {
            line: 1,
            length: 0,
            after_cr: false,
        }
    }
}

impl Ruler {
    /// Takes the bytes that follow.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), NoCsv> {
        for &byte in bytes {
            match byte {
                b'\n' if self.after_cr => {}
                // Files with the line ends of an old Macintosh have no other ones.
                b'\n' | b'\r' => {
                    self.line += 1;
                    self.length = 0;
                }
                _ => self.length += 1,
            }
            self.after_cr = byte == b'\r';
            if self.length > MAX_LINE {
                return Err(NoCsv::LongLine { line: self.line });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: impl AsRef<[u8]>) -> String {
        recognize(text.as_ref()).unwrap_err().to_string()
    }

    /// What is wrong with a text that comes byte by byte.
    fn measured(text: impl AsRef<[u8]>) -> String {
        let mut ruler = Ruler::default();
        let mut bytes = text.as_ref().chunks(1);
        let wrong = bytes.find_map(|byte| ruler.take(byte).err());
        wrong.map_or_else(String::new, |wrong| wrong.to_string())
    }

    #[test]
    fn files_that_are_no_csv_are_told_for_what_they_are() {
        for text in [
            b"\xFF\xFEd\0e\0",
            b"\xFE\xFF\0d\0e",
            b"d\0e\0v\0",
            b"\0d\0e\0v",
        ] {
            assert!(problem(text).starts_with("is UTF-16; save it as UTF-8"));
        }
        assert!(problem(b"PK\x03\x04\x14\0").starts_with("is no text; save the table as CSV"));
    }

    #[test]
    fn a_huge_line_is_refused_where_it_stands() {
        let huge = "x".repeat(MAX_LINE + 1);
        assert!(measured(&huge).starts_with("line 1: is longer than 64 KiB"));
        assert!(measured(",".repeat(MAX_LINE + 1)).starts_with("line 1: is longer"));
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("device_name{end}p-01{end}{huge}{end}");
            assert!(measured(&text).starts_with("line 3: is longer"), "{end:?}");
            let text = format!("device_name{end}{}{end}", &huge[1..]);
            assert_eq!(measured(text), "");
        }
    }
}
