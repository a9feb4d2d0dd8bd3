#![allow(clippy::unwrap_used, reason = "tests")]

use crate::{Attribute, Attributes, Options, Program, Value};

/// An exchange that failed.
struct Sample;

impl<'a> Attributes<'a> for Sample {
    fn get(&self, attribute: &Attribute) -> Option<Value<'a>> {
        Some(match attribute {
            Attribute::ResponseCode => Value::Int(503),
            Attribute::RequestPath => Value::text("/a/b?c=d"),
            Attribute::RequestHeader(name) if &**name == "x-a" => Value::text("yes"),
            Attribute::RequestDuration => Value::Duration(1_500_000_000),
            Attribute::RequestTime => Value::Timestamp(1_700_000_000_000_000_000),
            Attribute::ConnectionMtls => Value::Bool(false),
            Attribute::ConnectionId => Value::Uint(7),
            Attribute::ClusterName => Value::text("BlackHoleCluster"),
            _ => return None,
        })
    }
}

const ALL: Options = Options {
    string_conversion: true,
    string_concatenation: true,
};

fn holds(text: &str, options: Options) -> bool {
    Program::compile(text, options).unwrap().holds(&Sample)
}

#[test]
fn what_holds() {
    for text in [
        "response.code >= 400",
        "response.code == 503.0 && connection.id < 8",
        "connection.mtls == false",
        "!connection.mtls && xds.cluster_name == 'BlackHoleCluster'",
        "request.headers['x-a'] == 'yes'",
        "request.headers['X-A'] != 'no'",
        "has(request.headers.x_b) == false",
        "'x-a' in request.headers && !('x-b' in request.headers)",
        "request.duration > duration('1s') && request.duration < duration('1m1.5s')",
        "request.path.startsWith('/a') && request.path.contains('b?') ",
        "request.path.endsWith(\"d\") && request.path.matches('^/[a-c]+/')",
        "response.code in [500, 503]",
        "response.code / 100 == 5 && response.code % 100 * 2 == 6",
        "-response.code < 0 && 1 - 2 - 3 == -4",
        "size(request.path) == 8 && request.path.size() == 8",
        "response.code == 200 ? false : true",
        "request.time.getFullYear() == 2023 && request.time.getDayOfWeek() == 2",
        "request.time + duration('1h') > timestamp('2023-11-14T22:13:20Z')",
        "int('7') == 7 && uint(7) == 7u && double(1) == 1.0 && int(2.9) == 2",
        "b'a' == bytes('a') && '\\x41\\u00e9\\101' == 'A\u{e9}A' && r'\\' == '\\\\'",
        "[1, 2][1] == 2 && null == null && 'a' != 1",
        // What fails is absorbed by what decides.
        "request.headers['gone'] == 'x' || true",
        "!(request.headers['gone'] == 'x' && false)",
        "request // a comment\n .path != ''",
        ".request.path != ''",
    ] {
        assert!(holds(text, Options::default()), "{text}");
    }
    for text in [
        "string(response.code) + 'x' == '503x'",
        "string(request.duration) == '1.5s'",
    ] {
        assert!(holds(text, ALL), "{text}");
    }
}

#[test]
fn what_does_not_hold() {
    for text in [
        "response.code < 400",
        "response.code",
        "'true'",
        // Failures: an absent header, values that have no order, division by zero, overflow.
        "request.headers['gone'] != 'x'",
        "response.grpc_status != 0",
        "request.path > 1",
        "1 / 0 == 0 || 1 % 0 == 0",
        "9223372036854775807 + 1 > 0",
        "-(-9223372036854775808) > 0",
        "'a' + 'b' == 'ab'",
        "1 + 1u == 2",
        "[1][1] == 1",
        "duration('1') == duration('1s')",
        "duration('') == duration('')",
        "metadata.filter_metadata['a'] == 'b'",
    ] {
        assert!(!holds(text, Options::default()), "{text}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    for (text, message) in [
        ("1 + )", "at character 5, a value is expected"),
        ("", "a value is expected"),
        ("response.code >= ", "a value is expected"),
        ("response.code 400", "an operator or the end"),
        (
            "response.cod == 1",
            "at character 1, there is no attribute response.cod",
        ),
        ("code", "there is no attribute code"),
        ("request.headers", "there is no attribute request.headers"),
        (
            "request.headers['a b'] == ''",
            "no attribute request.headers.a b",
        ),
        ("request.headers[request.path] == ''", "a constant text"),
        ("has(request.headers['x'])", "'x' in request.headers"),
        ("[1].all(x, x > 0)", "no comprehensions"),
        ("request.path.lower() == ''", "there is no function lower()"),
        ("request.path.contains()", "contains() takes 2 values"),
        ("request.path.matches('(')", "regular expression"),
        ("request.path.matches(request.host)", "constant text"),
        ("string(1) == '1'", "enable_string_conversion"),
        ("{'a': 1}['a'] == 1", "maps are not supported"),
        ("a.B{c: 1} == 1", "messages are not supported"),
        ("request.path == 'x", "closing quote"),
        ("'a\nb' == ''", "closing quote"),
        ("'\\q' == ''", "escape sequence"),
        ("1x == 1", "the end of the number"),
        ("1 = 2", "not of the language"),
        ("99999999999999999999 == 1", "at most 64 bits"),
        ("true ? false", "':'"),
    ] {
        let error = Program::compile(text, Options::default()).unwrap_err();
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
}

#[test]
fn depth_and_length_have_bounds() {
    let deep = [
        "(".repeat(5_000),
        "!".repeat(5_000),
        "[".repeat(5_000),
        "-".repeat(5_000),
    ];
    for text in deep {
        assert!(Program::compile(&(text + "true"), ALL).is_err());
    }
    let chains = ["1 + ", "1 == ", "1 * ", "true ? true : ", "1 in [1] == "];
    for part in chains {
        assert!(
            Program::compile(&(part.repeat(1_000) + "1"), ALL).is_err(),
            "{part}"
        );
    }
    let conditions = "response.code == 200 || ".repeat(500) + "connection.mtls";
    assert!(!holds(&conditions, ALL));
    assert!(Program::compile(&" ".repeat(20_000), ALL).is_err());
}
