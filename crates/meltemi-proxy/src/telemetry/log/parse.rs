//! Envoy's access-log format strings to [`LogFormat`].

use super::arguments;
use crate::model::{
    JsonField, JsonValue, LogFormat, LogHeader, LogOperator, LogPart, Side, StatusForm,
};
use http::HeaderName;
use serde_json::Value;

/// Compiles a text format.
///
/// # Errors
/// Names the operator that is unknown or malformed and its position.
pub fn parse_text(format: &str) -> Result<LogFormat, String> {
    Ok(LogFormat::Text(parts(format)?))
}

/// Compiles a JSON format: an object whose values are format strings, objects and lists of them;
/// numbers and the like are kept as they are.
///
/// # Errors
/// Names the key and what is wrong with its value.
pub fn parse_json(object: &Value) -> Result<LogFormat, String> {
    let object = object
        .as_object()
        .ok_or("a JSON access-log format must be an object")?;
    Ok(LogFormat::Json(json_fields(object)?, false))
}

fn json_fields(object: &serde_json::Map<String, Value>) -> Result<Box<[JsonField]>, String> {
    let fields = object.iter().map(|(key, value)| {
        let value = json_value(value).map_err(|error| format!("{key}: {error}"))?;
        Ok((Box::from(key.as_str()), value))
    });
    fields.collect()
}

fn json_value(value: &Value) -> Result<JsonValue, String> {
    Ok(match value {
        Value::String(format) => JsonValue::Format(parts(format)?),
        Value::Number(_) | Value::Bool(_) | Value::Null => {
            JsonValue::Constant(value.to_string().into())
        }
        Value::Object(object) => JsonValue::Object(json_fields(object)?),
        Value::Array(list) => {
            JsonValue::List(list.iter().map(json_value).collect::<Result<_, _>>()?)
        }
    })
}

fn parts(format: &str) -> Result<Box<[LogPart]>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        text.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push('%');
            rest = after;
            continue;
        }
        let end = operator_end(rest)
            .ok_or_else(|| format!("operator \"%{rest}\" has no closing \"%\""))?;
        if !text.is_empty() {
            parts.push(LogPart::Text(std::mem::take(&mut text).into()));
        }
        parts.push(operator(&rest[..end])?);
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(LogPart::Text(text.into()));
    }
    Ok(parts.into())
}

/// Position of the closing `%`: one within parentheses belongs to a time format.
fn operator_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '%' if depth <= 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The operators that take, or need, an argument.
const WITH_ARGUMENT: [&str; 20] = [
    "START_TIME",
    "EMIT_TIME",
    "COMMON_DURATION",
    "QUERY_PARAM",
    "PATH",
    "REQ",
    "RESP",
    "TRAILER",
    "GRPC_STATUS",
    "ENVIRONMENT",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_PEER_CERT_V_END",
    "DYNAMIC_METADATA",
    "FILTER_STATE",
    "CLUSTER_METADATA",
    "UPSTREAM_METADATA",
    "METADATA",
    "UPSTREAM_FILTER_STATE",
];

/// The only arguments of other operators.
const ARGUMENTS: [(&str, &str); 2] = [
    ("RESPONSE_CODE_DETAILS", "ALLOW_WHITESPACES"),
    // Which is the default; SNI_FIRST and HOST_FIRST are not supported.
    ("REQUESTED_SERVER_NAME", "SNI_ONLY"),
];

fn operator(text: &str) -> Result<LogPart, String> {
    let (name, argument, tail) = match text.split_once('(') {
        Some((name, rest)) => {
            let close = rest
                .rfind(')')
                .ok_or_else(|| format!("operator \"%{text}%\" has no \")\""))?;
            (name, Some(&rest[..close]), &rest[close + 1..])
        }
        None => match text.split_once(':') {
            Some((name, length)) => (name, None, &text[text.len() - length.len() - 1..]),
            None => (text, None, ""),
        },
    };
    // As in Envoy, where `%PROTOCOL()%` is `%PROTOCOL%`.
    let argument = argument.filter(|argument| !argument.is_empty());
    let limit = match tail.strip_prefix(':') {
        Some(length) => Some(
            length
                .parse::<u32>()
                .map_err(|_| format!("operator \"%{text}%\": length \"{length}\" is no number"))?,
        ),
        None if tail.is_empty() => None,
        None => return Err(format!("operator \"%{text}%\": unexpected \"{tail}\"")),
    };
    let operator = match name {
        // No filter sets any.
        "CUSTOM_FLAGS" => None,
        _ => Some(named(text, name, argument)?),
    };
    if let Some(argument) = argument
        && !WITH_ARGUMENT.contains(&name)
        && !name.ends_with("_ADDRESS_WITHOUT_PORT")
        && !ARGUMENTS.contains(&(name, argument))
    {
        return Err(format!(
            "operator \"%{text}%\" does not take ({argument}): remove it"
        ));
    }
    Ok(match operator {
        Some(operator) => LogPart::Operator(operator, limit),
        None => LogPart::Text("".into()),
    })
}

