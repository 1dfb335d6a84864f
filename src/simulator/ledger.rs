//! The ledger: a line for every call, in the order the answers went out.
//!
//! In a directory all lines are kept on disk. Otherwise the last [`MEMORY_LINES`] are kept in
//! memory, and the names of refused checks only while those take up less than [`MEMORY_NAMES`].

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use serde::Serialize;

use super::journal::Lines;
use super::server::locked;

/// About 20 MB.
const MEMORY_LINES: usize = 100_000;
/// In bytes.
const MEMORY_NAMES: usize = 16 << 20;
/// Between two entries of the index into the file: a read skips at most so many lines.
const INDEX_EVERY: u64 = 1024;
/// Lines of one answer, and the size in bytes at which it ends early. Whoever reads on asks for
/// what comes after the last line received.
pub(super) const MAX_LINES: usize = 100_000;
const MAX_BYTES: usize = 64 << 20;

/// What separates a short line from the names of a refused check.
const NAME_LIST: &str = ",\"name_list\":";

/// One call. The order of the fields is that of the line, and reading relies on it.
#[derive(Debug, Serialize)]
pub(super) struct Call<'a> {
    pub(super) run: u64,
    /// Counts from 1, through all runs.
    pub(super) seq: u64,
    pub(super) action: &'a str,
    pub(super) apply_id: Option<u64>,
    /// How many names a check brought; null if it was refused before they were read.
    pub(super) names: Option<usize>,
    /// How many of them were dropped as surplus.
    pub(super) dropped: usize,
    /// `OK`, or the error's code.
    pub(super) code: &'a str,
    pub(super) http_status: u16,
    /// When the head of the call had arrived, in microseconds since the epoch.
    pub(super) arrived_us: u64,
    /// From then until the answer was ready, in microseconds.
    pub(super) took_us: u64,
    /// Not in the line unless a fault kept the answer back or spoilt it; code and status are those
    /// it had.
    #[serde(skip_serializing_if = "is_true")]
    pub(super) answered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name_list: Option<&'a [String]>,
}

/// Which lines to read.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) after: u64,
    pub(super) limit: usize,
    /// None means all.
    pub(super) run: Option<u64>,
    pub(super) action: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    last_seq: u64,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Disk {
        lines: Lines,
        index: Vec<(u64, u64)>,
    },
    Memory {
        lines: VecDeque<String>,
        names: usize,
    },
}

impl Ledger {
    pub(super) fn open(directory: Option<&Path>) -> anyhow::Result<Ledger> {
        let mut last_seq = 0;
        let Some(directory) = directory else {
            let kept = Kept::Memory {
                lines: VecDeque::new(),
                names: 0,
            };
            return Ok(Ledger { last_seq, kept });
        };
        let mut index = Vec::new();
        let lines = Lines::open(&directory.join("ledger.jsonl"), |offset, line| {
            let seq = number(line, "seq").ok_or_else(|| anyhow::anyhow!("no seq in a line"))?;
            note(&mut index, seq, offset);
            last_seq = seq;
            Ok(())
        })?;
        Ok(Ledger {
            last_seq,
            kept: Kept::Disk { lines, index },
        })
    }

    /// Adds a call and gives it its number.
    pub(super) fn add(&mut self, mut call: Call<'_>) -> io::Result<()> {
        call.seq = self.last_seq + 1;
        match &mut self.kept {
            Kept::Disk { lines, index } => {
                let offset = lines.append(&serde_json::to_string(&call)?)?;
                note(index, call.seq, offset);
            }
            Kept::Memory { lines, names } => {
                if lines.len() == MEMORY_LINES
                    && let Some(oldest) = lines.pop_front()
                {
                    *names -= long(&oldest);
                }
                let mut line = serde_json::to_string(&call)?;
                if *names + long(&line) > MEMORY_NAMES {
                    line.truncate(short(&line).len());
                    line.push('}');
                }
                *names += long(&line);
                lines.push_back(line);
            }
        }
        self.last_seq = call.seq;
        Ok(())
    }

    /// The lines that are wanted, up to the bounds of one answer; `names` gives those of an apply
    /// if they are to be shown. Nobody waits for the disk here but the caller.
    pub(super) fn read(
        ledger: &Mutex<Ledger>,
        wanted: &Wanted,
        names: Option<&dyn Fn(u64) -> Option<Vec<String>>>,
    ) -> io::Result<String> {
        let held = locked(ledger);
        match &held.kept {
            Kept::Disk { lines, index } => {
                let from = index.partition_point(|(seq, _)| *seq <= wanted.after.saturating_add(1));
                let offset = from.checked_sub(1).map_or(0, |at| index[at].1);
                let lines = lines.read_from(offset)?;
                drop(held);
                Ok(select(lines, wanted, names))
            }
            Kept::Memory { lines, .. } => {
                let first = held.last_seq - lines.len() as u64;
                let skip = usize::try_from(wanted.after.saturating_sub(first));
                let lines = lines.iter().skip(skip.unwrap_or(usize::MAX));
                Ok(select(lines, wanted, names))
            }
        }
    }

    /// Lets go of the file.
    pub(super) fn close(&mut self) {
        if let Kept::Disk { lines, .. } = &mut self.kept {
            lines.close();
        }
    }
}

