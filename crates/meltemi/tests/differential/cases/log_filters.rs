//! Which requests and connections a log is written of. Each filter has a log of its own, whose
//! line is the filter's name.

use super::tcp::greeting;
use crate::bootstrap::{
    Config, LOG, any_host, cluster, clusters, http_listener, http2_upstream, typed,
};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "log_filters",
        config,
        cases,
    }
}

/// Written of what it holds for.
const EXPRESSIONS: &[&str] = &[
    "response.code >= 400",
    "response.code == 200.0 || response.code in [404, 503]",
    "response.code / 100 == 4 && response.code % 100 * 2 == 8",
    "connection.mtls == false",
    "xds.cluster_name == 'a'",
    "xds.route_name != ''",
    "xds.virtual_host_name == 'any' && xds.filter_chain_name == ''",
    "xds.listener_direction == 0",
    "request.headers['x-a'] == 'y'",
    "request.headers['x-a'] != 'y'",
    "request.headers['X-A'] == 'y' || request.headers['x-b'] == 'z'",
    "request.headers['x-a'] == 'y,z'",
    "request.headers[':path'] == '/new/x' && request.headers['host'] == 'app.test'",
    "has(request.headers.authorization) || 'x-b' in request.headers",
    "!('x-a' in request.headers)",
    "response.flags != 0",
    "response.flags == 256 || response.flags == 32",
    "response.code_details == 'via_upstream'",
    "response.code_details.startsWith('direct')",
    "response.grpc_status == 5",
    "response.grpc_status == 12",
    "response.grpc_status == 2",
    "response.headers['server'].contains('e')",
    "response.headers['x-multi'] == 'one,two'",
    "response.trailers['grpc-status'] == '5'",
    "response.size == 2 && response.total_size > 40",
    "response.headers_bytes > 10",
    "request.duration > duration('1s')",
    "request.duration < duration('1h') && request.time > timestamp('2020-01-01T00:00:00Z')",
    "request.time.getFullYear() > 2020 && request.time.getHours() < 24",
    "request.path.contains('?') && request.query == 'y=1'",
    "request.url_path.matches('^/[a-z]+/?x$') && request.path.size() > 1",
    "request.host == 'app.test' && request.scheme == 'http' && request.method == 'POST'",
    "request.protocol == 'HTTP/2'",
    "request.useragent.endsWith('agent') && request.referer == 'http://r.test/'",
    "request.size == 7 && request.total_size > 7 && request.headers_bytes > 20",
    "upstream.address.startsWith('127.0.0.1:') && upstream.port > 0",
    "upstream.local_address != '' && upstream.transport_failure_reason == ''",
    "upstream.transport_failure_reason != ''",
    "upstream.request_attempt_count == 1u",
    "source.address.startsWith('127.') && source.port > 0 && destination.port > 0",
    "connection.requested_server_name == 'one.test'",
    "connection.termination_details == ''",
    "connection.id >= 0",
    "request.path > 1 || true",
    "request.path > 1",
    "!(request.path > 1)",
    "request.path + 'x' == '/xx'",
    "1 / 0 == 0",
    "int('7') + 1 == 8 && uint(7) == 7u && double('1.5') > 1.0 && int(2.9) == 2",
    "[1, 2][1] == 2 ? true : response.code",
    "response.code",
    "metadata.filter_metadata['x']['y'] == 'z'",
];

fn log(name: &str, filter: Value) -> Value {
    let line = format!("{}\n", name.replace('%', "%%"));
    let format = json!({ "text_format_source": { "inline_string": line } });
    json!({
        "name": "own",
        "filter": filter,
        "typed_config": typed(
            "access_loggers.file.v3.FileAccessLog",
            json!({ "path": LOG, "log_format": format }),
        ),
    })
}

fn expression(text: &str, more: Value) -> Value {
    let mut config = json!({ "expression": text });
    let more = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    json!({ "extension_filter": {
        "name": "cel",
        "typed_config": typed("access_loggers.filters.cel.v3.ExpressionFilter", config),
    } })
}

