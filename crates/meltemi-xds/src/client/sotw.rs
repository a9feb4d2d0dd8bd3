//! The state-of-the-world protocol, client side: finds out by itself what
//! changed, so that the owner sees the same updates as with delta.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::google::rpc;
use prost::Message;

use super::update::{RawResource, unpack};
use super::variant::{Accepted, Delivery, Variant};
use crate::resource::content_version;
use crate::wire::{DeltaResource, SOTW_PATH, SotwResponse};
use crate::{Subscription, type_url as types};

/// Wraps a resource whose name is not in its body.
const RESOURCE_WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

#[derive(Default)]
struct Told {
    names: Vec<String>,
    subscription: Subscription,
    nonce: String,
    /// Responses the owner has not answered.
    unanswered: u32,
}

/// What this stream's server was told of each type.
#[derive(Default)]
pub struct Sotw {
    told: HashMap<Arc<str>, Told>,
    /// Wanted while a response was unanswered: the answer carries it.
    waiting: HashMap<Arc<str>, Subscription>,
}

fn names_of(subscription: &Subscription, type_url: &str) -> Vec<String> {
    let mut names: Vec<String> = subscription.names.iter().cloned().collect();
    // Alone, the wildcard of these types is best said by naming nothing.
    if subscription.wildcard && !(names.is_empty() && types::is_wildcard(type_url)) {
        names.push("*".to_owned());
    }
    names
}

impl Variant for Sotw {
    type Request = DiscoveryRequest;
    type Response = SotwResponse;
    const PATH: &'static str = SOTW_PATH;

    fn subscribe(
        &mut self,
        type_url: &Arc<str>,
        wanted: &Subscription,
        accepted: &mut Accepted,
    ) -> Option<DiscoveryRequest> {
        accepted.versions.retain(|name, _| wanted.matches(name));
        let told = match self.told.get_mut(type_url) {
            Some(told) if told.subscription == *wanted => {
                self.waiting.remove(type_url);
                return None;
            }
            Some(told) if told.unanswered > 0 => {
                self.waiting.insert(Arc::clone(type_url), wanted.clone());
                return None;
            }
            None if wanted.is_empty() => return None,
            Some(told) => told,
            None => self.told.entry(Arc::clone(type_url)).or_default(),
        };
        told.subscription = wanted.clone();
        told.names = names_of(wanted, type_url);
        Some(DiscoveryRequest {
            version_info: accepted.version_info.clone(),
            resource_names: told.names.clone(),
            type_url: type_url.to_string(),
            response_nonce: told.nonce.clone(),
            ..Default::default()
        })
    }

    fn receive(
        &mut self,
        response: SotwResponse,
        accepted: &HashMap<Arc<str>, Accepted>,
    ) -> Delivery {
        let type_url: Arc<str> = response.type_url.into();
        let told = self.told.entry(Arc::clone(&type_url)).or_default();
        told.unanswered += 1;
        told.nonce.clone_from(&response.nonce);
        let known = accepted.get(&type_url).map(|accepted| &accepted.versions);
        let mut added = Vec::new();
        let mut malformed = Vec::new();
        let mut present = HashSet::new();
        for (index, any) in response.resources.into_iter().enumerate() {
            match named(any) {
                Ok(resource) => {
                    present.insert(Arc::clone(&resource.name));
                    let same = known.and_then(|known| known.get(&resource.name));
                    if same != Some(&resource.version) {
                        added.push(resource);
                    }
                }
                Err(error) => malformed.push((format!("resource {index}"), error.to_string())),
            }
        }
        // A malformed resource may be one of the missing ones: remove nothing then.
        let removed = known
            .filter(|_| types::is_full_state(&type_url) && malformed.is_empty())
            .into_iter()
            .flat_map(HashMap::keys)
            .filter(|name| !present.contains(*name))
            .map(ToString::to_string)
            .collect();
        Delivery {
            type_url,
            added,
            removed,
            version: response.version_info,
            nonce: response.nonce,
            server: response.control_plane.map(|server| server.identifier),
            malformed,
        }
    }

    fn answer(
        &mut self,
        type_url: &Arc<str>,
        nonce: &str,
        error: Option<rpc::Status>,
        accepted: &Accepted,
    ) -> DiscoveryRequest {
        let told = self.told.entry(Arc::clone(type_url)).or_default();
        told.unanswered = told.unanswered.saturating_sub(1);
        if let Some(wanted) = self.waiting.remove(type_url) {
            told.names = names_of(&wanted, type_url);
            told.subscription = wanted;
        }
        DiscoveryRequest {
            version_info: accepted.version_info.clone(),
            resource_names: told.names.clone(),
            type_url: type_url.to_string(),
            response_nonce: nonce.to_owned(),
            error_detail: error,
            ..Default::default()
        }
    }

    fn introduce(request: &mut DiscoveryRequest, node: Node) {
        request.node = Some(node);
    }
}

/// The first field of a message when it is a string: the name, in every type
/// that has one.
#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// A resource with its name, which this protocol does not transmit.
fn named(any: Bytes) -> Result<RawResource, prost::DecodeError> {
    let version = content_version(&any);
    let resource = unpack(Arc::from(""), version, any)?;
    if *resource.type_url == *RESOURCE_WRAPPER {
        let wrapped = DeltaResource::decode(resource.body)?;
        return unpack(wrapped.name.into(), resource.version, wrapped.resource);
    }
    // The name table has no name, and its first field is no string.
    if *resource.type_url == *types::NAME_TABLE {
        return Ok(resource);
    }
    let name = Named::decode(resource.body.clone())?.name.into();
    Ok(RawResource { name, ..resource })
}
