//! The kinds of `networking.istio.io`, field by field as in Istio's API.

mod common;
pub mod destination_rule;
mod envoy_filter;
mod gateway;
mod proxy_config;
mod service_entry;
mod sidecar;
pub mod virtual_service;
mod workload_entry;
mod workload_group;

pub use common::{Destination, Percent, Port, PortSelector, StringMatch, WorkloadSelector};
pub use destination_rule::*;
pub use envoy_filter::*;
pub use gateway::*;
pub use proxy_config::ProxyConfig;
pub use service_entry::*;
pub use sidecar::*;
pub use virtual_service::*;
pub use workload_entry::WorkloadEntry;
pub use workload_group::*;
