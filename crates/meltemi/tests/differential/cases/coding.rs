//! Compressed answers. How well a library compresses is not compared, but what becomes of the
//! heads is, and what is decoded again.

use crate::bootstrap::{Config, any_host, clusters, http_listener_with, typed};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "coding",
        config,
        cases,
    }
}

fn library(kind: &str) -> Value {
    json!({ "name": "library", "typed_config": { "@type": format!("type.googleapis.com/envoy.extensions.compression.{kind}") } })
}

fn compressor(name: &str, kind: &str, more: Value) -> Value {
    let mut fields = json!({ "compressor_library": library(kind) });
    for (key, value) in more.as_object().expect("an object") {
        fields[key] = value.clone();
    }
    json!({ "name": name, "typed_config": typed("filters.http.compressor.v3.Compressor", fields) })
}

fn config(upstreams: &Upstreams) -> Config {
    let gzip = |more| compressor("gzip", "gzip.compressor.v3.Gzip", more);
    let brotli = compressor("br", "brotli.compressor.v3.Brotli", json!({}));
    let zstd = compressor("zstd", "zstd.compressor.v3.Zstd", json!({}));
    let decompressor = json!({ "name": "decompressor", "typed_config": typed(
        "filters.http.decompressor.v3.Decompressor",
        json!({ "decompressor_library": library("gzip.decompressor.v3.Gzip") }),
    ) });
    let decoder = json!({ "name": "decompressor", "typed_config": typed(
        "filters.http.decompressor.v3.Decompressor",
        json!({ "decompressor_library": library("zstd.decompressor.v3.Zstd") }),
    ) });
    let requests = || {
        json!({ "request_direction_config": {
        "common_config": { "min_content_length": 20, "content_type": ["text/plain"] },
    } })
    };
    let zstd_requests = compressor("zstd", "zstd.compressor.v3.Zstd", requests());
    let direction = json!({ "response_direction_config": {
        "common_config": { "min_content_length": 500, "content_type": ["text/plain"] },
        "weaken_etag_on_compress": true,
        "remove_accept_encoding_header": true,
        "uncompressible_response_codes": [201],
    } });
    let keep =
        json!({ "disable_on_etag_header": true, "content_type": ["image/png", "text/plain"] });
    let listener = |filters: Value| http_listener_with(filters, any_host(routes()), json!({}));
    Config {
        listeners: vec![
            listener(json!([gzip(json!({}))])),
            listener(json!([brotli, zstd, gzip(json!({}))])),
            listener(json!([gzip(direction)])),
            listener(json!([gzip(keep)])),
            listener(json!([decompressor, gzip(json!({}))])),
            listener(json!([gzip(requests())])),
            listener(json!([zstd_requests, decoder])),
        ],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

fn routes() -> Value {
    let route = |prefix: &str, status: u16, repeats: usize, headers: &[(&str, &str)]| {
        let headers: Vec<Value> = headers
            .iter()
            .map(|(key, value)| {
                json!({ "header": { "key": key, "value": value }, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" })
            })
            .collect();
        json!({
            "match": { "prefix": prefix },
            "direct_response": { "status": status, "body": { "inline_string": "some text ".repeat(repeats) } },
            "response_headers_to_add": headers,
        })
    };
    let mut off = route("/off", 200, 100, &[]);
    let disabled = typed(
        "filters.http.compressor.v3.CompressorPerRoute",
        json!({ "disabled": true }),
    );
    off["typed_per_filter_config"] = json!({ "gzip": disabled });
    let mut other = json!({ "match": { "prefix": "/up/other" }, "route": { "cluster": "a" } });
    let overrides =
        json!({ "overrides": { "compressor_library": library("brotli.compressor.v3.Brotli") } });
    other["typed_per_filter_config"] = json!({
        "gzip": typed("filters.http.compressor.v3.CompressorPerRoute", overrides),
    });
    let mut up_off = json!({ "match": { "prefix": "/up/off" }, "route": { "cluster": "a" } });
    up_off["typed_per_filter_config"] = off["typed_per_filter_config"].clone();
    json!([
        off,
        other,
        up_off,
        route("/short", 200, 2, &[]),
        route("/middle", 200, 20, &[]),
        route("/image", 200, 100, &[("content-type", "image/png")]),
        route("/charset", 200, 100, &[("content-type", "text/html; charset=utf-8")]),
        route("/etag", 200, 100, &[("etag", "\"strong\"")]),
        route("/weak", 200, 100, &[("etag", "W/\"weak\"")]),
        route("/coded", 200, 100, &[("content-encoding", "br")]),
        route("/still", 200, 100, &[("cache-control", "private, no-transform")]),
        route("/vary", 200, 100, &[("vary", "origin")]),
        route("/created", 201, 100, &[]),
        { "match": { "prefix": "/up" }, "route": { "cluster": "a" } },
        route("/", 200, 100, &[]),
    ])
}

/// Other bytes say the same.
const BYTES: &[&str] = &["answer.body", "log.sent"];

fn cases() -> Vec<Case> {
    let get = |name: &'static str, path: &str, accept: &str| {
        let case = Case::get(name, path).header("accept-encoding", accept);
        case.loose(BYTES)
    };
    let post = |name: &'static str, path: &str, kind: &str, body: &str| {
        let case = Case::get(name, path).method("POST").body(body);
        case.header("content-type", kind)
            .on(5)
            .loose(&["seen.body"])
    };
    let (text, long) = ("text/plain", "a body that is long enough");
    vec![
        post("a request", "/up", text, long),
        post("a request by HTTP/2", "/up", text, long).http2(),
        post("a short request", "/up", text, "short"),
        post("a request of another type", "/up", "image/png", long),
        post("a request, off on a route", "/up/off", text, long),
        post("a request, otherwise on a route", "/up/other", text, long),
        post("a request that is coded", "/up", text, long).header("content-encoding", "br"),
        post("a request and back", "/up", text, long)
            .on(6)
            .loose(&[]),
        Case::get("no accept-encoding", "/"),
        get("gzip", "/", "gzip"),
        get("gzip by HTTP/2", "/", "gzip").http2(),
        get("gzip of HEAD", "/", "gzip").method("HEAD"),
        get("identity", "/", "identity"),
        get("any", "/", "*"),
        get("none", "/", "gzip;q=0"),
        get("another", "/", "deflate"),
        get("a quality that is none", "/", "gzip;q=x"),
        get("short", "/short", "gzip"),
        get("an image", "/image", "gzip"),
        get("a type with a parameter", "/charset", "gzip"),
        get("a strong ETag", "/etag", "gzip"),
        get("a weak ETag", "/weak", "gzip"),
        get("coded already", "/coded", "gzip"),
        get("not to be transformed", "/still", "gzip"),
        get("another Vary", "/vary", "gzip"),
        get("off on a route", "/off", "gzip"),
        get("of three: gzip", "/", "gzip").on(1),
        get("of three: Brotli", "/", "br").on(1),
        get("of three: Zstandard", "/", "zstd, br;q=0.9").on(1),
        get("of three: the first that is named", "/", "gzip, br, zstd").on(1),
        get("of three: any", "/", "*").on(1),
        get("of three: any but", "/", "br;q=0, *").on(1),
        get("own bounds: gzip", "/", "gzip").on(2),
        get("own bounds: shorter", "/middle", "gzip").on(2),
        get("own bounds: a type", "/charset", "gzip").on(2),
        get("own bounds: a strong ETag", "/etag", "gzip").on(2),
        get("own bounds: a status", "/created", "gzip").on(2),
        get("own bounds: accept-encoding goes", "/up", "gzip").on(2),
        get("ETags are kept", "/etag", "gzip").on(3),
        get("an image that may", "/image", "gzip").on(3),
        Case::get("and back", "/")
            .header("accept-encoding", "br, gzip")
            .on(4),
        Case::get("what may come is told", "/up")
            .header("accept-encoding", "br")
            .on(4),
        Case::get("what may come is told to who asked", "/up")
            .header("accept-encoding", "gzip;q=0.5")
            .on(4),
    ]
}
