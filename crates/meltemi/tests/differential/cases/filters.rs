//! HTTP filters: faults and CORS.

use crate::bootstrap::{Config, any_host, clusters, http_listener_with, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "filters",
        config,
        cases,
    }
}

fn fault(prefix: &str, fields: Value) -> Value {
    json!({
        "match": { "prefix": prefix }, "route": { "cluster": "a" },
        "typed_per_filter_config": { "envoy.filters.http.fault": typed("filters.http.fault.v3.HTTPFault", fields) },
    })
}

fn cors(prefix: &str, fields: Value) -> Value {
    json!({
        "match": { "prefix": prefix }, "route": { "cluster": "a" },
        "typed_per_filter_config": { "envoy.filters.http.cors": typed("filters.http.cors.v3.CorsPolicy", fields) },
    })
}

fn config(upstreams: &Upstreams) -> Config {
    let all = json!({ "numerator": 100 });
    let none = json!({ "numerator": 0 });
    let abort = |status: u16, share: &Value| json!({ "http_status": status, "percentage": share });
    let delay = |time: &str, share: &Value| json!({ "fixed_delay": time, "percentage": share });
    let for_jason = json!([{ "name": "x-user", "string_match": { "exact": "jason" } }]);
    let filters = json!([
        { "name": "envoy.filters.http.cors", "typed_config": typed("filters.http.cors.v3.Cors", json!({})) },
        { "name": "envoy.filters.http.fault", "typed_config": typed("filters.http.fault.v3.HTTPFault", json!({})) },
    ]);
    let origins = json!([{ "exact": "https://good.test" }, { "suffix": ".fine.test" }]);
    let routes = json!([
        fault("/abort", json!({ "abort": abort(555, &all) })),
        fault("/abort-some", json!({ "abort": abort(500, &none) })),
        fault("/never", json!({ "abort": abort(500, &none), "delay": delay("5s", &none) })),
        fault("/delay", json!({ "delay": delay("0.15s", &all) })),
        fault("/both", json!({ "delay": delay("0.1s", &all), "abort": abort(418, &all) })),
        fault("/jason", json!({ "abort": abort(500, &all), "headers": for_jason })),
        fault("/grpc", json!({ "abort": { "grpc_status": 14, "percentage": all } })),
        fault("/by-header", json!({ "abort": { "header_abort": {}, "percentage": all }, "delay": { "header_delay": {}, "percentage": all } })),
        cors("/cors", json!({
            "allow_origin_string_match": origins,
            "allow_methods": "GET, POST", "allow_headers": "x-one, x-two", "expose_headers": "x-shown",
            "max_age": "600", "allow_credentials": true,
        })),
        cors("/cors-plain", json!({ "allow_origin_string_match": [{ "safe_regex": { "regex": ".*" } }] })),
        { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ]);
    Config {
        listeners: vec![
            http_listener_with(filters, any_host(routes), json!({})),
            guarded("DENY"),
            guarded("ALLOW"),
            by_route(),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

/// A listener whose policy matches admins and one path.
fn guarded(action: &str) -> Value {
    let role = json!({ "name": "x-role", "string_match": { "exact": "admin" } });
    let path = json!({ "url_path": { "path": { "prefix": "/admin" } } });
    let policy =
        |permission: Value| json!({ "permissions": [permission], "principals": [{ "any": true }] });
    let rules = json!({ "action": action, "policies": {
        "ns[default]-policy[roles]-rule[0]": policy(json!({ "header": role })),
        "ns[default]-policy[some paths]-rule[0]": policy(path),
    } });
    let filter = json!([{ "name": "envoy.filters.http.rbac", "typed_config": typed("filters.http.rbac.v3.RBAC", json!({ "rules": rules })) }]);
    let routes = json!([{
        "match": { "prefix": "/admin" }, "route": { "cluster": "a" },
        "response_headers_to_add": [{ "header": { "key": "x-added", "value": "by the route" } }],
    }]);
    http_listener_with(filter, any_host(routes), json!({}))
}

/// Routes have the last word on filters: other policies, none, disabled, enabled.
fn by_route() -> Value {
    let rules = |role: &str| {
        let role = json!({ "name": "x-role", "string_match": { "exact": role } });
        json!({ "action": "DENY", "policies": {
            "p": { "permissions": [{ "header": role }], "principals": [{ "any": true }] },
        } })
    };
    let own = |fields| json!({ "rbac": typed("filters.http.rbac.v3.RBACPerRoute", fields) });
    let fault = |status: u16| {
        let abort = json!({ "http_status": status, "percentage": { "numerator": 100 } });
        typed("filters.http.fault.v3.HTTPFault", json!({ "abort": abort }))
    };
    let filter_config = |mut fields: Value| {
        fields["@type"] = json!("type.googleapis.com/envoy.config.route.v3.FilterConfig");
        fields
    };
    let mut chain = json!({ "rules": rules("admin") });
    chain["shadow_rules"] = rules("guest");
    let filters = json!([
        { "name": "rbac", "typed_config": typed("filters.http.rbac.v3.RBAC", chain) },
        { "name": "fault", "disabled": true, "typed_config": fault(555) },
    ]);
    let route = |prefix: &str, said: Value| json!({ "match": { "prefix": prefix }, "route": { "cluster": "a" }, "typed_per_filter_config": said });
    let off = json!({ "rbac": filter_config(json!({ "disabled": true })) });
    let on = json!({ "fault": filter_config(json!({ "config": fault(501) })) });
    let mut split = route("/split", json!({ "fault": fault(501) }));
    split["route"] = json!({ "weighted_clusters": { "clusters": [
        { "name": "a", "weight": 1, "typed_per_filter_config": { "fault": fault(502) } },
    ] } });
    let routes = json!([
        route("/other", own(json!({ "rbac": { "rules": rules("guest") } }))),
        route("/none", own(json!({}))),
        route("/off", off),
        route("/on", on),
        route("/named", json!({ "fault": fault(503) })),
        route("/another-name", json!({ "faults": fault(503) })),
        split,
        { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ]);
    http_listener_with(filters, any_host(routes), json!({}))
}

fn route_cases() -> Vec<Case> {
    let role = |name: &'static str, path: &str, role: &str| {
        Case::get(name, path).header("x-role", role).on(3)
    };
    vec![
        role("the chain's policies", "/", "admin"),
        role("the chain's policies pass others", "/", "guest"),
        role("a route's policies", "/other", "guest"),
        role("a route's policies in the chain's place", "/other", "admin"),
        role("no policies on a route", "/none", "admin"),
        role("a filter disabled by its route", "/off", "admin"),
        role("a disabled filter", "/", "nobody"),
        role("a filter enabled by its route", "/on", "nobody"),
        role("a filter enabled by its configuration", "/named", "nobody"),
        role("configuration for another name", "/another-name", "nobody"),
        role("configuration of a weighted cluster", "/split", "nobody"),
    ]
}

fn guard_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (listener, names) in [
        (
            1,
            [
                "denied",
                "denied by one line",
                "not denied",
                "denied without a route",
                "denied by its path",
            ],
        ),
        (
            2,
            [
                "allowed",
                "allowed by one line",
                "not allowed",
                "allowed without a route",
                "allowed by its path",
            ],
        ),
    ] {
        let [role, two, none, nowhere, path] = names;
        cases.extend(
            [
                Case::get(role, "/admin").header("x-role", "admin"),
                Case::get(two, "/other")
                    .header("x-role", "guest")
                    .header("x-role", "admin"),
                Case::get(none, "/other").header("x-role", "guest"),
                Case::get(nowhere, "/other").header("x-role", "admin"),
                Case::get(path, "/admin"),
            ]
            .map(|case| case.on(listener)),
        );
    }
    cases
}

fn cases() -> Vec<Case> {
    let preflight = |name: &'static str, target: &str, origin: &str| {
        Case::get(name, target)
            .method("OPTIONS")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "x-one")
    };
    let mut cases = guard_cases();
    cases.extend(route_cases());
    cases.extend([
        Case::get("abort", "/abort"),
        Case::get("abort of a POST", "/abort")
            .method("POST")
            .body("x"),
        Case::get("fault of 0 percent", "/never"),
        Case::get("delay", "/delay"),
        Case::get("delay and abort", "/both"),
        Case::get("abort for a user", "/jason").header("x-user", "jason"),
        Case::get("no abort for another", "/jason").header("x-user", "jane"),
        Case::get("abort with a gRPC status", "/grpc"),
        Case::grpc("abort of a gRPC call", "/grpc"),
        Case::grpc("abort with a status of a gRPC call", "/abort"),
        Case::get("abort by header", "/by-header").header("x-envoy-fault-abort-request", "429"),
        Case::get("delay by header", "/by-header").header("x-envoy-fault-delay-request", "100"),
        Case::get("no fault without its header", "/by-header"),
        preflight("preflight", "/cors", "https://good.test"),
        preflight("preflight by suffix", "/cors", "https://a.fine.test"),
        preflight("preflight from elsewhere", "/cors", "https://evil.test"),
        preflight("preflight of any origin", "/cors-plain", "https://any.test"),
        preflight("preflight without a policy", "/", "https://good.test"),
        Case::get("OPTIONS that is no preflight", "/cors")
            .method("OPTIONS")
            .header("origin", "https://good.test"),
        Case::get("request of an origin", "/cors").header("origin", "https://good.test"),
        Case::get("request of an origin from elsewhere", "/cors")
            .header("origin", "https://evil.test"),
        Case::get("request without an origin", "/cors"),
        Case::get("request of any origin", "/cors-plain").header("origin", "https://any.test"),
    ]);
    cases
}
