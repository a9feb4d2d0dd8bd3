"""Envoy bootstraps of the benchmark's scenarios. Both proxies read the same files.

The Istio-like chains hold what istiod puts into a sidecar's filter chains, less the
extensions that only Istio's own build of Envoy has (istio.stats, peer metadata)."""

ADMIN, ADMIN_2 = 19000, 19002
UPSTREAM = 19001
ENTRY, SECOND_HOP = 19010, 19011
UNLIMITED = 4294967295

ACCESS_LOG = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)


def typed(kind, **fields):
    return {"@type": f"type.googleapis.com/envoy.{kind}", **fields}


def extension(name, kind, **fields):
    return {"name": name, "typed_config": typed(kind, **fields)}


def address(port, ip="127.0.0.1"):
    return {"socket_address": {"address": ip, "port_value": port}}


def bootstrap(listeners, clusters, admin=ADMIN):
    return {
        "node": {"id": "bench", "cluster": "bench"},
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def listener(name, port, manager, tls=None):
    chain = {"filters": [manager]}
    if tls:
        chain["transport_socket"] = tls
    return {"name": name, "address": address(port), "filter_chains": [chain]}


def cluster(name, port, http2=False, tls=None, ip="127.0.0.1", **more):
    out = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port, ip)}}]}],
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": UNLIMITED,
                    "max_pending_requests": UNLIMITED,
                    "max_requests": UNLIMITED,
                    "max_retries": UNLIMITED,
                }
            ]
        },
        **more,
    }
    if http2:
        options = "extensions.upstreams.http.v3.HttpProtocolOptions"
        out["typed_extension_protocol_options"] = {
            f"envoy.{options}": typed(options, explicit_http_config={"http2_protocol_options": {}})
        }
    if tls:
        out["transport_socket"] = tls
    return out


def mutual_tls(certs, alpn, server):
    common = {
        "tls_certificates": [
            {
                "certificate_chain": {"filename": f"{certs}/leaf.pem"},
                "private_key": {"filename": f"{certs}/leaf.key"},
            }
        ],
        "validation_context": {
            "trusted_ca": {"filename": f"{certs}/ca.pem"},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}],
        },
        "alpn_protocols": alpn,
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
    }
    kind = "DownstreamTlsContext" if server else "UpstreamTlsContext"
    role = {"require_client_certificate": True} if server else {"sni": "localhost"}
    kind = f"extensions.transport_sockets.tls.v3.{kind}"
    return extension("envoy.transport_sockets.tls", kind, common_tls_context=common, **role)


def manager(hosts, filters=(), prefix="bench", **more):
    router = extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=prefix,
        codec_type="AUTO",
        route_config={"name": "routes", "virtual_hosts": hosts, "validate_clusters": False},
        http_filters=[*filters, router],
        **more,
    )


def plain_host(target):
    route = {"match": {"prefix": "/"}, "route": {"cluster": target, "timeout": "0s"}}
    return {"name": "all", "domains": ["*"], "routes": [route]}


# --- chains as istiod writes them


def istio_route(match, target, name):
    previous_hosts = "envoy.retry_host_predicates.previous_hosts"
    predicate = extension(previous_hosts, "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")
    retries = {
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": 2,
        "retriable_status_codes": [503],
        "retry_host_predicate": [predicate],
        "host_selection_retry_max_attempts": "5",
    }
    action = {"cluster": target, "timeout": "0s", "retry_policy": retries}
    return {"name": name, "match": match, "decorator": {"operation": name}, "route": action}


def service_host(name, target, port=80):
    full = f"{name}.default.svc.cluster.local"
    names = [full, name, f"{name}.default", f"{name}.default.svc"]
    routes = [istio_route({"prefix": "/"}, target, "default")]
    return {"name": f"{full}:{port}", "domains": names, "routes": routes}


def authorization(policies):
    """ALLOW with `policies` rules of which the last one matches everything."""

    def rule(i):
        methods = [{"header": {"name": ":method", "string_match": {"exact": m}}} for m in ("GET", "POST")]
        paths = [{"url_path": {"path": {"prefix": f"/api/v{i}/"}}}]
        caller = {"exact": f"spiffe://cluster.local/ns/default/sa/caller-{i}"}
        return {
            "permissions": [{"and_rules": {"rules": [{"or_rules": {"rules": paths}}, {"or_rules": {"rules": methods}}]}}],
            "principals": [{"and_ids": {"ids": [{"authenticated": {"principal_name": caller}}]}}],
        }

    rules = {f"ns[default]-policy[p{i}]-rule[0]": rule(i) for i in range(policies - 1)}
    rules["ns[default]-policy[rest]-rule[0]"] = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    kind = "extensions.filters.http.rbac.v3.RBAC"
    return extension("envoy.filters.http.rbac", kind, rules={"action": "ALLOW", "policies": rules})


def istio_manager(hosts, inbound, policies=10):
    filters = [authorization(policies)] if inbound and policies else []
    grpc = {"emit_filter_state": True, "stats_for_all_methods": False}
    filters += [
        extension("envoy.filters.http.grpc_stats", "extensions.filters.http.grpc_stats.v3.FilterConfig", **grpc),
        extension("envoy.filters.http.fault", "extensions.filters.http.fault.v3.HTTPFault"),
        extension("envoy.filters.http.cors", "extensions.filters.http.cors.v3.Cors"),
    ]
    log = {"path": "/dev/null", "log_format": {"text_format_source": {"inline_string": ACCESS_LOG}}}
    more = {
        "access_log": [extension("envoy.access_loggers.file", "extensions.access_loggers.file.v3.FileAccessLog", **log)],
        "use_remote_address": not inbound,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "stream_idle_timeout": "0s",
        "server_name": "istio-envoy",
    }
    if inbound:
        more["forward_client_cert_details"] = "APPEND_FORWARD"
        more["set_current_client_cert_details"] = {"subject": True, "dns": True, "uri": True}
    return manager(hosts, filters, "inbound" if inbound else "outbound", **more)