fn named(text: &str, name: &str, argument: Option<&str>) -> Result<LogOperator, String> {
    use LogOperator as Op;
    let headers = || -> Result<(LogHeader, Option<LogHeader>), String> {
        let argument =
            argument.ok_or_else(|| format!("operator \"%{text}%\" needs a header name"))?;
        let header = |name: &str| {
            header(name)
                .ok_or_else(|| format!("operator \"%{text}%\": no header is named \"{name}\""))
        };
        Ok(match argument.split_once('?') {
            Some((first, second)) => (header(first)?, Some(header(second)?)),
            None => (header(argument)?, None),
        })
    };
    Ok(match name {
        "START_TIME" => Op::StartTime(argument.unwrap_or("").into()),
        "EMIT_TIME" => Op::EmitTime(argument.unwrap_or("").into()),
        "COMMON_DURATION" => arguments::between(text, argument.unwrap_or(""))?,
        "QUERY_PARAMS" => Op::Query(None),
        "QUERY_PARAM" => {
            let name = argument.ok_or_else(|| format!("operator \"%{text}%\" needs a name"))?;
            Op::Query(Some(name.into()))
        }
        "PATH" => arguments::path(text, argument.unwrap_or(""))?,
        "REQUEST_HEADERS_BYTES" => Op::RequestHeadersBytes,
        "RESPONSE_HEADERS_BYTES" => Op::ResponseHeadersBytes,
        "TRACE_ID" => Op::TraceId,
        "SPAN_ID" => Op::SpanId,
        "UNIQUE_ID" => Op::UniqueId,
        // The request's id is the stream's.
        "STREAM_ID" => Op::Req(
            LogHeader::Named(HeaderName::from_static("x-request-id")),
            None,
        ),
        "ACCESS_LOG_TYPE" => Op::LogType,
        "REQ" => headers().map(|(name, other)| Op::Req(name, other))?,
        "RESP" => headers().map(|(name, other)| Op::Resp(name, other))?,
        "TRAILER" => headers().map(|(name, other)| Op::Trailer(name, other))?,
        "PROTOCOL" => Op::Protocol,
        "RESPONSE_CODE" => Op::ResponseCode,
        "RESPONSE_CODE_DETAILS" => Op::ResponseCodeDetails {
            spaced: argument.is_some(),
        },
        "CONNECTION_TERMINATION_DETAILS" => Op::ConnectionTerminationDetails,
        "RESPONSE_FLAGS" => Op::ResponseFlags,
        "RESPONSE_FLAGS_LONG" => Op::ResponseFlagsLong,
        "UPSTREAM_TRANSPORT_FAILURE_REASON" => Op::TransportFailureReason(Side::Upstream),
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON" => Op::TransportFailureReason(Side::Downstream),
        "BYTES_RETRANSMITTED" | "PACKETS_RETRANSMITTED" => Op::Retransmitted,
        "BYTES_RECEIVED" => Op::BytesReceived,
        "BYTES_SENT" => Op::BytesSent,
        "DURATION" => Op::Duration,
        "REQUEST_DURATION" => Op::RequestDuration,
        "RESPONSE_DURATION" => Op::ResponseDuration,
        "RESPONSE_TX_DURATION" => Op::ResponseTxDuration,
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => Op::UpstreamHost,
        "UPSTREAM_HOST_NAME" => Op::UpstreamHostName,
        "UPSTREAM_HOST_NAME_WITHOUT_PORT" => Op::UpstreamHostNameWithoutPort,
        "UPSTREAM_PROTOCOL" => Op::UpstreamProtocol,
        "UPSTREAM_CLUSTER" => Op::UpstreamCluster,
        "UPSTREAM_CLUSTER_RAW" => Op::UpstreamClusterRaw,
        "UPSTREAM_REQUEST_ATTEMPT_COUNT" => Op::UpstreamRequestAttemptCount,
        "REQUESTED_SERVER_NAME" => Op::RequestedServerName,
        "ROUTE_NAME" => Op::RouteName,
        "FILTER_CHAIN_NAME" => Op::FilterChainName,
        "CONNECTION_ID" => Op::ConnectionId,
        "HOSTNAME" => Op::Hostname,
        "GRPC_STATUS" => arguments::grpc_status(text, argument.unwrap_or(""))?,
        "GRPC_STATUS_NUMBER" => Op::GrpcStatus(StatusForm::Number),
        "ENVIRONMENT" => {
            let variable = argument.ok_or_else(|| format!("operator \"%{text}%\" needs a name"))?;
            Op::Environment(std::env::var(variable).unwrap_or_default().into())
        }
        "DYNAMIC_METADATA"
        | "FILTER_STATE"
        | "VIRTUAL_CLUSTER_NAME"
        | "CLUSTER_METADATA"
        | "UPSTREAM_METADATA"
        | "METADATA"
        | "UPSTREAM_FILTER_STATE"
        | "TLS_JA3_FINGERPRINT"
        | "TLS_JA4_FINGERPRINT" => Op::Absent(text.into()),
        _ => arguments::address(text, name, argument)?
            .or_else(|| arguments::tls(name, argument.unwrap_or("")))
            .ok_or_else(|| {
                let remedy = "remove it from the format";
                format!("access-log operator \"%{name}%\" is not supported; {remedy}")
            })?,
    })
}

