//! Reading the file once more and handing its devices over in parts, as fast as they are taken.

use tokio::sync::mpsc::Sender;

use super::survey::{Content, Survey};
use crate::{
    cli::table::Problem,
    proto::{
        NewDevice, UploadDevicesRequest, UploadPart, UploadSeal, upload_devices_request::Part,
    },
};

/// Devices of a part, so that a slow line carries it well within the time that a server gives it.
const DEVICES: usize = 1_000;

/// Bytes of a part that is not longer than one row, where names are long: a server takes 4 MiB.
const BYTES: usize = 256 << 10;

/// How reading ended.
#[derive(Debug)]
pub(super) enum Sent {
    /// All was handed over, and the seal.
    All,
    /// Nobody takes any more of it.
    Some,
    /// The file is not what it was.
    Changed,
    /// It cannot be read any more.
    Unreadable(Problem),
}

/// Hands over the devices from the one at `next` on, and the seal; without it, if the file is not
/// what was surveyed. Blocks while nobody takes what is handed over.
pub(super) fn send(survey: &Survey, next: u64, parts: &Sender<UploadDevicesRequest>) -> Sent {
    sent(survey, next, parts).unwrap_or_else(Sent::Unreadable)
}

fn sent(survey: &Survey, next: u64, parts: &Sender<UploadDevicesRequest>) -> Result<Sent, Problem> {
    let mut table = survey.table()?;
    let mut content = Content::default();
    let (mut read, mut bytes) = (0, 0);
    let mut devices = Vec::new();
    while let Some((_, device)) = table.next()? {
        content.add(&device);
        read += 1;
        // What is stored is read all the same, to see that the file is still the same.
        if read <= next {
            continue;
        }
        bytes += device.device_name.len() + device.nickname.len();
        devices.push(device);
        if devices.len() == DEVICES || bytes >= BYTES {
            bytes = 0;
            if !hand(parts, part(read, std::mem::take(&mut devices))) {
                return Ok(Sent::Some);
            }
        }
    }
    if !survey.holds(read, &content) {
        return Ok(Sent::Changed);
    }
    let seal = Part::Seal(UploadSeal { total: read as i64 });
    let is_all = (devices.is_empty() || hand(parts, part(read, devices))) && hand(parts, seal);
    Ok(if is_all { Sent::All } else { Sent::Some })
}

/// The devices that end before the one at `end`.
fn part(end: u64, devices: Vec<NewDevice>) -> Part {
    Part::Devices(UploadPart {
        first_ordinal: end as i64 - devices.len() as i64,
        devices,
    })
}

fn hand(parts: &Sender<UploadDevicesRequest>, part: Part) -> bool {
    let message = UploadDevicesRequest { part: Some(part) };
    parts.blocking_send(message).is_ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::sync::mpsc;

    use super::*;

    /// What is handed over of a file from a device on, and how that ended, where the file has this
    /// text by then.
    fn handed(text: &str, next: u64, then: &str) -> (Vec<Part>, Sent) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let survey = Survey::of(Path::new(file.path()), false).unwrap();
        fs::write(file.path(), then).unwrap();
        let (parts, mut sent) = mpsc::channel(100);
        let ended = send(&survey, next, &parts);
        drop(parts);
        let handed = std::iter::from_fn(|| sent.blocking_recv());
        (handed.map(|message| message.part.unwrap()).collect(), ended)
    }

    fn table(devices: usize) -> String {
        let rows = (0..devices).map(|n| format!("light-{n:05}\n"));
        format!("device_name\n{}", rows.collect::<String>())
    }

    /// First ordinal and size of each part, and the total of the seal.
    fn sizes(parts: &[Part]) -> (Vec<(i64, usize)>, Option<i64>) {
        let (mut sizes, mut total) = (Vec::new(), None);
        for part in parts {
            match part {
                Part::Devices(part) => sizes.push((part.first_ordinal, part.devices.len())),
                Part::Seal(seal) => total = Some(seal.total),
                Part::Start(_) => panic!("it was sent before"),
            }
        }
        (sizes, total)
    }

    #[test]
    fn the_devices_from_one_on_are_handed_over_in_parts_and_then_the_seal() {
        let text = table(2_500);
        for (next, expected) in [
            (0, vec![(0, 1_000), (1_000, 1_000), (2_000, 500)]),
            (600, vec![(600, 1_000), (1_600, 900)]),
            (2_500, vec![]),
        ] {
            let (parts, ended) = handed(&text, next, &text);
            assert_eq!(sizes(&parts), (expected, Some(2_500)));
            assert!(matches!(ended, Sent::All));
        }
    }

    #[test]
    fn a_part_is_small_however_long_its_names_are() {
        let long = format!(
            "device_name\n{}",
            format!("{}\n", "x".repeat(60_000)).repeat(20)
        );
        let (parts, _) = handed(&long, 0, &long);

        let (sizes, total) = sizes(&parts);
        assert_eq!(total, Some(20));
        assert!(sizes.iter().all(|(_, devices)| *devices <= 5));
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_not_sealed() {
        let text = table(2_500);
        for then in [
            table(2_499),
            table(2_501),
            text.replace("light-00001", "light-x0001"),
        ] {
            for next in [0, 2_000] {
                let (parts, ended) = handed(&text, next, &then);
                assert!(matches!(ended, Sent::Changed), "{ended:?}");
                assert_eq!(sizes(&parts).1, None);
            }
        }
        let (parts, ended) = handed(&text, 0, &format!("{text}a,b\n"));
        assert!(matches!(ended, Sent::Unreadable(_)));
        assert_eq!(sizes(&parts).1, None);
    }

    #[test]
    fn where_nobody_takes_parts_reading_ends() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), table(2_500)).unwrap();
        let survey = Survey::of(file.path(), false).unwrap();
        let (parts, sent) = mpsc::channel(1);
        drop(sent);

        assert!(matches!(send(&survey, 0, &parts), Sent::Some));
    }
}
