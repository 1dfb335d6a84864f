//! The header of a CSV: which column holds what, and what is wrong with it where it is not one.

use std::str;

use csv::ByteRecord;

use super::{cells, shown};
use crate::proto::NewDevice;

/// The most columns of a terminal that a header takes in an error.
const SHOWN: usize = 60;

/// Where the values of a device stand in a row.
#[derive(Debug)]
pub(super) struct Columns {
    name: usize,
    nickname: Option<usize>,
    secret: Option<usize>,
    sn: Option<usize>,
    count: usize,
    /// Whether cells are kept from being formulas, as `registrar export` does.
    guarded: bool,
}

/// Columns that an export has besides those of a device. They are skipped; so are the last two unless
/// the devices bring them.
const EXPORTED: [&str; 10] = [
    "ordinal",
    "outcome",
    "reason",
    "message",
    "firstordinal",
    "requestid",
    "iotid",
    "credentialsmissing",
    "devicesecret",
    "sn",
];

/// What is wrong with a header or a row, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error(
        "the header should be device_name or device_name,nickname, and is {found}; the file seems \
         to be separated by {separator}, save it with commas"
    )]
    Separator {
        found: String,
        separator: &'static str,
    },
    #[error(
        "the header should be device_name or device_name,nickname, and is {found}; begin the file \
         with a line that has device_name"
    )]
    NoNameColumn { found: String },
    #[error(
        "the header should be device_name or device_name,nickname, and has the column {column}; \
         remove it"
    )]
    UnknownColumn { column: String },
    #[error("the header has the column {0} twice; remove one of them")]
    ColumnTwice(&'static str),
    #[error(
        "the header has the column {0}, which only devices have that bring their own secrets; submit \
         them with `registrar check --import`, or remove it"
    )]
    OnlyImported(&'static str),
    #[error(
        "the header should be device_name,device_secret or device_name,device_secret,sn, and has no \
         {0}; begin the file with a line that names its columns"
    )]
    NotImported(&'static str),
    #[error(
        "is an export without device_secret, which the devices of an import bring; export them with \
         `registrar export --credentials`"
    )]
    NoSecrets,
    #[error("has a nickname, which the upstream does not take in an import; clear it")]
    Nickname,
    #[error(
        "the header has the column nickname, which the upstream does not take in an import; remove it"
    )]
    NoNickname,
    #[error("is not UTF-8; save the file as UTF-8 (in Excel: \"CSV UTF-8\")")]
    NotUtf8,
    #[error(
        "has {found} {} where the header has {expected}; put a value that holds a comma in double \
         quotes, and keep the comma before an empty one",
        if *.found == 1 { "value" } else { "values" }
    )]
    Values { found: usize, expected: usize },
}

