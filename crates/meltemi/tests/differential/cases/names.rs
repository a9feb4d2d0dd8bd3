//! Dynamic forward proxies: the host that a request or a TLS greeting names is resolved.

use super::tcp::greeting;
use crate::bootstrap::{Config, address, any_host, clusters, http_listener_with, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "names",
        config,
        cases,
    }
}

/// A cache that asks the suite's own name server.
fn cache(upstreams: &Upstreams, name: &str, more: Value) -> Value {
    let resolver = json!({ "resolvers": [address(upstreams.dns)] });
    let mut cache = json!({
        "name": name,
        "dns_lookup_family": "V4_ONLY",
        "typed_dns_resolver_config": {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": typed("network.dns_resolver.cares.v3.CaresDnsResolverConfig", resolver),
        },
    });
    let more = more.as_object().unwrap().clone();
    cache.as_object_mut().unwrap().extend(more);
    cache
}

fn cluster(name: &str, cache: &Value) -> Value {
    let config = typed(
        "clusters.dynamic_forward_proxy.v3.ClusterConfig",
        json!({ "dns_cache_config": cache }),
    );
    json!({
        "name": name,
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.dynamic_forward_proxy",
            "typed_config": config,
        },
    })
}

/// Everything but these routes goes to the cluster, its host resolved in the cache.
fn listener(cluster: &str, cache: Option<&Value>, mut routes: Vec<Value>) -> Value {
    let filter = |cache| {
        json!({
            "name": "envoy.filters.http.dynamic_forward_proxy",
            "typed_config": typed(
                "filters.http.dynamic_forward_proxy.v3.FilterConfig",
                json!({ "dns_cache_config": cache }),
            ),
        })
    };
    let filters: Vec<Value> = cache.into_iter().map(filter).collect();
    routes.push(json!({ "match": { "prefix": "/" }, "route": { "cluster": cluster } }));
    http_listener_with(json!(filters), any_host(json!(routes)), json!({}))
}

fn rewriting(path: &str, cluster: &str, config: Value) -> Value {
    let config = typed(
        "filters.http.dynamic_forward_proxy.v3.PerRouteConfig",
        config,
    );
    json!({
        "match": { "path": path },
        "route": { "cluster": cluster },
        "typed_per_filter_config": { "envoy.filters.http.dynamic_forward_proxy": config },
    })
}

fn by_sni(upstreams: &Upstreams, cache: Option<&Value>) -> Value {
    let inspector = json!([{
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": typed("filters.listener.tls_inspector.v3.TlsInspector", json!({})),
    }]);
    let forward = |cache| {
        let fields = json!({ "port_value": upstreams.ports["tcp"], "dns_cache_config": cache });
        json!({
            "name": "envoy.filters.network.sni_dynamic_forward_proxy",
            "typed_config": typed("filters.network.sni_dynamic_forward_proxy.v3.FilterConfig", fields),
        })
    };
    let mut filters: Vec<Value> = cache.into_iter().map(forward).collect();
    let proxy = typed(
        "filters.network.tcp_proxy.v3.TcpProxy",
        json!({ "stat_prefix": "sni", "cluster": "names" }),
    );
    filters.push(json!({ "name": "envoy.filters.network.tcp_proxy", "typed_config": proxy }));
    json!({ "listener_filters": inspector, "filter_chains": [{ "filters": filters }] })
}

