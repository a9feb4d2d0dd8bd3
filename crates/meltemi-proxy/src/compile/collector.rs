//! Services that take telemetry: `GrpcService` and `HttpService`.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::timeout;
use super::context::Cx;
use super::matching::header_name;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result, pb};
use crate::model::{Collector, LogFormat, LogOperator, LogPart};
use crate::telemetry::log::parse_text;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use pb::core;

/// A gRPC method of a cluster. `path`: `/package.Service/Method`.
pub fn grpc(value: core::GrpcService, path: &'static str, cx: &mut Cx<'_>) -> Result<Collector> {
    use core::grpc_service::TargetSpecifier;
    let core::GrpcService {
        timeout: limit,
        initial_metadata,
        retry_policy,
        target_specifier,
    } = value;
    left_out!(
        cx,
        "GrpcService",
        "batches of telemetry are sent once",
        retry_policy
    );
    let core::grpc_service::EnvoyGrpc {
        cluster_name,
        authority,
        retry_policy,
        max_receive_message_length,
        skip_envoy_headers,
    } = match target_specifier {
        Some(TargetSpecifier::EnvoyGrpc(service)) => service,
        Some(TargetSpecifier::GoogleGrpc(_)) => return Err(Error::unsupported("google_grpc")),
        None => return Err(Error::missing("envoy_grpc")),
    };
    left_out!(
        cx,
        "GrpcService.envoy_grpc",
        "batches of telemetry are sent once",
        retry_policy
    );
    // Answers are short and bounded; Envoy's own headers are never sent.
    harmless!(max_receive_message_length, skip_envoy_headers);
    let mut headers = HeaderMap::new();
    for (index, header) in initial_metadata.into_iter().enumerate() {
        add(&mut headers, header).nth("initial_metadata", index)?;
    }
    let host = if authority.is_empty() {
        &cluster_name
    } else {
        &authority
    };
    Ok(Collector {
        authority: authority_value(host).at("envoy_grpc.authority")?,
        cluster: cluster(&cluster_name, cx).at("envoy_grpc.cluster_name")?,
        cluster_name: cluster_name.into(),
        grpc: true,
        path: PathAndQuery::from_static(path),
        headers,
        timeout: timeout(limit, None).at("timeout")?,
    })
}

/// A path of a cluster.
pub fn http(value: core::HttpService, cx: &mut Cx<'_>) -> Result<Collector> {
    let core::HttpService {
        http_uri,
        request_headers_to_add,
        formatters,
    } = value;
    refuse!(formatters);
    let core::HttpUri {
        uri,
        timeout: limit,
        http_upstream_type,
    } = http_uri.ok_or_else(|| Error::missing("http_uri"))?;
    let core::http_uri::HttpUpstreamType::Cluster(name) =
        http_upstream_type.ok_or_else(|| Error::missing("http_uri.cluster"))?;
    let mut headers = HeaderMap::new();
    for (index, option) in request_headers_to_add.into_iter().enumerate() {
        let core::HeaderValueOption {
            header,
            append: _,
            append_action: _,
            keep_empty_value: _,
        } = option;
        let header = header.ok_or_else(|| Error::missing("header"));
        header
            .and_then(|header| add(&mut headers, header))
            .nth("request_headers_to_add", index)?;
    }
    let (host, path) = split(&uri);
    Ok(Collector {
        authority: authority_value(host).at("http_uri.uri")?,
        path: path_value(path).at("http_uri.uri")?,
        cluster: cluster(&name, cx).at("http_uri.cluster")?,
        cluster_name: name.into(),
        grpc: false,
        headers,
        timeout: timeout(limit, None).at("http_uri.timeout")?,
    })
}

/// A path of a cluster, each by itself.
pub fn plain(
    name: &str,
    host: &str,
    path: &str,
    limit: std::time::Duration,
    cx: &mut Cx<'_>,
) -> Result<Collector> {
    Ok(Collector {
        authority: authority_value(if host.is_empty() { name } else { host })?,
        path: path_value(path)?,
        cluster: cluster(name, cx)?,
        cluster_name: name.into(),
        grpc: false,
        headers: HeaderMap::new(),
        timeout: Some(limit),
    })
}

fn cluster(name: &str, cx: &mut Cx<'_>) -> Result<crate::model::ClusterId> {
    match name {
        "" => Err(Error::new("is empty: name a cluster")),
        name => Ok(cx.names.cluster(name)),
    }
}

fn authority_value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::new(format!("{text:?} is not a host")))
}

fn path_value(text: &str) -> Result<PathAndQuery> {
    PathAndQuery::try_from(text).map_err(|_| Error::new(format!("{text:?} is not a path")))
}

/// Host and path of a URI, whose scheme may be missing.
fn split(uri: &str) -> (&str, &str) {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

/// There is no request that values could speak of.
fn add(headers: &mut HeaderMap, value: core::HeaderValue) -> Result<()> {
    let core::HeaderValue {
        key,
        value,
        raw_value,
    } = value;
    let text = match raw_value.is_empty() {
        true => value,
        false => String::from_utf8(raw_value).map_err(|_| Error::new("is not UTF-8"))?,
    };
    let text = match text.contains('%') {
        true => constant(&text).at("value")?,
        false => text,
    };
    let value = HeaderValue::from_str(&text)
        .map_err(|_| Error::new("is not a header value").at_field("value"))?;
    headers.insert(header_name(&key).at("key")?, value);
    Ok(())
}

/// A format without operators that need a request.
fn constant(text: &str) -> Result<String> {
    let LogFormat::Text(parts) = parse_text(text).map_err(Error::new)? else {
        return Err(Error::new("is not a text"));
    };
    parts
        .iter()
        .map(|part| match part {
            LogPart::Text(text) => Ok(&**text),
            LogPart::Operator(LogOperator::Environment(value), None) => Ok(&**value),
            LogPart::Operator(..) => Err(Error::new(
                "has an operator about requests, of which there is none: remove it",
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_with_and_without_a_scheme_are_split() {
        assert_eq!(split("http://a:1/b/c"), ("a:1", "/b/c"));
        assert_eq!(split("a/b"), ("a", "/b"));
        assert_eq!(split("https://a"), ("a", "/"));
    }

    #[test]
    fn header_values_are_constant() {
        assert_eq!(constant("100%%").unwrap(), "100%");
        assert_eq!(constant("x%ENVIRONMENT(NOT_SET_AT_ALL)%").unwrap(), "x");
        let error = constant("%REQ(A)%").unwrap_err();
        assert!(error.to_string().contains("remove it"), "{error}");
    }
}
