//! HTTP filters: what stands between a connection manager and its router.
//!
//! A filter is one file or folder here. It holds what the filter is made of (its configuration
//! as requests use it), how that is compiled from `typed_config` and `typed_per_filter_config`,
//! and what it does with a request and with the answer: all of [`Filter`]. One line of
//! `http_filters!` below makes it known. There is no `dyn`: the line becomes a variant of
//! [`HttpFilter`], and a chain is a list of these.
//!
//! Names are resolved when configuration arrives: a chain knows which of its filters act on
//! every request, a route which filters it says something to. So a request walks the filters
//! that concern it and no others ([`Plan`]), down to the router and, for those that have to do
//! with answers, in reverse order back.

mod alpn;
mod buffer;
mod chain;
#[cfg(test)]
mod chain_tests;
mod coding;
mod compressor;
mod cors;
mod decompressor;
mod dynamic_forward_proxy;
mod fault;
mod grpc_stats;
mod grpc_web;
mod header_mutation;
mod local_ratelimit;
mod rbac;
#[cfg(test)]
pub(crate) mod testkit;

pub use buffer::{Buffer, RouteBuffer};
pub use chain::{FilterId, HttpFilters, Override, Overrides};
pub(crate) use chain::{Kept, Plan};
#[cfg(fuzzing)]
pub(crate) use coding::Step;
pub(crate) use coding::{Coder, Malformed, Until};
pub use compressor::{Compressor, RouteCompressor};
pub use cors::{Cors, CorsPolicy};
pub use decompressor::Decompressor;
pub use dynamic_forward_proxy::{DynamicForwardProxy, DynamicHost};
pub use fault::{AbortKind, Fault, FaultAbort, FaultDelay};
#[cfg(fuzzing)]
pub(crate) use grpc_web::{Decoder as GrpcWebDecoder, Encoder as GrpcWebEncoder};
pub(crate) use header_mutation::Trailing;
pub use header_mutation::{HeaderMutation, RouteMutations};
pub use local_ratelimit::Limits;
pub use rbac::{Policies, Rbac, RbacAction, RbacPolicy, RbacRule, RouteRbac};
pub(crate) use rbac::{RbacStats, Subject, policies};

use super::body::ResponseBody;
use super::exchange::Exchange;
use super::head::Head;
use super::reply::Reply;
use super::router::Chosen;
use super::routing::Matched;
use super::source::RequestSource;
use crate::compile::any::Typed;
use crate::compile::{Cx, Error, Result as Compiled};
use crate::model::Cluster;
use http::Response;
use std::sync::Arc;

/// One kind of filter.
pub(crate) trait Filter: Sized {
    /// Full name of the message in `typed_config`.
    const CONFIG: &'static str;
    /// Full name of the message in `typed_per_filter_config`; empty: routes have no say.
    const ROUTE_CONFIG: &'static str = "";
    /// Whether it has to do with answers.
    const ANSWERS: bool = false;
    /// What a route says to it.
    type Route;
    /// What it remembers of a request until the answer.
    type State;

    /// Compiles `typed_config`. `stat_prefix` is the connection manager's.
    ///
    /// # Errors
    /// When a field that is set cannot be honoured.
    fn compile(typed: Typed, stat_prefix: &str, cx: &mut Cx<'_>) -> Compiled<Self>;

    /// Compiles `typed_per_filter_config`.
    ///
    /// # Errors
    /// When a field that is set cannot be honoured.
    fn compile_route(typed: Typed, cx: &mut Cx<'_>) -> Compiled<Self::Route> {
        let _ = cx;
        Err(Error::new(format!(
            "{} takes nothing from routes",
            typed.type_name()
        )))
    }

    /// What holds where a route (virtual host, table) and the level above both say something.
    /// Envoy's rule for most filters: the more specific one, whole.
    fn merge(own: Arc<RouteFilter>, above: &RouteFilter) -> Arc<RouteFilter> {
        let _ = above;
        own
    }

    /// Whether it does anything for routes that say nothing to it.
    fn acts(&self) -> bool {
        true
    }

    /// Looks at a request on its way to the router. `Err` is the answer instead.
    async fn request(
        &self,
        route: Option<&Self::Route>,
        call: &mut Call<'_>,
    ) -> Result<Self::State, Reply>;

    /// Looks at an answer on its way to the client, those of other filters and the proxy's own
    /// included. `state` is `None` when the request did not come as far as to this filter.
    fn response(
        &self,
        route: Option<&Self::Route>,
        state: Option<Self::State>,
        answer: &mut Answer<'_>,
    ) {
        let _ = (route, state, answer);
    }
}

/// For filters that routes say nothing to.
pub enum NoRoute {}

/// A request on its way to the router.
pub(crate) struct Call<'a> {
    pub exchange: &'a Exchange,
    pub head: &'a mut Head,
    pub body: &'a mut RequestSource,
    /// The route and its cluster; without one filters still decide: a client that may not ask
    /// is not told what there is.
    pub matched: Option<(&'a Matched, Chosen<'a>)>,
}

