//! The room's settings.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use super::{Wiped, keys::Keyring, source::Source};

/// Where the keys come from that device secrets are sealed with at rest. At most one of the three;
/// without any, imports are refused.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct Options {
    /// File with the keys that device secrets are sealed with, one `ID:KEY` a line, each key 32
    /// bytes in base64 or hex. The first seals, the others still open what they sealed. Read again
    /// when it changes
    #[arg(long, env = "REGISTRAR_SECRET_KEYS_FILE", value_name = "FILE")]
    pub secret_keys_file: Option<PathBuf>,

    /// The same keys as text, one a line or between semicolons. Better set by environment than by
    /// flag, which other users of the machine can see
    #[arg(
        long,
        env = "REGISTRAR_SECRET_KEYS",
        hide_env_values = true,
        value_name = "KEYS"
    )]
    pub secret_keys: Option<KeyText>,

    /// A command, run by `sh -c` at the start and every 5 minutes, that prints the same lines within
    /// 10 s
    #[arg(
        long,
        env = "REGISTRAR_SECRET_KEYS_COMMAND",
        hide_env_values = true,
        value_name = "COMMAND"
    )]
    pub secret_keys_command: Option<KeyText>,
}

/// A text that holds keys, or may. It does not print.
#[derive(Clone)]
pub struct KeyText(Wiped<String>);

impl Options {
    /// Refuses keys from more than one source, and text that holds none. Files and commands are
    /// looked at when the vault is opened.
    pub fn check(&self) -> Result<(), String> {
        match self.source()? {
            Source::Text(text) => Keyring::parse(text.reveal().as_bytes())
                .map(drop)
                .map_err(|error| format!("--secret-keys: {error}")),
            Source::None | Source::File(_) | Source::Command(_) => Ok(()),
        }
    }

    /// Whether none of the three is set.
    pub fn names_no_source(&self) -> bool {
        matches!(self.source(), Ok(Source::None))
    }

    /// Where keys come from. Texts that are empty count as not set.
    pub(super) fn source(&self) -> Result<Source, String> {
        let filled = |text: &Option<KeyText>| text.clone().filter(|text| !text.reveal().is_empty());
        let file = self.secret_keys_file.clone();
        let file = file.filter(|path| !path.as_os_str().is_empty());
        let sources = [
            file.map(Source::File),
            filled(&self.secret_keys).map(Source::Text),
            filled(&self.secret_keys_command).map(Source::Command),
        ];
        let mut given = sources.into_iter().flatten();
        let source = given.next().unwrap_or(Source::None);
        match given.next() {
            None => Ok(source),
            Some(_) => Err(
                "secret keys come from one place: set only one of --secret-keys-file, \
                 --secret-keys and --secret-keys-command"
                    .into(),
            ),
        }
    }
}

impl KeyText {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Wiped::new(text.to_owned())))
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
