//! A submission: what one CheckDevices hands over, judged by the local rules.

use std::collections::HashMap;

use super::{
    AfterCheck, ApplyStatus, CHUNK, Counts, DeviceSecret, Fingerprint, Labels, Ordinal,
    device::{NewDevice, readable},
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
    /// What the devices of an import bring, in the same order.
    import: Option<Import>,
    /// The devices that break a rule, by rising ordinal.
    refused: Vec<(Ordinal, Reason)>,
}

/// What the devices of an import bring.
#[derive(Debug, Default)]
struct Import {
    /// Their serial numbers, empty for none.
    sns: Vec<String>,
    /// Their secrets until they are sealed. Of a device that breaks a rule none is kept.
    secrets: Vec<DeviceSecret>,
    /// A hash over the secrets as they were handed over.
    hash: Option<Fingerprint>,
    /// The key that sealed them, as it is to be stored.
    data_key: Option<Vec<u8>>,
    /// The secrets of each chunk, sealed; none where nothing can be sent.
    sealed: Vec<Option<Vec<u8>>>,
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
    /// Its serial numbers, if this is an import.
    pub sns: Option<&'a [String]>,
    /// Its secrets, sealed, if there are any that can be sent.
    pub secrets: Option<&'a [u8]>,
    /// Its devices that break a rule.
    pub refused: &'a [(Ordinal, Reason)],
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

impl Import {
    /// Drops the secrets that will never be sent, after a hash was taken of them all.
    fn forget_refused(&mut self, refused: &[(Ordinal, Reason)]) {
        let all = self.secrets.iter().map(|secret| secret.reveal().as_bytes());
        self.hash = Some(Fingerprint::of("secrets", all));
        for (at, _) in refused {
            self.secrets[*at as usize] = DeviceSecret::new(String::new());
        }
    }
}

impl Submission {
    /// Judges devices in their order. There are no labels at first.
    pub fn judge(
        product_key: String,
        iot_instance_id: String,
        after_check: AfterCheck,
        devices: impl ExactSizeIterator<Item: Into<NewDevice>>,
    ) -> Self {
        let size = devices.len();
        let mut names = Vec::with_capacity(size);
        let mut nicknames = Vec::with_capacity(size);
        let mut import = None;
        let mut refused = Vec::new();
        for (ordinal, device) in (0..).zip(devices) {
            let device = device.into();
            refused.extend(device.judge().map(|reason| (ordinal, reason)));
            names.push(readable(device.name));
            nicknames.push(readable(device.nickname));
            if let Some(brought) = device.brought {
                let import = import.get_or_insert_with(Import::default);
                import.sns.push(readable(brought.sn));
                import.secrets.push(brought.secret);
            }
        }
        refuse_duplicates(&names, &mut refused);
        if let Some(import) = &mut import {
            import.forget_refused(&refused);
        }
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
            import,
            refused,
        }
    }

    /// Whether its devices bring their own secrets.
    pub fn is_import(&self) -> bool {
        self.import.is_some()
    }

    /// Seals the secrets with a data key, which is given as it is to be stored. Afterwards nothing
    /// here shows them.
    pub fn seal(&mut self, data_key: Vec<u8>, seal: impl Fn(&[DeviceSecret], i32) -> Vec<u8>) {
        let Some(import) = &mut self.import else {
            return;
        };
        let secrets = std::mem::take(&mut import.secrets);
        import.sealed = (0..)
            .zip(secrets.chunks(CHUNK))
            .map(|(chunk_no, secrets)| {
                let any = secrets.iter().any(|secret| !secret.reveal().is_empty());
                any.then(|| seal(secrets, chunk_no))
            })
            .collect();
        import.data_key = import
            .sealed
            .iter()
            .any(Option::is_some)
            .then_some(data_key);
    }

    /// The key that sealed its secrets, as it is to be stored; none if there are none.
    pub fn data_key(&self) -> Option<&[u8]> {
        self.import.as_ref()?.data_key.as_deref()
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

    /// What it says, in a hash. Of an import it covers secrets, which are short enough to be guessed
    /// from it: it must not be stored as it is.
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
        let parts = parts.chain([&b"nicknames"[..]]).chain(nicknames);
        let import = self.import.as_ref().map(|import| {
            let sns = import.sns.iter().map(String::as_bytes);
            let hash = import.hash.iter().map(|hash| &hash.0[..]);
            [&b"import"[..]].into_iter().chain(sns).chain(hash)
        });
        Fingerprint::of("CheckDevices", parts.chain(import.into_iter().flatten()))
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
        self.refused.iter().map(|(at, reason)| {
            let place = *at as usize;
            Refusal {
                ordinal: *at,
                name: &self.names[place],
                nickname: self.nicknames.as_ref().map_or("", |all| &all[place]),
                sn: self.import.as_ref().map_or("", |all| &all.sns[place]),
                reason,
            }
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
                let import = self.import.as_ref();
                let theirs = first..first + names.len();
                ChunkOf {
                    chunk_no,
                    names,
                    nicknames: self.nicknames.as_ref().map(|all| &all[theirs.clone()]),
                    sns: import.map(|import| &import.sns[theirs]),
                    secrets: import
                        .and_then(|import| import.sealed.get(chunk_no as usize)?.as_deref()),
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
    use crate::domain::{ReasonCode, device};

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

    #[test]
    fn of_what_breaks_a_rule_no_secret_is_kept_and_the_others_are_sealed_by_chunk() {
        let device = |name: String, secret: &str| NewDevice {
            name,
            nickname: String::new(),
            brought: Some(device::Brought {
                secret: DeviceSecret::new(secret.to_owned()),
                sn: String::new(),
            }),
        };
        let mut devices: Vec<_> = (0..CHUNK)
            .map(|n| device(format!("light-{n}"), "s"))
            .collect();
        devices[1] = device("light-0".into(), "canary-of-a-duplicate");
        devices[2] = device("no".into(), "canary-of-a-bad-name");
        devices.push(device("light-0".into(), "canary-alone-in-its-chunk"));
        let devices = devices.into_iter();
        let judged =
            |devices| Submission::judge("a1".into(), String::new(), AfterCheck::Stop, devices);
        let mut submission = judged(devices);

        submission.seal(b"key".to_vec(), |secrets, chunk_no| {
            let texts: Vec<_> = secrets.iter().map(|secret| secret.reveal()).collect();
            format!("{chunk_no} {}", texts.join(",")).into_bytes()
        });

        assert_eq!(submission.data_key(), Some(&b"key"[..]));
        let chunks: Vec<_> = submission.chunks().collect();
        let sealed = str::from_utf8(chunks[0].secrets.unwrap()).unwrap();
        assert!(sealed.starts_with("0 s,,,s,s,"), "{}", &sealed[..20]);
        assert!(!format!("{submission:?}").contains("canary"));
        assert_eq!(chunks[1].secrets, None);
    }

    #[test]
    fn the_fingerprint_of_an_import_covers_its_secrets() {
        let of = |secret: &str| {
            let brought = device::Brought {
                secret: DeviceSecret::new(secret.to_owned()),
                sn: String::new(),
            };
            let device = NewDevice {
                name: "light-1".into(),
                nickname: String::new(),
                brought: Some(brought),
            };
            let one = [device].into_iter();
            Submission::judge("a1".into(), String::new(), AfterCheck::Stop, one).fingerprint()
        };

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
