//! Formats of access logs, and lines made by them of an exchange whose peers write what they
//! like. Nothing of a peer ends a line or breaks its JSON; an operator's length is kept to; what
//! is not known is a dash, null in JSON, and nothing in a header's value.
//!
//! The first line of an input is the format: `t` and a text, `j` and a JSON object. The others are
//! facts: `m`ethod, `p`ath, `a`uthority, `s`tatus, `d`etails, `f`ailure of the upstream, server
//! `n`ame, `g`RPC status, `c`luster-independent `b`ytes; `<NAME VALUE` and `>NAME VALUE` are lines of
//! the request and the answer, with `\xNN` for bytes that have no letter.
#![no_main]

use http::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::exchange;
use meltemi_proxy::model::{LogFormat, LogPart};
use meltemi_proxy::telemetry::log::{append, header_value, parse_json, parse_text};
use meltemi_proxy::telemetry::{Flags, StreamInfo, TlsInfo};
use serde_json::Value;

/// Operators whose values change from one line to the next.
const FLEETING: [&str; 5] = ["DURATION", "TIME", "UNIQUE_ID", "DS_TX_END", "HOSTNAME"];

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let Some((letter, format)) = std::str::from_utf8(first)
        .ok()
        .and_then(|first| first.split_at_checked(1))
    else {
        return;
    };
    let info = facts(lines.next().unwrap_or_default());
    match letter {
        "t" => text(format, &info),
        "j" => json(format, &info),
        _ => {}
    }
});

fn facts(input: &[u8]) -> StreamInfo {
    let mut info = exchange();
    let mut server_name = None;
    for line in input.split(|byte| *byte == b'\n') {
        let Some((kind, rest)) = line.split_first() else {
            continue;
        };
        let text = String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'm' => info.request.method = http::Method::from_bytes(rest).ok(),
            b'p' => info.request.path = Some(text.into()),
            b'a' => info.request.authority = Some(text.into()),
            b's' => info.status = text.parse().unwrap_or_default(),
            b'd' => info.details = text.into(),
            b'f' => info.upstream_failure = Some(text.into()),
            b'n' => server_name = Some(text.into()),
            b'g' => info.grpc_status = text.parse().ok(),
            b'b' => info.bytes_sent = text.parse().unwrap_or_default(),
            b'F' => info.flags = Flags(text.parse().unwrap_or_default()),
            b'<' => header(&mut info.request.headers, rest),
            b'>' => header(&mut info.response_headers, rest),
            _ => {}
        }
    }
    if let Some(connection) = std::sync::Arc::get_mut(&mut info.connection) {
        connection.tls = server_name.is_some().then(|| TlsInfo {
            peer_subject: server_name.clone(),
            peer_dns: server_name.iter().cloned().collect(),
            ..TlsInfo::default()
        });
        connection.facts.server_name = server_name.map(|name: std::sync::Arc<str>| (*name).into());
    }
    info
}

fn header(headers: &mut http::HeaderMap, line: &[u8]) {
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
    let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
    if let (Ok(name), Ok(value)) = (name, value) {
        headers.append(name, value);
    }
}

fn line(format: &LogFormat, info: &StreamInfo) -> String {
    let mut out = String::new();
    append(&mut out, format, info);
    out
}

fn text(text: &str, info: &StreamInfo) {
    let format = match parse_text(text) {
        Ok(format) => format,
        Err(error) => return assert!(!error.is_empty()),
    };
    let out = line(&format, info);
    let LogFormat::Text(parts) = &format else {
        panic!("{format:?} of a text");
    };
    // A time's format is the operator's own text.
    let timed = text.contains("TIME(");
    if !timed {
        let own = parts.iter().map(|part| match part {
            LogPart::Text(text) => text.chars().filter(|letter| letter.is_control()).count(),
            _ => 0,
        });
        let all = out.chars().filter(|letter| letter.is_control()).count();
        assert_eq!(all, own.sum::<usize>(), "{out:?} of {text:?}");
    }
    if let [LogPart::Operator(_, limit)] = &parts[..] {
        if let Some(limit) = limit {
            assert!(
                out == "-" || out.len() <= *limit as usize,
                "{out:?} of {text:?}"
            );
        }
        // As the only value of an object.
        let object = serde_json::json!({ "key": text });
        let format = parse_json(&object).expect("a format that is one of texts");
        let made: Value = serde_json::from_str(&line(&format, info)).expect("JSON");
        let fleeting = FLEETING.iter().any(|word| text.contains(word));
        match &made["key"] {
            Value::Null => assert_eq!(out, "-"),
            Value::String(value) if !fleeting => assert_eq!(*value, out),
            Value::Number(value) if !fleeting && limit.is_none() => {
                assert_eq!(value.to_string(), out)
            }
            Value::String(_) | Value::Number(_) => {}
            other => panic!("{other} of {text:?}"),
        }
        let value = header_value(&format_of(text), info);
        if !fleeting && made["key"] != Value::Null {
            assert_eq!(value, out.trim_ascii_end());
        }
    }
}

fn format_of(text: &str) -> LogFormat {
    parse_text(text).expect("it was read before")
}

fn json(text: &str, info: &StreamInfo) {
    let Ok(object) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let format = match parse_json(&object) {
        Ok(format) => format,
        Err(error) => return assert!(!error.is_empty()),
    };
    let keys = |value: &Value| -> Vec<String> {
        let object = value.as_object().expect("an object");
        object.keys().cloned().collect()
    };
    let out = line(&format, info);
    assert!(
        out.ends_with('\n') && out.matches('\n').count() == 1,
        "{out:?} of {text:?}"
    );
    let made: Value =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} of {text}"));
    assert_eq!(keys(&made), keys(&object));
    let LogFormat::Json(fields, _) = format else {
        panic!("{format:?} of an object");
    };
    // Without what is not known: no null, and nothing else less.
    let out = line(&LogFormat::Json(fields, true), info);
    let short: Value =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} of {text}"));
    let known = keys(&made).into_iter().filter(|key| known(&made[key]));
    assert_eq!(keys(&short), known.collect::<Vec<_>>());
}

/// As an object is that holds something known.
fn known(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(fields) => fields.values().any(known),
        _ => true,
    }
}
