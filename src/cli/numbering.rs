//! In which line of its file each device stands.

/// The lines of devices, in their order. Only where a line does not follow the one before by one is
/// it kept, so that a million rows take no more than one.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbering {
    /// From this device on lines follow each other, beginning with this one.
    runs: Vec<(u64, u64)>,
    devices: u64,
}

impl Numbering {
    /// The next device stands in this line.
    pub(super) fn push(&mut self, line: u64) {
        let next = self.runs.last().map(|(at, from)| from + self.devices - at);
        if next != Some(line) {
            self.runs.push((self.devices, line));
        }
        self.devices += 1;
    }

    /// The line of a device, by its place from 0, if it has one.
    pub(super) fn line(&self, ordinal: i64) -> Option<u64> {
        let at = u64::try_from(ordinal)
            .ok()
            .filter(|at| *at < self.devices)?;
        let run = self.runs.partition_point(|(first, _)| *first <= at) - 1;
        let (first, line) = self.runs[run];
        Some(line + at - first)
    }

    /// How many devices there are.
    pub(super) fn devices(&self) -> u64 {
        self.devices
    }
}

impl FromIterator<u64> for Numbering {
    fn from_iter<I: IntoIterator<Item = u64>>(lines: I) -> Self {
        let mut numbering = Self::default();
        for line in lines {
            numbering.push(line);
        }
        numbering
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_the_line_it_was_given_and_runs_are_kept_once() {
        let lines = [2, 3, 4, 7, 8, 12, 2];
        let numbering = Numbering::from_iter(lines);

        for (at, line) in (0..).zip(lines) {
            assert_eq!(numbering.line(at), Some(line), "{at}");
        }
        assert_eq!((numbering.line(-1), numbering.line(7)), (None, None));
        assert_eq!(Numbering::default().line(0), None);
        assert_eq!(numbering.runs.len(), 4);
        assert_eq!(Numbering::from_iter(2..1_000_000).runs.len(), 1);
    }
}
