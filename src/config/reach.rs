//! Who can reach the API: what stands open to others must be meant to.

use super::{Dev, Serve};

impl Serve {
    /// Refuses what stands open beyond loopback, unless that is meant.
    pub(super) fn check_reach(&self) -> Result<(), String> {
        let is_local = self.listen.ip().to_canonical().is_loopback();
        let is_tls = self.rooms.tls.tls_certificate.is_some();
        let is_guarded = self.rooms.access.access_file.is_some();
        if is_local || self.open_to_everyone {
            return Ok(());
        }
        let at = format!("--listen {} is beyond this machine", self.listen);
        match (is_guarded, is_tls || self.plain_text) {
            (true, true) => Ok(()),
            (false, _) => Err(format!(
                "{at}, and without an access file everyone who reaches it may do everything: say \
                 who may with --access-file (`registrar token NAME` makes an entry) and secure it \
                 with --tls-certificate and --tls-key, listen on 127.0.0.1, or allow it with \
                 --open-to-everyone"
            )),
            (true, false) => Err(format!(
                "{at}, and without TLS everyone on the way can read the tokens: give \
                 --tls-certificate and --tls-key, listen on 127.0.0.1, or allow it with --plain-text \
                 where something in front of this does TLS"
            )),
        }
    }
}

impl Dev {
    /// Its client brings nothing that proves who it is.
    pub(super) fn check_submit(&self) -> Result<(), String> {
        let rooms = &self.serve.rooms;
        let is_open = rooms.access.access_file.is_none() && rooms.tls.tls_certificate.is_none();
        match self.submit.is_none() || is_open {
            true => Ok(()),
            false => Err(
                "--submit calls as anyone does, without TLS; leave out --access-file and \
                          --tls-certificate, or submit with `registrar check`"
                    .into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::config::Config;

    #[test]
    fn what_others_can_reach_is_open_only_if_that_is_meant() {
        let said = |flags: &str| {
            let line = ["registrar", "dev", "--listen"]
                .into_iter()
                .chain(flags.split(' '));
            Config::read(line.map(OsString::from))
                .err()
                .map(|error| error.to_string())
        };
        let tls = "--tls-certificate c --tls-key k";
        let file = "--access-file f";

        for fine in [
            "127.0.0.1:1".to_owned(),
            "[::1]:1".to_owned(),
            format!("0.0.0.0:1 {file} {tls}"),
            format!("0.0.0.0:1 {file} --plain-text"),
            "0.0.0.0:1 --open-to-everyone".to_owned(),
        ] {
            assert_eq!(said(&fine), None, "{fine}");
        }
        for (open, what) in [
            ("0.0.0.0:1", "--access-file"),
            ("[::]:1", "--open-to-everyone"),
            (
                "10.0.0.1:1 --plain-text",
                "everyone who reaches it may do everything",
            ),
            (&format!("0.0.0.0:1 {tls}"), "--access-file"),
            (&format!("0.0.0.0:1 {file}"), "--plain-text"),
        ] {
            let refused = said(open).expect(open);
            assert!(refused.contains(what), "{open}: {refused}");
        }
    }
}
