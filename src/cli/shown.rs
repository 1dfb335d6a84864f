//! How texts from outside are shown: nothing in them is invisible or steers the terminal.

/// The most columns that a name takes; a valid one has at most 32.
const NAME_COLUMNS: usize = 60;

/// A name in at most 60 columns, quoted where a space or nothing at all would be overlooked.
pub(super) fn name(name: &str) -> String {
    let quoted = name.is_empty() || name.contains(' ');
    let room = if quoted {
        NAME_COLUMNS - 2
    } else {
        NAME_COLUMNS
    };
    let name = cut(escaped(name), room);
    if quoted { format!("\"{name}\"") } else { name }
}

/// The text with everything invisible escaped: controls, format characters, blanks other than the
/// space. Full-width characters stay, since what they look like is what the reader has to find.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' => shown.push(c),
            // Letters by category and blank all the same.
            '\u{115F}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}' => {
                shown.extend(c.escape_unicode());
            }
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

/// How many columns of a terminal the text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// The text in at most so many columns, with an ellipsis where there was more.
pub(super) fn cut(text: String, room: usize) -> String {
    if columns(&text) <= room {
        return text;
    }
    let mut used = 1; // the ellipsis
    let fits = |c: &char| {
        used += width(*c);
        used <= room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Two for what East Asian fonts draw wide (Unicode Standard Annex 11, by block), else one.
fn width(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115F}'
        | '\u{2E80}'..='\u{A4CF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FE30}'..='\u{FE6F}'
        | '\u{FF01}'..='\u{FF60}'
        | '\u{FFE0}'..='\u{FFE6}'
        | '\u{1F300}'..='\u{1FAFF}'
        | '\u{20000}'..='\u{3FFFD}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_name_is_shown_as_it_is() {
        assert_eq!(name("line1-00042"), "line1-00042");
        assert_eq!(name("a:b@c.d_e"), "a:b@c.d_e");
    }

    #[test]
    fn a_full_width_character_is_shown_as_it_is() {
        assert_eq!(name("line2－00017"), "line2－00017");
        assert_eq!(name("泵站五号"), "泵站五号");
    }

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        assert_eq!(name("pump\t1"), "pump\\t1");
        assert_eq!(name("pump\u{1b}[31m"), "pump\\u{1b}[31m");
        assert_eq!(name("pump\u{200b}1"), "pump\\u{200b}1");
        assert_eq!(name("\u{feff}pump"), "\\u{feff}pump");
        assert_eq!(name("pump\u{a0}1\u{3000}"), "pump\\u{a0}1\\u{3000}");
        assert_eq!(name("pump\u{202e}1"), "pump\\u{202e}1");
        assert_eq!(name("pump\u{3164}"), "pump\\u{3164}");
    }

    #[test]
    fn a_name_with_a_space_or_without_anything_is_quoted() {
        assert_eq!(name("pump 1"), "\"pump 1\"");
        assert_eq!(name("pump1 "), "\"pump1 \"");
        assert_eq!(name(""), "\"\"");
    }

    #[test]
    fn a_long_name_is_cut_to_sixty_columns() {
        assert_eq!(name(&"x".repeat(60)), "x".repeat(60));
        assert_eq!(name(&"x".repeat(61)), format!("{}…", "x".repeat(59)));
        assert_eq!(name(&"泵".repeat(31)), format!("{}…", "泵".repeat(29)));
        assert_eq!(columns(&name(&" x".repeat(40))), 60);
    }
}
