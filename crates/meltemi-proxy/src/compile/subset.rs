//! Subset load balancing.

use super::assignment::criteria;
use super::pb::{cluster::cluster as nested, core};
use super::presence::refuse;
use super::{At, Error, Result};
use crate::model::{Criteria, SubsetConfig, SubsetFallback, SubsetSelector};
use nested::lb_subset_config::lb_subset_selector::LbSubsetSelectorFallbackPolicy as OwnPolicy;
use nested::lb_subset_config::{
    LbSubsetFallbackPolicy, LbSubsetMetadataFallbackPolicy, LbSubsetSelector,
};

/// `None`: without selectors there are no subsets.
pub fn config(value: nested::LbSubsetConfig) -> Result<Option<SubsetConfig>> {
    let fallback = value.fallback_policy();
    if value.metadata_fallback_policy() != LbSubsetMetadataFallbackPolicy::MetadataNoFallback {
        return Err(Error::unsupported("metadata_fallback_policy"));
    }
    let nested::LbSubsetConfig {
        fallback_policy: _,
        default_subset,
        subset_selectors,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy: _,
    } = value;
    refuse!(list_as_any);
    if subset_selectors.is_empty() {
        return Ok(None);
    }
    Ok(Some(SubsetConfig {
        selectors: subset_selectors
            .into_iter()
            .enumerate()
            .map(|(index, value)| selector(value).nth("subset_selectors", index))
            .collect::<Result<_>>()?,
        fallback: match fallback {
            LbSubsetFallbackPolicy::NoFallback => SubsetFallback::Never,
            LbSubsetFallbackPolicy::AnyEndpoint => SubsetFallback::Any,
            LbSubsetFallbackPolicy::DefaultSubset => SubsetFallback::Default,
        },
        default: sorted(default_subset.map(criteria).unwrap_or_default()),
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
    }))
}

fn selector(value: LbSubsetSelector) -> Result<SubsetSelector> {
    let fallback = value.fallback_policy();
    let LbSubsetSelector {
        keys,
        single_host_per_subset,
        fallback_policy: _,
        fallback_keys_subset,
    } = value;
    refuse!(single_host_per_subset);
    let sorted = |keys: Vec<String>| {
        let mut keys: Vec<Box<str>> = keys.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    let keys = sorted(keys);
    if keys.is_empty() {
        return Err(Error::missing("keys"));
    }
    let fewer = sorted(fallback_keys_subset);
    let fallback = match fallback {
        OwnPolicy::NotDefined => None,
        OwnPolicy::NoFallback => Some(SubsetFallback::Never),
        OwnPolicy::AnyEndpoint => Some(SubsetFallback::Any),
        OwnPolicy::DefaultSubset => Some(SubsetFallback::Default),
        OwnPolicy::KeysSubset => {
            if fewer.is_empty()
                || fewer.len() >= keys.len()
                || !fewer.iter().all(|k| keys.contains(k))
            {
                return Err(Error::new("must be some of `keys`, not all and not none")
                    .at_field("fallback_keys_subset"));
            }
            Some(SubsetFallback::Keys(fewer))
        }
    };
    Ok(SubsetSelector { keys, fallback })
}

/// What a route asks of endpoints: its `envoy.lb` metadata.
pub fn route_criteria(value: Option<core::Metadata>) -> Criteria {
    let fields = value.and_then(|mut value| value.filter_metadata.remove("envoy.lb"));
    sorted(fields.map(criteria).unwrap_or_default())
}

/// Of a weighted cluster: its own, and the route's where it says nothing.
pub fn merged(own: Criteria, route: &Criteria) -> Criteria {
    let missing = |(key, _): &&(Box<str>, Box<str>)| !own.iter().any(|(known, _)| known == key);
    let more: Criteria = route.iter().filter(missing).cloned().collect();
    sorted(own.into_iter().chain(more).collect())
}

fn sorted(mut criteria: Criteria) -> Criteria {
    criteria.sort_unstable();
    criteria
}