fn config(upstreams: &Upstreams) -> Config {
    let names = cache(upstreams, "names", json!({}));
    let other = cache(upstreams, "other", json!({}));
    let one = cache(upstreams, "one", json!({ "max_hosts": 1 }));
    let none = json!({ "dns_cache_circuit_breaker": { "max_pending_requests": 0 } });
    let none = cache(upstreams, "none", none);
    let there = format!("b.resolved.test:{}", upstreams.ports["b"]);
    let literal = json!({ "host_rewrite_literal": there });
    let routes = vec![
        rewriting("/literal", "names", literal.clone()),
        rewriting(
            "/header",
            "names",
            json!({ "host_rewrite_header": "x-host" }),
        ),
        rewriting("/literal-elsewhere", "c", literal),
        json!({
            "match": { "path": "/later" },
            "route": { "cluster": "names", "host_rewrite_literal": there },
        }),
    ];
    let mut all = clusters(&upstreams.ports);
    for (name, cache) in [("names", &names), ("one", &one), ("none", &none)] {
        all.push(cluster(name, cache));
    }
    Config {
        listeners: vec![
            listener("names", Some(&names), routes),
            listener("one", Some(&one), Vec::new()),
            listener("none", Some(&none), Vec::new()),
            listener("names", Some(&other), Vec::new()),
            listener("names", None, Vec::new()),
            by_sni(upstreams, Some(&names)),
            by_sni(upstreams, None),
            listener("one", None, Vec::new()),
            listener("none", None, Vec::new()),
        ],
        clusters: all,
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    let at = |name, host| Case::get(name, "/").host(host);
    let gone = "no-such-name.test";
    // Who cannot resolve says why in words of its own.
    let why = &["log.details"];
    vec![
        at("a name", "a.resolved.test:{a}"),
        at("the name again", "a.resolved.test:{a}"),
        at("the name at another port", "a.resolved.test:{b}"),
        at("another name at the same address", "b.resolved.test:{a}"),
        at("a name in upper case", "A.Resolved.TEST:{a}"),
        at("a name with a dot behind it", "a.resolved.test.:{a}"),
        at("a name by HTTP/2", "a.resolved.test:{a}").http2(),
        at("a name of this machine", "localhost:{a}"),
        at("a port where nobody listens", "a.resolved.test:{refused}"),
        at("a name that there is not", gone).loose(why),
        at("the name is still not there", gone).loose(why),
        Case::grpc("a name that there is not, by gRPC", "/s.S/M")
            .host(gone)
            .loose(why),
        at("a name without addresses", "empty.test").loose(why),
        at("a port that is none", "a.resolved.test:99999").loose(why),
        at("an address", "127.0.0.1:{a}"),
        at("an address of another family", "[::1]:{a}").loose(why),
        at("no host", ""),
        Case::get("the route's host", "/literal").host(gone),
        Case::get("a header's host", "/header")
            .host(gone)
            .header("x-host", "a.resolved.test:{a}"),
        Case::get("a header that is not there", "/header").host("a.resolved.test:{a}"),
        Case::get(
            "the route's host, for another cluster",
            "/literal-elsewhere",
        )
        .host(gone),
        Case::get("a host rewritten later", "/later").host("a.resolved.test:{a}"),
        at("the only name", "a.resolved.test:{a}").on(1),
        at("one name too many", "b.resolved.test:{a}").on(1),
        at("the only name again", "a.resolved.test:{a}").on(1),
        at("nobody may wait", "a.resolved.test:{a}").on(2),
        at("resolved in another cache", "d.resolved.test:{a}").on(3),
        at("not there in another cache", "gone.test:{a}")
            .on(3)
            .loose(why),
        at("resolved by the cluster", "e.resolved.test:{a}").on(4),
        at("not there for the cluster", gone).on(4).loose(why),
        at(
            "a port that is none, for the cluster",
            "f.resolved.test:99999",
        )
        .on(4)
        .loose(why),
        at("no host, for the cluster", "").on(4),
        at("the only name, for the cluster", "a.resolved.test:{a}").on(7),
        at("one name too many for the cluster", "b.resolved.test:{a}").on(7),
        at("nobody may wait for the cluster", "a.resolved.test:{a}").on(8),
        Case::opaque(
            "a server name for the cluster",
            greeting("tcp3.resolved.test", &[]),
        )
        .on(6)
        .loose(&["end", "log.received"]),
        Case::opaque("a server name", greeting("tcp.resolved.test", &[])).on(5),
        Case::opaque(
            "a server name in upper case",
            greeting("TCP.resolved.test", &[]),
        )
        .on(5),
        Case::opaque("a server name that there is not", greeting(gone, &[]))
            .on(5)
            .loose(&["end", "log.received"]),
        Case::opaque("no server name", "hello")
            .on(5)
            .loose(&["end", "log.received"]),
    ]
}
