//! Holds docs/simulator.md to the source: each test and each switch it names exists, each row names
//! a test, and each switch for an open question has a row.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../docs/simulator.md");
const SWITCHES: &str = include_str!("../src/simulator/switches.rs");

#[test]
fn each_row_names_tests_that_exist() {
    let source = source(Path::new("src/simulator"));
    let mut rows = 0;
    for row in rows_of(PAGE) {
        let tests = words(row.last().expect("a row has cells"));
        assert!(!tests.is_empty(), "no test in {row:?}");
        for test in tests {
            let there = source.contains(&format!("fn {test}("));
            assert!(there, "there is no test `{test}`");
        }
        rows += 1;
    }
    assert!(rows > 60, "only {rows} rows were found");
}

#[test]
fn each_open_question_has_a_switch_with_a_row() {
    let quoted = SWITCHES.split("long = \"").skip(1);
    let switches: BTreeSet<String> = quoted
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| format!("--{name}"))
        .collect();
    let told: BTreeSet<String> = rows_of(PAGE)
        .flat_map(|row| words(&row.join(" ")))
        .filter(|word| word.starts_with("--simulator-"))
        .collect();

    let untold: Vec<_> = switches.difference(&told).collect();
    assert!(untold.is_empty(), "docs/simulator.md lacks {untold:?}");
    let options = source(Path::new("src/simulator"));
    for switch in &told {
        let name = switch.trim_start_matches("--");
        let there = options.contains(&format!("long = \"{name}\""));
        assert!(there, "there is no switch {switch}");
    }
}

/// The cells of all rows of all tables, without their heads.
fn rows_of(page: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines: Vec<&str> = page.lines().collect();
    let is_rule = |line: &str| line.starts_with("|---");
    let body: Vec<&str> = (0..lines.len())
        .filter(|at| lines[*at].starts_with("| "))
        .filter(|at| !lines.get(at + 1).is_some_and(|next| is_rule(next)))
        .map(|at| lines[at])
        .collect();
    body.into_iter()
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// What stands between backticks.
fn words(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(Into::into).collect()
}

fn source(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("the room is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            text += &source(&path);
        } else {
            text += &fs::read_to_string(&path).expect("it is text");
        }
    }
    text
}
