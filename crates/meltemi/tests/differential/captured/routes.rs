//! Requests for every name and route of an HTTP connection manager.

use super::config::collect;
use super::examples;
use super::plan::{list, request, text};
use super::question::Request;
use serde_json::Value;
use std::collections::BTreeSet;

/// How requests for HTTP/2 are called.
pub const HTTP2: &str = "by HTTP/2";

/// Requests by what they are.
pub fn requests(manager: &Value) -> Vec<(String, Request)> {
    let mut all = Vec::new();
    let hosts = manager["route_config"]["virtual_hosts"].as_array();
    for host in hosts.into_iter().flatten() {
        of_host(host, &mut all);
    }
    for name in ["nobody.test", "", "192.0.2.77"] {
        all.push((format!("host {name:?}"), request(name, "/nothing")));
    }
    let first = hosts.into_iter().flatten().next();
    let first = first
        .and_then(|host| list(&host["domains"]).next())
        .unwrap_or("*");
    let plain = request(&examples::host(first), "/nothing");
    for (what, request) in general(&plain) {
        all.push((what, request));
    }
    all.extend(policed(manager, &plain));
    all
}

/// Requests that have nothing to do with routes.
fn general(plain: &Request) -> Vec<(String, Request)> {
    let forged = plain
        .clone()
        .header("x-forwarded-for", "192.0.2.9, 10.1.2.3")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-client-cert", "By=spiffe://a;URI=spiffe://b")
        .header("x-envoy-external-address", "10.9.9.9")
        .header("x-envoy-internal", "true")
        .header("x-envoy-decorator-operation", "forged")
        .header("x-envoy-expected-rq-timeout-ms", "5")
        .header("x-envoy-upstream-rq-timeout-ms", "70000")
        .header("x-envoy-retry-on", "5xx")
        .header("x-envoy-max-retries", "5")
        .header("x-request-id", "0e5d4e5b-8d2a-9d3e-bb5e-6b1c0e0b7f8a");
    let dotted = Request {
        target: "/a/../no%2fthing//x/./y%41?q=/../z".into(),
        ..plain.clone()
    };
    vec![
        (
            "with a body".into(),
            plain.clone().method("POST").body("some content"),
        ),
        ("forged headers".into(), forged),
        ("a path to be normalized".into(), dotted),
        (format!("HEAD {HTTP2}"), plain.clone().method("HEAD")),
        (
            format!("with a body {HTTP2}"),
            plain.clone().method("POST").body("content"),
        ),
        (
            "traced".into(),
            plain.clone().header(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
        ),
        (
            "refused by the service".into(),
            plain.clone().header("x-do", "404"),
        ),
    ]
}

fn of_host(host: &Value, all: &mut Vec<(String, Request)>) {
    let name = text(&host["name"]);
    let domains: Vec<String> = list(&host["domains"]).map(examples::host).collect();
    let first = domains.first().map_or("any.test", String::as_str);
    for domain in domains.iter().skip(1) {
        all.push((format!("{name} as {domain}"), request(domain, "/x")));
    }
    let port = name.rsplit([':', '|']).next().unwrap_or("80");
    for spelling in [
        format!("{first}:{port}"),
        first.to_uppercase(),
        format!("x{first}"),
    ] {
        all.push((format!("{name} as {spelling}"), request(&spelling, "/x")));
    }
    let routes = host["routes"].as_array().into_iter().flatten();
    for (index, route) in routes.enumerate() {
        for (what, request) in of_route(route, first) {
            all.push((format!("{name} route {index} {what}"), request));
        }
    }
}

fn of_route(route: &Value, host: &str) -> Vec<(&'static str, Request)> {
    let wanted = &route["match"];
    let path = match (&wanted["prefix"], &wanted["path"], &wanted["safe_regex"]) {
        (Value::String(prefix), ..) => format!("{prefix}more"),
        (_, Value::String(path), _) => path.clone(),
        (.., regex) => examples::expression(text(&regex["regex"])).to_owned(),
    };
    let mut query = Vec::new();
    for parameter in wanted["query_parameters"].as_array().into_iter().flatten() {
        let value = examples::string(&parameter["string_match"]);
        query.push(format!("{}={value}", text(&parameter["name"])));
    }
    let target = match query.is_empty() {
        true => path.clone(),
        false => format!("{path}?{}", query.join("&")),
    };
    let plain = request(host, &target);
    let matchers: Vec<&Value> = wanted["headers"].as_array().into_iter().flatten().collect();
    let full = matchers
        .iter()
        .fold(plain.clone(), |request, matcher| satisfy(request, matcher));
    let mut all = vec![("matched", full.clone())];
    for left in 0..matchers.len() {
        let some =
            matchers.iter().enumerate().fold(
                plain.clone(),
                |request, (index, matcher)| match index == left {
                    true => violate(request, matcher),
                    false => satisfy(request, matcher),
                },
            );
        all.push(("but for a header", some));
    }
    let at = |target: String| Request {
        target,
        ..full.clone()
    };
    if !query.is_empty() {
        all.push(("but for the query", at(path.clone())));
    }
    if wanted["prefix"] != "/" {
        all.push(("further", at(format!("{path}/further"))));
        all.push(("upper case", at(target.to_uppercase())));
        all.push(("before", at(path[..path.len() - 1].to_owned())));
    }
    if route["typed_per_filter_config"]
        .get("envoy.filters.http.cors")
        .is_some()
    {
        for (what, origin) in [
            ("of an origin", "https://web.example.com"),
            ("of a stranger", "https://evil.test"),
        ] {
            all.push((what, full.clone().header("origin", origin)));
            let asked = full.clone().header("origin", origin).method("OPTIONS");
            all.push((what, asked.header("access-control-request-method", "POST")));
        }
    }
    for name in list(&route["request_headers_to_remove"]) {
        all.push(("with a header to remove", full.clone().header(name, "x")));
    }
    all
}

fn satisfy(request: Request, matcher: &Value) -> Request {
    let name = text(&matcher["name"]);
    let value = match matcher.get("string_match") {
        Some(string) => examples::string(string),
        None => "there".into(),
    };
    match (matcher["invert_match"] == true, name) {
        (true, _) => request,
        (false, ":method") => request.method(&value),
        (false, _) => request.header(name, &value),
    }
}

fn violate(request: Request, matcher: &Value) -> Request {
    let name = text(&matcher["name"]);
    match (matcher["invert_match"] == true, name) {
        (true, _) => request.header(name, "there"),
        (false, ":method") => request.method("DELETE"),
        (false, _) => request.header(name, "other"),
    }
}

/// Requests about what the policies of a manager speak of: their paths, hosts, methods and
/// headers, in turn.
fn policed(manager: &Value, plain: &Request) -> Vec<(String, Request)> {
    let (mut paths, mut hosts, mut headers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for filter in manager["http_filters"].as_array().into_iter().flatten() {
        let config = &filter["typed_config"];
        if !text(&config["@type"]).ends_with(".rbac.v3.RBAC") {
            continue;
        }
        collect(config, &mut |key, value| match key {
            "url_path" => {
                paths.insert(examples::string(&value["path"]));
            }
            "header" if value["name"] == ":authority" => {
                hosts.insert(examples::string(&value["string_match"]));
            }
            "header" if !text(&value["name"]).starts_with(':') => {
                let value = (
                    text(&value["name"]).to_owned(),
                    examples::string(&value["string_match"]),
                );
                headers.insert(value);
            }
            _ => {}
        });
    }
    if paths.is_empty() && hosts.is_empty() && headers.is_empty() {
        return Vec::new();
    }
    headers.insert(("x-token".into(), "Bearer e30.e30.x".into()));
    headers.insert(("x-nothing".into(), "to see".into()));
    headers.insert(("x-forwarded-for".into(), "192.0.2.55".into()));
    hosts.insert(plain.host.clone());
    let mut all = Vec::new();
    for path in &paths {
        for host in &hosts {
            for (name, value) in &headers {
                for method in ["GET", "POST"] {
                    let request = request(host, path).method(method).header(name, value);
                    all.push((format!("policy: {method} {host} {path} {name}"), request));
                }
            }
        }
    }
    all
}
