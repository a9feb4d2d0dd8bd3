//! Which route and which cluster a request gets.

use crate::bootstrap::{Config, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "routing",
        config,
        cases,
    }
}

fn route(name: &str, matches: Value, cluster: &str) -> Value {
    json!({ "name": name, "match": matches, "route": { "cluster": cluster } })
}

fn regex(text: &str) -> Value {
    json!({ "safe_regex": { "regex": text } })
}

fn by_header(name: &str, matcher: Value) -> Value {
    let mut header = json!({ "name": name });
    header
        .as_object_mut()
        .unwrap()
        .extend(matcher.as_object().unwrap().clone());
    json!({ "prefix": "/header", "headers": [header] })
}

fn by_query(name: &str, matcher: Value) -> Value {
    let mut query = json!({ "name": name });
    query
        .as_object_mut()
        .unwrap()
        .extend(matcher.as_object().unwrap().clone());
    json!({ "prefix": "/query", "query_parameters": [query] })
}

fn config(upstreams: &Upstreams) -> Config {
    let string = |matcher: Value| json!({ "string_match": matcher });
    let routes = json!([
        route("exact", json!({ "path": "/exact" }), "a"),
        route("folded", json!({ "path": "/Folded", "case_sensitive": false }), "a"),
        route("prefix-long", json!({ "prefix": "/prefix/long" }), "b"),
        route("prefix", json!({ "prefix": "/prefix" }), "a"),
        route("separated", json!({ "path_separated_prefix": "/sep" }), "a"),
        route("regex", regex("/re/[0-9]+/x"), "a"),
        route("regex-any", regex("/re/.*"), "b"),
        route("header-exact", by_header("x-user", string(json!({ "exact": "jason" }))), "a"),
        route("header-prefix", by_header("x-user", string(json!({ "prefix": "ja" }))), "b"),
        route("header-suffix", by_header("x-user", string(json!({ "suffix": "son" }))), "c"),
        route("header-contains", by_header("x-user", string(json!({ "contains": "o-o", "ignore_case": true }))), "c"),
        route("header-regex", by_header("x-version", string(regex("v[12]"))), "b"),
        route("header-range", by_header("x-number", json!({ "range_match": { "start": "10", "end": "20" } })), "a"),
        route("header-present", by_header("x-there", json!({ "present_match": true })), "c"),
        route("header-inverted", by_header("x-not", { let mut m = string(json!({ "exact": "no" })); m["invert_match"] = json!(true); m }), "b"),
        route("query-exact", by_query("q", string(json!({ "exact": "1" }))), "a"),
        route("query-present", by_query("there", json!({ "present_match": true })), "b"),
        route("query-regex", by_query("re", string(regex("a+"))), "c"),
        route("method", json!({ "prefix": "/method", "headers": [{ "name": ":method", "string_match": { "exact": "POST" } }] }), "b"),
        route("authority", json!({ "prefix": "/method", "headers": [{ "name": ":authority", "string_match": { "exact": "app.test" } }] }), "a"),
        route("grpc", json!({ "prefix": "/grpc", "grpc": {} }), "b"),
        route("not-grpc", json!({ "prefix": "/grpc" }), "a"),
        { "name": "weighted", "match": { "prefix": "/weighted" }, "route": { "weighted_clusters": { "clusters": [
            { "name": "a", "weight": 0 }, { "name": "b", "weight": 100 }, { "name": "c", "weight": 0 },
        ] } } },
        { "name": "by-header", "match": { "prefix": "/cluster-header" }, "route": { "cluster_header": "x-cluster" } },
        { "name": "not-there", "match": { "prefix": "/not-there" }, "route": { "cluster": "not-there" } },
        { "name": "not-there-404", "match": { "prefix": "/missing" }, "route": { "cluster": "not-there", "cluster_not_found_response_code": "NOT_FOUND" } },
        { "name": "nothing-behind", "match": { "prefix": "/empty" }, "route": { "cluster": "empty" } },
    ]);
    let host = |name: &str, domains: Value, cluster: &str| json!({ "name": name, "domains": domains, "routes": [route(name, json!({ "prefix": "/host" }), cluster)] });
    let hosts = json!([
        { "name": "app", "domains": ["app.test"], "routes": routes },
        host("exact", json!(["www.example.com", "www.example.com:8080"]), "a"),
        host("suffix", json!(["*.example.com"]), "b"),
        host("longer-suffix", json!(["*.deep.example.com"]), "c"),
        host("prefix", json!(["internal.*"]), "c"),
    ]);
    let mut all = clusters(&upstreams.ports);
    all.push(json!({ "name": "empty", "type": "STATIC", "load_assignment": { "cluster_name": "empty" } }));
    Config {
        listeners: vec![http_listener(hosts, json!({}))],
        clusters: all,
        ..Config::default()
    }
}

fn cases() -> Vec<Case> {
    let mut cases = paths();
    cases.extend(headers());
    cases.extend(hosts());
    cases
}

