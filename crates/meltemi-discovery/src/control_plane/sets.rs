//! Translated resources, encoded once, by type.

use crate::pb::canonical;
use crate::translate::Resources;
use meltemi_xds::{Resource, ResourceSet, type_url};
use prost::{Message, Name};
use std::collections::HashMap;

pub(super) fn into_sets(resources: &Resources) -> HashMap<&'static str, ResourceSet> {
    let name_table = meltemi_xds::Resource::from_value(
        type_url::NAME_TABLE,
        type_url::NAME_TABLE,
        resources.name_table.encode_to_vec().into(),
    );
    HashMap::from([
        (type_url::CLUSTER, set(&resources.clusters, |c| &c.name)),
        (
            type_url::ENDPOINT,
            set(&resources.endpoints, |e| &e.cluster_name),
        ),
        (type_url::LISTENER, set(&resources.listeners, |l| &l.name)),
        (type_url::ROUTE, set(&resources.routes, |r| &r.name)),
        (type_url::SECRET, set(&resources.secrets, |s| &s.name)),
        (type_url::NAME_TABLE, ResourceSet::new(vec![name_table])),
    ])
}

fn set<M: Message + Name>(messages: &[M], name: fn(&M) -> &String) -> ResourceSet {
    let encode = |message: &M| {
        let bytes = canonical::encode(message);
        Resource::from_value(name(message).as_str(), &M::type_url(), bytes.into())
    };
    ResourceSet::new(messages.iter().map(encode).collect())
}
