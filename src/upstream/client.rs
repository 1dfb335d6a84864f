//! The client: what all calls share, and how each of them is prepared.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use reqwest::{Url, redirect, retry};
use tokio_util::bytes::Bytes;

use crate::upstream::{
    Options,
    call::{Action, Call, Product},
    clock::Clock,
    product::{self, ProductInfo},
    secret::{Redaction, Secret},
    signature::{Credentials, encode},
    wire::{self, Checked, Page, Registered, Status, Take},
};

/// What result pages are asked for: the most that the upstream documents allow.
const PAGE_SIZE: &str = "50";

/// Idle connections that are kept, enough for every lane at its published rate.
const IDLE_CONNECTIONS: usize = 64;

/// Shorter than servers keep an idle connection (15 s and more), since a call that meets one being
/// closed is a lost answer.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// Signs calls and sends them. Clones share connections and clock.
#[derive(Clone)]
pub struct Client {
    pub(super) shared: Arc<Shared>,
}

/// What all calls share.
pub(super) struct Shared {
    pub(super) http: reqwest::Client,
    /// Ends in `/`, the only path there is.
    pub(super) origin: Url,
    pub(super) host: String,
    pub(super) credentials: Credentials,
    pub(super) redaction: Redaction,
    pub(super) timeout: Duration,
    pub(super) clock: Clock,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("origin", &self.shared.origin.as_str())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Fails if the options do, or if the machine has no root certificates and the URL is https.
    /// Connects to nothing.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        options.check().map_err(anyhow::Error::msg)?;
        let origin = origin(options).map_err(anyhow::Error::msg)?;
        let credentials = credentials(options).map_err(anyhow::Error::msg)?;
        // An error only says that the process has a provider already.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let mut http = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .connect_timeout(options.upstream_connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIME);
        if origin.scheme() == "http" {
            // No TLS will be spoken, so a machine without certificates will do.
            http = http.tls_certs_only([]);
        }
        let http = http.build().context("the HTTP client cannot be built")?;
        let host = origin.host_str().unwrap_or_default();
        let host = match origin.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let secrets = [Some(&credentials.secret), credentials.token.as_ref()];
        let redaction = Redaction::of(secrets.into_iter().flatten());
        let shared = Shared {
            http,
            origin,
            host,
            credentials,
            redaction,
            timeout: options.upstream_timeout,
            clock: Clock::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// What time it is, by the machine's clock as the upstream has corrected it.
    pub fn now(&self) -> time::OffsetDateTime {
        self.shared.clock.now()
    }

    /// Asks whether these devices (name, nickname) could be registered: at most 10,000, or 1,000
    /// of a product with X.509. The upstream drops what exceeds that in silence.
    pub fn check_names<'n>(
        &self,
        product: Product<'_>,
        devices: impl IntoIterator<Item = (&'n str, Option<&'n str>)>,
    ) -> Call<Checked> {
        let devices: Vec<_> = devices.into_iter().collect();
        let nicknamed = |nickname: Option<&'n str>| nickname.filter(|text| !text.is_empty());
        let plain = devices
            .iter()
            .all(|(_, nickname)| nicknamed(*nickname).is_none());
        let mut form = Pairs::default();
        for (number, (name, nickname)) in (1..).zip(devices) {
            if plain {
                form.add(&format!("DeviceName.{number}"), name);
                continue;
            }
            form.add(&format!("DeviceNameList.{number}.DeviceName"), name);
            if let Some(nickname) = nicknamed(nickname) {
                form.add(&format!("DeviceNameList.{number}.DeviceNickname"), nickname);
            }
        }
        let query = product.pairs().query();
        Call::new(
            self,
            Action::BatchCheckDeviceNames,
            query,
            form.0.into(),
            wire::checked,
        )
    }

    /// Asks how far an upstream apply is.
    pub fn status(&self, product: Product<'_>, apply_id: i64) -> Call<Status> {
        let query = product.pairs().with("ApplyId", &apply_id.to_string());
        self.bodyless(Action::QueryBatchRegisterDeviceStatus, query, wire::status)
    }

    /// Asks that the devices of a checked upstream apply be created.
    pub fn register(&self, product: Product<'_>, apply_id: i64) -> Call<Registered> {
        let query = product.pairs().with("ApplyId", &apply_id.to_string());
        self.bodyless(
            Action::BatchRegisterDeviceWithApplyId,
            query,
            wire::registered,
        )
    }

    /// Asks for one page, from 1, of 50 of the devices that an upstream apply created.
    pub fn page(&self, product: Product<'_>, apply_id: i64, page: u32) -> Call<Page> {
        let query = Product {
            product_key: "",
            ..product
        }
        .pairs()
        .with("ApplyId", &apply_id.to_string())
        .with("CurrentPage", &page.to_string())
        .with("PageSize", PAGE_SIZE);
        self.bodyless(Action::QueryPageByApplyId, query, wire::page)
    }