impl Columns {
    /// Takes names of columns however they are spelt: `DeviceName`, `device name` and
    /// ` device_name ` are device_name. Nothing of what may be a secret is told.
    pub(super) fn of(header: &ByteRecord, import: bool) -> Result<Self, Problem> {
        let (mut name, mut nickname, mut unknown) = (None, None, None);
        let (mut secret, mut sn) = (None, None);
        let has = |known| {
            header
                .iter()
                .any(|one| str::from_utf8(one).is_ok_and(|one| bare(one) == known))
        };
        let is_exported = has("ordinal") && has("outcome");
        for (at, column) in header.iter().enumerate() {
            let column = str::from_utf8(column).map_err(|_| Problem::NotUtf8)?;
            let (known, place) = match bare(column).as_str() {
                "devicename" => ("device_name", &mut name),
                "nickname" => ("nickname", &mut nickname),
                "devicesecret" | "secret" if import || !is_exported => {
                    ("device_secret", &mut secret)
                }
                "sn" | "serialnumber" if import || !is_exported => ("sn", &mut sn),
                other if is_exported && EXPORTED.contains(&other) => continue,
                _ => {
                    unknown.get_or_insert(column);
                    continue;
                }
            };
            if place.replace(at).is_some() {
                return Err(Problem::ColumnTwice(known));
            }
        }
        match (import, nickname) {
            (true, _) if name.is_none() => return Err(Problem::NotImported("device_name")),
            (true, _) if secret.is_none() && is_exported => return Err(Problem::NoSecrets),
            (true, _) if secret.is_none() => return Err(Problem::NotImported("device_secret")),
            // An export has the column always, and of an import it is empty.
            (true, Some(_)) if !is_exported => return Err(Problem::NoNickname),
            (false, _) if secret.is_some() => return Err(Problem::OnlyImported("device_secret")),
            (false, _) if sn.is_some() => return Err(Problem::OnlyImported("sn")),
            _ => {}
        }
        match (name, unknown) {
            (None, _) => Err(nameless(header)),
            // To ignore it would drop a misspelt nickname from every device.
            (_, Some(column)) => Err(Problem::UnknownColumn {
                column: shown::name(column),
            }),
            (Some(name), None) => Ok(Self {
                name,
                nickname,
                secret,
                sn,
                count: header.len(),
                guarded: is_exported,
            }),
        }
    }

    pub(super) fn device(&self, row: &ByteRecord) -> Result<NewDevice, Problem> {
        if row.len() != self.count {
            return Err(Problem::Values {
                found: row.len(),
                expected: self.count,
            });
        }
        let value = |at: usize| match str::from_utf8(&row[at]) {
            Ok(value) if self.guarded => Ok(cells::bare(value).to_owned()),
            Ok(value) => Ok(value.to_owned()),
            Err(_) => Err(Problem::NotUtf8),
        };
        let nickname = self.nickname.map(value).transpose()?.unwrap_or_default();
        if self.secret.is_some() && !nickname.is_empty() {
            return Err(Problem::Nickname);
        }
        Ok(NewDevice {
            device_name: value(self.name)?,
            nickname,
            device_secret: self.secret.map(value).transpose()?.unwrap_or_default(),
            sn: self.sn.map(value).transpose()?.unwrap_or_default(),
        })
    }
}

/// The name of a column without what spells it differently.
fn bare(column: &str) -> String {
    let letters = column
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '\u{feff}'));
    letters.flat_map(char::to_lowercase).collect()
}

