//! The file as it is before anything is sent: whether all of it can be read, how many devices it
//! has, and what its upload is called.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    cli::{
        file,
        numbering::Numbering,
        rows,
        table::{Problem, Table},
    },
    proto::{NewDevice, UploadStart},
};

/// Read at a time.
const BUFFER: usize = 64 << 10;

/// A file of devices that can be read from its beginning any number of times.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) path: PathBuf,
    import: bool,
    file: File,
    pub(super) lines: Numbering,
    content: Content,
}

/// What is in a file, device by device, in a hash.
#[derive(Clone, Debug, Default)]
pub(super) struct Content(Sha256);

impl Content {
    pub(super) fn add(&mut self, device: &NewDevice) {
        let brought = [&device.device_secret, &device.sn];
        // Nothing of what only an import has, so that others keep the names of their uploads.
        let brought = brought.into_iter().filter(|text| !text.is_empty());
        for text in [&device.device_name, &device.nickname]
            .into_iter()
            .chain(brought)
        {
            // With its length, so that no two lists of texts run into the same bytes.
            self.0.update((text.len() as u64).to_le_bytes());
            self.0.update(text);
        }
    }
}

impl Survey {
    /// Reads the file to its end. What cannot be read twice, as standard input, is copied to disk.
    /// The devices of an import bring their own secrets.
    pub(super) fn of(path: &Path, import: bool) -> Result<Self, file::Error> {
        let in_file = |problem| file::Error::of(path, problem);
        let file = opened(path).map_err(|error| in_file(unreadable(error)))?;
        let mut survey = Self {
            path: path.to_owned(),
            import,
            file,
            lines: Numbering::default(),
            content: Content::default(),
        };
        let mut table = survey.table().map_err(in_file)?;
        let (mut lines, mut content) = (Numbering::default(), Content::default());
        while let Some((line, device)) = table.next().map_err(in_file)? {
            lines.push(line);
            content.add(&device);
        }
        drop(table);
        (survey.lines, survey.content) = (lines, content);
        Ok(survey)
    }

    /// The devices, from the first.
    pub(super) fn table(&self) -> Result<Table<impl Read>, Problem> {
        let whole = At {
            file: &self.file,
            place: 0,
        };
        Table::new(BufReader::with_capacity(BUFFER, whole), self.import)
    }

    /// How many devices it has.
    pub(super) fn devices(&self) -> u64 {
        self.lines.devices()
    }

    /// Whether this is what was in the file.
    pub(super) fn holds(&self, devices: u64, content: &Content) -> bool {
        let hash = |content: &Content| content.0.clone().finalize();
        devices == self.devices() && hash(content) == hash(&self.content)
    }

    /// What the upload of these devices with these settings is called, whoever sends it.
    pub(super) fn request_id(&self, start: &UploadStart) -> String {
        let mut hash = self.content.0.clone();
        let mut labels: Vec<_> = start.labels.iter().collect();
        labels.sort();
        let after_check = start.after_check.to_string();
        let settings = [&start.product_key, &start.iot_instance_id, &after_check];
        let labels = labels.into_iter().flat_map(|(key, value)| [key, value]);
        for text in settings.into_iter().chain(labels) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let hash = hash.finalize();
        let hex: String = hash[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("upload-{hex}")
    }
}

fn opened(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        return copied(io::stdin().lock());
    }
    let file = File::open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => copied(file),
    }
}

/// A copy that has no name and ends with the process.
fn copied(mut source: impl Read) -> io::Result<File> {
    let mut copy = tempfile::tempfile()?;
    io::copy(&mut source, &mut copy)?;
    Ok(copy)
}

fn unreadable(error: io::Error) -> Problem {
    rows::Problem::Unreadable(error).into()
}

/// Reads a file from a place of its own, whoever else reads it.
struct At<'a> {
    file: &'a File,
    place: u64,
}

impl Read for At<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.place)?;
        self.place += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(text: &str) -> Survey {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Survey::of(file.path(), false).unwrap()
    }

    fn start(product_key: &str, label: &str) -> UploadStart {
        UploadStart {
            product_key: product_key.into(),
            labels: [("lot".to_owned(), label.to_owned())].into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_same_devices_with_the_same_settings_are_the_same_upload_and_others_are_not() {
        let id = |text: &str, start: &UploadStart| survey(text).request_id(start);
        let one = start("a1", "7");

        let was = id("device_name\nlight-1\nlight-2\n", &one);

        assert!(was.starts_with("upload-") && was.len() == 39, "{was}");
        // However the same devices are written.
        let quoted = "\u{feff}Nickname,Device Name\r\n,light-1\r\n\r\n,\"light-2\"";
        assert_eq!(id(quoted, &one), was);
        for (text, start) in [
            ("device_name\nlight-2\nlight-1\n", &one),
            ("device_name\nlight-1\n", &one),
            ("device_name,nickname\nlight-1,\nlight-2,nick\n", &one),
            ("device_name\nlight-1\nlight-2\n", &start("a2", "7")),
            ("device_name\nlight-1\nlight-2\n", &start("a1", "8")),
        ] {
            assert_ne!(id(text, start), was, "{text:?}");
        }
    }

    #[test]
    fn a_file_is_read_as_often_as_it_takes_and_keeps_the_lines_of_its_devices() {
        let survey = survey("device_name\nlight-1\n\nlight-2\n");
        for _ in 0..2 {
            let mut table = survey.table().unwrap();
            let (mut count, mut content) = (0, Content::default());
            while let Some((line, device)) = table.next().unwrap() {
                assert_eq!(survey.lines.line(count), Some(line));
                content.add(&device);
                count += 1;
            }
            assert!(survey.holds(2, &content));
            assert!(!survey.holds(3, &content) && !survey.holds(2, &Content::default()));
        }
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_before_anything_is_sent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "device_name\nlight-1\nlight-2,x\n").unwrap();

        let error = Survey::of(file.path(), false).unwrap_err().to_string();

        assert!(error.contains("line 3: has 2 values"), "{error}");
        let missing = Survey::of(Path::new("/none.csv"), false)
            .unwrap_err()
            .to_string();
        assert!(
            missing.starts_with("/none.csv: cannot be read: "),
            "{missing}"
        );
    }
}
