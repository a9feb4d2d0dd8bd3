//! Dynamic forward proxies: what is taken, and what is refused by name.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use meltemi_proxy::compile::{self, Cx, Names};
use meltemi_proxy::model::{
    Discovery, DnsFamily, DynamicHost, HttpFilter, Listener, RouteFilter, Terminal,
};
use meltemi_schema::encode;
use prost::Message;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn typed(kind: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!("type.googleapis.com/envoy.extensions.{kind}"));
    fields
}

fn merged(mut base: Value, more: Value) -> Value {
    base.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    base
}

fn message<M: Message + Default>(kind: &str, value: &Value) -> M {
    M::decode(encode(kind, value).unwrap().as_slice()).unwrap()
}

fn cluster_with(
    names: &mut Names,
    config: Value,
    more: Value,
) -> Result<compile::CompiledCluster, String> {
    let config = typed("clusters.dynamic_forward_proxy.v3.ClusterConfig", config);
    let value = merged(
        json!({
            "name": "c",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": { "name": "dynamic", "typed_config": config },
        }),
        more,
    );
    let value = message("envoy.config.cluster.v3.Cluster", &value);
    compile::cluster(value, 0, &mut Cx::new(names)).map_err(|error| error.to_string())
}

fn cluster(cache: Value, more: Value) -> Result<compile::CompiledCluster, String> {
    let config = json!({ "dns_cache_config": merged(json!({ "name": "cache" }), cache) });
    cluster_with(&mut Names::default(), config, more)
}

fn listener(names: &mut Names, filters: Value) -> Result<Listener, String> {
    let value = json!({
        "name": "l",
        "address": { "socket_address": { "address": "0.0.0.0", "port_value": 80 } },
        "filter_chains": [{ "filters": filters }],
    });
    let value = message("envoy.config.listener.v3.Listener", &value);
    compile::listener(value, 0, &mut Cx::new(names)).map_err(|error| error.to_string())
}

fn manager(cache: &Value, per_route: Value) -> Value {
    let dynamic = typed(
        "filters.http.dynamic_forward_proxy.v3.FilterConfig",
        json!({ "dns_cache_config": cache }),
    );
    let per_route = typed(
        "filters.http.dynamic_forward_proxy.v3.PerRouteConfig",
        per_route,
    );
    let route = json!({
        "match": { "prefix": "/" },
        "route": { "cluster": "c" },
        "typed_per_filter_config": { "dynamic": per_route },
    });
    let manager = json!({
        "stat_prefix": "s",
        "route_config": {
            "name": "r",
            "virtual_hosts": [{ "name": "v", "domains": ["*"], "routes": [route] }],
        },
        "http_filters": [
            { "name": "dynamic", "typed_config": dynamic },
            { "name": "router", "typed_config": typed("filters.http.router.v3.Router", json!({})) },
        ],
    });
    json!({ "name": "hcm", "typed_config": typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager", manager,
    ) })
}

fn sni(fields: Value) -> Value {
    json!({ "name": "sni", "typed_config": typed(
        "filters.network.sni_dynamic_forward_proxy.v3.FilterConfig", fields,
    ) })
}

fn tcp() -> Value {
    let fields = json!({ "stat_prefix": "s", "cluster": "c" });
    json!({ "name": "tcp", "typed_config": typed("filters.network.tcp_proxy.v3.TcpProxy", fields) })
}

#[test]
fn who_names_a_cache_shares_it() {
    let names = &mut Names::default();
    let cache = json!({ "name": "shared", "dns_lookup_family": "V4_ONLY" });
    let cluster = cluster_with(names, json!({ "dns_cache_config": cache }), json!({})).unwrap();
    let Discovery::DynamicForward(own) = &cluster.config.discovery else {
        panic!("{:?}", cluster.config.discovery);
    };
    let rewrite = json!({ "host_rewrite_header": "x-host" });
    let http = listener(names, json!([manager(&cache, rewrite)])).unwrap();
    let chain = &http.chains.chains[0].1;
    let Terminal::Http(http) = &chain.terminal else {
        panic!("no HTTP");
    };
    let Some(HttpFilter::DynamicForwardProxy(filter)) = http.filters.iter().next() else {
        panic!("another filter");
    };
    assert!(Arc::ptr_eq(own, &filter.cache));
    let meltemi_proxy::model::RouteSource::Inline(table) = &http.routes else {
        panic!("no routes");
    };
    let route = &table.hosts[0].routes[0];
    let header = DynamicHost::Header("x-host".parse().unwrap());
    let mut said = route.filters.configs();
    assert!(
        matches!(said.next(), Some(RouteFilter::DynamicForwardProxy(Some(host))) if *host == header)
    );

    let forward = json!({ "port_value": 443, "dns_cache_config": cache });
    let by_sni = listener(names, json!([sni(forward), tcp()])).unwrap();
    let Terminal::Tcp(proxy) = &by_sni.chains.chains[0].1.terminal else {
        panic!("no TCP");
    };
    let forward = proxy.sni_forward.as_ref().unwrap();
    assert!(Arc::ptr_eq(own, &forward.cache));
    assert_eq!(forward.port, 443);

    let other = json!({ "dns_cache_config": { "name": "shared", "max_hosts": 7 } });
    let refused = cluster_with(names, other.clone(), json!({})).err().unwrap();
    assert_eq!(
        refused,
        "cluster_type.typed_config.dns_cache_config: DNS cache \"shared\" is in use with other \
         settings: give it the same ones wherever it is named, or another name"
    );
}

