//! Where the account is, and what the documents leave open about the upstream.
//!
//! Each switch stands for a question of which nobody outside can know the answer; its default is
//! what fits the documents best. Whoever relies on the upstream should hold under every setting.

use std::str::FromStr;
use std::time::Duration;

use super::choices::{
    CheckedNames, EarlyPages, FailedCreations, Gaps, ImportApply, LetterCase, OverCap, PageOrder,
    PageSizes, Register, Repeated, Shown, Spaces, WithoutInstance,
};
use super::product::Product;
use super::{PRODUCT, REGION};

/// The switches.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Switches {
    /// The region it claims to be in. Only cn-shanghai offers X.509, and the published maximum of
    /// devices in a product depends on it.
    #[arg(id = "simulator_region", long = "simulator-region")]
    #[arg(env = "REGISTRAR_SIMULATOR_REGION", default_value = REGION)]
    pub region: String,

    /// Instances that have an id, each as PRODUCT=ID of a product in it: calls for that product
    /// fail without this IotInstanceId. May be repeated, or hold several between commas. The
    /// other products take any call.
    #[arg(id = "simulator_instances", long = "simulator-instance")]
    #[arg(env = "REGISTRAR_SIMULATOR_INSTANCES")]
    #[arg(value_delimiter = ',', value_name = "PRODUCT=ID")]
    pub instances: Vec<Placement>,

    /// What a call says that lacks the IotInstanceId of its product.
    #[arg(id = "simulator_without_instance", long = "simulator-without-instance")]
    #[arg(env = "REGISTRAR_SIMULATOR_WITHOUT_INSTANCE")]
    #[arg(default_value = "no-product", value_enum)]
    pub without_instance: WithoutInstance,

    /// Devices that a product holds at most. Published: 3,000,000 in cn-shanghai and 1,000,000
    /// elsewhere.
    #[arg(id = "simulator_product_devices", long = "simulator-product-devices")]
    #[arg(env = "REGISTRAR_SIMULATOR_PRODUCT_DEVICES", value_name = "NUMBER")]
    pub product_devices: Option<usize>,

    /// Devices that an instance holds at most. The published figure is that of an old public
    /// instance; a new one holds 500.
    #[arg(id = "simulator_instance_devices", long = "simulator-instance-devices")]
    #[arg(env = "REGISTRAR_SIMULATOR_INSTANCE_DEVICES")]
    #[arg(default_value_t = 10_000_000, value_name = "NUMBER")]
    pub instance_devices: usize,

    /// Where devices above these maxima show.
    #[arg(id = "simulator_over_cap", long = "simulator-over-cap")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_OVER_CAP",
        default_value = "refuse",
        value_enum
    )]
    pub over_cap: OverCap,

    /// The code of a call that is refused for these maxima.
    #[arg(id = "simulator_cap_code", long = "simulator-cap-code")]
    #[arg(env = "REGISTRAR_SIMULATOR_CAP_CODE")]
    #[arg(
        default_value = "iot.device.ApplyManyDevicesFailed",
        value_name = "CODE"
    )]
    pub cap_code: String,

    /// Products that take imports; the others answer iot.common.APINotSupportedInInstance. May be
    /// repeated, or hold several between commas.
    #[arg(id = "simulator_import_products", long = "simulator-import-product")]
    #[arg(env = "REGISTRAR_SIMULATOR_IMPORT_PRODUCTS")]
    #[arg(value_delimiter = ',', default_value = PRODUCT, value_name = "PRODUCT")]
    pub import_products: Vec<String>,

    /// Which queries take the ApplyId of an import.
    #[arg(id = "simulator_import_apply", long = "simulator-import-apply")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_IMPORT_APPLY",
        default_value = "own",
        value_enum
    )]
    pub import_apply: ImportApply,

    /// What RepeatedDeviceNameList holds.
    #[arg(id = "simulator_repeated_list", long = "simulator-repeated-list")]
    #[arg(env = "REGISTRAR_SIMULATOR_REPEATED_LIST")]
    #[arg(default_value = "request", value_enum)]
    pub repeated_list: Repeated,

    /// Whether a check whose names are refused at once has an ApplyId all the same; it then is in
    /// CHECK_FAILED.
    #[arg(id = "simulator_refused_apply_id", long = "simulator-refused-apply-id")]
    #[arg(env = "REGISTRAR_SIMULATOR_REFUSED_APPLY_ID")]
    #[arg(default_value = "hidden", value_enum)]
    pub refused_apply_id: Shown,

    /// The message for a name that the request holds twice.
    #[arg(id = "simulator_repeated_text", long = "simulator-repeated-text")]
    #[arg(env = "REGISTRAR_SIMULATOR_REPEATED_TEXT", value_name = "TEXT")]
    #[arg(default_value = "The device name is repeated.")]
    pub repeated_text: String,

    /// The message for a name that a device has already.
    #[arg(id = "simulator_existing_text", long = "simulator-existing-text")]
    #[arg(env = "REGISTRAR_SIMULATOR_EXISTING_TEXT", value_name = "TEXT")]
    #[arg(default_value = "The device name already exists.")]
    pub existing_text: String,

    /// What becomes of a second register, during the creation or after it.
    #[arg(id = "simulator_second_register", long = "simulator-second-register")]
    #[arg(env = "REGISTRAR_SIMULATOR_SECOND_REGISTER")]
    #[arg(default_value = "refuse", value_enum)]
    pub second_register: Register,

    /// What becomes of a register during the check. Accepted, it ends the check at once, and
    /// creates the devices if all names pass.
    #[arg(id = "simulator_early_register", long = "simulator-early-register")]
    #[arg(env = "REGISTRAR_SIMULATOR_EARLY_REGISTER")]
    #[arg(default_value = "refuse", value_enum)]
    pub early_register: Register,

    /// What becomes of a register after CHECK_FAILED. Accepted, it creates the devices whose
    /// names passed, and ends in CREATE_FAILED.
    #[arg(id = "simulator_failed_register", long = "simulator-failed-register")]
    #[arg(env = "REGISTRAR_SIMULATOR_FAILED_REGISTER")]
    #[arg(default_value = "refuse", value_enum)]
    pub failed_register: Register,

    /// What pages show before the creation has finished.
    #[arg(id = "simulator_early_pages", long = "simulator-early-pages")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_EARLY_PAGES",
        default_value = "empty",
        value_enum
    )]
    pub early_pages: EarlyPages,

    /// The order of the rows of pages.
    #[arg(id = "simulator_page_order", long = "simulator-page-order")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_PAGE_ORDER",
        default_value = "request",
        value_enum
    )]
    pub page_order: PageOrder,

    /// What becomes of a PageSize above 50.
    #[arg(id = "simulator_page_sizes", long = "simulator-page-sizes")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_PAGE_SIZES",
        default_value = "clamp",
        value_enum
    )]
    pub page_sizes: PageSizes,

    /// Whether pages still show a device that was deleted.
    #[arg(id = "simulator_deleted", long = "simulator-deleted")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_DELETED",
        default_value = "hidden",
        value_enum
    )]
    pub deleted: Shown,

    /// How long an ApplyId is known, counted from the call that gave it. Without end unless given.
    #[arg(id = "simulator_apply_life", long = "simulator-apply-life")]
    #[arg(env = "REGISTRAR_SIMULATOR_APPLY_LIFE", value_parser = humantime::parse_duration)]
    pub apply_life: Option<Duration>,

    /// Whether names that passed a check are kept for it.
    #[arg(id = "simulator_checked_names", long = "simulator-checked-names")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_CHECKED_NAMES",
        default_value = "free",
        value_enum
    )]
    pub checked_names: CheckedNames,

    /// What becomes of a list whose numbers do not run from 1 without a gap.
    #[arg(id = "simulator_gaps", long = "simulator-gaps")]
    #[arg(env = "REGISTRAR_SIMULATOR_GAPS", default_value = "accept", value_enum)]
    pub gaps: Gaps,

    /// What becomes of spaces before and after a name.
    #[arg(id = "simulator_spaces", long = "simulator-spaces")]
    #[arg(env = "REGISTRAR_SIMULATOR_SPACES", default_value = "keep", value_enum)]
    pub spaces: Spaces,

    /// Whether names that differ in upper and lower case only are the same. A directory keeps what
    /// it was made with.
    #[arg(id = "simulator_case", long = "simulator-case")]
    #[arg(env = "REGISTRAR_SIMULATOR_CASE", default_value = "exact", value_enum)]
    pub case: LetterCase,

    /// What a creation leaves behind that fails for some of its devices.
    #[arg(id = "simulator_failed_creations", long = "simulator-failed-creations")]
    #[arg(env = "REGISTRAR_SIMULATOR_FAILED_CREATIONS")]
    #[arg(default_value = "keep", value_enum)]
    pub failed_creations: FailedCreations,

    /// Whether QueryProduct tells how devices authenticate.
    #[arg(id = "simulator_auth_type", long = "simulator-auth-type")]
    #[arg(
        env = "REGISTRAR_SIMULATOR_AUTH_TYPE",
        default_value = "shown",
        value_enum
    )]
    pub auth_type: Shown,
}

