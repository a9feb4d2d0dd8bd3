//! By what a request's endpoint is chosen, where the cluster hashes.

use meltemi_api::networking::ConsistentHashLb;

use crate::pb::{self, route};
use route::route_action::{HashPolicy, hash_policy};

pub fn translate(hash: &ConsistentHashLb) -> Option<HashPolicy> {
    let specifier = if let Some(name) = &hash.http_header_name {
        hash_policy::PolicySpecifier::Header(hash_policy::Header {
            header_name: name.clone(),
            ..Default::default()
        })
    } else if let Some(cookie) = &hash.http_cookie {
        let attributes = cookie
            .attributes
            .iter()
            .map(|attribute| hash_policy::CookieAttribute {
                name: attribute.name.clone(),
                value: attribute.value.clone(),
            })
            .collect();
        hash_policy::PolicySpecifier::Cookie(hash_policy::Cookie {
            name: cookie.name.clone(),
            path: cookie.path.clone(),
            ttl: cookie.ttl.map(|ttl| pb::duration(ttl.get())),
            attributes,
        })
    } else if hash.use_source_ip == Some(true) {
        hash_policy::PolicySpecifier::ConnectionProperties(hash_policy::ConnectionProperties {
            source_ip: true,
        })
    } else if let Some(name) = &hash.http_query_parameter_name {
        hash_policy::PolicySpecifier::QueryParameter(hash_policy::QueryParameter {
            name: name.clone(),
        })
    } else {
        return None;
    };
    Some(HashPolicy {
        policy_specifier: Some(specifier),
        ..Default::default()
    })
}
