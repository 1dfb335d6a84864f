//! What is told while nobody asks: one connected story of an apply, and metrics as documented.

pub(crate) mod metrics_docs;
mod receiver;
mod story;
mod streams;
