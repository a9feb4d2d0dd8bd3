//! The xDS transport: an ADS server and an ADS client over gRPC, delta and
//! state-of-the-world.
//!
//! This crate moves named, versioned, already encoded resources between a
//! [`ResourceSource`] and whoever owns an [`AdsClient`]. It knows the protocol
//! (nonces, subscriptions, ACK and NACK, push order) and nothing about what the
//! resources mean, where they come from, or what is done with them.
//!
//! Not here: translation and debouncing (the source's business), and compiling
//! or partially accepting resources (the client's owner's business).

#![forbid(unsafe_code)]

pub mod client;
pub mod nds;
mod relay;
mod resource;
pub mod server;
mod subscription;
pub mod type_url;
mod wire;

pub use client::AdsClient;
pub use relay::AdsRelay;
pub use resource::{Resource, ResourceSet};
pub use server::{AdsServer, ResourceSource, SecretServer};
pub use subscription::{Subscription, namespace};

/// In a node's `client_features`: a route configuration may leave its virtual hosts to be
/// discovered (`RouteConfiguration.vhds` from ADS, delta only), and the client then asks for
/// all of them by the configuration's name.
pub const VIRTUAL_HOST_DISCOVERY: &str = "dev.meltemi.vhds";
