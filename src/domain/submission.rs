//! A submission: what one CheckDevices hands over, judged by the local rules.

use std::collections::{HashMap, HashSet};

use super::{
    AfterCheck, ApplyStatus, Chunk, Counts, DeviceSecret, Fingerprint, Gathered, Judge, Labels,
    Ordinal, device::NewDevice, reason::Reason,
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
    /// Whether its devices bring their own secrets.
    pub import: bool,
    /// The key that seals those, as it is to be stored; none if there are none to seal.
    pub data_key: Option<Vec<u8>>,
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

/// A device that breaks a rule.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Its place.
    pub ordinal: Ordinal,
    /// Its name as kept.
    pub name: &'a str,
    /// Its nickname; empty for none.
    pub nickname: &'a str,
    /// Its serial number; empty for none.
    pub sn: &'a str,
    /// Why it is refused.
    pub reason: &'a Reason,
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
        let import = self.import.then_some(&b"import"[..]);
        head.into_iter().chain(labels).chain(import)
    }

    /// What it says, in a hash: the content of a request to upload.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of("UploadDevices", self.parts())
    }
}

impl Submission {
    /// Judges devices in their order, which bring no secrets. There are no labels.
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
            import: false,
            data_key: None,
            labels: Labels::default(),
        };
        Self::of(heading, devices)
    }

    /// The same, of which all is said already.
    pub fn of(heading: Heading, devices: impl Iterator<Item: Into<NewDevice>>) -> Self {
        let mut judge = Judge::default();
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut devices = devices.peekable();
        while devices.peek().is_some() {
            let mut gathered = Gathered::new(chunks.len() as i32);
            while !gathered.is_full()
                && let Some(device) = devices.next()
            {
                gathered.push(device);
            }
            let known = places(&judge.suspects(&gathered), &chunks);
            chunks.push(judge.judge(gathered, &known));
        }
        Self { heading, chunks }
    }

    /// Seals the secrets with a data key, which is given as it is to be stored. Afterwards nothing
    /// here shows them.
    pub fn seal(&mut self, data_key: Vec<u8>, seal: impl Fn(&[DeviceSecret], i32) -> Vec<u8>) {
        for chunk in &mut self.chunks {
            chunk.seal(&seal);
        }
        let any = self.chunks.iter().any(|chunk| chunk.sealed.is_some());
        self.heading.data_key = any.then_some(data_key);
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

    /// What it says, in a hash. Of an import it covers secrets, which are short enough to be guessed
    /// from it: it must not be stored as it is.
    pub fn fingerprint(&self) -> Fingerprint {
        let brought = self
            .chunks
            .iter()
            .filter_map(|chunk| chunk.brought.as_ref());
        let brought = brought.map(|hash| &hash.0[..]);
        let names = self.chunks.iter().flat_map(|chunk| &chunk.names);
        let nicknames = self.chunks.iter().flat_map(Chunk::nicknames);
        let parts = self.heading.parts().chain([&b"names"[..]]);
        let parts = parts.chain(names.map(String::as_bytes));
        let parts = parts.chain([&b"nicknames"[..]]);
        let parts = parts.chain(nicknames.map(str::as_bytes));
        Fingerprint::of("CheckDevices", parts.chain(brought))
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

    /// The devices that break a rule, in their order.
    pub fn refusals(&self) -> impl Iterator<Item = Refusal<'_>> {
        self.chunks.iter().flat_map(|chunk| {
            chunk.refused.iter().map(|(at, reason)| {
                let place = (at - chunk.first()) as usize;
                Refusal {
                    ordinal: *at,
                    name: &chunk.names[place],
                    nickname: chunk.nicknames.as_ref().map_or("", |all| &all[place]),
                    sn: chunk.sns.as_ref().map_or("", |all| &all[place]),
                    reason,
                }
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
    use crate::domain::{CHUNK, ReasonCode, device::Brought};

    fn judged(names: &[&str]) -> Submission {
        let devices: Vec<(String, String)> = names
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
            .map(|told| (told.ordinal, told.reason.code, told.reason.first))
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
                .all(|told| told.reason.code == ReasonCode::NameCharacter)
        );
        assert_eq!(submission.refused(), 2);
    }

    #[test]
    fn what_breaks_a_rule_is_told_with_its_place_and_reason() {
        let submission = judged(&["light-1", "no", "light-1"]);

        let told: Vec<_> = submission
            .refusals()
            .map(|told| (told.ordinal, told.name, told.nickname, told.reason.code))
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

    fn brings(name: String, secret: &str) -> NewDevice {
        NewDevice {
            name,
            nickname: String::new(),
            brought: Some(Brought {
                secret: DeviceSecret::new(secret.to_owned()),
                sn: String::new(),
            }),
        }
    }

    fn import(devices: Vec<NewDevice>) -> Submission {
        let heading = Heading {
            import: true,
            ..judged(&["light-1"]).heading
        };
        Submission::of(heading, devices.into_iter())
    }

    #[test]
    fn of_what_breaks_a_rule_no_secret_is_kept_and_the_others_are_sealed_by_chunk() {
        let mut devices: Vec<_> = (0..CHUNK)
            .map(|n| brings(format!("light-{n}"), "s"))
            .collect();
        devices[1] = brings("light-0".into(), "canary-of-a-duplicate");
        devices[2] = brings("no".into(), "canary-of-a-bad-name");
        devices.push(brings("light-0".into(), "canary-alone-in-its-chunk"));
        let mut submission = import(devices);

        submission.seal(b"key".to_vec(), |secrets, chunk_no| {
            let texts: Vec<_> = secrets.iter().map(|secret| secret.reveal()).collect();
            format!("{chunk_no} {}", texts.join(",")).into_bytes()
        });

        assert_eq!(submission.heading.data_key.as_deref(), Some(&b"key"[..]));
        let chunks = submission.chunks();
        let sealed = str::from_utf8(chunks[0].sealed.as_deref().unwrap()).unwrap();
        assert!(sealed.starts_with("0 s,,,s,s,"), "{}", &sealed[..20]);
        assert_eq!(chunks[1].sealed, None);
        assert!(!format!("{submission:?}").contains("canary"));
    }

    #[test]
    fn the_fingerprint_of_an_import_covers_its_secrets() {
        let of = |secret: &str| import(vec![brings("light-1".into(), secret)]).fingerprint();

        assert_eq!(of("s-1"), of("s-1"));
        assert_ne!(of("s-1"), of("s-2"));
        // Also of secrets that are not kept.
        assert_ne!(of("!1"), of("!2"));
        assert_ne!(of("s-1"), judged(&["light-1"]).fingerprint());
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
