//! What a patch of an EnvoyFilter may hold.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use meltemi_api::{Severity, decode, validate};
use serde_json::{Value, json};

/// Severity, field and text of what is said of `value`, patched to HTTP filters.
fn said(value: &Value) -> Vec<(Severity, String, String)> {
    let object = json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "x"},
        "spec": {"configPatches": [{
            "applyTo": "HTTP_FILTER",
            "patch": {"operation": "INSERT_BEFORE", "value": value},
        }]},
    });
    let findings = validate(&decode(&object, "default").unwrap());
    let of_values = findings.into_iter().filter_map(|finding| {
        let path = finding.path.to_string();
        let below = path.strip_prefix("spec.configPatches[0].patch.value")?;
        let text = format!("{}: {}", finding.message, finding.remedy);
        Some((finding.severity, below.to_owned(), text))
    });
    of_values.collect()
}

fn rate_limit(config: Value) -> Value {
    let mut config = config;
    config["@type"] =
        "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
            .into();
    json!({"name": "envoy.filters.http.local_ratelimit", "typed_config": config})
}

#[test]
fn messages_of_envoys_are_taken_in_all_their_spellings() {
    let bucket = json!({"maxTokens": 10, "tokens_per_fill": "10", "fill_interval": "1m"});
    let fine = rate_limit(json!({"stat_prefix": "x", "token_bucket": bucket}));
    assert_eq!(said(&fine), []);
}

#[test]
fn wrong_values_are_errors_and_unknown_names_are_warnings() {
    let wrong = rate_limit(json!({"token_bucket": {"max_tokens": "many"}}));
    let (severity, field, text) = said(&wrong).remove(0);
    assert_eq!(severity, Severity::Error);
    assert_eq!(field, ".typed_config.token_bucket.max_tokens");
    assert!(
        text.contains("is \"many\", expected a whole number"),
        "{text}"
    );

    let misspelt = rate_limit(json!({"stat_prefx": "x"}));
    let (severity, field, text) = said(&misspelt).remove(0);
    assert_eq!(severity, Severity::Warning);
    assert_eq!(field, ".typed_config.stat_prefx");
    assert!(text.ends_with("did you mean \"stat_prefix\"?"), "{text}");

    let foreign = json!({"name": "x", "typed_config": {"@type": "type.googleapis.com/own.Filter"}});
    let (severity, _, text) = said(&foreign).remove(0);
    assert_eq!(severity, Severity::Warning);
    assert!(text.starts_with("own.Filter is not known"), "{text}");
}
