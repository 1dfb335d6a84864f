//! A submission: what one CheckDevices hands over, judged by the local rules.

use std::collections::HashMap;

use super::{
    AfterCheck, ApplyStatus, CHUNK, Counts, Fingerprint, Labels, Ordinal,
    device::{judge_name, judge_nickname, readable},
    reason::Reason,
};

/// Devices of one submission with what the local rules say of them.
#[derive(Debug)]
pub struct Submission {
    /// The product.
    pub product_key: String,
    /// The instance; empty for none.
    pub iot_instance_id: String,
    /// What follows the check.
    pub after_check: AfterCheck,
    /// What the submitter calls it.
    pub labels: Labels,
    /// The names in the order given.
    names: Vec<String>,
    /// The nicknames in the same order; none when no device has one.
    nicknames: Option<Vec<String>>,
    /// The devices that break a rule, by rising ordinal.
    refused: Vec<(Ordinal, Reason)>,
}

/// A chunk's share of a submission.
#[derive(Debug)]
pub struct ChunkOf<'a> {
    /// Which chunk, from 0.
    pub chunk_no: i32,
    /// Its names.
    pub names: &'a [String],
    /// Its nicknames, if any device of the submission has one.
    pub nicknames: Option<&'a [String]>,
    /// Its devices that break a rule.
    pub refused: &'a [(Ordinal, Reason)],
}

impl Submission {
    /// Judges devices, given as pairs of name and nickname (empty for none), in their order. There
    /// are no labels at first.
    pub fn judge(
        product_key: String,
        iot_instance_id: String,
        after_check: AfterCheck,
        devices: impl ExactSizeIterator<Item = (String, String)>,
    ) -> Self {
        let size = devices.len();
        let mut names = Vec::with_capacity(size);
        let mut nicknames = Vec::with_capacity(size);
        let mut refused = Vec::new();
        for (ordinal, (name, nickname)) in (0..).zip(devices) {
            if let Some(reason) = judge_name(&name).or_else(|| judge_nickname(&nickname)) {
                refused.push((ordinal, reason));
            }
            names.push(readable(name));
            nicknames.push(readable(nickname));
        }
        refuse_duplicates(&names, &mut refused);
        let nicknames = nicknames
            .iter()
            .any(|nickname| !nickname.is_empty())
            .then_some(nicknames);
        Self {
            product_key,
            iot_instance_id,
            after_check,
            labels: Labels::default(),
            names,
            nicknames,
            refused,
        }
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many break a rule.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// What it says, in a hash.
    pub fn fingerprint(&self) -> Fingerprint {
        let head = [
            self.product_key.as_bytes(),
            self.iot_instance_id.as_bytes(),
            self.after_check.as_str().as_bytes(),
        ];
        let labels = self
            .labels
            .as_map()
            .iter()
            .flat_map(|(key, value)| [key, value]);
        let labels = labels.map(String::as_bytes);
        let names = self.names.iter().map(String::as_bytes);
        let nicknames = self.nicknames.iter().flatten().map(String::as_bytes);
        let parts = head
            .into_iter()
            .chain(labels)
            .chain([&b"names"[..]])
            .chain(names);
        Fingerprint::of(
            "CheckDevices",
            parts.chain([&b"nicknames"[..]]).chain(nicknames),
        )
    }

    /// Its devices by outcome before anything is sent.
    pub fn counts(&self) -> Counts {
        let (total, invalid) = (self.len() as i32, self.refused() as i32);
        Counts::from_array([total - invalid, 0, invalid, 0, 0, 0, 0])
    }

    /// Where it stands before anything is sent.
    pub fn status(&self) -> ApplyStatus {
        if self.refused() == self.len() {
            ApplyStatus::CheckFailed
        } else {
            ApplyStatus::Check
        }
    }

    /// The devices that break a rule, in their order: place, name, nickname (empty for none), why.
    pub fn refusals(&self) -> impl Iterator<Item = (Ordinal, &str, &str, &Reason)> {
        self.refused.iter().map(|(at, reason)| {
            let place = *at as usize;
            let nickname = self.nicknames.as_ref().map_or("", |all| &all[place]);
            (*at, self.names[place].as_str(), nickname, reason)
        })
    }

    /// The submission in chunks.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkOf<'_>> {
        (0..)
            .zip(self.names.chunks(CHUNK))
            .map(|(chunk_no, names)| {
                let first = chunk_no as usize * CHUNK;
                let from = self
                    .refused
                    .partition_point(|(at, _)| (*at as usize) < first);
                let to = self
                    .refused
                    .partition_point(|(at, _)| (*at as usize) < first + CHUNK);
                ChunkOf {
                    chunk_no,
                    names,
                    nicknames: self
                        .nicknames
                        .as_deref()
                        .map(|all| &all[first..first + names.len()]),
                    refused: &self.refused[from..to],
                }
            })
    }
}