#[test]
fn a_name_is_free_when_nobody_uses_it() {
    let names = &mut Names::default();
    let config = |hosts: u32| json!({ "dns_cache_config": { "name": "c", "max_hosts": hosts } });
    drop(cluster_with(names, config(1), json!({})).unwrap());
    cluster_with(names, config(2), json!({})).unwrap();
}

#[test]
fn settings_are_envoys_unless_configured() {
    let settings = |cache: Value| {
        let cluster = cluster(cache, json!({})).unwrap();
        match &cluster.config.discovery {
            Discovery::DynamicForward(cache) => cache.settings().clone(),
            other => panic!("{other:?}"),
        }
    };
    let minute = Duration::from_secs(60);
    let default = settings(json!({}));
    assert_eq!(default.lookup, DnsFamily::Auto);
    assert_eq!((default.max_hosts, default.max_pending), (1024, 1024));
    assert_eq!(default.host_ttl, 5 * minute);
    assert_eq!(default.refresh, minute);
    assert_eq!(default.min_refresh, Duration::from_secs(5));
    assert_eq!(default.failure_refresh, (minute, minute));
    assert_eq!(default.query_timeout, Some(Duration::from_secs(5)));
    assert!(default.servers.is_empty() && default.filter.is_none());
    let own = settings(json!({
        "dns_failure_refresh_rate": { "base_interval": "1s" },
        "dns_query_timeout": "0s",
        "dns_cache_circuit_breaker": { "max_pending_requests": 3 },
        "resolved_address_filter": { "ranges": [{ "address_prefix": "10.0.0.0", "prefix_len": 8 }] },
        "typed_dns_resolver_config": { "name": "cares", "typed_config": typed(
            "network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            json!({ "resolvers": [{ "socket_address": { "address": "127.0.0.1", "port_value": 53 } }] }),
        ) },
    }));
    let second = Duration::from_secs(1);
    assert_eq!(own.failure_refresh, (second, 10 * second));
    assert_eq!((own.query_timeout, own.max_pending), (None, 3));
    assert_eq!(own.servers, ["127.0.0.1:53".parse().unwrap()]);
    let filter = own.filter.unwrap();
    assert!(filter.matches([10, 1, 1, 1].into()) && !filter.matches([11, 1, 1, 1].into()));
}

#[test]
fn what_is_not_done_is_refused() {
    let cache = "cluster_type.typed_config.dns_cache_config";
    let cases = [
        (
            json!({ "name": "" }),
            json!({}),
            format!("{cache}.name: is required"),
        ),
        (
            json!({ "max_hosts": 0 }),
            json!({}),
            format!("{cache}.max_hosts: must not be 0"),
        ),
        (
            json!({ "use_tcp_for_dns_lookups": true }),
            json!({}),
            format!("{cache}.use_tcp_for_dns_lookups: is not supported"),
        ),
        (
            json!({}),
            json!({ "lb_policy": "ROUND_ROBIN" }),
            "lb_policy: is CLUSTER_PROVIDED for this cluster_type".into(),
        ),
        (
            json!({}),
            json!({ "upstream_http_protocol_options": { "auto_sni": true } }),
            "cluster_type: needs auto_sni and auto_san_validation in the cluster's \
             upstream_http_protocol_options, or allow_insecure_cluster_options"
                .into(),
        ),
        (
            json!({}),
            json!({ "health_checks": [{ "timeout": "1s", "interval": "1s", "healthy_threshold": 1,
                "unhealthy_threshold": 1, "tcp_health_check": {} }] }),
            "health_checks: are not possible in a cluster that has no endpoints of its own".into(),
        ),
        (
            json!({}),
            json!({ "lb_subset_config": { "subset_selectors": [{ "keys": ["a"] }] } }),
            "lb_subset_config: is not possible in a cluster that has no endpoints of its own"
                .into(),
        ),
    ];
    for (cache, more, expected) in cases {
        assert_eq!(cluster(cache, more).err().unwrap(), expected);
    }
    let names = &mut Names::default();
    let parts = cluster_with(names, json!({ "sub_clusters_config": {} }), json!({}));
    assert_eq!(
        parts.err().unwrap(),
        "cluster_type.typed_config.sub_clusters_config: is not supported"
    );
    let insecure = json!({
        "dns_cache_config": { "name": "c" }, "allow_insecure_cluster_options": true,
    });
    let without = json!({ "upstream_http_protocol_options": {} });
    cluster_with(names, insecure, without).unwrap();

    let shared = json!({ "name": "c" });
    let forward = json!({ "port_value": 443, "dns_cache_config": shared });
    let before_http = json!([sni(forward), manager(&shared, json!({}))]);
    assert_eq!(
        listener(names, before_http).err().unwrap(),
        "filter_chains[0].filters[1]: follows sni_dynamic_forward_proxy, which needs a TCP proxy"
    );
    let no_port = json!([sni(json!({ "dns_cache_config": shared })), tcp()]);
    assert_eq!(
        listener(names, no_port).err().unwrap(),
        "filter_chains[0].filters[0].typed_config.port_value: is required"
    );
}
