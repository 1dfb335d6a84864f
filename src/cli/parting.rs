//! What someone is told who interrupts a command: what goes on without it, and how to come back.

use std::sync::{Arc, Mutex, PoisonError};

use super::shown;
use crate::proto::{Apply, CheckDevicesRequest};

/// The words, as they are at this point of the command.
#[derive(Clone, Debug, Default)]
pub(super) struct Parting(Arc<Mutex<String>>);

impl Parting {
    /// Devices are on their way to the server.
    pub(super) fn submitting(&self, request: &CheckDevicesRequest) {
        if !request.validate_only {
            self.set(unclear(request));
        }
    }

    /// Devices are being uploaded, and so many of them are stored.
    pub(super) fn uploading(&self, apply_id: Option<i64>, stored: u64, devices: u64) {
        let stored = match apply_id {
            Some(id) => format!("apply {id} has {stored} of {devices} devices, and "),
            None => String::new(),
        };
        self.set(format!(
            "{stored}nothing of an upload is registered before all of it is there; the same command \
             goes on where it stopped"
        ));
    }

    /// The apply is watched, and has been seen as it is here.
    pub(super) fn watching(&self, apply: &Apply) {
        let Apply {
            apply_id, revision, ..
        } = apply;
        self.set(format!(
            "apply {apply_id} goes on all the same; `registrar watch {apply_id} --after-revision \
             {revision}` takes the watch up again"
        ));
    }

    /// The watch is over, and its end is being told.
    pub(super) fn telling(&self, apply: &Apply) {
        let id = apply.apply_id;
        self.set(format!(
            "`registrar get {id}` tells how apply {id} stands, `registrar devices {id}` what \
             became of each device"
        ));
    }

    /// Devices are exported, and this is what there is of it.
    pub(super) fn exporting(&self, there_is: &str) {
        self.set(format!(
            "{there_is}; the same command exports from the first device on"
        ));
    }

    /// The interruption, with what is to be told at this point.
    pub(super) fn interrupted(&self) -> anyhow::Error {
        self.below("interrupted")
    }

    /// A failure at this point, with what is to be told.
    pub(super) fn after(&self, failure: &anyhow::Error) -> anyhow::Error {
        self.below(&failure.to_string())
    }

    fn below(&self, what: &str) -> anyhow::Error {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if words.is_empty() {
            anyhow::Error::msg(what.to_owned())
        } else {
            anyhow::anyhow!("{what}\n  {words}")
        }
    }

    fn set(&self, words: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

/// What to do where it is not known whether a submission was taken.
pub(super) fn unclear(request: &CheckDevicesRequest) -> String {
    format!(
        "it is not known whether the devices were taken; submitted again under the request id {} \
         they are not taken twice",
        shown::escaped(&request.request_id)
    )
}
