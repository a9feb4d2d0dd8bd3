//! A manager's filters, and which of them a request walks.

use super::{Answer, Call, HttpFilter, RouteFilter, State, Subject};
use crate::http::reply::Reply;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// Index of a filter's name in its chain. Stable for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterId(pub u32);

/// The filters before the router, in the configured order.
#[derive(Default)]
pub struct HttpFilters {
    filters: Box<[(FilterId, HttpFilter)]>,
    /// Those that act on requests whose route says nothing.
    usual: u64,
}

impl HttpFilters {
    /// Filters that a chain may have: a request's are bits of a word.
    pub const MAX: usize = 64;

    /// `disabled` filters act on routes only that say something to them.
    pub fn new(filters: impl IntoIterator<Item = (FilterId, HttpFilter, bool)>) -> Self {
        let mut usual = 0;
        let filters = filters.into_iter().take(Self::MAX).enumerate();
        let filters = filters.map(|(position, (id, filter, disabled))| {
            if !disabled && filter.acts() {
                usual |= 1 << position;
            }
            (id, filter)
        });
        Self {
            filters: filters.collect(),
            usual,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &HttpFilter> {
        self.filters.iter().map(|(_, filter)| filter)
    }

    /// Without a route: what holds for requests as such.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            active: self.usual,
            overrides: Overrides::default(),
        }
    }

    /// With what the request's route says.
    pub(crate) fn plan_for(&self, overrides: &Overrides) -> Plan {
        let mut active = self.usual;
        for (id, what) in overrides.0.iter() {
            for (position, _) in self.filters.iter().enumerate().filter(|f| f.1.0 == *id) {
                match what {
                    Override::Disabled => active &= !(1 << position),
                    Override::Config(_) => active |= 1 << position,
                }
            }
        }
        Plan {
            active,
            overrides: overrides.clone(),
        }
    }

    /// The filters of a plan, with what the route says to each.
    pub(crate) fn walk<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> impl DoubleEndedIterator<Item = (usize, &'a HttpFilter, Option<&'a RouteFilter>)> {
        let filters = self.filters.iter().enumerate();
        filters
            .filter(|(position, _)| plan.active & (1 << position) != 0)
            .map(|(position, (id, filter))| (position, filter, plan.overrides.config(*id)))
    }

    /// Takes a request to the router. `kept` gets what filters remember of it, also when one
    /// of them answers.
    pub(crate) async fn request(
        &self,
        plan: &Plan,
        call: &mut Call<'_>,
        kept: &mut Kept,
    ) -> Result<(), Reply> {
        for (position, filter, route) in self.walk(plan) {
            let state = filter.request(route, call).await?;
            if filter.answers() {
                kept.push((position, state));
            }
        }
        Ok(())
    }

    /// Envoy's details of the policy that would deny a request.
    pub(crate) fn denial(&self, plan: &Plan, subject: &Subject<'_>) -> Option<Cow<'static, str>> {
        self.walk(plan).find_map(|(_, filter, route)| match filter {
            HttpFilter::Rbac(rbac) => {
                let route = match route {
                    Some(RouteFilter::Rbac(route)) => Some(route),
                    _ => None,
                };
                rbac.verdict(route, subject).err()
            }
            _ => None,
        })
    }

    /// Takes an answer to the client.
    pub(crate) fn response(&self, plan: &Plan, mut kept: Kept, answer: &mut Answer<'_>) {
        for (position, filter, route) in self.walk(plan).rev() {
            if filter.answers() {
                let state = match kept.last() {
                    Some((of, _)) if *of == position => kept.pop().map(|(_, state)| state),
                    _ => None,
                };
                filter.response(route, state, answer);
            }
        }
    }
}

/// What filters remember of a request, in the order of the chain.
pub(crate) type Kept = SmallVec<[(usize, State); 1]>;

/// Which filters one request meets, and what its route says to them.
#[derive(Default)]
pub(crate) struct Plan {
    /// Bits by the position in the chain.
    active: u64,
    overrides: Overrides,
}

/// What a route says to filters (`typed_per_filter_config`), levels above it included.
#[derive(Clone, Default)]
pub struct Overrides(Arc<[(FilterId, Override)]>);

#[derive(Clone)]
pub enum Override {
    /// `FilterConfig.disabled`.
    Disabled,
    /// Enables a filter that its chain disables.
    Config(Arc<RouteFilter>),
}

impl Overrides {
    /// At most one for each filter.
    pub fn new(own: impl IntoIterator<Item = (FilterId, Override)>) -> Self {
        Self(own.into_iter().collect())
    }

    /// With what the level above says, where this one does not contradict.
    pub fn over(self, above: &Self) -> Self {
        if self.0.is_empty() || above.0.is_empty() {
            return if self.0.is_empty() {
                above.clone()
            } else {
                self
            };
        }
        let of = |all: &Self, id| all.0.iter().find(|(known, _)| *known == id).cloned();
        let own = self.0.iter().map(|(id, own)| {
            let merged = match (own, of(above, *id)) {
                (Override::Config(own), Some((_, Override::Config(above)))) => {
                    Override::Config(RouteFilter::merge(own.clone(), &above))
                }
                _ => own.clone(),
            };
            (*id, merged)
        });
        let others = above.0.iter().filter(|(id, _)| of(&self, *id).is_none());
        Self::new(own.chain(others.cloned()).collect::<Vec<_>>())
    }

    /// All configurations.
    pub fn configs(&self) -> impl Iterator<Item = &RouteFilter> {
        self.0.iter().filter_map(|(_, what)| match what {
            Override::Config(config) => Some(&**config),
            Override::Disabled => None,
        })
    }

    fn config(&self, id: FilterId) -> Option<&RouteFilter> {
        let (_, what) = self.0.iter().find(|(known, _)| *known == id)?;
        match what {
            Override::Config(config) => Some(config),
            Override::Disabled => None,
        }
    }
}