fn compared(op: &str, value: u32) -> Value {
    json!({ "comparison": {
        "op": op,
        "value": { "default_value": value, "runtime_key": "log.none" },
    } })
}

/// JSON with all that can be in it.
fn json_log(omits: bool) -> Value {
    let format = json!({
        "z": "%RESPONSE_CODE%",
        "a": {
            "nested": { "list": ["%PROTOCOL%", 1, 1.5, true, null, { "in": "%REQ(X-A)%" }, ["%REQ(X-B)%"]] },
            "absent": { "header": "%REQ(X-NONE)%" },
            "joined": "%REQ(X-NONE)%-%REQ(X-A)%",
            "quoted": "\"\u{e9}\\ %%",
        },
        "tls": ["%UPSTREAM_TLS_VERSION%", "%UPSTREAM_PEER_ISSUER%", "%DOWNSTREAM_PEER_CERT_V_START%"],
        "plain": "text",
        "trailer": "%TRAILER(GRPC-STATUS)%",
        "empty": {},
        "none": [],
    });
    json!({
        "name": "own",
        "typed_config": typed(
            "access_loggers.file.v3.FileAccessLog",
            json!({
                "path": LOG,
                "log_format": { "json_format": format, "omit_empty_values": omits },
            }),
        ),
    })
}

fn filters() -> Vec<Value> {
    let status = |op, value| json!({ "status_code_filter": compared(op, value) });
    let sampled = |value: u32, more: bool| {
        json!({ "runtime_filter": {
            "runtime_key": "log.none",
            "percent_sampled": { "numerator": value, "denominator": "TEN_THOUSAND" },
            "use_independent_randomness": more,
        } })
    };
    let metadata = |found: bool| {
        let matcher = json!({
            "filter": "a.filter",
            "path": [{ "key": "k" }],
            "value": { "string_match": { "exact": "v" } },
        });
        json!({ "metadata_filter": { "matcher": matcher, "match_if_key_not_found": found } })
    };
    let header = |test: Value| {
        let mut header = json!({ "name": "x-a" });
        let test = test.as_object().unwrap().clone();
        header.as_object_mut().unwrap().extend(test);
        json!({ "header_filter": { "header": header } })
    };
    let strings = json!({ "cel_config": {
        "enable_string_conversion": true,
        "enable_string_concat": true,
    } });
    let text = "string(response.code) + request.method == '200GET'";
    let mut all = vec![
        ("joined text", expression(text, strings)),
        ("status at least 400", status("GE", 400)),
        ("status at most 400", status("LE", 400)),
        ("status 200", status("EQ", 200)),
        ("status but 200", status("NE", 200)),
        (
            "long",
            json!({ "duration_filter": compared("GE", 100_000) }),
        ),
        (
            "short",
            json!({ "duration_filter": compared("LE", 100_000) }),
        ),
        ("no health check", json!({ "not_health_check_filter": {} })),
        ("traced", json!({ "traceable_filter": {} })),
        ("never sampled", sampled(0, true)),
        ("always sampled", sampled(10_000, true)),
        ("sampled by id", sampled(10, false)),
        (
            "and",
            json!({ "and_filter": { "filters": [status("GE", 400), status("LE", 404)] } }),
        ),
        (
            "or",
            json!({ "or_filter": { "filters": [status("EQ", 404), status("EQ", 503)] } }),
        ),
        (
            "header y",
            header(json!({ "string_match": { "exact": "y" } })),
        ),
        ("header present", header(json!({ "present_match": true }))),
        (
            "header absent",
            header(json!({ "present_match": true, "invert_match": true })),
        ),
        (
            "header but y",
            header(json!({
                "string_match": { "exact": "y" }, "invert_match": true,
            })),
        ),
        (
            "header joined",
            header(json!({ "string_match": { "suffix": ",z" } })),
        ),
        ("any flag", json!({ "response_flag_filter": {} })),
        (
            "flags",
            json!({ "response_flag_filter": { "flags": ["UF", "NR", "DO"] } }),
        ),
        (
            "grpc",
            json!({ "grpc_status_filter": { "statuses": ["NOT_FOUND"] } }),
        ),
        (
            "grpc unknown",
            json!({ "grpc_status_filter": { "statuses": ["UNKNOWN"] } }),
        ),
        (
            "grpc but",
            json!({ "grpc_status_filter": {
            "statuses": ["NOT_FOUND", "UNIMPLEMENTED"], "exclude": true,
        } }),
        ),
        ("metadata or none", metadata(true)),
        ("metadata", metadata(false)),
        (
            "requests",
            json!({ "log_type_filter": { "types": ["DownstreamEnd"] } }),
        ),
        (
            "connections",
            json!({ "log_type_filter": { "types": ["TcpConnectionEnd"] } }),
        ),
        (
            "but requests",
            json!({ "log_type_filter": {
            "types": ["DownstreamEnd"], "exclude": true,
        } }),
        ),
    ];
    all.extend(
        EXPRESSIONS
            .iter()
            .map(|text| (*text, expression(text, json!({})))),
    );
    let filtered = all.into_iter().map(|(name, filter)| log(name, filter));
    filtered.chain([json_log(false), json_log(true)]).collect()
}

