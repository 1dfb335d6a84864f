//! The client: what all calls share, and how each of them is prepared.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use reqwest::{Url, redirect, retry};
use tokio_util::bytes::Bytes;
use uuid::Uuid;

use crate::upstream::{
    Options,
    action::{Action, Product},
    answers::{self, Checked, Page, Registered, Status, Take},
    call::{Call, Stamp},
    clock::Clock,
    form::{self, Pairs},
    product::{self, ProductInfo},
    secret::Redaction,
    signature::Credentials,
};

/// What result pages are asked for: the most that the upstream documents allow.
pub(super) const PAGE_SIZE: &str = "50";

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
        let origin = options.origin().map_err(anyhow::Error::msg)?;
        let credentials = options.credentials().map_err(anyhow::Error::msg)?;
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

    /// What the next request would be stamped with, for one that has to be remembered first.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            nonce: Uuid::new_v4(),
            date: self.now(),
        }
    }

    /// Asks whether these devices (name, nickname) could be registered: at most 10,000, or 1,000
    /// of a product with X.509. The upstream drops what exceeds that in silence.
    pub fn check_names<'n>(
        &self,
        product: Product<'_>,
        devices: impl IntoIterator<Item = (&'n str, Option<&'n str>)>,
    ) -> Call<Checked> {
        let body = form::devices(devices);
        let query = product.pairs().query();
        Call::new(
            self,
            Action::BatchCheckDeviceNames,
            query,
            body.into(),
            answers::checked,
        )
    }

    /// Asks how far an upstream apply is.
    pub fn status(&self, product: Product<'_>, apply_id: i64) -> Call<Status> {
        let query = product.pairs().with("ApplyId", &apply_id.to_string());
        self.bodyless(
            Action::QueryBatchRegisterDeviceStatus,
            query,
            answers::status,
        )
    }

    /// Asks that the devices of a checked upstream apply be created.
    pub fn register(&self, product: Product<'_>, apply_id: i64) -> Call<Registered> {
        let query = product.pairs().with("ApplyId", &apply_id.to_string());
        self.bodyless(
            Action::BatchRegisterDeviceWithApplyId,
            query,
            answers::registered,
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
        self.bodyless(Action::QueryPageByApplyId, query, answers::page)
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

    pub(super) fn bodyless<T>(&self, action: Action, query: Pairs, take: Take<T>) -> Call<T> {
        Call::new(self, action, query.query(), Bytes::new(), take)
    }
}

#[cfg(test)]
mod tests {
    use crate::upstream::{
        Client, Options, Product,
        tests::far_end::{SECRET, TOKEN, options},
    };

    fn client(id: &str) -> Client {
        Client::new(&Options {
            upstream_access_key_id: Some(id.into()),
            ..options("http://127.0.0.1:1")
        })
        .unwrap()
    }

    #[test]
    fn neither_options_nor_client_nor_call_print_the_secret() {
        let options = options("http://127.0.0.1:1");
        let client = client("id");
        let product = Product {
            product_key: "a1",
            iot_instance_id: None,
        };

        let printed = format!("{options:?} {client:?} {:?}", client.status(product, 1));

        assert!(!printed.contains(SECRET), "{printed}");
        assert!(!printed.contains(TOKEN), "{printed}");
    }

    #[test]
    fn a_key_is_known_by_its_ends_and_its_endpoint_by_its_url() {
        let masked = |id: &str| client(id).masked_key_id();

        assert_eq!(masked("LTAI5tExampleOfAKeyId1"), "LTAI…yId1");
        assert_eq!(masked("simulator"), "simu…");
        assert_eq!(masked("abc"), "a…");
        assert_eq!(client("id").endpoint(), "http://127.0.0.1:1");
        assert!(client("id").has_temporary_key());
    }
}
