//! Verdicts on requests.

use crate::http::filters::testkit::{Bench, Outcome, filter, typed};
use crate::http::testkit::{request, run};
use crate::telemetry::stats::Counter;
use serde_json::{Value, json};

fn rules(action: &str, role: &str) -> Value {
    let header = json!({ "name": "x-role", "string_match": { "exact": role } });
    json!({ "action": action, "policies": { "the policy": {
        "permissions": [{ "header": header }], "principals": [{ "any": true }],
    } } })
}

async fn ask(bench: &Bench, role: &str) -> Outcome {
    bench.ask(request("GET", "/").header("x-role", role)).await
}

fn bench(fields: Value, route: Value) -> Bench {
    Bench::new(json!([filter("rbac", "rbac.v3.RBAC", fields)]), route).unwrap()
}

#[test]
fn policies_deny_with_the_name_of_the_policy() {
    run(async {
        let deny = bench(json!({ "rules": rules("DENY", "guest") }), json!({}));
        let denied = ask(&deny, "guest").await;
        assert_eq!((denied.status, &*denied.body), (403, "RBAC: access denied"));
        assert_eq!(
            denied.details,
            "rbac_access_denied_matched_policy[the_policy]"
        );
        assert!(ask(&deny, "admin").await.passed.is_some());
        let allow = bench(json!({ "rules": rules("ALLOW", "admin") }), json!({}));
        assert!(ask(&allow, "admin").await.passed.is_some());
        let denied = ask(&allow, "guest").await;
        assert_eq!(denied.details, "rbac_access_denied_matched_policy[none]");
    });
}

#[test]
fn shadow_policies_only_count() {
    run(async {
        let fields = json!({
            "rules": rules("DENY", "nobody"),
            "shadow_rules": rules("ALLOW", "admin"),
            "shadow_rules_stat_prefix": "dry_run_",
        });
        let bench = bench(fields, json!({}));
        let count = |name: &str| {
            Counter::scoped("http", "bench", &format!("rbac.dry_run_.shadow_{name}")).value()
        };
        let before = (count("allowed"), count("denied"));
        assert!(ask(&bench, "admin").await.passed.is_some());
        assert!(ask(&bench, "guest").await.passed.is_some());
        assert!(ask(&bench, "guest").await.passed.is_some());
        assert_eq!(
            (count("allowed"), count("denied")),
            (before.0 + 1, before.1 + 2)
        );
    });
}

#[test]
fn a_route_has_policies_of_its_own_or_none() {
    run(async {
        let own = |fields| json!({ "typed_per_filter_config": { "rbac": typed("rbac.v3.RBACPerRoute", fields) } });
        let chain = json!({ "rules": rules("DENY", "guest") });
        let none = bench(chain.clone(), own(json!({})));
        assert!(ask(&none, "guest").await.passed.is_some());
        let other = json!({ "rbac": { "rules": rules("DENY", "admin") } });
        let other = bench(chain, own(other));
        assert!(ask(&other, "guest").await.passed.is_some());
        assert_eq!(ask(&other, "admin").await.status, 403);
    });
}
