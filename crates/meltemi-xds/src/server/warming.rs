//! What a client still needs before it can use the clusters it was sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use super::response::Selection;
use crate::{Resource, ResourceSet, wire};

/// Listeners and routes wait no longer than this for the clusters they may refer
/// to: a client that never asks for some endpoints gets them all the same.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Clusters a client was sent and whose endpoints it has not confirmed.
///
/// A client uses a cluster of type EDS when it has endpoints for it; until then
/// a route to it answers 503 (Envoy's cluster warming). So what refers to
/// clusters is sent after the endpoints are in force, not merely after they
/// were sent.
#[derive(Default)]
pub struct Warming {
    /// Names of the clusters, and under which name their endpoints are asked for.
    awaited: BTreeMap<Arc<str>, Arc<str>>,
    since: Option<Instant>,
}

impl Warming {
    /// The client was sent these clusters out of `set`; returns the names of their
    /// endpoints.
    pub fn sent(&mut self, set: &ResourceSet, clusters: &[Arc<str>]) -> Vec<Arc<str>> {
        self.awaited.retain(|cluster, _| set.get(cluster).is_some());
        let mut services = Vec::new();
        for resource in clusters.iter().filter_map(|name| set.get(name)) {
            if let Some(service) = endpoints_of(resource) {
                services.push(Arc::clone(&service));
                self.awaited.insert(Arc::clone(&resource.name), service);
            }
        }
        services
    }

    /// The client has answered a response with these endpoints. One it refuses is
    /// not waited for: it would not come again before it changes.
    pub fn answered(&mut self, endpoints: &Selection) {
        self.awaited
            .retain(|_, service| !endpoints.contains(service));
    }

    /// Whether what refers to clusters may be sent now. `quiet`: the client has
    /// answered all clusters and endpoints we have for it.
    pub fn over(&mut self, quiet: bool, now: Instant) -> bool {
        if quiet && self.awaited.is_empty() {
            self.since = None;
            return true;
        }
        let since = *self.since.get_or_insert(now);
        let over = now >= since + PATIENCE;
        if over {
            self.awaited.clear();
        }
        over
    }

    /// When the waiting ends at the latest, while something waits.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.since
            .map(|since| since + PATIENCE)
            .filter(|deadline| *deadline > now)
    }
}

/// The name under which a cluster's endpoints are discovered; none for a cluster
/// that brings its own.
fn endpoints_of(resource: &Resource) -> Option<Arc<str>> {
    /// The fields of `envoy.config.cluster.v3.Cluster` that say so.
    #[derive(Clone, PartialEq, Message)]
    struct Cluster {
        #[prost(int32, tag = "2")]
        r#type: i32,
        #[prost(message, optional, tag = "3")]
        eds_cluster_config: Option<EdsClusterConfig>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct EdsClusterConfig {
        #[prost(string, tag = "2")]
        service_name: String,
    }
    const EDS: i32 = 3;
    let any = wire::Any::decode(resource.any.clone()).ok()?;
    let cluster = Cluster::decode(any.value).ok()?;
    if cluster.r#type != EDS {
        return None;
    }
    match cluster.eds_cluster_config {
        Some(config) if !config.service_name.is_empty() => Some(config.service_name.into()),
        _ => Some(Arc::clone(&resource.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::config::cluster::v3::Cluster;
    use envoy_types::pb::envoy::config::cluster::v3::cluster::{
        ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
    };

    fn cluster(name: &str, kind: DiscoveryType, service_name: &str) -> Resource {
        let message = Cluster {
            name: name.to_owned(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(kind.into())),
            eds_cluster_config: Some(EdsClusterConfig {
                service_name: service_name.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        Resource::encode(name, &message)
    }

    fn endpoints(name: &str) -> Selection {
        Selection::all(ResourceSet::new(vec![Resource::from_value(
            name,
            "type",
            Default::default(),
        )]))
    }

    fn names(set: &ResourceSet) -> Vec<Arc<str>> {
        set.iter().map(|resource| resource.name.clone()).collect()
    }

    #[test]
    fn waits_for_the_endpoints_of_discovered_clusters() {
        let set = ResourceSet::new(vec![
            cluster("a", DiscoveryType::Eds, ""),
            cluster("b", DiscoveryType::Eds, "b-service"),
            cluster("c", DiscoveryType::Static, ""),
        ]);
        let now = Instant::now();
        let mut warming = Warming::default();
        assert!(warming.over(true, now));
        let services = warming.sent(&set, &names(&set));
        assert_eq!(services, ["a".into(), "b-service".into()]);
        assert!(!warming.over(true, now));
        warming.answered(&endpoints("b-service"));
        assert!(!warming.over(true, now));
        warming.answered(&endpoints("a"));
        assert!(!warming.over(false, now), "something is under way");
        assert!(warming.over(true, now));
        assert_eq!(warming.deadline(now), None);
    }

    #[test]
    fn forgets_clusters_that_are_removed() {
        let set = ResourceSet::new(vec![cluster("a", DiscoveryType::Eds, "")]);
        let now = Instant::now();
        let mut warming = Warming::default();
        warming.sent(&set, &names(&set));
        warming.sent(&ResourceSet::default(), &[]);
        assert!(warming.over(true, now));
    }

    #[test]
    fn its_patience_is_bounded() {
        let set = ResourceSet::new(vec![cluster("a", DiscoveryType::Eds, "")]);
        let now = Instant::now();
        let mut warming = Warming::default();
        warming.sent(&set, &names(&set));
        assert!(!warming.over(true, now));
        let deadline = warming.deadline(now).unwrap();
        assert!(warming.over(true, deadline));
        assert_eq!(warming.deadline(deadline), None, "and it is over once");
    }
}
