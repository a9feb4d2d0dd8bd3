//! The names of resources: Istio's.

/// `DIRECTION|PORT|SUBSET|HOST`.
pub fn outbound(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// Port and host of an outbound cluster.
pub fn outbound_parts(cluster: &str) -> Option<(u16, &str)> {
    let mut parts = cluster.strip_prefix("outbound|")?.splitn(3, '|');
    let port = parts.next()?.parse().ok()?;
    Some((port, parts.nth(1)?))
}

/// A cluster of a service: one for calls, or one by which a gateway passes connections on
/// (AUTO_PASSTHROUGH), which has the name of their SNI.
pub fn of_service(passed_on: bool, port: u16, subset: &str, host: &str) -> String {
    match passed_on {
        true => outbound_sni(port, subset, host),
        false => outbound(port, subset, host),
    }
}

/// The SNI of mesh mTLS to an outbound cluster.
pub fn outbound_sni(port: u16, subset: &str, host: &str) -> String {
    format!("outbound_.{port}_.{subset}_.{host}")
}

pub fn inbound(port: u16) -> String {
    format!("inbound|{port}||")
}

/// The part before an address's port of a listener's name; Unix paths stand as they are.
pub fn listener(bind: &str, port: u16) -> String {
    format!("{bind}_{port}")
}

pub const PASSTHROUGH: &str = "PassthroughCluster";
pub const ALLOW_ANY_DYNAMIC_DNS: &str = "AllowAnyDynamicDNSCluster";
pub const BLACK_HOLE: &str = "BlackHoleCluster";
pub const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";
pub const VIRTUAL_OUTBOUND: &str = "virtualOutbound";
pub const VIRTUAL_INBOUND: &str = "virtualInbound";
pub const WILDCARD: &str = "0.0.0.0";
/// Source address of the proxy's connections to its own workload, which the capture rules pass.
pub const INBOUND_SOURCE: &str = "127.0.0.6";
