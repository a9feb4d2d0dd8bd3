//! Dynamic forward proxy: the request's host is resolved before it is forwarded.

use super::exchange::Exchange;
use super::head::Head;
use super::reply::Reply;
use crate::dns::{DnsCache, host_key};
use crate::model::{Cluster, Discovery, DynamicHost};
use crate::upstream::default_port;
use std::sync::Arc;

/// Waits until the cache knows the host's address. Clusters that find their endpoints otherwise
/// are no concern of the filter, nor of the route's rewrite.
pub(crate) async fn resolve(
    exchange: &Exchange,
    cache: &Arc<DnsCache>,
    cluster: &Cluster,
    rewrite: Option<&DynamicHost>,
    head: &mut Head,
) -> Result<(), Reply> {
    if !matches!(cluster.config.discovery, Discovery::DynamicForward(_)) {
        return Ok(());
    }
    let host = match rewrite {
        Some(DynamicHost::Literal(host)) => Some(host),
        Some(DynamicHost::Header(name)) => head.headers.get(name),
        None => None,
    };
    if let Some(host) = host.cloned() {
        head.authority = host;
    }
    if head.authority.is_empty() {
        return Err(Reply::no_host());
    }
    // A resolution takes its time: whoever looks meanwhile shall see the request.
    exchange.note_head(head, false);
    let key = host_key(head.authority_str(), default_port(cluster));
    let found = cache.resolve(&key).await;
    found.map_err(|error| Reply::unresolved(&error))
}
