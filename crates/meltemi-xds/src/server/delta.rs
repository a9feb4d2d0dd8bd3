//! The delta protocol's state of one type on one stream: only what changed is
//! sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::control_plane;
use super::protocol::{Comparison, Header, MAX_NAMES, Prepared, TypeState};
use crate::wire::{DeltaResource, DeltaResponse};
use crate::{ResourceSet, Subscription, type_url as types};

#[derive(Default)]
pub struct DeltaState {
    subscription: Arc<Subscription>,
    /// The version of each resource that the client was sent last, or that it
    /// announced; none where it was told that there is no such resource.
    /// Rejected versions are in here too: they are not worth sending again.
    sent: HashMap<Arc<str>, Option<Arc<str>>>,
    /// Names that must be answered although the client may have them.
    owed: BTreeSet<String>,
    /// The next comparison is answered even when it finds nothing: the client
    /// waits for the end of its first wildcard answer.
    answer_empty: bool,
    /// The set the client has all it wants of: most changes leave most types
    /// alone, and this makes them cheap.
    settled: Option<Arc<str>>,
}

impl DeltaState {
    fn unsubscribe(&mut self, name: &str) {
        let subscription = Arc::make_mut(&mut self.subscription);
        if name == "*" {
            subscription.wildcard = false;
            self.sent
                .retain(|sent, _| subscription.names.contains(&**sent));
        } else if subscription.names.remove(name) {
            self.sent.remove(name);
            self.owed.remove(name);
            // Still covered by the wildcard: xDS wants the client told what the
            // wildcard holds under this name.
            if subscription.wildcard {
                self.owed.insert(name.to_owned());
            }
        }
    }
}

impl TypeState for DeltaState {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaResponse;

    fn header(request: &mut DeltaDiscoveryRequest) -> Header {
        Header {
            node: request.node.take(),
            type_url: std::mem::take(&mut request.type_url),
            nonce: std::mem::take(&mut request.response_nonce),
            error: request.error_detail.take(),
        }
    }

    /// Changes of the subscription are increments: they count even in the
    /// answer to a stale response, or they would be lost.
    fn subscribe(
        &mut self,
        type_url: &str,
        request: DeltaDiscoveryRequest,
        first: bool,
        _stale: bool,
    ) -> Result<bool, String> {
        if !request.resource_locators_subscribe.is_empty()
            || !request.resource_locators_unsubscribe.is_empty()
        {
            return Err("resource locators (xdstp) are not supported; subscribe by name".into());
        }
        let silent = request.resource_names_subscribe.is_empty()
            && request.resource_names_unsubscribe.is_empty();
        if silent && !first {
            return Ok(false);
        }
        self.settled = None;
        if first {
            self.sent = request
                .initial_resource_versions
                .into_iter()
                .map(|(name, version)| (name.into(), Some(version.into())))
                .collect();
            // Clients from before the explicit "*" name nothing to ask for everything.
            if request.resource_names_subscribe.is_empty() && types::is_wildcard(type_url) {
                Arc::make_mut(&mut self.subscription).wildcard = true;
                self.answer_empty = true;
            }
        }
        for name in &request.resource_names_unsubscribe {
            self.unsubscribe(name);
        }
        let subscription = Arc::make_mut(&mut self.subscription);
        for name in request.resource_names_subscribe {
            if name == "*" {
                subscription.wildcard = true;
                self.answer_empty = true;
                continue;
            }
            if !first || !self.sent.contains_key(name.as_str()) {
                self.owed.insert(name.clone());
            }
            subscription.names.insert(name);
        }
        if first {
            self.sent.retain(|name, _| subscription.matches(name));
        }
        if subscription.names.len() > MAX_NAMES || self.sent.len() > MAX_NAMES {
            return Err(format!(
                "more than {MAX_NAMES} names for {}",
                types::short_name(type_url)
            ));
        }
        Ok(true)
    }

    fn subscription(&self) -> &Arc<Subscription> {
        &self.subscription
    }

    fn rewarm(&mut self, names: &[Arc<str>]) {
        for name in names {
            if self.subscription.matches(name) {
                self.owed.insert(name.to_string());
            }
        }
    }

    fn compare(
        &mut self,
        type_url: &str,
        set: &ResourceSet,
        nonce: &str,
        hold_removals: bool,
    ) -> Comparison<DeltaResponse> {
        if self.settled.as_ref() == Some(set.version()) && self.owed.is_empty() {
            return Comparison {
                prepared: None,
                held: false,
            };
        }
        let mut resources = Vec::new();
        let mut names = Vec::new();
        let mut changed = Vec::new();
        let again = !self.sent.is_empty();
        let mut bytes = 0;
        for resource in set.iter().filter(|r| self.subscription.matches(&r.name)) {
            let known = self.sent.get(&resource.name);
            let current = known.is_some_and(|v| v.as_ref() == Some(&resource.version));
            if current && !self.owed.contains(&*resource.name) {
                continue;
            }
            if again && !current {
                changed.push(Arc::clone(&resource.name));
            }
            bytes += resource.any.len();
            names.push(Arc::clone(&resource.name));
            resources.push(DeltaResource {
                version: resource.version.to_string(),
                resource: resource.any.clone(),
                name: resource.name.to_string(),
            });
            self.sent.insert(
                Arc::clone(&resource.name),
                Some(Arc::clone(&resource.version)),
            );
        }

        let gone = |sent: &HashMap<Arc<str>, Option<Arc<str>>>| {
            sent.iter()
                .filter(|(name, version)| version.is_some() && set.get(name).is_none())
                .map(|(name, _)| Arc::clone(name))
                .collect::<BTreeSet<_>>()
        };
        let mut removed = gone(&self.sent);
        let held = hold_removals && !removed.is_empty();
        if held {
            removed.clear();
        }
        // A named resource that does not exist is said to be removed, once.
        let absent = self
            .subscription
            .names
            .iter()
            .chain(&self.owed)
            .filter(|name| {
                set.get(name).is_none()
                    && (self.owed.contains(*name) || !self.sent.contains_key(name.as_str()))
            });
        removed.extend(absent.map(|name| Arc::from(name.as_str())));
        for name in &removed {
            if self.subscription.names.contains(&**name) {
                self.sent.insert(Arc::clone(name), None);
            } else {
                self.sent.remove(name);
            }
        }
        self.owed.clear();
        self.settled = (!held).then(|| Arc::clone(set.version()));

        if resources.is_empty() && removed.is_empty() && !self.answer_empty {
            return Comparison {
                prepared: None,
                held,
            };
        }
        self.answer_empty = false;
        let response = DeltaResponse {
            system_version_info: set.version().to_string(),
            resources,
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            removed_resources: removed.iter().map(ToString::to_string).collect(),
            control_plane: control_plane(),
        };
        Comparison {
            prepared: Some(Prepared {
                response,
                version: Arc::clone(set.version()),
                names,
                changed,
                removed: removed.len(),
                bytes,
            }),
            held,
        }
    }
}
