//! A submission: what one CheckDevices hands over, judged by the local rules.

use std::collections::{HashMap, HashSet};

use super::{
    AfterCheck, ApplyStatus, Chunk, Counts, Fingerprint, Gathered, Judge, Labels, Ordinal,
    reason::Reason,
};

/// What is said of an apply besides its devices.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The product.
    pub product_key: String,
    /// The instance; empty for none.
    pub iot_instance_id: String,
    /// What follows the check.
    pub after_check: AfterCheck,
    /// What the submitter calls it.
    pub labels: Labels,
}

/// Devices of one submission with what the local rules say of them.
#[derive(Debug)]
pub struct Submission {
    /// What is said of them all.
    pub heading: Heading,
    /// The devices. All chunks but the last are full.
    chunks: Vec<Chunk>,
}

impl Heading {
    /// What it says, part by part.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let head = [
            self.product_key.as_bytes(),
            self.iot_instance_id.as_bytes(),
            self.after_check.as_str().as_bytes(),
        ];
        let labels = self.labels.as_map().iter();
        let labels = labels.flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]);
        head.into_iter().chain(labels)
    }

    /// What it says, in a hash: the content of a request to upload.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of("UploadDevices", self.parts())
    }
}

impl Submission {
    /// Judges devices, given as pairs of name and nickname (empty for none), in their order. There
    /// are no labels.
    pub fn judge(
        product_key: String,
        iot_instance_id: String,
        after_check: AfterCheck,
        devices: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let heading = Heading {
            product_key,
            iot_instance_id,
            after_check,
            labels: Labels::default(),
        };
        Self::of(heading, devices)
    }

    /// The same, of which all is said already.
    pub fn of(heading: Heading, devices: impl Iterator<Item = (String, String)>) -> Self {
        let mut judge = Judge::default();
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut devices = devices.peekable();
        while devices.peek().is_some() {
            let mut gathered = Gathered::new(chunks.len() as i32);
            while !gathered.is_full()
                && let Some((name, nickname)) = devices.next()
            {
                gathered.push(name, nickname);
            }
            let known = places(&judge.suspects(&gathered), &chunks);
            chunks.push(judge.judge(gathered, &known));
        }
        Self { heading, chunks }
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.names.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many break a rule.
    pub fn refused(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.refused.len()).sum()
    }

    /// What it says, in a hash.
    pub fn fingerprint(&self) -> Fingerprint {
        let names = self.chunks.iter().flat_map(|chunk| &chunk.names);
        let nicknames = self.chunks.iter().flat_map(Chunk::nicknames);
        let parts = self.heading.parts().chain([&b"names"[..]]);
        let parts = parts.chain(names.map(String::as_bytes));
        let parts = parts.chain([&b"nicknames"[..]]);
        Fingerprint::of("CheckDevices", parts.chain(nicknames.map(str::as_bytes)))
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
        self.chunks.iter().flat_map(|chunk| {
            chunk.refused.iter().map(|(at, reason)| {
                let place = (at - chunk.first()) as usize;
                let nickname = chunk.nicknames.as_ref().map_or("", |all| &all[place]);
                (*at, chunk.names[place].as_str(), nickname, reason)
            })
        })
    }

    /// The submission in chunks.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }
}

/// Where these names are in chunks, as valid devices, of which no two have the same.
fn places(names: &HashSet<String>, chunks: &[Chunk]) -> HashMap<String, Ordinal> {
    if names.is_empty() {
        return HashMap::new();
    }
    let valid = chunks.iter().flat_map(Chunk::valid);
    let wanted = valid.filter(|(_, name)| names.contains(*name));
    wanted.map(|(at, name)| (name.to_owned(), at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CHUNK, ReasonCode};

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
            .refusals()
            .map(|(at, _, _, reason)| (at, reason.code, reason.first))
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
                .refusals()
                .all(|(_, _, _, r)| r.code == ReasonCode::NameCharacter)
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

        let chunks = submission.chunks();
        assert_eq!(
            chunks.iter().map(|c| c.names.len()).collect::<Vec<_>>(),
            [CHUNK, 5]
        );
        assert_eq!(chunks[0].refused[0].0, 3);
        assert_eq!(chunks[1].refused[0].0, CHUNK as Ordinal + 1);
        assert!(chunks.iter().all(|chunk| chunk.nicknames.is_none()));
    }
}
