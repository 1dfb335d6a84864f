//! The room's settings, and what follows from them alone.

use std::time::Duration;

use reqwest::Url;

use crate::upstream::{secret::Secret, signature::Credentials};

/// Where the upstream is, and as whom it is called.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Base URL of the upstream, without a path. Derived from the region when it is not given:
    /// `https://iot.<region>.aliyuncs.com`.
    #[arg(long, env = "REGISTRAR_UPSTREAM_URL")]
    pub upstream_url: Option<String>,

    /// Region of the IoT Platform, such as cn-shanghai or ap-southeast-1.
    #[arg(long, env = "REGISTRAR_UPSTREAM_REGION", default_value = "cn-shanghai")]
    pub upstream_region: String,

    /// AccessKey ID that signs every call.
    #[arg(long, env = "REGISTRAR_UPSTREAM_ACCESS_KEY_ID")]
    pub upstream_access_key_id: Option<String>,

    /// AccessKey secret. Better set by environment than by flag, which other users of the
    /// machine can see.
    #[arg(
        long,
        env = "REGISTRAR_UPSTREAM_ACCESS_KEY_SECRET",
        hide_env_values = true
    )]
    pub upstream_access_key_secret: Option<Secret>,

    /// Security token, if the AccessKey is a temporary one of STS.
    #[arg(
        long,
        env = "REGISTRAR_UPSTREAM_SECURITY_TOKEN",
        hide_env_values = true
    )]
    pub upstream_security_token: Option<Secret>,

    /// How long one call may take, from connecting to the last byte of the answer.
    #[arg(long, env = "REGISTRAR_UPSTREAM_TIMEOUT", default_value = "20s",
          value_parser = humantime::parse_duration)]
    pub upstream_timeout: Duration,

    /// How long connecting may take, TLS included.
    #[arg(long, env = "REGISTRAR_UPSTREAM_CONNECT_TIMEOUT", default_value = "5s",
          value_parser = humantime::parse_duration)]
    pub upstream_connect_timeout: Duration,
}

impl Options {
    /// Refuses settings with which no call could be made. Texts that are empty count as not set.
    pub fn check(&self) -> Result<(), String> {
        self.origin()?;
        self.credentials()?;
        if self.upstream_connect_timeout.is_zero() {
            return Err("the upstream connect timeout must be more than zero".into());
        }
        if self.upstream_timeout < self.upstream_connect_timeout {
            return Err(format!(
                "--upstream-timeout is {:?} and must be at least --upstream-connect-timeout, \
                 which is {:?}",
                self.upstream_timeout, self.upstream_connect_timeout
            ));
        }
        Ok(())
    }

    /// Where calls go: scheme, host and port.
    pub(super) fn origin(&self) -> Result<Url, String> {
        let text = match filled(self.upstream_url.as_deref()) {
            Some(url) => url.to_owned(),
            None => {
                let region = &self.upstream_region;
                let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                if region.is_empty() || !region.chars().all(legal) {
                    return Err("the upstream region must be like cn-shanghai".into());
                }
                format!("https://iot.{region}.aliyuncs.com")
            }
        };
        // What was given is not repeated: it may hold a password.
        let url =
            Url::parse(&text).map_err(|error| format!("the upstream URL is not one: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("the upstream URL must begin with https:// or http://".into());
        }
        let bare = url.username().is_empty() && url.password().is_none();
        if !bare || url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("the upstream URL must be scheme, host and port, and nothing else".into());
        }
        Ok(url)
    }

    /// As whom calls are signed.
    pub(super) fn credentials(&self) -> Result<Credentials, String> {
        let text =
            |secret: &Option<Secret>| secret.clone().filter(|text| !text.reveal().is_empty());
        let id = filled(self.upstream_access_key_id.as_deref())
            .ok_or("set REGISTRAR_UPSTREAM_ACCESS_KEY_ID, or --upstream-access-key-id")?;
        let secret = text(&self.upstream_access_key_secret)
            .ok_or("set REGISTRAR_UPSTREAM_ACCESS_KEY_SECRET, or --upstream-access-key-secret")?;
        let token = text(&self.upstream_security_token);
        // Both travel in headers, where nothing else is legal; a stray newline is the usual case.
        let graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !graphic(id) || !graphic(secret.reveal()) {
            return Err("the upstream AccessKey holds a space or another illegal character".into());
        }
        if token.as_ref().is_some_and(|token| !graphic(token.reveal())) {
            return Err(
                "the upstream security token holds a space or another illegal character".into(),
            );
        }
        Ok(Credentials {
            id: id.to_owned(),
            secret,
            token,
        })
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options() -> Options {
        let key = [
            "registrar",
            "--upstream-access-key-id=id",
            "--upstream-access-key-secret=canary",
        ];
        Line::parse_from(key).options
    }

    fn refusal(change: impl FnOnce(&mut Options)) -> String {
        let mut options = options();
        change(&mut options);
        options.check().unwrap_err()
    }

    #[test]
    fn the_url_follows_from_the_region_unless_it_is_given() {
        let mut options = options();
        assert_eq!(
            options.origin().unwrap().as_str(),
            "https://iot.cn-shanghai.aliyuncs.com/"
        );

        options.upstream_url = Some(String::new());
        options.upstream_region = "ap-southeast-1".into();
        assert_eq!(
            options.origin().unwrap().as_str(),
            "https://iot.ap-southeast-1.aliyuncs.com/"
        );

        options.upstream_url = Some("http://127.0.0.1:8080".into());
        assert_eq!(options.origin().unwrap().as_str(), "http://127.0.0.1:8080/");
    }

    #[test]
    fn settings_with_which_no_call_can_be_made_are_refused() {
        assert!(refusal(|o| o.upstream_access_key_id = None).contains("ACCESS_KEY_ID"));
        assert!(refusal(|o| o.upstream_access_key_secret = None).contains("ACCESS_KEY_SECRET"));
        assert!(
            refusal(|o| o.upstream_access_key_secret = Some("a\n".parse().unwrap()))
                .contains("illegal")
        );
        assert!(refusal(|o| o.upstream_url = Some("ftp://h".into())).contains("https://"));
        assert!(refusal(|o| o.upstream_url = Some("h:1".into())).contains("https://"));
        assert!(
            refusal(|o| o.upstream_url = Some("http://h/path".into())).contains("nothing else")
        );
        assert!(refusal(|o| o.upstream_url = Some("http://u:p@h".into())).contains("nothing else"));
        assert!(refusal(|o| o.upstream_region = "evil.com/".into()).contains("region"));
        assert!(refusal(|o| o.upstream_timeout = Duration::from_secs(1)).contains("timeout"));
        assert!(refusal(|o| o.upstream_connect_timeout = Duration::ZERO).contains("zero"));
    }
}