OUTLIERS = {
    "outlier_detection": {
        "consecutive_5xx": 5,
        "interval": "10s",
        "base_ejection_time": "30s",
        "enforcing_success_rate": 0,
    },
    "lb_policy": "LEAST_REQUEST",
    "common_lb_config": {"healthy_panic_threshold": {}},
}


def one_hop(certs=None):
    """HTTP in, HTTP/1.1 out, nothing else; with `certs` mutual TLS in."""
    tls = mutual_tls(certs, ["h2", "http/1.1"], True) if certs else None
    return bootstrap([listener("entry", ENTRY, manager([plain_host("upstream")]), tls)], [cluster("upstream", UPSTREAM)])


def outbound_hop(certs):
    """A client's sidecar: 100 virtual hosts, and 100 routes in the one that is hit."""
    hosts = [service_host(f"service-{i}", "peer") for i in range(100)]
    routes = []
    for i in range(99):
        version = {"name": "x-version", "string_match": {"exact": str(i)}}
        routes.append(istio_route({"prefix": f"/api/v{i}/", "headers": [version]}, "peer", f"route-{i}"))
    routes.append(istio_route({"prefix": "/"}, "peer", "default"))
    hosts.append({"name": "hit", "domains": ["*"], "routes": routes})
    peer = cluster("peer", SECOND_HOP, http2=True, tls=mutual_tls(certs, ["istio-h2", "h2"], False), **OUTLIERS)
    return bootstrap([listener("outbound", ENTRY, istio_manager(hosts, False))], [peer])


def inbound_hop(certs, http2=False):
    """A server's sidecar: mutual TLS and an authorization policy of ten rules; HTTP/1.1 or HTTP/2 to the server."""
    tls = mutual_tls(certs, ["h2", "http/1.1"], True)
    hosts = [{"name": "inbound|http|80", "domains": ["*"], "routes": [istio_route({"prefix": "/"}, "upstream", "default")]}]
    entry = listener("inbound", SECOND_HOP, istio_manager(hosts, True), tls)
    return bootstrap([entry], [cluster("upstream", UPSTREAM, http2)], ADMIN_2)


def tcp_proxy(target):
    kind = "extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return extension("envoy.filters.network.tcp_proxy", kind, stat_prefix="bench", cluster=target)


def tcp_hop():
    """TCP in, TCP out."""
    return bootstrap([listener("entry", ENTRY, tcp_proxy("upstream"))], [cluster("upstream", UPSTREAM)])


def tcp_outbound_hop(certs):
    """TCP in, mutual TLS to the second hop."""
    peer = cluster("peer", SECOND_HOP, tls=mutual_tls(certs, ["istio"], False))
    return bootstrap([listener("outbound", ENTRY, tcp_proxy("peer"))], [peer])


def tcp_inbound_hop(certs):
    tls = mutual_tls(certs, ["istio"], True)
    entry = listener("inbound", SECOND_HOP, tcp_proxy("upstream"), tls)
    return bootstrap([entry], [cluster("upstream", UPSTREAM)], ADMIN_2)


def bookinfo_sidecar(certs):
    """What a sidecar of bookinfo holds: its services with their subsets, and its inbound."""
    subsets = {"productpage": ["v1"], "details": ["v1"], "reviews": ["v1", "v2", "v3"], "ratings": ["v1"]}
    clusters, hosts = [], []
    for n, (service, versions) in enumerate(subsets.items()):
        tls = mutual_tls(certs, ["istio-h2", "h2"], False)
        for m, subset in enumerate(["", *versions]):
            name = f"outbound|9080|{subset}|{service}.default.svc.cluster.local"
            clusters.append(cluster(name, 9080, http2=True, tls=tls, ip=f"10.98.{n}.{m + 1}", **OUTLIERS))
        hosts.append(service_host(service, f"outbound|9080||{service}.default.svc.cluster.local", 9080))
    clusters.append(cluster("inbound|9080||", UPSTREAM))
    hosts.append(plain_host("inbound|9080||"))
    inbound = [{"name": "inbound|http|9080", "domains": ["*"], "routes": [istio_route({"prefix": "/"}, "inbound|9080||", "default")]}]
    tls = mutual_tls(certs, ["h2", "http/1.1"], True)
    return bootstrap(
        [
            listener("outbound", ENTRY, istio_manager(hosts, False)),
            listener("inbound", SECOND_HOP, istio_manager(inbound, True, policies=0), tls),
        ],
        clusters,
    )


def many_clusters(count):
    """`count` clusters of one endpoint with a virtual host each, and one more that answers."""
    clusters, hosts = [cluster("upstream", UPSTREAM)], [plain_host("upstream")]
    for i in range(count):
        name = f"service-{i}.default.svc.cluster.local"
        clusters.append(cluster(f"outbound|80||{name}", 8080, ip=f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"))
        route = {"match": {"prefix": "/"}, "route": {"cluster": f"outbound|80||{name}"}}
        hosts.append({"name": f"{name}:80", "domains": [name], "routes": [route]})
    return bootstrap([listener("entry", ENTRY, manager(hosts))], clusters)