    /// Asks what is known of a product.
    pub fn product(&self, product: Product<'_>) -> Call<ProductInfo> {
        self.bodyless(Action::QueryProduct, product.pairs(), product::product)
    }

    /// Where calls go, such as `https://iot.cn-shanghai.aliyuncs.com`.
    pub fn endpoint(&self) -> &str {
        self.shared.origin.as_str().trim_end_matches('/')
    }

    /// Enough of the AccessKey ID to know it by, and never all of it.
    pub fn masked_key_id(&self) -> String {
        let id = &self.shared.credentials.id;
        let all = id.chars().count();
        let end = if all >= 16 { all - 4 } else { all };
        let shown = id.chars().take(4.min(all / 2));
        shown.chain(['…']).chain(id.chars().skip(end)).collect()
    }

    /// Whether the key is one of STS, which ends within hours.
    pub fn has_temporary_key(&self) -> bool {
        self.shared.credentials.token.is_some()
    }

    fn bodyless<T>(&self, action: Action, query: Pairs, take: Take<T>) -> Call<T> {
        Call::new(self, action, query.query(), Bytes::new(), take)
    }
}

impl Product<'_> {
    /// Its own parameters; the ones that are empty stay away.
    fn pairs(self) -> Pairs {
        let instance = self.iot_instance_id.unwrap_or_default();
        [
            ("IotInstanceId", instance),
            ("ProductKey", self.product_key),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .fold(Pairs::default(), |pairs, (name, value)| {
            pairs.with(name, value)
        })
    }
}

/// `name=value` joined by `&`, values encoded. The names need no encoding.
#[derive(Default)]
struct Pairs(String);

impl Pairs {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encode(value));
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.add(name, value);
        self
    }

    /// As it is signed: sorted by name.
    fn query(self) -> String {
        let mut pairs: Vec<_> = self.0.split('&').collect();
        pairs.sort_by_key(|pair| pair.split('=').next());
        pairs.join("&")
    }
}

/// Where calls go: scheme, host and port.
pub(super) fn origin(options: &Options) -> Result<Url, String> {
    let text = match filled(options.upstream_url.as_deref()) {
        Some(url) => url.to_owned(),
        None => {
            let region = &options.upstream_region;
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if region.is_empty() || !region.chars().all(legal) {
                return Err("the upstream region must be like cn-shanghai".into());
            }
            format!("https://iot.{region}.aliyuncs.com")
        }
    };
    // What was given is not repeated: it may hold a password.
    let url = Url::parse(&text).map_err(|error| format!("the upstream URL is not one: {error}"))?;
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
pub(super) fn credentials(options: &Options) -> Result<Credentials, String> {
    let text = |secret: &Option<Secret>| secret.clone().filter(|text| !text.reveal().is_empty());
    let id = filled(options.upstream_access_key_id.as_deref())
        .ok_or("set REGISTRAR_UPSTREAM_ACCESS_KEY_ID, or --upstream-access-key-id")?;
    let secret = text(&options.upstream_access_key_secret)
        .ok_or("set REGISTRAR_UPSTREAM_ACCESS_KEY_SECRET, or --upstream-access-key-secret")?;
    let token = text(&options.upstream_security_token);
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
            origin(&options).unwrap().as_str(),
            "https://iot.cn-shanghai.aliyuncs.com/"
        );

        options.upstream_url = Some(String::new());
        options.upstream_region = "ap-southeast-1".into();
        assert_eq!(
            origin(&options).unwrap().as_str(),
            "https://iot.ap-southeast-1.aliyuncs.com/"
        );

        options.upstream_url = Some("http://127.0.0.1:8080".into());
        assert_eq!(Client::new(&options).unwrap().shared.host, "127.0.0.1:8080");
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

    #[test]
    fn neither_options_nor_client_nor_call_print_the_secret() {
        let options = options();
        let client = Client::new(&Options {
            upstream_url: Some("http://127.0.0.1:1".into()),
            ..options.clone()
        })
        .unwrap();
        let product = Product {
            product_key: "a1",
            iot_instance_id: None,
        };

        let printed = format!("{options:?} {client:?} {:?}", client.status(product, 1));

        assert!(!printed.contains("canary"), "{printed}");
    }

    #[test]
    fn a_key_is_known_by_its_ends_and_its_endpoint_by_its_url() {
        let client = |id: &str| {
            Client::new(&Options {
                upstream_url: Some("http://127.0.0.1:1".into()),
                upstream_access_key_id: Some(id.into()),
                ..options()
            })
            .unwrap()
        };
        let masked = |id: &str| client(id).masked_key_id();

        assert_eq!(masked("LTAI5tExampleOfAKeyId1"), "LTAI…yId1");
        assert_eq!(masked("simulator"), "simu…");
        assert_eq!(masked("abc"), "a…");
        assert_eq!(client("id").endpoint(), "http://127.0.0.1:1");
        assert!(!client("id").has_temporary_key());
    }
}
