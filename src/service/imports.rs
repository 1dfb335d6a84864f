//! Submissions whose devices bring their own secrets: what such a request may hold, and the seal that
//! is put on it before it is stored.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Service, complaints::Complaints, status};
use crate::{
    domain::{
        Apply, Caller, DeviceSecret, Fingerprint, Heading, RequestKey, Submission,
        device::{Brought, NewDevice},
    },
    proto as pb,
    vault::{DataKey, Error, Vault},
};

/// Complains about what would be lost: secrets of devices that are not imported, and what an import
/// does not take.
pub(super) fn complain(devices: &[pb::NewDevice], import: bool, complaints: &mut Complaints) {
    for (at, device) in devices.iter().enumerate() {
        let mut about = |field: &str, what: &str| {
            complaints.add_args(
                format_args!("devices[{at}].{field}"),
                format_args!("{what}"),
            );
        };
        if import {
            if !device.nickname.is_empty() {
                about(
                    "nickname",
                    "must be empty with import: the upstream takes none there",
                );
            }
            continue;
        }
        let lost = "would be lost without import; set it, or leave this empty";
        if !device.device_secret.is_empty() {
            about("device_secret", lost);
        }
        if !device.sn.is_empty() {
            about("sn", lost);
        }
    }
}

/// A device of a request.
pub(super) fn device(device: pb::NewDevice, import: bool) -> NewDevice {
    NewDevice {
        name: device.device_name,
        nickname: device.nickname,
        brought: import.then(|| Brought {
            secret: DeviceSecret::new(device.device_secret),
            sn: device.sn,
        }),
    }
}

impl Service {
    /// What a submission is remembered by: a hash, and of an import a keyed one, since its secrets
    /// could be guessed from another.
    pub(super) async fn key(
        &self,
        caller: &Caller,
        id: String,
        submission: &Submission,
    ) -> Result<RequestKey, Status> {
        let mut key = RequestKey {
            id,
            fingerprint: submission.fingerprint(),
        };
        if submission.heading.import {
            key.fingerprint = self.keyed(caller, &key).await?;
        }
        Ok(key)
    }

    async fn keyed(&self, caller: &Caller, key: &RequestKey) -> Result<Fingerprint, Status> {
        let plain = &key.fingerprint;
        let stored = self.store.fingerprint_of(caller, key).await;
        let stored = stored.map_err(status::of)?;
        // One that was keyed before a rotation is told by the key of its time.
        match stored {
            Some(stored) if is_same(&self.vault, &stored, plain).map_err(closed)? => {
                Ok(Fingerprint(stored))
            }
            _ => self.vault.mac(&plain.0).map(Fingerprint).map_err(closed),
        }
    }

    /// Seals the secrets of an import under a new data key.
    pub(super) fn seal(&self, submission: &mut Submission) -> Result<(), Status> {
        if submission.heading.import {
            let (key, wrapped) = self.vault.new_data_key().map_err(closed)?;
            submission.seal(wrapped.0, |secrets, chunk_no| key.seal(secrets, chunk_no));
        }
        Ok(())
    }
}

impl Service {
    /// Gives an upload of an import its data key, as it is to be stored.
    pub(super) fn key_upload(&self, heading: &mut Heading) -> Result<(), Status> {
        if heading.import {
            let (_, wrapped) = self.vault.new_data_key().map_err(closed)?;
            heading.data_key = Some(wrapped.0);
        }
        Ok(())
    }

    /// The data key of an apply that is uploaded, which an earlier stream may have made.
    pub(super) async fn upload_key(&self, apply: &Apply) -> Result<Option<DataKey>, Status> {
        if !apply.import {
            return Ok(None);
        }
        let wrapped = self.store.data_key(apply.id).await.map_err(status::of)?;
        let key = self.vault.unwrap(&wrapped.unwrap_or_default());
        key.map(Some).map_err(closed)
    }
}

/// Whether a stored fingerprint is one of the same content. One without a key is of no import.
fn is_same(vault: &Vault, stored: &[u8], plain: &Fingerprint) -> Result<bool, Error> {
    match vault.mac_matches(stored, &plain.0) {
        Err(Error::Damaged) => Ok(false),
        told => told,
    }
}

/// No key, or not the one that is needed.
fn closed(error: Error) -> Status {
    let (reason, message) = match &error {
        Error::Closed => (
            "VAULT_CLOSED",
            "this server has no keys to seal device secrets with, and takes no imports; have its \
             operator set --secret-keys-file (REGISTRAR_SECRET_KEYS_FILE)"
                .to_owned(),
        ),
        Error::UnknownKey(_) => (
            "SECRET_KEY_MISSING",
            format!(
                "the request is about one that came before, and {error}; or take a new request_id"
            ),
        ),
        Error::Damaged => {
            tracing::error!(error = %error, "a call failed");
            let details = status::info("INTERNAL", []);
            return Status::with_error_details(Code::Internal, "internal error", details);
        }
    };
    let mut details = status::info(reason, []);
    details.add_precondition_failure_violation(reason, "vault", message.clone());
    Status::with_error_details(Code::FailedPrecondition, message, details)
}