fn nameless(header: &ByteRecord) -> Problem {
    let text = String::from_utf8_lossy(&header.iter().collect::<Vec<_>>().join(&b',')).into_owned();
    let found = format!("`{}`", shown::cut(shown::escaped(&text), SHOWN));
    let separators = [(';', "`;`"), ('\t', "tabs"), ('|', "`|`")];
    let is_name = |part: &str| bare(part) == "devicename";
    for (separator, told) in separators {
        let parts: Vec<&str> = text.split(separator).collect();
        let unquoted = |part: &&str| is_name(part.trim_matches('"'));
        if parts.len() > 1 && (header.len() == 1 || parts.iter().any(unquoted)) {
            return Problem::Separator {
                found,
                separator: told,
            };
        }
    }
    Problem::NoNameColumn { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &[&str]) -> Result<Columns, String> {
        let header = ByteRecord::from(header.to_vec());
        Columns::of(&header, false).map_err(|problem| problem.to_string())
    }

    fn of_import(header: &[&str]) -> Result<Columns, String> {
        let header = ByteRecord::from(header.to_vec());
        Columns::of(&header, true).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_column_is_known_however_it_is_spelt() {
        for name in ["device_name", "DeviceName", "device name", " DEVICE-NAME "] {
            for nickname in ["nickname", "Nickname", "nick_name", "Nick Name"] {
                let columns = of(&[nickname, name]).expect(name);
                assert_eq!((columns.name, columns.nickname), (1, Some(0)));
            }
        }
    }

    #[test]
    fn one_column_spelt_in_two_ways_is_there_twice() {
        let twice = of(&["device_name", "DeviceName"]).unwrap_err();
        assert!(twice.contains("has the column device_name twice"));
    }

    #[test]
    fn a_header_without_the_name_is_shown_beside_the_one_expected() {
        assert_eq!(
            of(&["name", "nickname"]).unwrap_err(),
            "the header should be device_name or device_name,nickname, and is `name,nickname`; \
             begin the file with a line that has device_name"
        );
        let long = of(&[&"x".repeat(1_000_000)]).unwrap_err();
        assert!(long.len() < 300, "{long}");
    }

    #[test]
    fn another_separator_is_named() {
        for (header, told) in [
            ("device_name;nickname", "separated by `;`"),
            ("Name;Nick", "separated by `;`"),
            ("device_name\tnickname", "separated by tabs"),
            ("nickname|device_name", "separated by `|`"),
        ] {
            let problem = of(&[header]).unwrap_err();
            assert!(problem.contains(told), "{problem}");
        }
        assert!(of(&["a;b", "c"]).unwrap_err().contains("begin the file"));
        let both = of(&["device_name;note", " more"]).unwrap_err();
        assert!(both.contains("separated by `;`"), "{both}");
    }

    #[test]
    fn an_import_has_names_and_secrets_and_may_have_serial_numbers() {
        for secret in ["device_secret", "DeviceSecret", "Device Secret", "secret"] {
            for sn in ["sn", "SN", "Serial Number"] {
                let columns = of_import(&[sn, "DeviceName", secret]).expect(secret);
                assert_eq!((columns.secret, columns.sn), (Some(2), Some(0)));
            }
        }
        assert!(
            of_import(&["device_name"])
                .unwrap_err()
                .contains("no device_secret")
        );
        let nickname = of_import(&["device_name", "device_secret", "nickname"]);
        assert!(nickname.unwrap_err().contains("does not take in an import"));
        for column in ["device_secret", "sn"] {
            let problem = of(&["device_name", column]).unwrap_err();
            assert!(
                problem.contains(column) && problem.contains("--import"),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_file_of_an_import_without_a_header_shows_nothing_of_its_first_row() {
        let problem = of_import(&["p-01", "canary", "SN_1"]).unwrap_err();

        assert!(problem.contains("has no device_name"));
        assert!(!problem.contains("canary"), "{problem}");
    }

    #[test]
    fn an_unknown_column_is_named() {
        let unknown = of(&["device_name", "serial no"]).unwrap_err();
        assert!(unknown.contains("has the column \"serial no\"; remove it"));
    }

    #[test]
    fn the_columns_of_an_export_are_skipped_in_an_export_alone() {
        let export = [
            "ordinal",
            "device_name",
            "nickname",
            "sn",
            "outcome",
            "device_secret",
        ];
        let columns = of(&export).unwrap();
        assert_eq!((columns.name, columns.guarded), (1, true));
        assert_eq!((columns.secret, columns.sn), (None, None));
        let columns = of_import(&export).unwrap();
        assert_eq!((columns.secret, columns.sn), (Some(5), Some(3)));
        let bare = of_import(&export[..5]).unwrap_err();
        assert!(bare.contains("`registrar export --credentials`"), "{bare}");
        let row = |nickname: &str| ByteRecord::from(vec!["0", "p", nickname, "", "CREATED", "s-1"]);
        assert_eq!(columns.device(&row("")).unwrap().device_secret, "s-1");
        let nicknamed = columns.device(&row("lamp")).unwrap_err().to_string();
        assert!(nicknamed.contains("clear it"), "{nicknamed}");

        let unknown = of(&["device_name", "outcome"]).unwrap_err();
        assert!(unknown.contains("has the column outcome; remove it"));
        let misspelt = of(&["ordinal", "device_name", "outcome", "nickame"]).unwrap_err();
        assert!(misspelt.contains("has the column nickame; remove it"));
    }
}
