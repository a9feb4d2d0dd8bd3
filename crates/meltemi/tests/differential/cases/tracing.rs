//! Which requests are traced, and what upstreams are told of it. Identifiers that begin here
//! are compared by their form.

use crate::bootstrap::{Config, any_host, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "tracing",
        config,
        cases,
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
/// Ends of identifiers that requests bring.
pub const GIVEN: [&str; 4] = [
    "8448eb211c80319c",
    SPAN,
    "1111111111111111",
    "0000000000000000",
];

fn typed(kind: &str, mut fields: Value) -> Value {
    fields["@type"] = format!("type.googleapis.com/envoy.config.trace.v3.{kind}").into();
    fields
}

/// Nobody listens where spans go: only what requests carry is compared.
fn open_telemetry() -> Value {
    let service = json!({ "envoy_grpc": { "cluster_name": "refused" } });
    let config = json!({ "service_name": "s", "grpc_service": service });
    json!({ "name": "otel", "typed_config": typed("OpenTelemetryConfig", config) })
}

fn zipkin(more: Value) -> Value {
    let mut config = json!({
        "collector_cluster": "refused",
        "collector_endpoint": "/api/v2/spans",
        "collector_endpoint_version": "HTTP_JSON",
    });
    let more = more.as_object().expect("an object").clone();
    config.as_object_mut().expect("an object").extend(more);
    json!({ "name": "zipkin", "typed_config": typed("ZipkinConfig", config) })
}

fn mirrored(mut policy: Value) -> Value {
    policy["cluster"] = "b".into();
    json!({ "cluster": "a", "request_mirror_policies": [policy] })
}

/// Of mirrors, and told elsewhere.
const MIRRORED: &[&str] = &[
    "seen#2.header.x-envoy-internal",
    "seen#2.header.x-forwarded-for",
];

fn listener(direction: &str, tracing: Value, more: Value) -> Value {
    let none = json!({ "client_sampling": {}, "random_sampling": {}, "overall_sampling": {} });
    let routes = json!([
        { "match": { "prefix": "/named" }, "route": { "cluster": "a" }, "decorator": { "operation": "ours" } },
        {
            "match": { "prefix": "/secret" }, "route": { "cluster": "a" },
            "decorator": { "operation": "ours", "propagate": false },
        },
        { "match": { "prefix": "/never" }, "route": { "cluster": "a" }, "tracing": none },
        { "match": { "prefix": "/all" }, "route": { "cluster": "a" }, "tracing": {} },
        { "match": { "prefix": "/mirrored" }, "route": mirrored(json!({})) },
        { "match": { "prefix": "/hushed" }, "route": mirrored(json!({ "trace_sampled": false })) },
        { "match": { "prefix": "/openly" }, "route": mirrored(json!({ "trace_sampled": true })) },
        { "match": { "prefix": "/local" }, "direct_response": { "status": 200 }, "decorator": { "operation": "ours" } },
        { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ]);
    let mut manager = json!({
        "tracing": tracing,
        "use_remote_address": true,
        "internal_address_config": { "cidr_ranges": [{ "address_prefix": "127.0.0.1", "prefix_len": 32 }] },
    });
    let more = more.as_object().expect("an object").clone();
    manager.as_object_mut().expect("an object").extend(more);
    let mut listener = http_listener(any_host(routes), manager);
    listener["traffic_direction"] = direction.into();
    listener
}

fn config(upstreams: &Upstreams) -> Config {
    let with = |provider: Value, random: f64| {
        json!({
            "provider": provider,
            "client_sampling": { "value": 100 },
            "random_sampling": { "value": random },
            "overall_sampling": { "value": 100 },
        })
    };
    let mut spawning = with(zipkin(json!({ "trace_id_128bit": true })), 100.0);
    spawning["spawn_upstream_span"] = true.into();
    let mut silent = with(open_telemetry(), 100.0);
    silent["no_context_propagation"] = true.into();
    let mut named = with(open_telemetry(), 100.0);
    named["operation"] = "%REQ(:PATH)%".into();
    let by_hand = json!({
        "@type": "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
        "pack_trace_reason": false,
        "use_request_id_for_trace_sampling": false,
    });
    let unmarked = json!({
        "request_id_extension": { "typed_config": by_hand },
        "always_set_request_id_in_response": true,
    });
    let told = json!({ "always_set_request_id_in_response": true });
    let w3c = json!({ "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION" });
    let unshared = json!({ "shared_span_context": false });
    let plain = || json!({});
    Config {
        listeners: vec![
            listener("OUTBOUND", with(open_telemetry(), 100.0), told),
            listener("INBOUND", with(open_telemetry(), 100.0), plain()),
            listener("OUTBOUND", with(open_telemetry(), 0.0), plain()),
            listener(
                "OUTBOUND",
                with(zipkin(json!({ "trace_id_128bit": true })), 100.0),
                plain(),
            ),
            listener("INBOUND", with(zipkin(w3c), 100.0), plain()),
            listener("INBOUND", with(zipkin(unshared), 0.0), plain()),
            listener("OUTBOUND", spawning, plain()),
            listener(
                "OUTBOUND",
                json!({ "random_sampling": { "value": 100 } }),
                plain(),
            ),
            listener("OUTBOUND", silent, plain()),
            listener("INBOUND", named, plain()),
            listener("OUTBOUND", with(open_telemetry(), 0.0), unmarked),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

/// Listeners, by what they do.
const OTEL: usize = 0;
const OTEL_INBOUND: usize = 1;
const OTEL_SELDOM: usize = 2;
const ZIPKIN: usize = 3;
const ZIPKIN_W3C: usize = 4;
const ZIPKIN_UNSHARED: usize = 5;
const SPAWNING: usize = 6;
const NO_TRACER: usize = 7;
const SILENT: usize = 8;
const NAMED: usize = 9;
const UNMARKED: usize = 10;

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

fn b3(case: Case, sampled: &'static str) -> Case {
    case.header("x-b3-traceid", TRACE)
        .header("x-b3-spanid", SPAN)
        .header("x-b3-sampled", sampled)
}

fn id(mark: char) -> String {
    format!("e9f5b09d-e4c7-{mark}3da-8143-693bf523bba1")
}

fn cases() -> Vec<Case> {
    let mut cases = w3c();
    cases.extend(zipkin_cases());
    cases.extend(marks());
    cases.extend(names());
    cases.extend(mirrors());
    cases
}

/// Copies are children of their requests.
fn mirrors() -> Vec<Case> {
    let at =
        |name, path: &str, listener| Case::get(name, path).on(listener).seen(2).loose(MIRRORED);
    vec![
        at("a mirror", "/mirrored", OTEL),
        at("a mirror of what began unsampled", "/mirrored", OTEL_SELDOM),
        at("a mirror that is not sampled", "/hushed", OTEL),
        at("a mirror that is sampled", "/openly", OTEL_SELDOM),
        at("a mirror, in Zipkin's headers", "/mirrored", ZIPKIN),
        at(
            "a mirror that is not sampled, in Zipkin's headers",
            "/hushed",
            ZIPKIN,
        ),
    ]
}

fn w3c() -> Vec<Case> {
    let otel = |name, parent: String| Case::get(name, "/").on(OTEL).header("traceparent", parent);
    vec![
        Case::get("a trace begins", "/").on(OTEL),
        otel("a trace goes on", parent("01")).header("tracestate", "a=1,b=2"),
        otel("a trace that is not sampled goes on", parent("00")),
        otel("other flags", parent("03")),
        otel("a later version", parent("01").replacen("00", "01", 1)),
        otel("in upper case", parent("01").to_uppercase()),
        otel("a state on two lines", parent("01"))
            .header("tracestate", "a=1")
            .header("tracestate", "b=2"),
        otel("no trace", parent("01").replace(TRACE, &"0".repeat(32))),
        otel("no span", parent("01").replace(SPAN, &"0".repeat(16))),
        otel("garbage", "garbage".into()).header("tracestate", "a=1"),
        Case::get("a state alone", "/")
            .on(OTEL)
            .header("tracestate", "a=1"),
        otel("a trace that others sampled", parent("01")).on(OTEL_SELDOM),
        otel("a trace that nobody sampled", parent("00")).on(OTEL_SELDOM),
        otel("a trace by hand", parent("01")).on(UNMARKED),
        otel("a trace by hand, not sampled", parent("00")).on(UNMARKED),
        Case::get("a trace that begins unsampled", "/").on(OTEL_SELDOM),
        otel("nothing is passed on", parent("01")).on(SILENT),
        Case::get("nothing is told", "/").on(SILENT),
        Case::get("without a tracer", "/").on(NO_TRACER),
        otel("a context without a tracer", parent("01")).on(NO_TRACER),
    ]
}

fn zipkin_cases() -> Vec<Case> {
    let at = |name, listener| Case::get(name, "/").on(listener);
    let single = |name, value: String| at(name, ZIPKIN).header("b3", value);
    vec![
        at("zipkin begins", ZIPKIN),
        b3(at("zipkin goes on", ZIPKIN), "1"),
        b3(at("zipkin goes on, not sampled", ZIPKIN), "0"),
        b3(at("zipkin goes on from a child", ZIPKIN), "1")
            .header("x-b3-parentspanid", "1111111111111111"),
        b3(at("zipkin shares the span", ZIPKIN_W3C), "1"),
        b3(at("zipkin has its own span", ZIPKIN_UNSHARED), "1"),
        at("short ids", ZIPKIN)
            .header("x-b3-traceid", &TRACE[16..])
            .header("x-b3-spanid", SPAN),
        at("a short id begins", ZIPKIN_W3C),
        at("ids that are none", ZIPKIN)
            .header("x-b3-traceid", "zzz")
            .header("x-b3-spanid", SPAN),
        at("only a flag", ZIPKIN).header("x-b3-sampled", "0"),
        at("only debugging", ZIPKIN).header("x-b3-flags", "1"),
        at("unsampled by default", ZIPKIN_UNSHARED),
        single("b3 goes on", format!("{TRACE}-{SPAN}-1")),
        single(
            "b3 with a parent",
            format!("{TRACE}-{SPAN}-1-1111111111111111"),
        ),
        single("b3 without a flag", format!("{TRACE}-{SPAN}")),
        single("b3 is a flag", "0".into()),
        single("b3 debugs", "d".into()),
        single("b3 is garbage", "x".into()),
        single("b3 with a wrong flag", format!("{TRACE}-{SPAN}-x")),
        at("b3 is shared", ZIPKIN_W3C).header("b3", format!("{TRACE}-{SPAN}-1")),
        at("w3c is read", ZIPKIN_W3C).header("traceparent", parent("01")),
        at("w3c that is not sampled is read", ZIPKIN_W3C).header("traceparent", parent("00")),
        at("w3c is not read", ZIPKIN).header("traceparent", parent("01")),
        at("attempts have spans", SPAWNING),
        b3(at("attempts have spans in a trace", SPAWNING), "1"),
    ]
}

fn marks() -> Vec<Case> {
    let with = |name, id: String| {
        Case::get(name, "/")
            .on(OTEL_SELDOM)
            .header("x-request-id", id)
    };
    vec![
        Case::get("the client asks", "/")
            .on(OTEL_SELDOM)
            .header("x-client-trace-id", "c"),
        Case::get("a proxy asks", "/")
            .on(OTEL_SELDOM)
            .header("x-envoy-force-trace", "true"),
        Case::get("a proxy outside asks", "/")
            .on(OTEL_SELDOM)
            .header("x-forwarded-for", "8.8.8.8")
            .header("x-envoy-force-trace", "true"),
        with("an id sampled before", id('9')),
        with("an id forced before", id('a')),
        with("an id that a client forced", id('b')),
        with("an id not sampled", id('4')),
        with("a short id of a request", "short".into()).on(OTEL),
        with(
            "an id that is not hexadecimal",
            id('4').replacen('e', "z", 1),
        )
        .on(OTEL),
        with("an id is marked", id('4')).on(OTEL),
        Case::get("a route that never samples", "/never").on(OTEL),
        Case::get("a route that never samples is asked", "/never")
            .on(OTEL)
            .header("x-client-trace-id", "c")
            .header("x-request-id", id('9')),
        Case::get("a route that always samples", "/all").on(OTEL_SELDOM),
        Case::get("ids neither mark nor sample", "/")
            .on(UNMARKED)
            .header("x-request-id", id('4')),
    ]
}

fn names() -> Vec<Case> {
    let called = |case: Case| case.header("x-envoy-decorator-operation", "theirs");
    vec![
        Case::get("an upstream is told the name", "/named").on(OTEL),
        Case::get("a name that is not told", "/secret").on(OTEL),
        called(Case::get("a client is overruled", "/named")).on(OTEL),
        called(Case::get("a client's name goes on", "/")).on(OTEL),
        Case::get("a client is told the name", "/named").on(OTEL_INBOUND),
        Case::get("a client is not told the name", "/secret").on(OTEL_INBOUND),
        Case::get("a client is told by a local answer", "/local").on(OTEL_INBOUND),
        called(Case::get("a client gives the name", "/named")).on(OTEL_INBOUND),
        called(Case::get("the name is configured", "/named")).on(NAMED),
        Case::get("the name is configured and not told", "/named").on(NAMED),
        Case::get("an upstream gives the name", "/")
            .on(OTEL)
            .ask("x-envoy-decorator-operation=theirs"),
        Case::get("names without a tracer", "/named").on(NO_TRACER),
    ]
}
