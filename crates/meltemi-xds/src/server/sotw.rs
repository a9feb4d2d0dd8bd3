//! The state-of-the-world protocol's state of one type on one stream: every
//! response holds all that is subscribed.

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

use super::control_plane;
use super::protocol::{Comparison, Header, MAX_NAMES, Prepared, TypeState};
use crate::wire::SotwResponse;
use crate::{ResourceSet, Subscription, type_url as types};

#[derive(Default)]
pub struct SotwState {
    subscription: Arc<Subscription>,
    /// Version of the set that was sent last, or that the client announced.
    sent: Option<Arc<str>>,
    /// The next comparison is answered even when nothing changed.
    owed: bool,
    /// The next request is answered even when it looks like a plain ACK.
    answer_next: bool,
}

impl TypeState for SotwState {
    type Request = DiscoveryRequest;
    type Response = SotwResponse;

    fn header(request: &mut DiscoveryRequest) -> Header {
        Header {
            node: request.node.take(),
            type_url: std::mem::take(&mut request.type_url),
            nonce: std::mem::take(&mut request.response_nonce),
            error: request.error_detail.take(),
        }
    }

    /// Each request states the whole subscription, so that one which answers a
    /// stale response is ignored: the answer to the latest one repeats it.
    fn subscribe(
        &mut self,
        type_url: &str,
        request: DiscoveryRequest,
        first: bool,
        stale: bool,
    ) -> Result<bool, String> {
        if !request.resource_locators.is_empty() {
            return Err("resource locators (xdstp) are not supported; subscribe by name".into());
        }
        if stale {
            return Ok(false);
        }
        let mut names: BTreeSet<String> = request.resource_names.into_iter().collect();
        if names.len() > MAX_NAMES {
            return Err(format!(
                "more than {MAX_NAMES} names for {}",
                types::short_name(type_url)
            ));
        }
        let explicit = names.remove("*");
        // Naming nothing asks for everything, of the types that allow it and as
        // long as the client has never named something (xDS protocol, "how the
        // client specifies what resources to return").
        let silent = names.is_empty()
            && types::is_wildcard(type_url)
            && (first || self.subscription.wildcard);
        let wanted = Subscription {
            wildcard: explicit || silent,
            names,
        };
        let grown = wanted.wildcard && !self.subscription.wildcard
            || wanted
                .names
                .difference(&self.subscription.names)
                .next()
                .is_some();
        let awaited = std::mem::take(&mut self.answer_next);
        self.owed |= grown || awaited;
        if first && !request.version_info.is_empty() {
            self.sent = Some(request.version_info.into());
            // A client that comes back with the current version needs no answer,
            // except for endpoints: a cluster that changed meanwhile waits for them.
            self.owed = type_url == types::ENDPOINT;
        }
        let changed = *self.subscription != wanted;
        if changed {
            self.subscription = Arc::new(wanted);
        }
        Ok(changed || awaited)
    }

    fn subscription(&self) -> &Arc<Subscription> {
        &self.subscription
    }

    fn rewarm(&mut self, _names: &[Arc<str>]) {
        self.answer_next = true;
    }

    /// Removals cannot be kept back here: leaving a resource out is the only
    /// way to remove it, and putting it in would need its former content.
    fn compare(
        &mut self,
        type_url: &str,
        set: &ResourceSet,
        nonce: &str,
        _hold_removals: bool,
    ) -> Comparison<SotwResponse> {
        let set = set.select(&self.subscription);
        let current = self.sent.as_ref() == Some(set.version());
        let nothing = Comparison {
            prepared: None,
            held: false,
        };
        if current && !self.owed {
            return nothing;
        }
        // Unsubscribing from everything needs no answer.
        if self.subscription.is_empty() {
            self.owed = false;
            self.sent = Some(Arc::clone(set.version()));
            return nothing;
        }
        self.owed = false;
        let again = self.sent.is_some();
        self.sent = Some(Arc::clone(set.version()));
        let names: Vec<_> = set.iter().map(|r| Arc::clone(&r.name)).collect();
        Comparison {
            prepared: Some(Prepared {
                version: Arc::clone(set.version()),
                updated: if again { names.clone() } else { Vec::new() },
                names,
                removed: 0,
                bytes: set.iter().map(|r| r.any.len()).sum(),
                response: SotwResponse {
                    version_info: set.version().to_string(),
                    resources: set.iter().map(|r| r.any.clone()).collect(),
                    type_url: type_url.to_owned(),
                    nonce: nonce.to_owned(),
                    control_plane: control_plane(),
                },
            }),
            held: false,
        }
    }
}
