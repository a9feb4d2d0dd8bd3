//! Subsets of a cluster's endpoints, by their `envoy.lb` metadata, as routes ask for them.

use super::EndpointSet;
use std::sync::Arc;

/// Metadata, sorted by key.
pub type Criteria = Vec<(Box<str>, Box<str>)>;

/// `lb_subset_config`.
pub struct SubsetConfig {
    pub selectors: Vec<SubsetSelector>,
    /// For requests that ask for no subset, or for one that there is not.
    pub fallback: SubsetFallback,
    /// For [`SubsetFallback::Default`].
    pub default: Criteria,
    /// Weights of localities hold within subsets too.
    pub locality_weight_aware: bool,
    /// They are scaled by the share of the locality's endpoints that the subset has.
    pub scale_locality_weight: bool,
    /// Where the fallback has no endpoint, any is taken.
    pub panic_mode_any: bool,
}

pub struct SubsetSelector {
    /// Sorted. Endpoints with values for all of them form a subset for each combination.
    pub keys: Vec<Box<str>>,
    /// Instead of the cluster's.
    pub fallback: Option<SubsetFallback>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubsetFallback {
    /// The request fails.
    Never,
    /// Any endpoint of the cluster.
    Any,
    /// The default subset.
    Default,
    /// The subset by these of the request's keys alone.
    Keys(Vec<Box<str>>),
}

/// The subsets that a set of endpoints has.
pub struct Subsets {
    pub config: Arc<SubsetConfig>,
    /// Sorted by criteria.
    pub sets: Vec<(Criteria, Arc<EndpointSet>)>,
    /// When a fallback leads there.
    pub default: Option<Arc<EndpointSet>>,
}

/// Where a request's criteria lead.
#[derive(Clone, Copy)]
pub enum SubsetChoice<'a> {
    All,
    Part(&'a Arc<EndpointSet>),
    Nowhere,
}

impl Subsets {
    /// `criteria` of the request, sorted by key.
    pub fn choose(&self, criteria: &[(Box<str>, Box<str>)]) -> SubsetChoice<'_> {
        let known = |(own, _): &(Criteria, _)| own.as_slice().cmp(criteria);
        if let Ok(index) = self.sets.binary_search_by(known) {
            return SubsetChoice::Part(&self.sets[index].1);
        }
        let keys = || criteria.iter().map(|(key, _)| key);
        let selectors = self.config.selectors.iter();
        let selector = selectors
            .filter(|_| !criteria.is_empty())
            .find(|selector| selector.keys.iter().eq(keys()));
        match selector.and_then(|selector| selector.fallback.as_ref()) {
            // Fewer keys each time: this ends.
            Some(SubsetFallback::Keys(keys)) if keys.len() < criteria.len() => {
                let fewer: Criteria = criteria
                    .iter()
                    .filter(|(key, _)| keys.contains(key))
                    .cloned()
                    .collect();
                self.choose(&fewer)
            }
            Some(fallback) => self.fall_back(fallback),
            None => self.fall_back(&self.config.fallback),
        }
    }

    fn fall_back(&self, fallback: &SubsetFallback) -> SubsetChoice<'_> {
        match (fallback, &self.default) {
            (SubsetFallback::Any, _) => SubsetChoice::All,
            (SubsetFallback::Default, Some(set)) => SubsetChoice::Part(set),
            _ => SubsetChoice::Nowhere,
        }
    }
}
