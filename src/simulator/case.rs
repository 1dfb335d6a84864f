//! One call on its way through the service, and the questions that several actions ask of it.

use super::REGION;
use super::answers::{Answer, Failure, Refusal};
use super::apply::Apply;
use super::choices::{Gaps, PageSizes, WithoutInstance};
use super::options::{Options, Surplus};
use super::product::Product;
use super::request::Params;
use super::switches::Switches;
use super::world::World;

/// Rows of a page unless the call says otherwise, and at most (help page of QueryPageByApplyId).
const PAGE: (usize, usize) = (10, 50);
/// What a production service took for the maximum in 2020.
const PAGE_IN_2020: usize = 200;
/// Page numbers and sizes are integers of 32 bits in the SDKs.
const MAX_INTEGER: usize = i32::MAX as usize;

/// A call with what it is about, and what the ledger is to tell of it.
#[derive(Debug)]
pub(super) struct Case<'c> {
    pub(super) world: &'c mut World,
    pub(super) options: &'c Options,
    pub(super) params: &'c Params<'c>,
    pub(super) now: u64,
    pub(super) apply_id: Option<u64>,
    pub(super) names: Option<Given>,
}

/// The devices that a call brought.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) count: usize,
    pub(super) dropped: usize,
    /// Only if the call was refused; those of an accepted one are in its apply.
    pub(super) list: Option<Vec<String>>,
}

pub(super) type Outcome = Result<Answer, No>;

/// Why a call is not done.
#[derive(Debug)]
pub(super) enum No {
    Failure(Failure<'static>),
    Refusal(Refusal),
    Broken(std::io::Error),
}

impl<'c> Case<'c> {
    pub(super) fn new(
        world: &'c mut World,
        options: &'c Options,
        params: &'c Params<'c>,
        now: u64,
    ) -> Case<'c> {
        Case {
            world,
            options,
            params,
            now,
            apply_id: params.get("ApplyId").and_then(|text| text.parse().ok()),
            names: None,
        }
    }

    pub(super) fn switches(&self) -> &'c Switches {
        &self.options.switches
    }

    /// The product that is meant.
    pub(super) fn product(&self) -> Result<Product, No> {
        let Some(key) = self.params.get("ProductKey") else {
            return fail("iot.prod.NullProductKey", "The ProductKey is missing.");
        };
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return fail(
                "iot.prod.InvalidFormattedProductkey",
                "The ProductKey is badly formed.",
            );
        }
        let Some(product) = Product::of_key(key) else {
            return fail("iot.prod.NotExistedProduct", "The product does not exist.");
        };
        self.may_reach(product).map(|()| product)
    }

    /// The product that is meant, if devices can be registered in it here.
    pub(super) fn product_to_fill(&self) -> Result<Product, No> {
        let product = self.product()?;
        if product == Product::X509 && self.switches().region != REGION {
            return fail(
                "iot.device.RegionNotSupportX509",
                "The region does not support X.509.",
            );
        }
        Ok(product)
    }

    /// The apply that is meant, if it is one of `product` or that does not matter.
    pub(super) fn apply(&self, product: Option<Product>) -> Result<(u64, &Apply), No> {
        let Some(text) = self.params.get("ApplyId") else {
            return fail("iot.device.NullApplyId", "The ApplyId is missing.");
        };
        let Ok(id) = text.parse() else {
            return fail(
                "iot.device.InvalidFormattedApplyId",
                "The ApplyId is not a number.",
            );
        };
        let found = self.world.state.apply(id).filter(|apply| {
            product.is_none_or(|product| product == apply.product)
                && self.now < self.switches().end_of_apply(apply.asked_at)
        });
        let Some(apply) = found else {
            return no_apply();
        };
        if product.is_none() {
            self.may_reach(apply.product)?;
        }
        Ok((id, apply))
    }

    /// Whether the call names the instance of the product, and no fault stands before that.
    pub(super) fn may_reach(&self, product: Product) -> Result<(), No> {
        if let Some(code) = self.world.faults().product_blocked(product) {
            let refusal = code.refusal();
            return Err(if refusal.status == 200 {
                No::Failure(Failure::new(refusal.code, refusal.message))
            } else {
                No::Refusal(refusal)
            });
        }
        let Some(instance) = self.switches().instance(product) else {
            return Ok(());
        };
        let named = self.params.get("IotInstanceId");
        if named == Some(instance) {
            return Ok(());
        }
        let others = &self.switches().instances;
        let elsewhere = match named {
            None => self.switches().without_instance == WithoutInstance::NoProduct,
            Some(named) => others.iter().any(|other| other.instance == named),
        };
        if elsewhere {
            return fail("iot.prod.NotExistedProduct", "The product does not exist.");
        }
        fail(
            "iot.system.InstanceNotFound",
            "The instance does not exist.",
        )
    }

    /// How many of the listed devices are looked at. `numbers` are theirs; `maximum` is what one
    /// call takes.
    pub(super) fn counted(
        &mut self,
        numbers: impl Iterator<Item = u32>,
        maximum: usize,
    ) -> Result<usize, No> {
        let mut seen = 0;
        let mut row = 0;
        for number in numbers {
            seen += usize::from(number as usize == seen + 1);
            row += 1;
        }
        let count = match self.switches().gaps {
            Gaps::Accept => row,
            Gaps::Cut => seen,
            Gaps::Refuse if seen < row => {
                return fail(
                    "iot.common.InvalidFormattedParameter",
                    "The numbers of the list have a gap.",
                );
            }
            Gaps::Refuse => row,
        };
        let dropped = count.saturating_sub(maximum);
        if let Some(names) = &mut self.names {
            names.dropped = dropped;
        }
        if dropped > 0 && self.options.surplus == Surplus::Refuse {
            return fail(
                "iot.device.TooManyDeviceNamesPerRequest",
                "Too many device names.",
            );
        }
        Ok(count.min(maximum))
    }

    /// Refuses more devices than the simulator can hold.
    pub(super) fn can_hold(&self, count: usize) -> Result<(), No> {
        if !self.world.state.can_hold(count) {
            return fail(
                "iot.device.ApplyManyDevicesFailed",
                "The simulator holds too many names.",
            );
        }
        Ok(())
    }

    /// The number of the page, by the parameter of this name, and how many rows it has.
    pub(super) fn page(&self, name: &str) -> Result<(usize, usize), No> {
        let number = |name: &str, usual: usize| match self.params.get(name).map(str::parse) {
            None => Ok(usual),
            Some(Ok(number @ 1..=MAX_INTEGER)) => Ok(number),
            Some(_) => bad_page(),
        };
        let page = number(name, 1)?;
        let rows = number("PageSize", PAGE.0)?;
        let rows = match self.switches().page_sizes {
            PageSizes::Clamp => rows.min(PAGE.1),
            PageSizes::Refuse if rows > PAGE.1 => return bad_page(),
            PageSizes::Refuse => rows,
            PageSizes::Upto200 => rows.min(PAGE_IN_2020),
        };
        Ok((page, rows))
    }
}

pub(super) fn fail<T>(code: &'static str, message: &'static str) -> Result<T, No> {
    Err(No::Failure(Failure::new(code, message)))
}

pub(super) fn no_apply<T>() -> Result<T, No> {
    fail(
        "iot.device.DeviceApplyIsNotFound",
        "The apply is not found.",
    )
}

pub(super) fn bad_page<T>() -> Result<T, No> {
    fail(
        "iot.common.InvalidPageParams",
        "The page parameters are invalid.",
    )
}
