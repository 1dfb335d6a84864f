//! The table in docs/performance.md, between two lines that mark it.

use std::{fs, path::Path};

use anyhow::Context as _;

const BEGIN: &str = "<!-- script/bench writes this -->";
const END: &str = "<!-- as far as here -->";

/// Puts the text between the marks.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let old = fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
    let marks = old.split_once(BEGIN);
    let (before, rest) = marks.context("docs/performance.md has no place for the table")?;
    let (_, after) = rest
        .split_once(END)
        .context("docs/performance.md does not say where the table ends")?;
    let new = format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", text.trim());
    fs::write(&path, new).with_context(|| format!("cannot write {path:?}"))
}
