//! What the two variants of the protocol have in common, seen from the client.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::rpc;

use super::update::{RawResource, Verdict};
use crate::Subscription;
use crate::wire::truncate;

/// What the owner has accepted of one type; outlives streams.
#[derive(Default)]
pub struct Accepted {
    /// Version of each resource.
    pub versions: HashMap<Arc<str>, Arc<str>>,
    /// Version of the set (state of the world only).
    pub version_info: String,
}

/// A response as the owner gets it.
pub struct Delivery {
    pub type_url: Arc<str>,
    pub added: Vec<RawResource>,
    pub removed: Vec<String>,
    pub version: String,
    pub nonce: String,
    pub server: Option<String>,
    /// Names of resources that could not even be unpacked, and why.
    pub malformed: Vec<(String, String)>,
}

/// One variant of the protocol; a value holds the state of one stream.
pub trait Variant: Default + Send + 'static {
    type Request: prost::Message + Default + 'static;
    type Response: prost::Message + Default + 'static;
    /// gRPC method.
    const PATH: &'static str;

    /// The request that makes the server's view of a subscription the wanted
    /// one; none when it is already. Drops from `accepted` what is not wanted
    /// any more.
    fn subscribe(
        &mut self,
        type_url: &Arc<str>,
        wanted: &Subscription,
        accepted: &mut Accepted,
    ) -> Option<Self::Request>;

    /// Unpacks a response.
    fn receive(
        &mut self,
        response: Self::Response,
        accepted: &HashMap<Arc<str>, Accepted>,
    ) -> Delivery;

    /// The request that answers a response.
    fn answer(
        &mut self,
        type_url: &Arc<str>,
        nonce: &str,
        error: Option<rpc::Status>,
        accepted: &Accepted,
    ) -> Self::Request;

    /// Puts the node into the first request of a stream.
    fn introduce(request: &mut Self::Request, node: Node);
}

/// What has to be remembered of a delivered update until it is answered.
pub struct Delivered {
    pub type_url: Arc<str>,
    pub nonce: String,
    version: String,
    added: Vec<(Arc<str>, Arc<str>)>,
    removed: Vec<String>,
    malformed: Vec<(String, String)>,
}

impl Delivered {
    pub fn of(delivery: &Delivery) -> Self {
        Self {
            type_url: Arc::clone(&delivery.type_url),
            nonce: delivery.nonce.clone(),
            version: delivery.version.clone(),
            added: delivery
                .added
                .iter()
                .map(|resource| (Arc::clone(&resource.name), Arc::clone(&resource.version)))
                .collect(),
            removed: delivery.removed.clone(),
            malformed: delivery.malformed.clone(),
        }
    }

    /// Records what the owner accepted; returns the error to tell the server.
    pub fn settle(self, verdict: Verdict, accepted: &mut Accepted) -> Option<rpc::Status> {
        let mut problems: Vec<String> = self
            .malformed
            .iter()
            .map(|(name, why)| format!("{name}: {why}"))
            .collect();
        let rejected: BTreeSet<String> = match verdict {
            Verdict::Accepted => BTreeSet::new(),
            Verdict::Rejected { message, resources } => {
                problems.push(message);
                let Some(resources) = resources else {
                    return Some(nack(&problems));
                };
                resources.into_iter().collect()
            }
        };
        for (name, version) in self.added {
            if !rejected.contains(&*name) {
                accepted.versions.insert(name, version);
            }
        }
        for name in self.removed {
            if !rejected.contains(&name) {
                accepted.versions.remove(name.as_str());
            }
        }
        if problems.is_empty() {
            accepted.version_info = self.version;
            return None;
        }
        Some(nack(&problems))
    }
}

fn nack(problems: &[String]) -> rpc::Status {
    let message = truncate(&problems.join("; ")).to_owned();
    rpc::Status {
        // The code Envoy uses for a rejected configuration.
        code: tonic::Code::Internal.into(),
        message,
        details: Vec::new(),
    }
}
