//! What the owner wants, as the handles change it; the task compares it with
//! what it has told the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Subscription, type_url as types};

/// Wanted subscriptions by type, in push order.
#[derive(Default)]
pub struct Interests {
    types: BTreeMap<(usize, Arc<str>), Subscription>,
}

impl Interests {
    fn of(&mut self, type_url: &str) -> &mut Subscription {
        let key = (types::push_rank(type_url), Arc::from(type_url));
        let nothing = || Subscription::of(type_url);
        self.types.entry(key).or_insert_with(nothing)
    }

    pub fn subscribe_all(&mut self, type_url: &str) {
        self.of(type_url).wildcard = true;
    }

    pub fn subscribe(
        &mut self,
        type_url: &str,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) {
        self.of(type_url)
            .names
            .extend(names.into_iter().map(Into::into));
    }

    pub fn unsubscribe(
        &mut self,
        type_url: &str,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) {
        let subscription = self.of(type_url);
        for name in names {
            subscription.names.remove(name.as_ref());
        }
    }

    pub fn set_names(
        &mut self,
        type_url: &str,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) {
        self.of(type_url).names = names.into_iter().map(Into::into).collect();
    }

    /// All types ever asked for, those with an empty subscription included.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Subscription)> {
        self.types
            .iter()
            .map(|((_, type_url), subscription)| (type_url, subscription))
    }
}
