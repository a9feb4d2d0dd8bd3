//! The subsets that endpoints form, each with its own priorities, localities and tables.

use super::endpoints;
use crate::model::{
    ClusterConfig, Criteria, Endpoint, EndpointSet, Locality, Priority, SubsetConfig, Subsets,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Bound on the subsets of a cluster; endpoints of others are reached by fallbacks only.
const MAX_SUBSETS: usize = 4096;

pub fn build(config: &ClusterConfig, set: &EndpointSet) -> Option<Box<Subsets>> {
    let subset_config = config.subsets.as_ref()?;
    let mut found: BTreeSet<Criteria> = BTreeSet::new();
    for selector in &subset_config.selectors {
        for endpoint in set
            .priorities
            .iter()
            .flat_map(|priority| &priority.endpoints)
        {
            let value = |key: &str| {
                let found = endpoint
                    .lb_metadata
                    .iter()
                    .find(|(known, _)| **known == *key);
                found.cloned()
            };
            let values: Option<Criteria> = selector.keys.iter().map(|key| value(key)).collect();
            found.extend(values);
        }
    }
    if found.len() > MAX_SUBSETS {
        tracing::warn!(cluster = %config.name, subsets = found.len(), "only {MAX_SUBSETS} subsets are kept");
    }
    let part = |criteria: &Criteria| Arc::new(part(config, subset_config, set, criteria));
    Some(Box::new(Subsets {
        sets: found
            .into_iter()
            .take(MAX_SUBSETS)
            .map(|criteria| (criteria.clone(), part(&criteria)))
            .collect(),
        default: Some(part(&subset_config.default)),
        config: subset_config.clone(),
    }))
}

/// The endpoints that have this metadata.
fn part(
    config: &ClusterConfig,
    subsets: &SubsetConfig,
    set: &EndpointSet,
    criteria: &Criteria,
) -> EndpointSet {
    let fits = |endpoint: &&Arc<Endpoint>| {
        criteria
            .iter()
            .all(|wanted| endpoint.lb_metadata.contains(wanted))
    };
    let keep = |endpoints: &[Arc<Endpoint>]| endpoints.iter().filter(fits).cloned().collect();
    let locality = |locality: &Locality| {
        let endpoints: Vec<Arc<Endpoint>> = keep(&locality.endpoints);
        let weight = match (subsets.locality_weight_aware, subsets.scale_locality_weight) {
            (false, _) => 0,
            (true, false) => locality.weight,
            // At least 1: a locality of the subset is not forgotten.
            (true, true) => {
                let share = endpoints.len() as f64 / locality.endpoints.len().max(1) as f64;
                (f64::from(locality.weight) * share).round().max(1.0) as u32
            }
        };
        Locality {
            region: locality.region.clone(),
            zone: locality.zone.clone(),
            sub_zone: locality.sub_zone.clone(),
            weight: if endpoints.is_empty() { 0 } else { weight },
            endpoints,
        }
    };
    let priority = |priority: &Priority| {
        let mut part = Priority {
            localities: priority.localities.iter().map(locality).collect(),
            endpoints: keep(&priority.endpoints),
            hash_table: None,
        };
        part.hash_table = endpoints::hash_table(config, &part);
        part
    };
    EndpointSet {
        priorities: set.priorities.iter().map(priority).collect(),
        overprovisioning: set.overprovisioning,
        drop_per_million: set.drop_per_million,
        subsets: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testkit::{cluster_config, endpoint, endpoints};
    use crate::model::{SubsetChoice, SubsetFallback, SubsetSelector};

    fn criteria(pairs: &[(&str, &str)]) -> Criteria {
        let pair = |(key, value): &(&str, &str)| ((*key).into(), (*value).into());
        pairs.iter().map(pair).collect()
    }

    fn subsets(fallback: SubsetFallback, own: Option<SubsetFallback>) -> Box<Subsets> {
        let make = |port: u16, pairs: &[(&str, &str)]| Endpoint {
            lb_metadata: criteria(pairs),
            ..endpoint(([127, 0, 0, 1], port).into())
        };
        let set = endpoints(vec![
            make(1, &[("stage", "prod"), ("version", "1")]),
            make(2, &[("stage", "prod"), ("version", "2")]),
            make(3, &[("stage", "test")]),
        ]);
        let selector = |keys: &[&str], fallback| SubsetSelector {
            keys: keys.iter().map(|key| (*key).into()).collect(),
            fallback,
        };
        let config = ClusterConfig {
            subsets: Some(Arc::new(SubsetConfig {
                selectors: vec![
                    selector(&["stage"], None),
                    selector(&["stage", "version"], own),
                ],
                fallback,
                default: criteria(&[("stage", "test")]),
                locality_weight_aware: false,
                scale_locality_weight: false,
                panic_mode_any: false,
            })),
            ..cluster_config("c")
        };
        build(&config, &set).unwrap()
    }

    /// How many endpoints a request may choose from; `None`: from all of them.
    fn size(subsets: &Subsets, pairs: &[(&str, &str)]) -> Option<usize> {
        match subsets.choose(&criteria(pairs)) {
            SubsetChoice::All => None,
            SubsetChoice::Part(set) => Some(set.priorities[0].endpoints.len()),
            SubsetChoice::Nowhere => Some(0),
        }
    }

    #[test]
    fn combinations_of_selected_keys_are_subsets() {
        let subsets = subsets(SubsetFallback::Never, None);
        assert_eq!(subsets.sets.len(), 4);
        assert_eq!(size(&subsets, &[("stage", "prod")]), Some(2));
        assert_eq!(
            size(&subsets, &[("stage", "prod"), ("version", "2")]),
            Some(1)
        );
        // No selector has this key alone.
        assert_eq!(size(&subsets, &[("version", "2")]), Some(0));
        assert_eq!(size(&subsets, &[("stage", "none")]), Some(0));
        assert_eq!(size(&subsets, &[]), Some(0));
    }

    #[test]
    fn fallbacks_are_the_clusters_or_the_selectors_own() {
        assert_eq!(size(&subsets(SubsetFallback::Any, None), &[]), None);
        let default = subsets(SubsetFallback::Default, None);
        assert_eq!(size(&default, &[("stage", "none")]), Some(1));
        let fewer = SubsetFallback::Keys(vec!["stage".into()]);
        let keys = subsets(SubsetFallback::Never, Some(fewer));
        assert_eq!(size(&keys, &[("stage", "prod"), ("version", "9")]), Some(2));
        let own = subsets(SubsetFallback::Never, Some(SubsetFallback::Any));
        assert_eq!(size(&own, &[("stage", "prod"), ("version", "9")]), None);
        assert_eq!(size(&own, &[("stage", "none")]), Some(0));
    }
}
