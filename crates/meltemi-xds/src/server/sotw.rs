//! The state-of-the-world protocol's state of one type on one stream: every
//! response holds all that is subscribed.

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use prost::Message;

use super::control_plane;
use super::protocol::{Comparison, Header, MAX_NAMES, Prepared, TypeState};
use super::response::{Framing, Response, Selection};
use crate::wire::SotwResponse;
use crate::{Resource, ResourceSet, Subscription, type_url as types};

#[derive(Default)]
pub struct SotwState {
    subscription: Arc<Subscription>,
    /// Version of the set that was sent last, or that the client announced.
    sent: Option<Arc<str>>,
    /// The set that was sent last on this stream.
    last: Option<ResourceSet>,
    /// The next comparison is answered even when nothing changed.
    owed: bool,
    /// The next request is answered even when it looks like a plain ACK.
    answer_next: bool,
}

impl TypeState for SotwState {
    type Request = DiscoveryRequest;

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
            ..Subscription::of(type_url)
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

    fn share(&mut self, subscription: Arc<Subscription>) {
        self.subscription = subscription;
    }

    fn rewarm(&mut self, _names: &[Arc<str>]) {
        self.answer_next = true;
    }

    fn compare(
        &mut self,
        type_url: &str,
        set: &ResourceSet,
        nonce: &str,
        hold_removals: bool,
    ) -> Comparison {
        let mut set = set.select(&self.subscription);
        // Leaving a resource out removes it, so what is kept back is sent once more.
        let held = hold_removals && self.lacks(&set);
        if held && let Some(last) = &self.last {
            let removed = last
                .iter()
                .filter(|r| set.get(&r.name).is_none() && self.subscription.matches(&r.name));
            set = set.iter().chain(removed).cloned().collect();
        }
        let nothing = Comparison {
            prepared: None,
            held,
        };
        if self.sent.as_ref() == Some(set.version()) && !self.owed {
            return nothing;
        }
        self.owed = false;
        let again = self.sent.replace(Arc::clone(set.version())).is_some();
        let last = self.last.replace(set.clone());
        // Unsubscribing from everything needs no answer.
        if self.subscription.is_empty() {
            return nothing;
        }
        let new = |resource: &&Resource| {
            let known = last.as_ref().and_then(|last| last.get(&resource.name));
            known.is_none_or(|known| known.version != resource.version)
        };
        let changed = if again {
            set.iter()
                .filter(new)
                .map(|r| Arc::clone(&r.name))
                .collect()
        } else {
            Vec::new()
        };
        let fields = SotwResponse {
            version_info: set.version().to_string(),
            resources: Vec::new(),
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            control_plane: control_plane(),
        };
        Comparison {
            prepared: Some(Prepared {
                version: Arc::clone(set.version()),
                changed,
                removed: 0,
                response: Response {
                    fields: fields.encode_to_vec(),
                    framing: Framing::StateOfTheWorld,
                    resources: Arc::new(Selection::all(set)),
                },
            }),
            held,
        }
    }
}

impl SotwState {
    /// Whether the client has something that is not in the set.
    fn lacks(&self, set: &ResourceSet) -> bool {
        self.last.as_ref().is_some_and(|last| {
            last.iter()
                .any(|resource| set.get(&resource.name).is_none())
        })
    }
}
