//! Discovery: what the mesh is at one moment ([`World`]), what a proxy gets of it
//! ([`translate()`]), and the process that serves it.
//!
//! Kubernetes' own routing kinds become Istio's first (`conversion`).
//! Translation is pure and laid out by xDS kind: `cluster`, `endpoint`, `listener`, `route`,
//! `secret`, `name_table`.

#![forbid(unsafe_code)]

pub mod cluster;
pub mod control_plane;
mod conversion;
mod dynamic;
pub mod endpoint;
mod hosts;
mod issue;
pub mod listener;
mod name_table;
mod names;
pub mod pb;
pub mod proxy;
pub mod route;
mod rule;
mod sds;
mod secret;
mod tls_params;
mod translate;
mod view;
pub mod world;

pub use issue::{Issue, Issues};
pub use proxy::{Flavor, NodeError, Proxy, ProxyKind};
pub use rule::Rule;
pub use translate::{Own, Resources, ShareKey, share_key, targets, translate};
pub use view::{ServiceCache, View, ViewKey};
pub use world::{World, WorldOptions};
