//! Refusals name the field and the reason; what is harmless does not refuse.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use meltemi_proxy::compile::{self, Cx, Error, Names};
use meltemi_schema::encode;
use prost::Message;
use serde_json::{Value, json};

fn compile_as<M: Message + Default, T>(
    kind: &str,
    value: &Value,
    compile: impl FnOnce(M, &mut Cx<'_>) -> Result<T, Error>,
) -> Result<(T, Vec<compile::Notice>), String> {
    let bytes = encode(kind, value).unwrap();
    let mut names = Names::default();
    let mut cx = Cx::new(&mut names);
    let compiled = compile(M::decode(bytes.as_slice()).unwrap(), &mut cx);
    compiled
        .map(|compiled| (compiled, cx.finish().1))
        .map_err(|error| error.to_string())
}

fn cluster(value: Value) -> Result<Vec<compile::Notice>, String> {
    compile_as("envoy.config.cluster.v3.Cluster", &value, |message, cx| {
        compile::cluster(message, 0, cx)
    })
    .map(|(_, notices)| notices)
}

fn listener(value: Value) -> Result<Vec<compile::Notice>, String> {
    compile_as(
        "envoy.config.listener.v3.Listener",
        &value,
        |message, cx| compile::listener(message, 0, cx),
    )
    .map(|(_, notices)| notices)
}

fn routes(value: Value) -> Result<meltemi_proxy::model::RouteTable, String> {
    compile_as(
        "envoy.config.route.v3.RouteConfiguration",
        &value,
        compile::route_table,
    )
    .map(|(table, _)| table)
}

fn table(route: Value) -> Value {
    json!({"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]})
}

fn http_listener(extra: Value) -> Value {
    let mut manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "s",
        "route_config": table(json!({"match": {"prefix": "/"}, "route": {"cluster": "c"}})),
        "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    for (key, value) in extra.as_object().unwrap() {
        manager[key] = value.clone();
    }
    json!({
        "name": "l",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    })
}

#[test]
fn what_cannot_work_is_refused() {
    let connect = |upgrade: Value| {
        let route = json!({"cluster": "c", "upgrade_configs": [upgrade]});
        routes(table(
            json!({"match": {"connect_matcher": {}}, "route": route}),
        ))
    };
    connect(json!({"upgrade_type": "CONNECT", "connect_config": {}})).unwrap();
    let posts = json!({"upgrade_type": "CONNECT", "connect_config": {"allow_post": true}});
    let refused = connect(posts).err().unwrap();
    assert!(refused.contains("allow_post"), "{refused}");
    let refused = connect(json!({"upgrade_type": "websocket", "connect_config": {}}))
        .err()
        .unwrap();
    assert!(
        refused.contains("connect_config: is of CONNECT only"),
        "{refused}"
    );
    let upgrade = json!({"upgrade_configs": [{"upgrade_type": "CONNECT-UDP"}]});
    let refused = listener(http_listener(upgrade)).unwrap_err();
    assert!(
        refused.contains("CONNECT-UDP is not supported"),
        "{refused}"
    );
    let websocket = json!({"upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT", "enabled": false}]});
    listener(http_listener(websocket)).unwrap();

    let alpn = |list: Value| {
        let typed = json!({
            "@type": "type.googleapis.com/istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
            "alpn_override": [{"upstream_protocol": "HTTP11", "alpn_override": list}],
        });
        let router =
            json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
        listener(http_listener(json!({"http_filters": [
            {"name": "istio.alpn", "typed_config": typed},
            {"name": "router", "typed_config": router},
        ]})))
    };
    alpn(json!(["istio-http/1.1", "istio", "http/1.1"])).unwrap();
    let refused = alpn(json!(["http/1.1"])).unwrap_err();
    assert!(refused.contains("only Istio's own lists"), "{refused}");

    let connect = json!({"http2_protocol_options": {"allow_connect": true}});
    let notices = listener(http_listener(connect)).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
}

