//! The delta protocol, client side.

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::rpc;

use super::update::unpack;
use super::variant::{Accepted, Delivery, Variant};
use crate::wire::{DELTA_PATH, DeltaResponse};
use crate::{Subscription, type_url as types};

/// What this stream's server was told of each type.
#[derive(Default)]
pub struct Delta {
    told: HashMap<Arc<str>, Subscription>,
}

impl Variant for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaResponse;
    const PATH: &'static str = DELTA_PATH;

    fn subscribe(
        &mut self,
        type_url: &Arc<str>,
        wanted: &Subscription,
        accepted: &mut Accepted,
    ) -> Option<DeltaDiscoveryRequest> {
        accepted.versions.retain(|name, _| wanted.matches(name));
        let mut request = DeltaDiscoveryRequest {
            type_url: type_url.to_string(),
            ..Default::default()
        };
        match self.told.get(type_url) {
            Some(told) if told == wanted => return None,
            Some(told) => {
                let added = wanted.names.difference(&told.names).cloned();
                let dropped = told.names.difference(&wanted.names).cloned();
                request.resource_names_subscribe = added.collect();
                request.resource_names_unsubscribe = dropped.collect();
                if wanted.wildcard && !told.wildcard {
                    request.resource_names_subscribe.push("*".to_owned());
                }
            }
            // Naming nothing would ask for everything of a wildcard type.
            None if wanted.is_empty() => return None,
            None => {
                request.resource_names_subscribe = wanted.names.iter().cloned().collect();
                // Every server understands the silent wildcard, old ones only that.
                if wanted.wildcard && !(wanted.names.is_empty() && types::is_wildcard(type_url)) {
                    request.resource_names_subscribe.push("*".to_owned());
                }
                request.initial_resource_versions = accepted
                    .versions
                    .iter()
                    .map(|(name, version)| (name.to_string(), version.to_string()))
                    .collect();
            }
        }
        self.told.insert(Arc::clone(type_url), wanted.clone());
        Some(request)
    }

    fn receive(
        &mut self,
        response: DeltaResponse,
        _accepted: &HashMap<Arc<str>, Accepted>,
    ) -> Delivery {
        let mut added = Vec::with_capacity(response.resources.len());
        let mut malformed = Vec::new();
        for resource in response.resources {
            let name: Arc<str> = resource.name.into();
            match unpack(
                Arc::clone(&name),
                resource.version.into(),
                resource.resource,
            ) {
                Ok(resource) => added.push(resource),
                Err(error) => malformed.push((name.to_string(), error.to_string())),
            }
        }
        Delivery {
            type_url: response.type_url.into(),
            added,
            removed: response.removed_resources,
            version: response.system_version_info,
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
        _accepted: &Accepted,
    ) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: type_url.to_string(),
            response_nonce: nonce.to_owned(),
            error_detail: error,
            ..Default::default()
        }
    }

    fn introduce(request: &mut DeltaDiscoveryRequest, node: Node) {
        request.node = Some(node);
    }
}
