//! Labels as the text of a JSON object, which is how they cross to Postgres and back.

use crate::domain::{Corrupt, Labels};

pub(super) fn json(labels: &Labels) -> String {
    serde_json::to_string(labels.as_map()).expect("a map of texts is JSON")
}

pub(super) fn parse(text: &str) -> Result<Labels, Corrupt> {
    let labels = serde_json::from_str(text).map_err(|_| Corrupt {
        what: "labels",
        value: text.to_owned(),
    })?;
    Ok(Labels::stored(labels))
}
