use super::*;
use crate::http::filters::testkit::{Bench, Outcome, filter, typed};
use crate::http::testkit::{request, run};
use http::HeaderName;
use serde_json::{Value, json};

#[test]
fn the_client_chooses() {
    let choose = |accept: &'static str, offered: &[&'static str]| {
        super::choose(&HeaderValue::from_static(accept), offered)
    };
    let both = &["br", "gzip"];
    for (accept, expected) in [
        ("gzip", Some("gzip")),
        ("gzip, br", Some("gzip")),
        ("br;q=0.5, gzip;q=0.9", Some("gzip")),
        ("*", Some("br")),
        ("br;q=0, *;q=0.1", Some("gzip")),
        ("gzip;q=0.5, identity", None),
        ("deflate", None),
        ("gzip;q=0", None),
        ("gzip;q=nan-sense, br", Some("br")),
        ("", None),
    ] {
        assert_eq!(choose(accept, both), expected, "{accept}");
    }
}

fn gzip(more: Value) -> Value {
    let kind = "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip";
    let mut fields =
        json!({ "compressor_library": { "name": "l", "typed_config": { "@type": kind } } });
    for (key, value) in more.as_object().unwrap() {
        fields[key] = value.clone();
    }
    json!([filter("c", "compressor.v3.Compressor", fields)])
}

async fn answer(filters: Value, route: Value, headers: &[(&str, &str)]) -> Outcome {
    let mut response = Response::new("a text that is long enough to be compressed, as texts go");
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    let bench = Bench::new(filters, route).unwrap();
    let asked = request("GET", "/").header("accept-encoding", "gzip");
    bench.call(asked, response).await
}

#[test]
fn some_answers_pass_as_they_are() {
    run(async {
        let text = ("content-type", "text/plain; charset=utf-8");
        let weak = json!({ "response_direction_config": { "weaken_etag_on_compress": true } });
        let keep = json!({ "disable_on_etag_header": true });
        let long = json!({ "response_direction_config": { "common_config": { "min_content_length": 1000 } } });
        for (config, headers, compressed) in [
            (json!({}), vec![text], true),
            (json!({}), vec![("content-type", "image/png")], false),
            (json!({}), vec![text, ("content-encoding", "br")], false),
            (
                json!({}),
                vec![text, ("cache-control", "private, no-transform")],
                false,
            ),
            (json!({}), vec![text, ("content-length", "29")], false),
            (long, vec![text, ("content-length", "57")], false),
            (keep, vec![text, ("etag", "\"a\"")], false),
            (weak, vec![text, ("etag", "\"a\"")], true),
        ] {
            let outcome = answer(gzip(config), json!({}), &headers).await;
            let encoded = outcome.header("content-encoding") == Some("gzip");
            assert_eq!(encoded, compressed, "{headers:?}");
            if compressed {
                assert_eq!(outcome.header("vary"), Some("Accept-Encoding"));
                assert_eq!(outcome.header("content-length"), None);
                assert_ne!(outcome.header("etag"), Some("\"a\""));
            }
        }
    });
}

#[test]
fn a_route_turns_it_off() {
    run(async {
        let off = typed(
            "compressor.v3.CompressorPerRoute",
            json!({ "disabled": true }),
        );
        let route = json!({ "typed_per_filter_config": { "c": off } });
        let outcome = answer(gzip(json!({})), route, &[]).await;
        assert_eq!(outcome.header("content-encoding"), None);
    });
}

#[test]
fn requests_are_compressed_where_that_is_configured() {
    run(async {
        let bench = |config| Bench::new(gzip(config), json!({})).unwrap();
        let text = "a text that is long enough to be compressed, as texts go";
        let asked = || {
            request("POST", "/")
                .header("content-type", "text/plain")
                .header("content-length", "56")
        };
        let outcome = bench(json!({})).send(asked(), text).await;
        assert_eq!(outcome.passed_header("content-encoding"), None);
        let on = || json!({ "request_direction_config": {} });
        let outcome = bench(on()).send(asked(), text).await;
        assert_eq!(outcome.passed_header("content-encoding"), Some("gzip"));
        assert_eq!(outcome.passed_header("content-length"), None);
        for (name, value) in [
            ("content-encoding", "br"),
            ("content-type", "image/png"),
            ("content-length", "29"),
        ] {
            let mut builder = asked();
            let value = value.parse().unwrap();
            builder.headers_mut().unwrap().insert(name, value);
            let outcome = bench(on()).send(builder, text).await;
            let coded = outcome.passed_header("content-encoding");
            assert_ne!(coded, Some("gzip"), "{name}");
        }
    });
}
