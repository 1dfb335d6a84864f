//! What the commands have in common on their command lines.

use clap::{Args, ValueEnum};
use uuid::Uuid;

use super::words;
use crate::proto::{ApplyStatus, DeviceOutcome};

/// Below the help of a command that tells how devices fare.
pub(super) const DEVICES_CODES: &str = "Exit codes: 0 when every device made it or may still make \
    it, 2 when some did not, 1 for everything else, such as wrong usage, a server out of reach or \
    an interruption.";

/// Below the help of the other commands.
pub(super) const OTHER_CODES: &str = "Exit codes: 0 when all is told, 1 for everything else, such \
    as wrong usage, a server out of reach or an interruption.";

/// Below the help of `export`.
pub(super) const EXPORT_CODES: &str = "Exit codes: 0 when all is exported, 2 when the credentials \
    of some created devices are missing upstream, 1 for everything else, such as wrong usage, a \
    server out of reach or an interruption.";

/// Below the help of `find`.
pub(super) const FIND_CODES: &str = "Exit codes: 0 when the device is in an apply, 2 when it is in \
    none, 1 for everything else, such as wrong usage, a server out of reach or an interruption.";

/// Which server is spoken to, and how its answers are written.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub struct Connection {
    /// Where the service listens: `http://host:port`, or `https://` with a public certificate
    #[arg(
        long,
        env = "REGISTRAR_SERVER",
        default_value = "http://127.0.0.1:50051"
    )]
    pub server: String,

    /// How answers are written: for people, or as one JSON object a line
    #[arg(long, env = "REGISTRAR_OUTPUT", value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables and sentences for people.
    Text,
    /// One JSON object a line, with the names of the proto.
    Json,
}

/// What makes a call that writes repeatable.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub struct Repeat {
    /// Names the request, so that sending it again does nothing twice: 1 to 128 printable ASCII
    /// characters. One is made up when none is given
    #[arg(long, env = "REGISTRAR_REQUEST_ID", value_name = "ID")]
    pub request_id: Option<String>,
}

impl Repeat {
    /// The id given, or a random one, under which this process may repeat its call.
    pub(super) fn id(self) -> String {
        let given = self.request_id.filter(|id| !id.is_empty());
        given.unwrap_or_else(|| Uuid::new_v4().to_string())
    }
}

/// Whether a command that sets something going stays for its end.
#[derive(Clone, Copy, Debug, Args)]
#[group(skip)]
pub struct Stay {
    /// Come back as soon as the server has taken the request, without watching what becomes of it
    #[arg(long, env = "REGISTRAR_NO_WATCH")]
    pub no_watch: bool,
}

/// A label, as `KEY=VALUE`. What may be in them is the server's to say.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("give it as KEY=VALUE".to_owned()),
    }
}

/// A status by its word, such as `CHECK_FAILED` or `check-failed`.
pub(super) fn status(text: &str) -> Result<ApplyStatus, String> {
    let all = (1..).map_while(|number| ApplyStatus::try_from(number).ok());
    one_of(
        all,
        |status| words::status(status.into()).into_owned(),
        text,
    )
}

/// An outcome by its word, such as `INVALID` or `invalid`.
pub(super) fn outcome(text: &str) -> Result<DeviceOutcome, String> {
    let all = (1..).map_while(|number| DeviceOutcome::try_from(number).ok());
    one_of(
        all,
        |outcome| words::outcome(outcome.into()).into_owned(),
        text,
    )
}

fn one_of<T: Copy>(
    all: impl Iterator<Item = T>,
    word: impl Fn(T) -> String,
    text: &str,
) -> Result<T, String> {
    let asked = text.replace('-', "_").to_ascii_uppercase();
    let all: Vec<(T, String)> = all.map(|value| (value, word(value))).collect();
    let found = all.iter().find(|(_, word)| *word == asked);
    found.map(|(value, _)| *value).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|(_, word)| word.as_str()).collect();
        format!("it is one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_however_they_are_spelt_and_others_are_told_what_there_is() {
        assert_eq!(status("CHECK_FAILED"), Ok(ApplyStatus::CheckFailed));
        assert_eq!(status("check-failed"), Ok(ApplyStatus::CheckFailed));
        assert_eq!(outcome("unknown"), Ok(DeviceOutcome::Unknown));
        assert_eq!(
            status("done").unwrap_err(),
            "it is one of CHECK, CHECK_SUCCESS, CHECK_FAILED, CREATE, CREATE_SUCCESS, \
             CREATE_FAILED, CANCELLED"
        );
        assert!(outcome("unspecified").is_err());
    }

    #[test]
    fn a_label_is_cut_at_its_first_equals_sign() {
        assert_eq!(label("lot=7=b"), Ok(("lot".into(), "7=b".into())));
        assert_eq!(label("lot="), Ok(("lot".into(), String::new())));
        assert!(label("lot").is_err());
        assert!(label("=7").is_err());
    }

    #[test]
    fn a_request_without_an_id_is_given_one_that_no_other_has() {
        let id = |request_id: Option<&str>| {
            let request_id = request_id.map(str::to_owned);
            Repeat { request_id }.id()
        };

        assert_eq!(id(Some("mine")), "mine");
        assert_ne!(id(None), id(None));
        assert!(!id(Some("")).is_empty());
    }
}