impl Call<'_> {
    /// The cluster that the request is going to, as far as it is known.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        let (_, chosen) = self.matched?;
        self.exchange.snapshot.cluster(chosen.id?)
    }
}

/// An answer on its way to the client.
pub(crate) struct Answer<'a> {
    pub exchange: &'a Exchange,
    pub response: &'a mut Response<ResponseBody>,
}

macro_rules! http_filters {
    ($($name:ident($filter:ty, $route:ty, $state:ty);)*) => {
        /// A filter of a chain.
        pub enum HttpFilter {
            $($name($filter),)*
        }

        /// What a route says to a filter.
        pub enum RouteFilter {
            $($name($route),)*
        }

        /// What a filter remembers of a request.
        pub(crate) enum State {
            $($name($state),)*
        }

        impl HttpFilter {
            /// `None`: no filter is configured by such a message.
            pub(crate) fn compile(
                typed: Typed,
                stat_prefix: &str,
                cx: &mut Cx<'_>,
            ) -> Option<Compiled<Self>> {
                $(if typed.type_name() == <$filter as Filter>::CONFIG {
                    let filter = <$filter as Filter>::compile(typed, stat_prefix, cx);
                    return Some(filter.map(Self::$name));
                })*
                None
            }

            fn acts(&self) -> bool {
                match self {
                    $(Self::$name(filter) => filter.acts(),)*
                }
            }

            fn answers(&self) -> bool {
                match self {
                    $(Self::$name(_) => <$filter as Filter>::ANSWERS,)*
                }
            }

            async fn request(
                &self,
                route: Option<&RouteFilter>,
                call: &mut Call<'_>,
            ) -> Result<State, Reply> {
                match self {
                    $(Self::$name(filter) => {
                        let route = match route {
                            Some(RouteFilter::$name(route)) => Some(route),
                            _ => None,
                        };
                        filter.request(route, call).await.map(State::$name)
                    })*
                }
            }

            fn response(
                &self,
                route: Option<&RouteFilter>,
                state: Option<State>,
                answer: &mut Answer<'_>,
            ) {
                match self {
                    $(Self::$name(filter) => {
                        let route = match route {
                            Some(RouteFilter::$name(route)) => Some(route),
                            _ => None,
                        };
                        let state = match state {
                            Some(State::$name(state)) => Some(state),
                            _ => None,
                        };
                        filter.response(route, state, answer);
                    })*
                }
            }
        }

        impl RouteFilter {
            /// `None`: no filter takes such a message from routes.
            pub(crate) fn compile(typed: Typed, cx: &mut Cx<'_>) -> Option<Compiled<Self>> {
                $(if typed.type_name() == <$filter as Filter>::ROUTE_CONFIG {
                    let route = <$filter as Filter>::compile_route(typed, cx);
                    return Some(route.map(Self::$name));
                })*
                None
            }

            fn merge(own: Arc<Self>, above: &Self) -> Arc<Self> {
                match &*own {
                    $(Self::$name(_) => <$filter as Filter>::merge(own, above),)*
                }
            }
        }
    };
}

// Name: the filter, what routes say to it, what it remembers of a request.
http_filters! {
    Fault(Fault, Fault, ());
    HeaderMutation(HeaderMutation, RouteMutations, ());
    Compressor(Compressor, RouteCompressor, Option<compressor::Asked>);
    Decompressor(Decompressor, NoRoute, ());
    Buffer(Buffer, RouteBuffer, ());
    LocalRateLimit(Limits, Limits, Option<local_ratelimit::Told>);
    Cors(Cors, CorsPolicy, Option<cors::Marked>);
    Rbac(Rbac, RouteRbac, ());
    GrpcStats(grpc_stats::GrpcStats, NoRoute, ());
    GrpcWeb(grpc_web::GrpcWeb, NoRoute, Option<grpc_web::Asked>);
    DynamicForwardProxy(DynamicForwardProxy, Option<DynamicHost>, ());
    Alpn(alpn::Alpn, NoRoute, ());
}
