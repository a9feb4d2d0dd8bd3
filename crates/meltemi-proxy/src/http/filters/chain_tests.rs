//! Which filters a request meets.

use super::testkit::{Bench, filter, typed};
use crate::http::testkit::{request, run};
use crate::telemetry::Flags;
use serde_json::{Value, json};

fn abort(status: u16) -> Value {
    json!({ "abort": { "http_status": status, "percentage": { "numerator": 100 } } })
}

fn fault(name: &str, fields: Value) -> Value {
    filter(name, "fault.v3.HTTPFault", fields)
}

fn per_filter(name: &str, config: Value) -> Value {
    json!({ "typed_per_filter_config": { name: config } })
}

fn filter_config(fields: Value) -> Value {
    let mut fields = fields;
    fields["@type"] = json!("type.googleapis.com/envoy.config.route.v3.FilterConfig");
    fields
}

async fn status(filters: Value, route: Value) -> u16 {
    let bench = Bench::new(filters, route).unwrap();
    bench.ask(request("GET", "/")).await.status
}

#[test]
fn routes_speak_to_filters_by_their_names() {
    run(async {
        let filters = json!([fault("one", abort(501)), fault("two", abort(502))]);
        assert_eq!(status(filters.clone(), json!({})).await, 501);
        let own = per_filter("one", typed("fault.v3.HTTPFault", json!({})));
        assert_eq!(status(filters.clone(), own).await, 502);
        let nobody = per_filter("three", typed("fault.v3.HTTPFault", abort(503)));
        assert_eq!(status(filters.clone(), nobody).await, 501);
        // A message for another kind of filter says nothing to this one.
        let policy = per_filter("one", typed("cors.v3.CorsPolicy", json!({})));
        assert_eq!(status(filters, policy).await, 501);
    });
}

#[test]
fn routes_disable_and_enable_filters() {
    run(async {
        let on = json!([fault("f", abort(501))]);
        let off = json!([{ "name": "f", "disabled": true,
            "typed_config": typed("fault.v3.HTTPFault", abort(501)) }]);
        let disabled = per_filter("f", filter_config(json!({ "disabled": true })));
        let own = typed("fault.v3.HTTPFault", abort(502));
        let config = per_filter("f", filter_config(json!({ "config": own })));
        for (filters, route, expected) in [
            (&on, json!({}), 501),
            (&on, disabled.clone(), 200),
            (&on, config.clone(), 502),
            (&off, json!({}), 200),
            (&off, disabled, 200),
            (&off, config, 502),
            (&off, per_filter("f", own), 502),
        ] {
            assert_eq!(status(filters.clone(), route).await, expected);
        }
    });
}

#[test]
fn a_weighted_cluster_has_the_last_word() {
    run(async {
        let own = |status| json!({ "f": typed("fault.v3.HTTPFault", abort(status)) });
        let mut route = json!({
            "typed_per_filter_config": own(502),
            "route": { "weighted_clusters": { "clusters": [{ "name": "c", "weight": 1 }] } },
        });
        let filters = json!([fault("f", json!({}))]);
        assert_eq!(status(filters.clone(), route.clone()).await, 502);
        let clusters = &mut route["route"]["weighted_clusters"]["clusters"];
        clusters[0]["typed_per_filter_config"] = own(503);
        assert_eq!(status(filters, route).await, 503);
    });
}

#[test]
fn what_a_route_says_to_no_filter_we_have_is_refused_unless_optional() {
    let lua = typed("lua.v3.LuaPerRoute", json!({}));
    let refused = Bench::new(json!([]), per_filter("lua", lua.clone()));
    let reason = refused.map(drop).unwrap_err();
    assert!(reason.contains("LuaPerRoute is not supported"), "{reason}");
    let optional = filter_config(json!({ "is_optional": true, "config": lua }));
    assert!(Bench::new(json!([]), per_filter("lua", optional)).is_ok());
    let policy = typed("ext_authz.v3.ExtAuthzPerRoute", json!({ "disabled": true }));
    let policy = filter_config(json!({ "is_optional": true, "config": policy }));
    let refused = Bench::new(json!([]), per_filter("authz", policy));
    assert!(refused.is_err(), "a policy is never left out");
}

#[test]
fn an_answer_of_a_filter_meets_those_before_it() {
    run(async {
        let policy = json!({ "allow_origin_string_match": [{ "exact": "https://a.test" }] });
        let route = per_filter("cors", typed("cors.v3.CorsPolicy", policy));
        let cors = filter("cors", "cors.v3.Cors", json!({}));
        let ask = async |filters: Value| {
            let bench = Bench::new(filters, route.clone()).unwrap();
            let request = request("GET", "/").header("origin", "https://a.test");
            bench.ask(request).await
        };
        let behind = ask(json!([cors, fault("f", abort(501))])).await;
        assert_eq!((behind.status, behind.flags), (501, Flags::FAULT_INJECTED));
        let allowed = "access-control-allow-origin";
        assert_eq!(behind.header(allowed), Some("https://a.test"));
        let before = ask(json!([fault("f", abort(501)), cors])).await;
        assert_eq!(
            before.header(allowed),
            None,
            "the request never came so far"
        );
    });
}