fn select<L: AsRef<str>>(
    lines: impl Iterator<Item = L>,
    wanted: &Wanted,
    names: Option<&dyn Fn(u64) -> Option<Vec<String>>>,
) -> String {
    let action = wanted
        .action
        .as_ref()
        .map(|action| format!(",\"action\":\"{action}\","));
    let mut text = String::new();
    let mut count = 0;
    for line in lines {
        let line = line.as_ref();
        let brief = short(line);
        let fits = number(brief, "seq").is_some_and(|seq| seq > wanted.after)
            && wanted
                .run
                .is_none_or(|run| number(brief, "run") == Some(run))
            && action.as_ref().is_none_or(|action| brief.contains(action));
        if !fits {
            continue;
        }
        if count == wanted.limit || text.len() > MAX_BYTES {
            break;
        }
        count += 1;
        text.push_str(brief);
        if let Some(names) = names {
            let told = brief.contains(",\"code\":\"OK\",") && number(brief, "names").is_some();
            let apply = number(brief, "apply_id").filter(|_| told);
            if let Some(names) = apply.and_then(names) {
                text.push_str(NAME_LIST);
                text.push_str(&serde_json::json!(names).to_string());
            } else {
                text.push_str(line[brief.len()..].trim_end_matches('}'));
            }
        }
        text.push_str("}\n");
    }
    text
}

fn is_true(flag: &bool) -> bool {
    *flag
}

/// The line without its names and its closing brace.
fn short(line: &str) -> &str {
    line.split_once(NAME_LIST)
        .map_or(line.trim_end_matches('}'), |(short, _)| short)
}

/// The bytes that the names add to a line.
fn long(line: &str) -> usize {
    line.len() - short(line).len() - 1
}

/// A number of the line, which parsing as JSON would find too, much more slowly.
fn number(line: &str, field: &str) -> Option<u64> {
    let (_, rest) = line.split_once(&format!("\"{field}\":"))?;
    rest[..rest.find([',', '}']).unwrap_or(rest.len())]
        .parse()
        .ok()
}

fn note(index: &mut Vec<(u64, u64)>, seq: u64, offset: u64) {
    if index
        .last()
        .is_none_or(|(last, _)| last + INDEX_EVERY <= seq)
    {
        index.push((seq, offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(run: u64, action: &'a str, name_list: Option<&'a [String]>) -> Call<'a> {
        Call {
            run,
            seq: 0,
            action,
            apply_id: None,
            names: name_list.map(<[String]>::len),
            dropped: 0,
            code: if name_list.is_some() {
                "iot.device.X"
            } else {
                "OK"
            },
            http_status: 200,
            arrived_us: 1,
            took_us: 2,
            answered: true,
            name_list,
        }
    }

    fn all() -> Wanted {
        Wanted {
            after: 0,
            limit: MAX_LINES,
            run: None,
            action: None,
        }
    }

    fn seqs(text: &str) -> Vec<u64> {
        text.lines()
            .map(|line| number(line, "seq").unwrap())
            .collect()
    }

    #[test]
    fn a_ledger_on_disk_counts_on_after_a_restart_and_finds_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(Some(directory.path())).unwrap();
        for _ in 0..INDEX_EVERY * 2 {
            ledger.add(call(1, "A", None)).unwrap();
        }
        drop(ledger);

        let mut ledger = Ledger::open(Some(directory.path())).unwrap();
        for _ in 0..3 {
            ledger.add(call(2, "B", None)).unwrap();
        }

        let ledger = Mutex::new(ledger);
        let read = |wanted: Wanted| seqs(&Ledger::read(&ledger, &wanted, None).unwrap());
        assert_eq!(
            read(Wanted {
                run: Some(2),
                ..all()
            }),
            [2049, 2050, 2051]
        );
        assert_eq!(
            read(Wanted {
                after: 2046,
                limit: 3,
                ..all()
            }),
            [2047, 2048, 2049]
        );
        assert_eq!(
            read(Wanted {
                after: 1023,
                limit: 2,
                ..all()
            }),
            [1024, 1025]
        );
        assert_eq!(
            read(Wanted {
                after: 2050,
                ..all()
            }),
            [2051]
        );
        assert_eq!(
            read(Wanted {
                action: Some("B".into()),
                limit: 1,
                ..all()
            }),
            [2049]
        );
        assert_eq!(read(all()).len(), 2051);
    }

    #[test]
    fn names_of_refused_checks_show_only_when_asked_for() {
        let mut ledger = Ledger::open(None).unwrap();
        ledger
            .add(call(1, "A", Some(&["},\"x".into(), "b".into()])))
            .unwrap();

        let ledger = Mutex::new(ledger);
        let brief = Ledger::read(&ledger, &all(), None).unwrap();
        let long = Ledger::read(&ledger, &all(), Some(&|_| None)).unwrap();

        let brief: serde_json::Value = serde_json::from_str(&brief).unwrap();
        let long: serde_json::Value = serde_json::from_str(&long).unwrap();
        assert_eq!(brief.get("name_list"), None);
        assert_eq!(brief["names"], 2);
        assert_eq!(long["name_list"], serde_json::json!(["},\"x", "b"]));
    }

    #[test]
    fn memory_keeps_the_last_calls_and_few_names() {
        let mut ledger = Ledger::open(None).unwrap();
        let names = ["x".repeat(MEMORY_NAMES / 2)];
        for _ in 0..3 {
            ledger.add(call(1, "A", Some(&names))).unwrap();
        }
        for _ in 0..MEMORY_LINES - 1 {
            ledger.add(call(1, "B", None)).unwrap();
        }

        let Kept::Memory { lines, names } = &ledger.kept else {
            panic!("no directory was given")
        };
        assert_eq!(lines.len(), MEMORY_LINES);
        assert_eq!(
            *names, 0,
            "only the third refused check is left, and it kept no names"
        );
        let wanted = Wanted { limit: 1, ..all() };
        let first = Ledger::read(&Mutex::new(ledger), &wanted, None).unwrap();
        assert_eq!(seqs(&first), [3]);
        assert!(serde_json::from_str::<serde_json::Value>(&first).is_ok());
    }
}