fn config(upstreams: &Upstreams) -> Config {
    let to_a = json!({ "cluster": "a" });
    let routes = json!([
        { "match": { "path": "/local" }, "direct_response": { "status": 200 }, "name": "local" },
        { "match": { "path": "/gone" }, "direct_response": { "status": 404 } },
        { "match": { "prefix": "/refused" }, "route": { "cluster": "refused" } },
        { "match": { "prefix": "/old" }, "route": { "cluster": "a", "prefix_rewrite": "/new" } },
        { "match": { "prefix": "/grpc" }, "route": { "cluster": "two" } },
        { "match": { "prefix": "/x" }, "route": to_a },
    ]);
    let http = http_listener(any_host(routes), json!({ "access_log": filters() }));
    let tcp = typed(
        "filters.network.tcp_proxy.v3.TcpProxy",
        json!({ "stat_prefix": "tcp", "cluster": "tcp", "access_log": filters() }),
    );
    let inspector = json!([{
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": typed("filters.listener.tls_inspector.v3.TlsInspector", json!({})),
    }]);
    let tcp = json!({
        "listener_filters": inspector,
        "filter_chains": [{ "filters": [{ "name": "tcp", "typed_config": tcp }] }],
    });
    let mut all = clusters(&upstreams.ports);
    all.push(cluster("two", &[upstreams.ports["h2"]], http2_upstream()));
    Config {
        listeners: vec![http, tcp],
        clusters: all,
        ..Config::default()
    }
}

/// Envoy may have read what nobody was there for.
const RECEIVED: &[&str] = &["log#35.received"];

fn cases() -> Vec<Case> {
    let id = |start: &str| format!("{start}-89ab-4cde-8f01-23456789abcd");
    vec![
        Case::get("a request", "/x?y=1")
            .header("x-a", "y")
            .header("user-agent", "the-agent")
            .header("referer", "http://r.test/"),
        Case::get("a header twice", "/x")
            .header("x-a", "y")
            .header("x-a", "z"),
        Case::get("another header", "/x").header("x-b", "z"),
        Case::get("a body", "/x").method("POST").body("content"),
        Case::get("an answer with a status", "/x").ask("status=404"),
        Case::get("an answer with headers", "/x").ask("multi"),
        Case::get("a path that is rewritten", "/old/x"),
        Case::get("a path by pattern", "/xy/x"),
        Case::get("by HTTP/2", "/x").http2(),
        Case::get("an answer of the proxy's own", "/local"),
        Case::get("not found", "/gone"),
        Case::get("no route", "/none"),
        Case::get("no upstream", "/refused"),
        Case::grpc("gRPC without upstream", "/refused/M").loose(RECEIVED),
        Case::grpc("gRPC", "/grpc/M"),
        Case::get("an id that is sampled", "/x").header("x-request-id", id("00002710")),
        Case::get("an id that is not", "/x").header("x-request-id", id("00002720")),
        Case::opaque("a connection", "hello").on(1),
        Case::opaque("a connection by name", greeting("one.test", &[])).on(1),
    ]
}