fn paths() -> Vec<Case> {
    vec![
        Case::get("exact path", "/exact"),
        Case::get("exact path with a query", "/exact?x=1"),
        Case::get("exact path and more", "/exact/"),
        Case::get("exact path in another case", "/EXACT"),
        Case::get("exact path whatever its case", "/fOLDED"),
        Case::get("prefix", "/prefixes/are/no/segments"),
        Case::get("the first match wins, not the longest", "/prefix/long/x"),
        Case::get("separated prefix itself", "/sep"),
        Case::get("separated prefix and a segment", "/sep/x"),
        Case::get("separated prefix and a query", "/sep?x"),
        Case::get("separated prefix and letters", "/separate"),
        Case::get("regex", "/re/12/x"),
        Case::get("regex matches the whole path", "/re/12/xy"),
        Case::get("regex without the query", "/re/12/x?y=/z"),
        Case::get("no route", "/nowhere"),
        Case::get("no route for a HEAD", "/nowhere").method("HEAD"),
        Case::get("weights of 0 and 100", "/weighted"),
        Case::get("cluster by header", "/cluster-header").header("x-cluster", "c"),
        Case::get("cluster by a header that names none", "/cluster-header")
            .header("x-cluster", "zzz"),
        Case::get("cluster by a header that is not there", "/cluster-header"),
        Case::get("cluster that does not exist", "/not-there"),
        Case::get("cluster that does not exist, 404", "/missing"),
        Case::get("cluster without endpoints", "/empty"),
    ]
}

fn headers() -> Vec<Case> {
    vec![
        Case::get("header exact", "/header").header("x-user", "jason"),
        Case::get("header exact, another case", "/header").header("x-user", "Jason"),
        Case::get("header prefix", "/header").header("x-user", "jane"),
        Case::get("header suffix", "/header").header("x-user", "person"),
        Case::get("header contains, folded", "/header").header("x-user", "fOO-Obar"),
        Case::get("header twice is one list", "/header")
            .header("x-user", "jason")
            .header("x-user", "jane"),
        Case::get("header twice, the second matches", "/header")
            .header("x-user", "x")
            .header("x-user", "jason"),
        Case::get("header inverted, one of two", "/header")
            .header("x-not", "no")
            .header("x-not", "yes"),
        Case::get("header inverted, the same twice", "/header")
            .header("x-not", "no")
            .header("x-not", "no"),
        Case::get("header regex", "/header")
            .header("x-version", "v2")
            .header("x-not", "no"),
        Case::get("header regex matches the whole value", "/header")
            .header("x-version", "v22")
            .header("x-not", "no"),
        Case::get("header in range", "/header")
            .header("x-number", "10")
            .header("x-not", "no"),
        Case::get("header at the end of the range", "/header")
            .header("x-number", "20")
            .header("x-not", "no"),
        Case::get("header that is no number", "/header")
            .header("x-number", "1x")
            .header("x-not", "no"),
        Case::get("header present", "/header")
            .header("x-there", "")
            .header("x-not", "no"),
        Case::get("header inverted and absent", "/header"),
        Case::get("header inverted and equal", "/header").header("x-not", "no"),
        Case::get("query exact", "/query?q=1"),
        Case::get("query exact among others", "/query?a=b&q=1&c"),
        Case::get("query with another value", "/query?q=2"),
        Case::get("query twice, the first counts", "/query?q=2&q=1"),
        Case::get("query present without a value", "/query?there"),
        Case::get("query regex", "/query?re=aaa"),
        Case::get("query regex matches the whole value", "/query?re=aab"),
        Case::get("query encoded", "/query?q=%31"),
        Case::get("method POST", "/method").method("POST").body("x"),
        Case::get("method GET by authority", "/method"),
        Case::get("method that nobody knows", "/method").method("PURGE"),
        Case::get("gRPC by content type", "/grpc")
            .method("POST")
            .header("content-type", "application/grpc+proto")
            .body("x"),
        Case::get("not gRPC", "/grpc")
            .method("POST")
            .header("content-type", "application/grpcx")
            .body("x"),
    ]
}

fn hosts() -> Vec<Case> {
    vec![
        Case::get("host exact", "/host").host("www.example.com"),
        Case::get("host in another case", "/host").host("WWW.Example.COM"),
        Case::get("host with a port that is listed", "/host").host("www.example.com:8080"),
        Case::get("host with a port that is not listed", "/host").host("www.example.com:81"),
        Case::get("host by suffix", "/host").host("a.b.example.com"),
        Case::get("host by the longest suffix", "/host").host("a.deep.example.com"),
        Case::get("host that is the suffix only", "/host").host("example.com"),
        Case::get("host by prefix", "/host").host("internal.corp"),
        Case::get("host that nobody has", "/host").host("other.test"),
        Case::get("host with a final dot", "/host").host("www.example.com."),
    ]
}