/// Adds the devices whose name an earlier valid one has. A name that is refused anyway claims
/// nothing, so its repetition keeps the reason of the rule that it breaks.
fn refuse_duplicates(names: &[String], refused: &mut Vec<(Ordinal, Reason)>) {
    let mut duplicates = Vec::new();
    let mut first_of: HashMap<&str, Ordinal> = HashMap::with_capacity(names.len());
    let mut next_refused = refused.iter().map(|(at, _)| *at).peekable();
    for (ordinal, name) in (0..).zip(names) {
        if next_refused.next_if_eq(&ordinal).is_some() {
            continue;
        }
        match first_of.get(name.as_str()) {
            Some(first) => duplicates.push((ordinal, Reason::duplicate(*first))),
            None => drop(first_of.insert(name, ordinal)),
        }
    }
    refused.extend(duplicates);
    refused.sort_by_key(|(at, _)| *at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ReasonCode;

    fn judged(names: &[&str]) -> Submission {
        let devices: Vec<_> = names
            .iter()
            .map(|name| (name.to_string(), String::new()))
            .collect();
        Submission::judge(
            "a1".into(),
            String::new(),
            AfterCheck::Stop,
            devices.into_iter(),
        )
    }

    #[test]
    fn of_two_devices_with_one_name_the_first_counts() {
        let submission = judged(&["light-1", "light-2", "light-1", "light-1"]);

        let codes: Vec<_> = submission
            .refused
            .iter()
            .map(|(at, reason)| (*at, reason.code, reason.first))
            .collect();
        assert_eq!(
            codes,
            [
                (2, ReasonCode::Duplicate, Some(0)),
                (3, ReasonCode::Duplicate, Some(0))
            ]
        );
    }

    #[test]
    fn a_bad_name_given_twice_is_bad_twice_and_no_duplicate() {
        let submission = judged(&["bad name", "bad name"]);

        assert!(
            submission
                .refused
                .iter()
                .all(|(_, r)| r.code == ReasonCode::NameCharacter)
        );
        assert_eq!(submission.refused(), 2);
    }

    #[test]
    fn what_breaks_a_rule_is_told_with_its_place_and_reason() {
        let submission = judged(&["light-1", "no", "light-1"]);

        let told: Vec<_> = submission
            .refusals()
            .map(|(at, name, nickname, reason)| (at, name, nickname, reason.code))
            .collect();
        assert_eq!(
            told,
            [
                (1, "no", "", ReasonCode::NameLength),
                (2, "light-1", "", ReasonCode::Duplicate)
            ]
        );
        assert_eq!(
            submission.counts(),
            Counts::from_array([1, 0, 2, 0, 0, 0, 0])
        );
        assert_eq!(submission.status(), ApplyStatus::Check);
        assert_eq!(judged(&["no"]).status(), ApplyStatus::CheckFailed);
    }

    #[test]
    fn chunks_hold_what_is_theirs() {
        let mut names: Vec<String> = (0..CHUNK + 5).map(|n| format!("light-{n}")).collect();
        names[3] = "no".into();
        names[CHUNK + 1] = "light-0".into();
        let refs: Vec<&str> = names.iter().map(String::as_str).collect();

        let submission = judged(&refs);

        let chunks: Vec<_> = submission.chunks().collect();
        assert_eq!(
            chunks.iter().map(|c| c.names.len()).collect::<Vec<_>>(),
            [CHUNK, 5]
        );
        assert_eq!(chunks[0].refused[0].0, 3);
        assert_eq!(chunks[1].refused[0].0, CHUNK as Ordinal + 1);
        assert!(chunks.iter().all(|chunk| chunk.nicknames.is_none()));
    }
}
