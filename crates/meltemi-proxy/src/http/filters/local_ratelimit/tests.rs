//! Which requests are refused, and what they are told.

use crate::http::filters::testkit::{Bench, Outcome, filter, typed};
use crate::http::testkit::{request, run};
use crate::telemetry::Flags;
use crate::telemetry::stats::Counter;
use serde_json::{Value, json};

/// An hour a token: none comes while a test runs.
fn bucket(tokens: u32) -> Value {
    json!({ "max_tokens": tokens, "tokens_per_fill": 1, "fill_interval": "3600s" })
}

fn limit(prefix: &str, more: Value) -> Value {
    let all = json!({ "default_value": { "numerator": 100 } });
    let mut fields =
        json!({ "stat_prefix": prefix, "filter_enabled": all, "filter_enforced": all });
    for (key, value) in more.as_object().unwrap() {
        fields[key] = value.clone();
    }
    fields
}

fn bench(fields: Value, route: Value) -> Result<Bench, String> {
    let filter = filter("limit", "local_ratelimit.v3.LocalRateLimit", fields);
    Bench::new(json!([filter]), route)
}

async fn get(bench: &Bench, path: &str, user: &str) -> Outcome {
    bench.ask(request("GET", path).header("x-user", user)).await
}

#[test]
fn an_empty_bucket_refuses() {
    run(async {
        let fields = limit(
            "empty",
            json!({
                "token_bucket": bucket(2),
                "response_headers_to_add": [{ "header": { "key": "x-limited", "value": "yes" } }],
            }),
        );
        let bench = bench(fields, json!({})).unwrap();
        for _ in 0..2 {
            assert!(get(&bench, "/", "a").await.passed.is_some());
        }
        let refused = get(&bench, "/", "a").await;
        assert_eq!(
            (refused.status, &*refused.body),
            (429, "local_rate_limited")
        );
        assert_eq!(refused.details, "local_rate_limited");
        assert_eq!(refused.flags, Flags::RATE_LIMITED);
        assert_eq!(refused.header("x-limited"), Some("yes"));
        let count = |name| Counter::new(&format!("empty.http_local_rate_limit.{name}")).value();
        let counts = ["enabled", "ok", "rate_limited", "enforced"].map(count);
        assert_eq!(counts, [3, 2, 1, 1]);
    });
}

#[test]
fn what_is_not_enabled_or_not_enforced_passes() {
    run(async {
        let none = json!({ "default_value": { "numerator": 0 } });
        let mut fields = limit("passes", json!({ "token_bucket": bucket(1) }));
        fields["filter_enabled"] = none.clone();
        let off = bench(fields.clone(), json!({})).unwrap();
        fields = limit("passes", json!({ "token_bucket": bucket(1) }));
        fields["filter_enforced"] = none;
        fields["request_headers_to_add_when_not_enforced"] =
            json!([{ "header": { "key": "x-over", "value": "%REQ(:METHOD)%" } }]);
        let lenient = bench(fields, json!({})).unwrap();
        for _ in 0..3 {
            assert!(get(&off, "/", "a").await.passed.is_some());
        }
        let within = get(&lenient, "/", "a").await;
        assert_eq!(within.passed_header("x-over"), None);
        let beyond = get(&lenient, "/", "a").await;
        assert_eq!(beyond.passed_header("x-over"), Some("GET"));
    });
}

