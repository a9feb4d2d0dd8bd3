//! Headers added, replaced and removed, in both directions and on every level.

use crate::bootstrap::{Config, clusters, http_listener};
use crate::case::{Case, Group};
use crate::upstream::Upstreams;
use serde_json::{Value, json};

pub fn group() -> Group {
    Group {
        name: "headers",
        config,
        cases,
    }
}

fn header(key: &str, value: &str, action: &str) -> Value {
    json!({ "header": { "key": key, "value": value }, "append_action": action })
}

const APPEND: &str = "APPEND_IF_EXISTS_OR_ADD";
const ABSENT: &str = "ADD_IF_ABSENT";
const SET: &str = "OVERWRITE_IF_EXISTS_OR_ADD";
const REPLACE: &str = "OVERWRITE_IF_EXISTS";

fn config(upstreams: &Upstreams) -> Config {
    let requests = json!([
        header("x-append", "route", APPEND),
        header("x-absent", "route", ABSENT),
        header("x-set", "route", SET),
        header("x-replace", "route", REPLACE),
        header("x-level", "route", APPEND),
    ]);
    let responses = json!([
        header("x-multi", "three", APPEND),
        header("x-absent", "route", ABSENT),
        header("x-upstream", "hidden", SET),
        header("x-not-there", "never", REPLACE),
        header("x-level", "route", APPEND),
    ]);
    let values = json!([
        header("x-method", "%REQ(:METHOD)%", SET),
        header("x-other", "%REQ(X-ONE?X-TWO)%", SET),
        header("x-cut", "%REQ(X-LONG):4%", SET),
        header("x-protocol", "%PROTOCOL%", SET),
        header("x-percent", "100%%", SET),
        header("x-client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", SET),
        header("x-missing", "%REQ(X-NOT-THERE)%", SET),
    ]);
    let routes = json!([
        {
            "match": { "prefix": "/operations" }, "route": { "cluster": "a" },
            "request_headers_to_add": requests, "request_headers_to_remove": ["x-gone", "x-gone-too"],
            "response_headers_to_add": responses, "response_headers_to_remove": ["x-remove-me"],
        },
        { "match": { "prefix": "/values" }, "route": { "cluster": "a" }, "request_headers_to_add": values },
        {
            "match": { "prefix": "/code" }, "route": { "cluster": "a" },
            "response_headers_to_add": [header("x-code", "%RESPONSE_CODE% %RESPONSE_FLAGS% %ROUTE_NAME%", SET)],
        },
        {
            "match": { "prefix": "/weighted" },
            "route": { "weighted_clusters": { "clusters": [{
                "name": "a", "weight": 1,
                "request_headers_to_add": [header("x-level", "cluster", APPEND)],
                "response_headers_to_add": [header("x-level", "cluster", APPEND)],
                "response_headers_to_remove": ["x-multi"],
            }] } },
            "request_headers_to_add": [header("x-level", "route", APPEND)],
        },
        { "match": { "prefix": "/refused" }, "route": { "cluster": "refused" }, "response_headers_to_add": [header("x-level", "route", APPEND)] },
        { "match": { "prefix": "/local" }, "direct_response": { "status": 200 }, "response_headers_to_add": [header("x-level", "route", APPEND)] },
        { "match": { "prefix": "/" }, "route": { "cluster": "a" } },
    ]);
    let hosts = json!([{
        "name": "any", "domains": ["*"], "routes": routes,
        "request_headers_to_add": [header("x-level", "host", APPEND)],
        "response_headers_to_add": [header("x-level", "host", APPEND)],
        "request_headers_to_remove": ["x-host-removes"],
    }]);
    let mut listener = http_listener(
        hosts,
        json!({ "via": "meltemi", "server_name": "the-server" }),
    );
    let table = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"];
    table["request_headers_to_add"] = json!([header("x-level", "table", APPEND)]);
    table["response_headers_to_add"] = json!([header("x-level", "table", APPEND)]);
    table["response_headers_to_remove"] = json!(["x-table-removes"]);
    Config {
        listeners: vec![listener, passing(), always()],
        clusters: clusters(&upstreams.ports),
        ..Config::default()
    }
}

