//! What can go wrong, by what to do about it.

use std::io;

/// Why something was not sealed or not opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are no master keys.
    #[error("there are no keys to seal device secrets with; set --secret-keys-file")]
    Closed,
    /// It is sealed under a master key that is not among those at hand.
    #[error("the key {0} is not among the secret keys; put it back, behind the first one")]
    UnknownKey(String),
    /// It is not what was sealed, or not for this place.
    #[error("sealed secrets are damaged, or belong elsewhere")]
    Damaged,
}

/// Why master keys could not be loaded. Holds the number of a line and never its text.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The settings disagree.
    #[error("{0}")]
    Options(String),
    /// The file cannot be read.
    #[error("the secret keys file cannot be read")]
    File(#[source] io::Error),
    /// The command cannot be run.
    #[error("the secret keys command cannot be run")]
    Command(#[source] io::Error),
    /// The command ended badly.
    #[error("the secret keys command ended with {0}; run it by hand to see what it says")]
    CommandFailed(std::process::ExitStatus),
    /// The command did not end in time.
    #[error("the secret keys command did not end within {0:?}")]
    CommandSlow(std::time::Duration),
    /// There is more than there can be of keys.
    #[error("secret keys are at most {0} bytes")]
    TooLong(u64),
    /// A line that is none.
    #[error("line {line} of the secret keys {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No line holds a key.
    #[error("there is no secret key; a line is ID:KEY, and the key 32 bytes in base64 or hex")]
    Empty,
    /// A key of the same id was another one before.
    #[error("the secret key {0} has changed; a new key needs a new id")]
    Changed(String),
}
