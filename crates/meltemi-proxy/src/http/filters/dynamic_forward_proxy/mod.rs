//! The dynamic forward proxy filter (`envoy.filters.http.dynamic_forward_proxy`): the host that
//! a request names is resolved before the request is forwarded.

mod compile;

use super::{Call, Filter};
use crate::compile::any::Typed;
use crate::compile::{Cx, Result as Compiled};
use crate::dns::{DnsCache, host_key};
use crate::http::reply::Reply;
use crate::model::Discovery;
use crate::upstream::default_port;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

pub struct DynamicForwardProxy {
    pub cache: Arc<DnsCache>,
}

/// What a route puts in the place of the host before it is resolved (`PerRouteConfig`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DynamicHost {
    Literal(HeaderValue),
    /// The first value of this header, where there is one.
    Header(HeaderName),
}

impl Filter for DynamicForwardProxy {
    const CONFIG: &'static str =
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig";
    const ROUTE_CONFIG: &'static str =
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig";
    /// `None`: the route changes nothing.
    type Route = Option<DynamicHost>;
    type State = ();

    fn compile(typed: Typed, _stat_prefix: &str, cx: &mut Cx<'_>) -> Compiled<Self> {
        let cache = typed
            .decode()
            .and_then(|config| compile::filter(config, cx));
        Ok(Self { cache: cache? })
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<Option<DynamicHost>> {
        typed.decode().and_then(compile::route)
    }

    /// Waits until the cache knows the host's address. Clusters that find their endpoints
    /// otherwise are no concern of the filter, nor of the route's rewrite.
    async fn request(
        &self,
        route: Option<&Option<DynamicHost>>,
        call: &mut Call<'_>,
    ) -> Result<(), Reply> {
        let Some(cluster) = call.cluster().cloned() else {
            return Ok(());
        };
        if !matches!(cluster.config.discovery, Discovery::DynamicForward(_)) {
            return Ok(());
        }
        let head = &mut *call.head;
        let host = match route {
            Some(Some(DynamicHost::Literal(host))) => Some(host),
            Some(Some(DynamicHost::Header(name))) => head.headers.get(name),
            _ => None,
        };
        if let Some(host) = host.cloned() {
            head.authority = host;
        }
        if head.authority.is_empty() {
            return Err(Reply::no_host());
        }
        // A resolution takes its time: whoever looks meanwhile shall see the request.
        call.exchange.note_head(head, false);
        let key = host_key(head.authority_str(), default_port(&cluster));
        let found = self.cache.resolve(&key).await;
        found.map_err(|error| Reply::unresolved(&error))
    }
}
