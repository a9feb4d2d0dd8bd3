//! What the proxy reports: counters, Istio's metrics, access logs.

mod flags;
mod info;
pub mod stats;

pub use flags::*;
pub use info::*;
