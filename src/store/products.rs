//! What the upstream says of products.

use std::time::Duration;

use super::{Error, Store};
use crate::breaking::{self, Point};

/// A product as it was last looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownProduct {
    /// How its devices authenticate, in the upstream's word; empty if it does not say.
    pub auth_type: String,
    /// How long ago that was.
    pub learned_ago: Duration,
}

impl Store {
    /// What is known of a product of the account.
    pub async fn product(
        &self,
        product_key: &str,
        iot_instance_id: &str,
    ) -> Result<Option<KnownProduct>, Error> {
        let row = sqlx::query!(
            r#"SELECT auth_type, extract(epoch FROM now() - learned_at)::float8 AS "ago!"
               FROM products
               WHERE account = $1 AND product_key = $2 AND iot_instance_id = $3"#,
            self.account,
            product_key,
            iot_instance_id,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| KnownProduct {
            auth_type: row.auth_type,
            learned_ago: Duration::from_secs_f64(row.ago.max(0.0)),
        }))
    }

    /// Keeps what the upstream has just said of a product.
    pub async fn learn_product(
        &self,
        product_key: &str,
        iot_instance_id: &str,
        auth_type: &str,
    ) -> Result<(), Error> {
        sqlx::query!(
            r#"INSERT INTO products (account, product_key, iot_instance_id, auth_type)
               VALUES ($1, $2, $3, $4)
               ON CONFLICT (account, product_key, iot_instance_id) DO UPDATE
               SET auth_type = excluded.auth_type, learned_at = now()"#,
            self.account,
            product_key,
            iot_instance_id,
            auth_type,
        )
        .execute(&self.pool)
        .await?;
        breaking::point(Point::ProductLearnt);
        Ok(())
    }
}