fn header(name: &str) -> Option<LogHeader> {
    Some(match &*name.to_ascii_lowercase() {
        ":method" => LogHeader::Method,
        ":scheme" => LogHeader::Scheme,
        ":authority" => LogHeader::Authority,
        ":path" => LogHeader::Path,
        ":status" => LogHeader::Status,
        name => LogHeader::Named(HeaderName::from_bytes(name.as_bytes()).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: &str) -> Box<[LogPart]> {
        match parse_text(format).unwrap() {
            LogFormat::Text(parts) => parts,
            LogFormat::Json(..) => panic!("not a text format"),
        }
    }

    #[test]
    fn operators_with_arguments_and_lengths() {
        let parts = text("a%%b %REQ(X-A?:PATH):10% %START_TIME(%Y-%m%)%");
        let LogPart::Operator(LogOperator::Req(name, Some(other)), Some(10)) = &parts[1] else {
            panic!("{parts:?}")
        };
        let wanted = LogHeader::Named(HeaderName::from_static("x-a"));
        assert_eq!((name, other), (&wanted, &LogHeader::Path));
        assert!(matches!(&parts[0], LogPart::Text(t) if &**t == "a%b "));
        assert!(matches!(
            &parts[3],
            LogPart::Operator(LogOperator::StartTime(f), None) if &**f == "%Y-%m%"
        ));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (format, word) in [
            ("%NOPE%", "NOPE"),
            ("%REQ(%", "closing"),
            ("%REQ()%", "header name"),
            ("%RESP(a b)%", "a b"),
            ("%DURATION:x%", "no number"),
            ("%PROTOCOL(x)%", "does not take (x)"),
            ("%CUSTOM_FLAGS(x)%", "does not take (x)"),
            ("%DOWNSTREAM_REMOTE_ADDRESS(24)%", "does not take (24)"),
            ("%RESPONSE_CODE_DETAILS(ALLOW)%", "does not take (ALLOW)"),
            ("%REQUESTED_SERVER_NAME(HOST_FIRST)%", "HOST_FIRST"),
            ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(x)%", "bits"),
            ("%NOPE(x)%", "not supported"),
            ("100%", "closing"),
        ] {
            let error = parse_text(format).unwrap_err();
            assert!(error.contains(word), "{format}: {error}");
        }
    }

    #[test]
    fn objects_nest_and_say_where_they_are_wrong() {
        let format = serde_json::json!({ "a": { "b": ["%PROTOCOL%", 1, null] } });
        let LogFormat::Json(fields, false) = parse_json(&format).unwrap() else {
            panic!("not JSON")
        };
        let JsonValue::Object(inner) = &fields[0].1 else {
            panic!("{fields:?}")
        };
        let JsonValue::List(list) = &inner[0].1 else {
            panic!("{inner:?}")
        };
        assert!(matches!(&list[0], JsonValue::Format(parts) if parts.len() == 1));
        assert!(matches!(&list[2], JsonValue::Constant(text) if &**text == "null"));
        let wrong = serde_json::json!({ "a": { "b": ["%NOPE%"] } });
        let error = parse_json(&wrong).unwrap_err();
        assert!(error.starts_with("a: b: "), "{error}");
    }

    #[test]
    fn the_default_format_parses() {
        assert!(parse_text(super::super::DEFAULT_FORMAT).is_ok());
    }
}