#[test]
fn descriptors_tell_requests_apart() {
    run(async {
        let entries =
            |entries: Value, tokens| json!({ "entries": entries, "token_bucket": bucket(tokens) });
        let user = json!([{ "key": "user", "value": "ann" }]);
        let both = json!([{ "key": "user", "value": "ann" }, { "key": "path", "value": "slow" }]);
        let fields = limit(
            "apart",
            json!({
                "token_bucket": bucket(100),
                "always_consume_default_token_bucket": false,
                "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
                "enable_retry_after_header": true,
                "descriptors": [entries(user, 3), entries(both, 1)],
            }),
        );
        let header =
            json!({ "request_headers": { "header_name": "x-user", "descriptor_key": "user" } });
        let slow = json!({ "header_value_match": {
            "descriptor_key": "path", "descriptor_value": "slow",
            "headers": [{ "name": ":path", "string_match": { "prefix": "/slow" } }],
        } });
        let route = json!({ "route": { "cluster": "c", "rate_limits": [
            { "actions": [header] }, { "actions": [header, slow] },
        ] } });
        let bench = bench(fields, route).unwrap();
        let first = get(&bench, "/slow", "ann").await;
        assert_eq!(
            first.header("x-ratelimit-limit"),
            Some("3"),
            "both have the same rate"
        );
        let refused = get(&bench, "/slow", "ann").await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("retry-after"), Some("3600"));
        // The refused one took a token of its user's bucket, as in Envoy.
        assert_eq!(
            get(&bench, "/", "ann")
                .await
                .header("x-ratelimit-remaining"),
            Some("0")
        );
        assert_eq!(get(&bench, "/", "ann").await.status, 429);
        let other = get(&bench, "/", "bob").await;
        assert_eq!(other.header("x-ratelimit-limit"), Some("100"));
        assert_eq!(other.header("x-ratelimit-remaining"), Some("99"));
    });
}

#[test]
fn virtual_hosts_give_limits_to_routes_without() {
    run(async {
        let entry = |value: &str| json!({ "entries": [{ "key": "generic_key", "value": value }], "token_bucket": bucket(1) });
        let fields = json!({
            "token_bucket": bucket(50),
            "descriptors": [entry("route"), entry("host")],
        });
        let key = |value: &str| json!([{ "actions": [{ "generic_key": { "descriptor_value": value } }] }]);
        let refused = async |options: Value, own: Value| {
            let mut fields = limit("hosts", fields.clone());
            for (key, value) in options.as_object().unwrap() {
                fields[key] = value.clone();
            }
            let filter = filter("limit", "local_ratelimit.v3.LocalRateLimit", fields);
            let host = json!({ "rate_limits": key("host") });
            let bench = Bench::with_host(json!([filter]), json!({ "route": own }), host).unwrap();
            get(&bench, "/", "a").await;
            get(&bench, "/", "a").await.status == 429
        };
        let plain = json!({ "cluster": "c" });
        let ignore = json!({ "vh_rate_limits": "IGNORE" });
        assert!(refused(json!({}), plain.clone()).await);
        assert!(!refused(ignore.clone(), plain.clone()).await);
        let other = json!({ "cluster": "c", "rate_limits": key("other") });
        assert!(!refused(json!({}), other.clone()).await);
        assert!(refused(json!({ "vh_rate_limits": "INCLUDE" }), other.clone()).await);
        let including =
            json!({ "cluster": "c", "rate_limits": key("other"), "include_vh_rate_limits": true });
        assert!(refused(ignore, including).await);
        let embedded = json!({ "rate_limits": key("route"), "vh_rate_limits": "INCLUDE" });
        assert!(refused(embedded, plain).await);
    });
}

#[test]
fn a_route_has_limits_of_its_own() {
    run(async {
        let own = limit("own", json!({ "token_bucket": bucket(1) }));
        let own = typed("local_ratelimit.v3.LocalRateLimit", own);
        let route = json!({ "typed_per_filter_config": { "limit": own } });
        let bench = bench(json!({ "stat_prefix": "none" }), route).unwrap();
        assert_eq!(get(&bench, "/", "a").await.status, 200);
        assert_eq!(get(&bench, "/", "a").await.status, 429);
    });
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let reason = |more: Value| {
        let result = bench(limit("refused", more), json!({}));
        result.map(drop).unwrap_err()
    };
    let wild = json!({ "entries": [{ "key": "user" }], "token_bucket": bucket(1) });
    for (more, part) in [
        (
            json!({ "token_bucket": { "max_tokens": 1, "fill_interval": "0.01s" } }),
            "token_bucket.fill_interval: must be at least 50 ms",
        ),
        (
            json!({ "descriptors": [wild] }),
            "descriptors[0].entries[0].value: a limit for each value",
        ),
        (
            json!({ "local_rate_limit_per_downstream_connection": true }),
            "local_rate_limit_per_downstream_connection: is not supported",
        ),
        (
            json!({ "rate_limits": [{ "actions": [{ "source_cluster": {} }] }] }),
            "rate_limits[0].actions[0]: this kind",
        ),
    ] {
        let reason = reason(more);
        assert!(reason.contains(part), "{reason}");
    }
}
