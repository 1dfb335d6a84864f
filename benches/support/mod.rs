//! What the benchmarks share.

pub(crate) mod bare;
mod board;
pub(crate) mod etcd;
pub(crate) mod load;
pub(crate) mod stage;
pub(crate) mod table;
pub(crate) mod usage;
pub(crate) mod watched;
