//! The kinds of `networking.istio.io`, field by field as in Istio's API.

mod common;
pub mod destination_rule;
mod gateway;
mod service_entry;
mod sidecar;
pub mod virtual_service;
mod workload_entry;
mod workload_group;

pub use common::{Destination, Percent, Port, PortSelector, StringMatch, WorkloadSelector};
pub use destination_rule::*;
pub use gateway::*;
pub use service_entry::*;
pub use sidecar::*;
pub use virtual_service::*;
pub use workload_entry::WorkloadEntry;
pub use workload_group::*;