/// A product in an instance that has an id; written `PRODUCT=ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub product: String,
    pub instance: String,
}

impl Switches {
    /// Refuses settings that cannot be meant.
    pub(super) fn check(&self) -> Result<(), String> {
        let placed = self.instances.iter().map(|placement| &placement.product);
        for product in placed.chain(&self.import_products) {
            if Product::of_key(product).is_none() {
                return Err(format!("there is no product `{product}`"));
            }
        }
        if !self.cap_code.starts_with("iot.") {
            return Err("--simulator-cap-code is one of the service and starts with `iot.`".into());
        }
        Ok(())
    }

    /// The id of the product's instance, if that has one.
    pub(super) fn instance(&self, product: Product) -> Option<&str> {
        let mut placed = self.instances.iter();
        let found = placed.find(|placement| placement.product == product.key());
        found.map(|placement| placement.instance.as_str())
    }

    pub(super) fn takes_imports(&self, product: Product) -> bool {
        self.import_products.iter().any(|key| key == product.key())
    }

    /// Devices that a product holds at most, from the page of limits (2024).
    pub(super) fn product_cap(&self) -> usize {
        let published = if self.region == REGION {
            3_000_000
        } else {
            1_000_000
        };
        self.product_devices.unwrap_or(published)
    }

    /// From when on an apply that was asked for at this time is no longer known, in microseconds.
    pub(super) fn end_of_apply(&self, asked_at: u64) -> u64 {
        self.apply_life.map_or(u64::MAX, |life| {
            let life = u64::try_from(life.as_micros()).unwrap_or(u64::MAX);
            asked_at.saturating_add(life)
        })
    }
}