#[test]
fn clusters() {
    let cases = [
        (
            json!({"name": "c", "type": "EDS"}),
            "eds_cluster_config: is required",
        ),
        (
            json!({"name": "c", "lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 10}}),
            "maglev_lb_config.table_size: must be a prime number of at most 5000011",
        ),
        (
            json!({"name": "c", "connect_timeout": "-1s"}),
            "connect_timeout: is not a positive duration",
        ),
        (
            json!({"name": "c", "load_assignment": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "name.test", "port_value": 1}}}}]}]}}),
            "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address: \"name.test\" is not an IP address",
        ),
        (
            json!({"name": "c", "lb_subset_config": {"subset_selectors": [{"keys": []}]}}),
            "lb_subset_config.subset_selectors[0].keys: is required",
        ),
        (
            json!({"name": "c", "health_checks": [{"timeout": "1s", "interval": "1s", "healthy_threshold": 1,
                "unhealthy_threshold": 1, "http_health_check": {"path": "/", "expected_statuses": [{"start": 1, "end": 2}]}}]}),
            "health_checks[0].http_health_check.expected_statuses: 1 to 2 is no range of HTTP statuses (start within 100 to 599, end above it)",
        ),
        (
            json!({"name": "c", "health_checks": [{"timeout": "1s", "interval": "1s", "healthy_threshold": 1,
                "unhealthy_threshold": 1, "grpc_health_check": {}}]}),
            "health_checks: by gRPC need a cluster that speaks HTTP/2 (http2_protocol_options)",
        ),
        (
            json!({"name": "c", "outlier_detection": {
                "base_ejection_time": "30s", "max_ejection_time": "10s"}}),
            "outlier_detection.max_ejection_time: is below base_ejection_time",
        ),
        (
            json!({"name": "c", "lb_policy": "ROUND_ROBIN", "round_robin_lb_config": {
                "slow_start_config": {"slow_start_window": "5s",
                    "aggression": {"default_value": -1, "runtime_key": "a"}}}}),
            "slow_start_config.aggression: must be above 0",
        ),
        (
            json!({"name": "c", "transport_socket": {"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {"validation_context": {"crl": {"inline_string": "x"}}}}}}),
            "transport_socket.typed_config.common_tls_context.validation_context.crl: needs a trusted_ca",
        ),
        (
            json!({"name": "c", "transport_socket": {"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {"validation_context": {"verify_certificate_hash": ["ab:cd"]}}}}}),
            "transport_socket.typed_config.common_tls_context.validation_context.verify_certificate_hash[0]: \
             \"ab:cd\" is not a SHA-256 hash in hex (64 digits, or pairs with colons between)",
        ),
        (
            json!({"name": "c", "transport_socket": {"name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {"validation_context": {"verify_certificate_spki": ["AAAA"]}}}}}),
            "transport_socket.typed_config.common_tls_context.validation_context.verify_certificate_spki[0]: \
             \"AAAA\" is not a SHA-256 hash in base64 (44 characters)",
        ),
    ];
    for (value, expected) in cases {
        assert_eq!(cluster(value).unwrap_err(), expected);
    }
    assert!(
        cluster(json!({"name": "c", "outlier_detection": {}}))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn listeners() {
    let cases = [
        (
            json!({"name": "l", "address": {"pipe": {"path": "/x"}}, "filter_chains": [{}]}),
            "address: pipe: is not supported",
        ),
        (
            http_listener(json!({"http_filters": []})),
            "filter_chains[0].filters[0].typed_config.http_filters: does not end with the router",
        ),
        (
            http_listener(json!({"codec_type": "HTTP3"})),
            "filter_chains[0].filters[0].typed_config.codec_type: HTTP3 is not supported",
        ),
        (
            http_listener(
                json!({"http_filters": [{"name": "jwt", "is_optional": true, "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"}}]}),
            ),
            "filter_chains[0].filters[0].typed_config.http_filters[0]: policy filter \"jwt\" \
             (envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication) is not supported yet: \
             refusing the listener rather than letting traffic pass unchecked",
        ),
    ];
    for (value, expected) in cases {
        let expected = expected.replace("address: pipe", "address.pipe");
        assert_eq!(listener(value).unwrap_err(), expected);
    }
    let datadog = json!({
        "@type": "type.googleapis.com/envoy.config.trace.v3.DatadogConfig",
        "collector_cluster": "c",
        "service_name": "s",
    });
    let tracing = json!({"provider": {"name": "datadog", "typed_config": datadog}});
    let notices = listener(http_listener(json!({"tracing": tracing}))).unwrap();
    assert_eq!(notices[0].field, "HttpConnectionManager.tracing.provider");
}

#[test]
fn loggers_of_services() {
    let log = |kind: &str, mut config: Value| {
        config["@type"] =
            format!("type.googleapis.com/envoy.extensions.access_loggers.{kind}").into();
        listener(http_listener(
            json!({"access_log": [{"name": "l", "typed_config": config}]}),
        ))
    };
    let service = json!({"envoy_grpc": {"cluster_name": "logs"}});
    let common = json!({"log_name": "l", "transport_api_version": "V3", "grpc_service": service});
    let grpc = "grpc.v3.HttpGrpcAccessLogConfig";
    assert_eq!(log(grpc, json!({"common_config": common})), Ok(vec![]));
    let mut with_states = common.clone();
    with_states["filter_state_objects_to_log"] = json!(["x"]);
    let notices = log(grpc, json!({"common_config": with_states})).unwrap();
    assert_eq!(
        notices[0].field,
        "CommonGrpcAccessLogConfig.filter_state_objects_to_log"
    );
    let google = json!({"google_grpc": {"target_uri": "x", "stat_prefix": "x"}});
    let common = json!({"log_name": "l", "transport_api_version": "V3", "grpc_service": google});
    let error = log(grpc, json!({"common_config": common})).unwrap_err();
    assert!(
        error.contains("common_config.grpc_service.google_grpc"),
        "{error}"
    );

    let otel = "open_telemetry.v3.OpenTelemetryAccessLogConfig";
    let text = |text: &str| json!({"string_value": text});
    let record = json!({
        "log_name": "l",
        "grpc_service": service,
        "body": text("%REQ(:METHOD)%"),
        "attributes": {"values": [{"key": "n", "value": {"int_value": "1"}}]},
    });
    assert_eq!(log(otel, record), Ok(vec![]));
    let record = json!({"log_name": "l", "grpc_service": service, "body": text("%NOPE%")});
    let error = log(otel, record).unwrap_err();
    assert!(error.contains("body") && error.contains("NOPE"), "{error}");
}

#[test]
fn route_tables() {
    let to = |extra: Value| {
        let mut action = json!({"cluster": "c"});
        for (key, value) in extra.as_object().unwrap() {
            action[key] = value.clone();
        }
        table(json!({"match": {"prefix": "/"}, "route": action}))
    };
    let cases = [
        (
            to(json!({"retry_policy": {"retry_on": "5xx,sometimes"}})),
            "virtual_hosts[0].routes[0].route.retry_policy.retry_on: \"sometimes\" is not a retry condition",
        ),
        (
            to(json!({"regex_rewrite": {"pattern": {"regex": "a(b"}, "substitution": ""}})),
            "virtual_hosts[0].routes[0].route.regex_rewrite.pattern.regex: not a valid regular expression",
        ),
        (
            table(json!({"match": {"safe_regex": {"regex": "["}}, "route": {"cluster": "c"}})),
            "virtual_hosts[0].routes[0].match.safe_regex.regex: not a valid regular expression",
        ),
        (
            table(json!({"match": {"prefix": "/"}, "direct_response": {"status": 42}})),
            "virtual_hosts[0].routes[0].direct_response.status: 42 is not an HTTP status",
        ),
        (
            json!({"name": "r", "virtual_hosts": [{"name": "a", "domains": ["x"]}, {"name": "b", "domains": ["X"]}]}),
            "virtual_hosts[1].domains: \"x\" stands in two virtual hosts",
        ),
        (
            table(
                json!({"match": {"prefix": "/"}, "route": {"cluster": "c"}, "typed_per_filter_config": {
                "authz": {"@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"}}}),
            ),
            "virtual_hosts[0].routes[0].typed_per_filter_config[authz]: envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute is not supported",
        ),
    ];
    for (value, expected) in cases {
        let error = routes(value).map(drop).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn routes_inherit_and_replace() {
    use meltemi_proxy::model::{Action, PathRewrite, RouteFilter};
    let fault = |status: u32| {
        json!({"fault": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": {"http_status": status, "percentage": {"numerator": 100}}}})
    };
    let compiled = routes(json!({
        "name": "r",
        "virtual_hosts": [{
            "name": "v",
            "domains": ["*.b.test", "*.a.b.test", "a.*", "Exact.test:80", "*"],
            "retry_policy": {"retry_on": "5xx", "num_retries": 4},
            "typed_per_filter_config": fault(503),
            "routes": [
                {"match": {"prefix": "/x"}, "route": {"cluster": "c",
                    "regex_rewrite": {"pattern": {"regex": "^/x/(.*)$"}, "substitution": "/$y/\\1"}}},
                {"match": {"prefix": "/"}, "typed_per_filter_config": fault(404),
                    "route": {"cluster": "d", "timeout": "0s", "retry_policy": {"retry_on": "reset"}}},
            ],
        }],
    }))
    .unwrap();
    assert_eq!(&*compiled.domains.suffix[0].0, ".a.b.test", "longest first");
    assert_eq!(&*compiled.domains.prefix[0].0, "a.");
    assert_eq!(compiled.domains.exact["exact.test:80"], 0);
    assert_eq!(compiled.domains.any, Some(0));
    let abort = |index: usize| {
        let route = &compiled.hosts[0].routes[index];
        match route.filters.configs().next() {
            Some(RouteFilter::Fault(fault)) => fault.abort.as_ref().unwrap().kind,
            _ => panic!("no fault"),
        }
    };
    assert_eq!(abort(0), meltemi_proxy::model::AbortKind::Http(503));
    assert_eq!(abort(1), meltemi_proxy::model::AbortKind::Http(404));
    let forward = |index: usize| match &compiled.hosts[0].routes[index].action {
        Action::Forward(forward) => forward,
        _ => panic!("does not forward"),
    };
    assert_eq!(forward(0).retry.as_ref().unwrap().num_retries, 4);
    assert_eq!(forward(0).timeout, Some(std::time::Duration::from_secs(15)));
    assert_eq!(forward(1).retry.as_ref().unwrap().num_retries, 1);
    assert_eq!(forward(1).timeout, None);
    let PathRewrite::Regex(regex, replacement) = &forward(0).path_rewrite else {
        panic!("no rewrite");
    };
    assert_eq!(regex.replace_all("/x/tail", &**replacement), "/$y/tail");
}
