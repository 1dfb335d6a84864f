//! What stands in the way of watched applies: no event, and told at once.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};

use crate::{domain::Apply, store::Standing};

/// The blocks that stand, as the hub saw them last. Clones share what is seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(watch::Sender<Look>);

/// What a look found.
#[derive(Clone, Debug)]
struct Look {
    standing: Arc<[Standing]>,
    /// When it began.
    at: Instant,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            standing: Arc::default(),
            at: Instant::now(),
        }
    }
}

impl Seen {
    /// Wakes those who wait for a change, if a look that began at `at` has found one.
    pub(super) fn update(&self, standing: Vec<Standing>, at: Instant) {
        self.0.send_if_modified(|known| {
            let changed = known.standing[..] != standing[..];
            if changed {
                *known = Look {
                    standing: standing.into(),
                    at,
                };
            }
            changed
        });
    }

    pub(super) fn subscribe(&self, apply: &Apply) -> Blocks {
        Blocks {
            seen: self.0.subscribe(),
            product: format!("{}/{}", apply.product_key, apply.iot_instance_id),
            known: Vec::new(),
        }
    }
}

/// The blocks on one apply.
#[derive(Clone, Debug)]
pub struct Blocks {
    seen: watch::Receiver<Look>,
    product: String,
    /// The numbers of those told last; at first none.
    known: Vec<i64>,
}

impl Blocks {
    /// Returns once others stand than those told last, which the value returned has told, and since
    /// when the hub knows.
    pub async fn changed(mut self) -> (Self, Instant) {
        let (product, known) = (&self.product, &self.known);
        let changed = self
            .seen
            .wait_for(|look| on(&look.standing, product) != *known)
            .await
            .expect("the hub keeps what it sees");
        let (told, at) = (on(&changed.standing, product), changed.at);
        drop(changed);
        let told = Self {
            known: told,
            ..self
        };
        (told, at)
    }
}

fn on(all: &[Standing], product: &str) -> Vec<i64> {
    all.iter()
        .filter(|block| block.product.as_deref().is_none_or(|its| its == product))
        .map(|block| block.block_no)
        .collect()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use time::OffsetDateTime;

    use super::*;
    use crate::domain::{AfterCheck, ApplyId, Labels};

    fn block(block_no: i64, product: Option<&str>) -> Standing {
        Standing {
            block_no,
            product: product.map(str::to_owned),
        }
    }

    fn watched() -> Apply {
        Apply {
            id: ApplyId(7),
            product_key: "a1".into(),
            iot_instance_id: "iot-1".into(),
            after_check: AfterCheck::Stop,
            import: false,
            labels: Labels::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_watcher_hears_of_blocks_on_its_apply_and_of_their_end() {
        let seen = Seen::default();
        let blocks = seen.subscribe(&watched());
        assert!(blocks.clone().changed().now_or_never().is_none());

        seen.update(vec![block(1, Some("a1/"))], Instant::now());
        assert!(blocks.clone().changed().now_or_never().is_none());
        seen.update(vec![block(1, Some("a1/")), block(2, None)], Instant::now());
        let (blocks, _) = blocks.changed().now_or_never().unwrap();
        assert!(blocks.clone().changed().now_or_never().is_none());
        seen.update(Vec::new(), Instant::now());
        let (blocks, _) = blocks.changed().now_or_never().unwrap();
        assert!(blocks.changed().now_or_never().is_none());
    }

    #[test]
    fn a_block_that_stands_already_is_told_first_of_all() {
        let seen = Seen::default();
        seen.update(vec![block(1, Some("a1/iot-1"))], Instant::now());

        let told = seen.subscribe(&watched()).changed().now_or_never();

        assert!(told.is_some());
    }
}
