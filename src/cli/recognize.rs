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
    LongLine { line: u32 },
}

/// Refuses what no row of devices can be read from, before it is taken apart: a table of a million
/// empty values would take much more memory than its text.
pub(super) fn recognize(text: &[u8]) -> Result<(), NoCsv> {
    if text.starts_with(b"\xFF\xFE") || text.starts_with(b"\xFE\xFF") {
        return Err(NoCsv::Utf16);
    }
    // A workbook is a ZIP file; ASCII in UTF-16 without its mark has a NUL in each character.
    match text {
        [b'P', b'K', 3, 4, ..] => return Err(NoCsv::Binary),
        [0, letter, ..] | [letter, 0, ..] if letter.is_ascii_graphic() => {
            return Err(NoCsv::Utf16);
        }
        _ => {}
    }
    let mut line = 1;
    for content in text.split(|&byte| byte == b'\n') {
        // Files with the line ends of an old Macintosh have no other ones.
        let parts = content.strip_suffix(b"\r").unwrap_or(content);
        for part in parts.split(|&byte| byte == b'\r') {
            if part.len() > MAX_LINE {
                return Err(NoCsv::LongLine { line });
            }
            line += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: impl AsRef<[u8]>) -> String {
        recognize(text.as_ref()).unwrap_err().to_string()
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
        assert!(problem(&huge).starts_with("line 1: is longer than 64 KiB"));
        assert!(problem(",".repeat(MAX_LINE + 1)).starts_with("line 1: is longer"));
        for end in ["\n", "\r\n", "\r"] {
            let text = format!("device_name{end}p-01{end}{huge}{end}");
            assert!(problem(&text).starts_with("line 3: is longer"), "{end:?}");
            let text = format!("device_name{end}{}{end}", &huge[1..]);
            assert!(recognize(text.as_bytes()).is_ok());
        }
    }
}
