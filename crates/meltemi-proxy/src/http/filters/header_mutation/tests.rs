use crate::http::filters::testkit::{Bench, filter, typed};
use crate::http::testkit::{request, run};
use http::Response;
use serde_json::{Value, json};

fn mutations(name: &str, value: &str) -> Value {
    let put = json!({ "append": {
        "header": { "key": name, "value": value },
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    } });
    json!({ "mutations": { "request_mutations": [put], "response_mutations": [put] } })
}

#[test]
fn each_level_has_its_turn() {
    run(async {
        for (wins, expected) in [(false, "host"), (true, "route")] {
            let mut own = mutations("x-level", "chain");
            own["most_specific_header_mutations_wins"] = json!(wins);
            let filters = json!([filter("m", "header_mutation.v3.HeaderMutation", own)]);
            let said = |level| {
                let config = mutations("x-level", level);
                let typed = typed("header_mutation.v3.HeaderMutationPerRoute", config);
                json!({ "typed_per_filter_config": { "m": typed } })
            };
            let bench = Bench::with_host(filters, said("route"), said("host")).unwrap();
            let outcome = bench.ask(request("GET", "/")).await;
            assert_eq!(outcome.passed_header("x-level"), Some(expected));
            assert_eq!(outcome.header("x-level"), Some(expected));
        }
    });
}

#[test]
fn steps_are_taken_in_their_order() {
    run(async {
        let put = |value: &str| json!({ "append": { "header": { "key": "x-a", "value": value } } });
        let steps = json!([
            put("first"),
            { "remove": "x-a" },
            put("%REQ(X-B)%"),
            { "remove_on_match": { "key_matcher": { "prefix": "x-secret" } } },
        ]);
        let own =
            json!({ "mutations": { "request_mutations": steps, "response_mutations": steps } });
        let filters = json!([filter("m", "header_mutation.v3.HeaderMutation", own)]);
        let bench = Bench::new(filters, json!({})).unwrap();
        let asked = request("GET", "/")
            .header("x-b", "b")
            .header("x-secret-1", "s");
        let mut answer = Response::new("");
        answer
            .headers_mut()
            .insert("x-secret-2", "s".parse().unwrap());
        let outcome = bench.call(asked, answer).await;
        assert_eq!(outcome.passed_header("x-a"), Some("b"));
        assert_eq!(outcome.passed_header("x-secret-1"), None);
        assert_eq!(outcome.header("x-a"), Some("b"));
        assert_eq!(outcome.header("x-secret-2"), None);
    });
}

#[test]
fn parameters_are_changed_and_the_others_stay_as_they_are() {
    run(async {
        let put = |key: &str, value: &str, action: &str| json!({ "append": { "record": { "key": key, "value": value }, "action": action } });
        let steps = json!([
            { "remove": "gone" },
            put("more", "n w&%%=", "APPEND_IF_EXISTS_OR_ADD"),
            put("one", "new", "OVERWRITE_IF_EXISTS"),
            put("never", "x", "OVERWRITE_IF_EXISTS"),
            put("two", "%REQ(X-B)%", "OVERWRITE_IF_EXISTS_OR_ADD"),
            put("three", "x", "ADD_IF_ABSENT"),
        ]);
        let own = json!({ "mutations": { "query_parameter_mutations": steps } });
        let filters = json!([filter("m", "header_mutation.v3.HeaderMutation", own)]);
        let bench = Bench::new(filters, json!({})).unwrap();
        for (path, expected) in [
            ("/p", "/p?more=n%20w%26%25%3D&two=b&three=x"),
            (
                "/p?z=%20&gone&one=1&%6fne=2&%67one=3&three&&a",
                "/p?z=%20&one=new&three&&a&more=n%20w%26%25%3D&two=b",
            ),
        ] {
            let outcome = bench.ask(request("GET", path).header("x-b", "b")).await;
            assert_eq!(outcome.passed.unwrap().path.as_str(), expected);
        }
        let own = json!({ "mutations": { "query_parameter_mutations": [{ "remove": "a" }] } });
        let filters = json!([filter("m", "header_mutation.v3.HeaderMutation", own)]);
        let bench = Bench::new(filters, json!({})).unwrap();
        let outcome = bench.ask(request("GET", "/p?a=1&a")).await;
        assert_eq!(outcome.passed.unwrap().path.as_str(), "/p");
    });
}

#[test]
fn trailers_are_changed() {
    run(async {
        let put = |name: &str, value: &str| json!({ "append": { "header": { "key": name, "value": value } } });
        let steps = json!([
            put("x-a", "1"),
            put("x-path", "%REQ(:PATH)%"),
            { "remove": "x-b" },
            { "remove_on_match": { "key_matcher": { "prefix": "x-secret" } } },
        ]);
        let own = json!({ "mutations": { "request_trailers_mutations": steps } });
        let filters = json!([filter("m", "header_mutation.v3.HeaderMutation", own)]);
        let bench = Bench::new(filters, json!({})).unwrap();
        let mut trailers = http::HeaderMap::new();
        for name in ["x-b", "x-secret-1", "x-c"] {
            trailers.insert(name, "v".parse().unwrap());
        }
        let outcome = bench.send_trailing(request("POST", "/p"), trailers).await;
        let trailers = outcome.passed_trailers.unwrap();
        let value = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(value("x-a"), Some("1"));
        assert_eq!(value("x-path"), Some("/p"));
        assert_eq!(value("x-c"), Some("v"));
        assert_eq!(trailers.len(), 3);
    });
}