impl Default for Switches {
    fn default() -> Self {
        Switches {
            region: REGION.into(),
            instances: Vec::new(),
            without_instance: WithoutInstance::NoProduct,
            product_devices: None,
            instance_devices: 10_000_000,
            over_cap: OverCap::Refuse,
            cap_code: "iot.device.ApplyManyDevicesFailed".into(),
            import_products: vec![PRODUCT.into()],
            import_apply: ImportApply::Own,
            repeated_list: Repeated::Request,
            refused_apply_id: Shown::Hidden,
            repeated_text: "The device name is repeated.".into(),
            existing_text: "The device name already exists.".into(),
            second_register: Register::Refuse,
            early_register: Register::Refuse,
            failed_register: Register::Refuse,
            early_pages: EarlyPages::Empty,
            page_order: PageOrder::Request,
            page_sizes: PageSizes::Clamp,
            deleted: Shown::Hidden,
            apply_life: None,
            checked_names: CheckedNames::Free,
            gaps: Gaps::Accept,
            spaces: Spaces::Keep,
            case: LetterCase::Exact,
            failed_creations: FailedCreations::Keep,
            auth_type: Shown::Shown,
        }
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (product, instance) = text.split_once('=').ok_or("expected PRODUCT=ID")?;
        if instance.is_empty() {
            return Err("expected PRODUCT=ID".into());
        }
        Ok(Placement {
            product: product.into(),
            instance: instance.into(),
        })
    }
}
