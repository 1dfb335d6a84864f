//! The two products of the simulated account.

use serde::{Deserialize, Serialize};

use super::{PRODUCT, PRODUCT_X509};

/// A product, told apart by how its devices authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) enum Product {
    Secret,
    X509,
}

impl Product {
    pub(super) const ALL: [Product; 2] = [Product::Secret, Product::X509];

    pub(super) fn of_key(key: &str) -> Option<Product> {
        Product::ALL
            .into_iter()
            .find(|product| product.key() == key)
    }

    pub(super) fn key(self) -> &'static str {
        match self {
            Product::Secret => PRODUCT,
            Product::X509 => PRODUCT_X509,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Product::Secret => "Simulator",
            Product::X509 => "Simulator X.509",
        }
    }

    pub(super) fn auth_type(self) -> &'static str {
        match self {
            Product::Secret => "secret",
            Product::X509 => "x509",
        }
    }

    /// Names that one BatchCheckDeviceNames takes, from the help page of that action (2024).
    pub(super) fn names_per_check(self) -> usize {
        match self {
            Product::Secret => 10_000,
            Product::X509 => 1_000,
        }
    }
}

impl TryFrom<String> for Product {
    type Error = String;

    fn try_from(key: String) -> Result<Product, String> {
        Product::of_key(&key).ok_or_else(|| {
            format!("there is no product `{key}`, only `{PRODUCT}` and `{PRODUCT_X509}`")
        })
    }
}

impl From<Product> for String {
    fn from(product: Product) -> String {
        product.key().into()
    }
}