fn everything() -> Value {
    json!([{ "name": "any", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "a" } }] }])
}

fn passing() -> Value {
    let more = json!({
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": false,
        "http_protocol_options": { "header_key_format": { "proper_case_words": {} } },
        "common_http_protocol_options": { "headers_with_underscores_action": "DROP_HEADER" },
    });
    http_listener(everything(), more)
}

fn always() -> Value {
    let more = json!({
        "server_header_transformation": "APPEND_IF_ABSENT",
        "preserve_external_request_id": true,
        "always_set_request_id_in_response": true,
        "common_http_protocol_options": { "headers_with_underscores_action": "REJECT_REQUEST" },
    });
    http_listener(everything(), more)
}

fn cases() -> Vec<Case> {
    const ID: &str = "11111111-2222-4333-8444-555555555555";
    vec![
        Case::get("operations on nothing", "/operations"),
        Case::get("operations on what is there", "/operations")
            .header("x-append", "client")
            .header("x-absent", "client")
            .header("x-set", "client")
            .header("x-replace", "client")
            .header("x-gone", "client")
            .header("x-gone-too", "client"),
        Case::get("operations on lists", "/operations")
            .header("x-set", "one")
            .header("x-set", "two")
            .header("x-append", "one")
            .header("x-append", "two"),
        Case::get("values", "/values")
            .header("x-two", "second")
            .header("x-long", "123456789"),
        Case::get("values, first choice", "/values")
            .header("x-one", "first")
            .header("x-two", "second"),
        Case::get("response values", "/code").ask("status=404"),
        Case::get("levels", "/weighted").header("x-level", "client"),
        Case::get("levels of a local answer", "/local"),
        Case::get("levels of a failure", "/refused"),
        Case::get("removed by the host", "/").header("x-host-removes", "x"),
        Case::get("no route has no levels", "/operations").host(""),
        Case::get("the proxy's headers from outside", "/")
            .header("x-envoy-internal", "true")
            .header("x-envoy-original-path", "/forged")
            .header("x-envoy-attempt-count", "7")
            .header("x-envoy-expected-rq-timeout-ms", "1")
            .header("x-internal-only", "1"),
        Case::get("hop by hop headers", "/")
            .header("connection", "x-named, keep-alive")
            .header("x-named", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-connection", "keep-alive"),
        Case::get("te other than trailers", "/").header("te", "gzip, trailers"),
        Case::get("an upgrade that is not configured", "/")
            .header("connection", "upgrade")
            .header("upgrade", "foo"),
        Case::get("request id of the client", "/").header("x-request-id", "mine"),
        Case::get("via is appended", "/").header("via", "1.1 other"),
        Case::get("server of the service is replaced", "/").ask("server=apache"),
        Case::get("connection close of the service", "/").ask("connection=close"),
        Case::get("connection close of the client", "/")
            .header("connection", "close")
            .closing(),
        Case::get("server of the service is passed", "/")
            .on(1)
            .ask("server=apache"),
        Case::get("server stays absent", "/").on(1),
        Case::get("no request id", "/").on(1),
        Case::get("underscores are dropped", "/")
            .on(1)
            .header("x_under", "1")
            .header("x-over", "1"),
        Case::get("server is added when absent", "/").on(2),
        Case::get("server is kept", "/").on(2).ask("server=apache"),
        Case::get("request id is kept and told", "/")
            .on(2)
            .header("x-request-id", ID),
        Case::get("underscores are refused", "/")
            .on(2)
            .header("x_under", "1"),
        Case::get("early hints", "/").ask("hints"),
        Case::get("expect continue", "/")
            .method("POST")
            .header("expect", "100-continue")
            .body("body"),
        Case::get("a HEAD keeps the length", "/").method("HEAD"),
        Case::get("chunked answer", "/").ask("chunked"),
        Case::get("answer until close", "/").ask("until-close"),
        Case::get("304 without a body", "/").ask("status=304"),
        Case::get("204 without a body", "/").ask("status=204"),
    ]
}
