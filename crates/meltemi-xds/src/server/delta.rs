//! The delta protocol's state of one type on one stream: only what changed is
//! sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use prost::Message;

use super::control_plane;
use super::protocol::{Comparison, Header, MAX_NAMES, Prepared, TypeState};
use super::response::{Framing, Response, Selection};
use crate::subscription::namespace;
use crate::wire::DeltaResponse;
use crate::{Resource, ResourceSet, Subscription, type_url as types};

#[derive(Default)]
pub struct DeltaState {
    subscription: Arc<Subscription>,
    /// What was compared last: the client was sent all of it that it wants, and
    /// told of the names it wants that are not in it. What it rejected is in here
    /// too: it is not worth sending again.
    last: ResourceSet,
    /// Whether anything was compared.
    compared: bool,
    /// Where the client differs from that: the version it has, as it announced or
    /// because a removal is kept back; none where it has nothing.
    besides: Besides,
    /// Names that must be answered although the client may have them.
    owed: BTreeSet<String>,
    /// The next comparison is answered even when it finds nothing: the client
    /// waits for the end of its first wildcard answer.
    answer_empty: bool,
}

/// Versions by name; none where the client has nothing.
type Besides = BTreeMap<Arc<str>, Option<Arc<str>>>;

impl DeltaState {
    fn unsubscribe(&mut self, name: &str) {
        let subscription = Arc::make_mut(&mut self.subscription);
        if name == "*" {
            subscription.wildcard = false;
            self.forget_unwanted();
        } else if subscription.names.remove(name) {
            self.owed.remove(name);
            if subscription.namespaces {
                self.forget_unwanted();
                return;
            }
            // Still covered by the wildcard: xDS wants the client told what the
            // wildcard holds under this name.
            if subscription.wildcard {
                self.owed.insert(name.to_owned());
            } else {
                self.besides.remove(name);
            }
        }
    }

    fn subscribe_to(&mut self, name: String, first: bool) {
        if name == "*" {
            if !self.subscription.wildcard {
                self.last = self.last.select(&self.subscription);
                Arc::make_mut(&mut self.subscription).wildcard = true;
            }
            self.answer_empty = true;
            return;
        }
        if !first {
            if self.subscription.namespaces {
                // Who asks for a namespace again has nothing of it any more.
                Arc::make_mut(&mut self.subscription).names.remove(&name);
                self.forget_unwanted();
            } else if !self.subscription.matches(&name) {
                self.besides.insert(Arc::from(name.as_str()), None);
            }
            self.owed.insert(name.clone());
        }
        Arc::make_mut(&mut self.subscription).names.insert(name);
    }

    /// Forgets what the client was sent and does not want.
    fn forget_unwanted(&mut self) {
        let subscription = &self.subscription;
        self.last = self.last.select(subscription);
        self.besides.retain(|name, _| subscription.matches(name));
    }

    /// Whether there is something of that name, or in that namespace.
    fn holds(&self, set: &ResourceSet, name: &str) -> bool {
        set.get(name).is_some()
            || self.subscription.namespaces
                && set
                    .iter()
                    .any(|resource| namespace(&resource.name) == Some(name))
    }

    /// What the client has and the set has not, with the versions. `last`: what of
    /// the last set is not in this one.
    fn gone(&self, last: &[&Resource], set: &ResourceSet) -> Besides {
        let last = last.iter().filter(|resource| {
            !self.besides.contains_key(&resource.name) && self.subscription.matches(&resource.name)
        });
        let last = last.map(|r| (Arc::clone(&r.name), Some(Arc::clone(&r.version))));
        let besides = self.besides.iter();
        let besides = besides.filter(|(name, had)| had.is_some() && set.get(name).is_none());
        last.chain(besides.map(|(name, had)| (Arc::clone(name), had.clone())))
            .collect()
    }

    /// Names that the client has to be told do not exist.
    fn absent(&self, set: &ResourceSet) -> BTreeSet<Arc<str>> {
        let names = (!self.compared).then_some(&self.subscription.names);
        names
            .into_iter()
            .flatten()
            .filter(|name| !self.besides.contains_key(name.as_str()))
            .chain(&self.owed)
            .filter(|name| !self.holds(set, name))
            .map(|name| Arc::from(name.as_str()))
            .collect()
    }
}

impl TypeState for DeltaState {
    type Request = DeltaDiscoveryRequest;

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
        if first {
            self.subscription = Arc::new(Subscription::of(type_url));
            self.besides = request
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
        for name in request.resource_names_subscribe {
            self.subscribe_to(name, first);
        }
        if first {
            let subscription = &self.subscription;
            self.besides.retain(|name, _| subscription.matches(name));
        }
        if self.subscription.names.len() > MAX_NAMES || self.besides.len() > MAX_NAMES {
            return Err(format!(
                "more than {MAX_NAMES} names for {}",
                types::short_name(type_url)
            ));
        }
        Ok(true)
    }

    fn share(&mut self, subscription: Arc<Subscription>) {
        self.subscription = subscription;
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
    ) -> Comparison {
        let unchanged = self.compared && self.last.version() == set.version();
        if unchanged && self.owed.is_empty() && self.besides.is_empty() && !self.answer_empty {
            return Comparison {
                prepared: None,
                held: false,
            };
        }
        let again = !self.last.is_empty() || self.besides.values().any(Option::is_some);
        let mut selected = Vec::new();
        let mut changed = Vec::new();
        let mut left_out = Vec::new();
        let (mut last, mut now) = (self.last.iter(), set.iter());
        while let Some(resource) = now.peek() {
            let position = now.position();
            now.next();
            let name = &resource.name;
            while let Some(gone) = last.peek().filter(|last| last.name < *name) {
                left_out.push(gone);
                last.next();
            }
            let known = last.peek().filter(|last| last.name == *name);
            if known.is_some() {
                last.next();
            }
            let known = match self.besides.get(name) {
                Some(version) => version.as_ref(),
                None => known.map(|known| &known.version),
            };
            let current = known == Some(&resource.version);
            if current && !self.owed.contains(&**name) || !self.subscription.matches(name) {
                continue;
            }
            if again && !current {
                changed.push(Arc::clone(name));
            }
            selected.push(position);
        }
        left_out.extend(last);
        let mut gone = self.gone(&left_out, set);
        let mut removed = self.absent(set);
        let held = hold_removals && !gone.is_empty();
        if !held {
            removed.extend(std::mem::take(&mut gone).into_keys());
        }
        gone.retain(|name, _| !removed.contains(name));
        self.besides = gone;
        self.owed.clear();
        self.last = set.clone();
        self.compared = true;

        if selected.is_empty() && removed.is_empty() && !self.answer_empty {
            return Comparison {
                prepared: None,
                held,
            };
        }
        self.answer_empty = false;
        let fields = DeltaResponse {
            system_version_info: set.version().to_string(),
            resources: Vec::new(),
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            removed_resources: removed.iter().map(ToString::to_string).collect(),
            control_plane: control_plane(),
        };
        Comparison {
            prepared: Some(Prepared {
                response: Response {
                    fields: fields.encode_to_vec(),
                    framing: Framing::Delta,
                    resources: Arc::new(Selection::of(set.clone(), selected)),
                },
                version: Arc::clone(set.version()),
                changed,
                removed: removed.len(),
            }),
            held,
        }
    }
}
