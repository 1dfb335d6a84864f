//! Who is calling, and what that allows.

use std::{fmt, net::SocketAddr, sync::Arc};

use super::{Corrupt, outcome::words};

/// Characters of the name of a tenant, of a caller and of a product pattern.
pub const NAME: usize = 64;

words! {
    /// What a caller may do.
    pub enum Right ("a right") {
        /// Hand over devices.
        Submit = "submit",
        /// Have devices registered.
        Register = "register",
        /// Cancel an apply.
        Cancel = "cancel",
        /// See applies, devices and quotas.
        Read = "read",
        /// See the secrets of devices.
        Credentials = "credentials",
    }
}

words! {
    /// What proved who is calling.
    pub enum Proof ("a proof") {
        /// Nothing: the server is open.
        Open = "OPEN",
        /// A token.
        Token = "TOKEN",
        /// A certificate.
        Certificate = "CERTIFICATE",
    }
}

words! {
    /// What a caller did, or tried, as the audit has it.
    pub enum Act ("an act") {
        /// An apply was stored.
        Submit = "SUBMIT",
        /// An apply was accepted for registration, or its failed devices again.
        Register = "REGISTER",
        /// An apply was cancelled.
        Cancel = "CANCEL",
        /// UNKNOWN devices of an apply are asked after at once.
        Reconcile = "RECONCILE",
        /// Secrets of devices were asked for by who has the right to them.
        Credentials = "CREDENTIALS",
        /// What the caller has no right to was asked for.
        Refused = "REFUSED",
    }
}

/// Whose applies these are: they do not exist for anybody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// A tenant by its name, which is empty for that of an open server.
    ///
    /// # Errors
    ///
    /// What is no name, as a sentence without the value.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        match name.is_empty() || is_name(name) {
            true => Ok(Self(name.into())),
            false => Err("a tenant has up to 64 letters, digits, - _ and ."),
        }
    }

    /// The tenant of an open server.
    pub fn open() -> Self {
        Self("".into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a text can be the name of a caller or a tenant.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    (1..=NAME).contains(&name.len()) && name.bytes().all(allowed)
}

/// Some of the rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// All of them.
    pub fn all() -> Self {
        Right::ALL.iter().copied().collect()
    }

    /// Whether this is one of them.
    pub fn hold(self, right: Right) -> bool {
        self.0 & 1 << right as u8 != 0
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        let bits = rights.into_iter().map(|right| 1 << right as u8);
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

/// Product keys: this one, or those that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProductPattern {
    /// Exactly this one.
    Exactly(String),
    /// Those that begin so, written with a `*` behind it; all of them where it is empty.
    Prefix(String),
}

impl ProductPattern {
    /// Takes `a1BwAGV`, `a1Bw*` or `*`.
    ///
    /// # Errors
    ///
    /// What is no pattern, as a sentence without the value.
    pub fn parse(pattern: &str) -> Result<Self, &'static str> {
        let (key, is_prefix) = match pattern.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (pattern, false),
        };
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        let fits = key.len() <= NAME && key.bytes().all(allowed) && (is_prefix || !key.is_empty());
        match (fits, is_prefix) {
            (true, true) => Ok(Self::Prefix(key.to_owned())),
            (true, false) => Ok(Self::Exactly(key.to_owned())),
            (false, _) => Err(
                "a product pattern is a product key (letters, digits, - and _), the beginning of \
                 one with a * behind it, or *",
            ),
        }
    }

    fn allows(&self, product_key: &str) -> bool {
        match self {
            Self::Exactly(key) => key == product_key,
            Self::Prefix(prefix) => product_key.starts_with(prefix),
        }
    }
}

/// The products that a caller may submit devices for, and whose applies it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Products(Arc<[ProductPattern]>);

impl Products {
    /// Every product.
    pub fn all() -> Self {
        [ProductPattern::Prefix(String::new())]
            .into_iter()
            .collect()
    }

    /// Whether this product is one of them.
    pub fn allow(&self, product_key: &str) -> bool {
        self.0.iter().any(|pattern| pattern.allows(product_key))
    }

    /// The patterns that say which they are.
    pub fn patterns(&self) -> &[ProductPattern] {
        &self.0
    }
}

impl FromIterator<ProductPattern> for Products {
    fn from_iter<I: IntoIterator<Item = ProductPattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

/// Who is calling.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose applies the call is about.
    pub tenant: Tenant,
    /// What the caller is called in the audit; empty for anyone.
    pub name: Arc<str>,
    /// What it may do.
    pub rights: Rights,
    /// With which products.
    pub products: Products,
    /// What proved it.
    pub proof: Proof,
    /// Where the call comes from, where that is known.
    pub peer: Option<SocketAddr>,
}

impl Caller {
    /// Who calls an open server: anyone, and may do everything.
    pub fn anyone() -> Self {
        Self {
            tenant: Tenant::open(),
            name: "".into(),
            rights: Rights::all(),
            products: Products::all(),
            proof: Proof::Open,
            peer: None,
        }
    }

    /// Whether it has a right.
    pub fn may(&self, right: Right) -> bool {
        self.rights.hold(right)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant.as_str(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products(patterns: &[&str]) -> Products {
        let parsed = patterns.iter().map(|one| ProductPattern::parse(one));
        parsed.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_pattern_is_a_key_the_beginning_of_one_or_a_star() {
        let some = products(&["a1Bw*", "b_2"]);

        for (product, allowed) in [
            ("a1Bw", true),
            ("a1BwAGV", true),
            ("a1B", false),
            ("b_2", true),
            ("b_22", false),
            ("bx2", false),
            ("", false),
        ] {
            assert_eq!(some.allow(product), allowed, "{product}");
        }
        assert!(products(&["*"]).allow("anything") && !products(&[]).allow("anything"));
        for bad in ["", "a*b", "**", "a%", "a b", "ä*", &"x".repeat(65)] {
            assert!(ProductPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_caller_has_the_rights_it_was_given_and_anyone_has_all() {
        let rights: Rights = [Right::Read, Right::Cancel].into_iter().collect();

        for &right in Right::ALL {
            let given = matches!(right, Right::Read | Right::Cancel);
            assert_eq!(rights.hold(right), given, "{right}");
            assert!(Caller::anyone().may(right) && !Rights::default().hold(right));
        }
    }

    #[test]
    fn a_tenant_has_a_short_plain_name_or_that_of_an_open_server() {
        for good in ["factory-7", "A.b_c", "x", ""] {
            assert_eq!(Tenant::parse(good).unwrap().as_str(), good);
        }
        for bad in ["a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(Tenant::parse(bad).is_err(), "{bad}");
        }
        assert!(is_name("press-line") && !is_name(""));
    }
}
