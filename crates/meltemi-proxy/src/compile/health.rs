//! Active health checks.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::assignment::criteria;
use super::basic::{bool_or, duration, duration_or, u32_or};
use super::context::Cx;
use super::headers;
use super::pb::{core as proto, types, wkt};
use super::presence::{left_out, refuse};
use super::{At, Error, Result};
use crate::model::{
    AddName, CheckIntervals, HeaderOps, HeaderText, HealthCheck, HealthProbe, HttpProbe,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use proto::health_check as nested;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Envoy's pause while a cluster is not used.
const NO_TRAFFIC: Duration = Duration::from_secs(60);

/// Bytes of an answer that Envoy looks at.
const LOOKED_AT: u64 = 1024;

/// Envoy's clusters have one health check at most, too.
pub fn checks(values: Vec<proto::HealthCheck>, cx: &mut Cx<'_>) -> Result<Option<HealthCheck>> {
    if values.len() > 1 {
        return Err(Error::new("more than one is not possible"));
    }
    values
        .into_iter()
        .next()
        .map(|value| check(value, cx))
        .transpose()
}

fn check(value: proto::HealthCheck, cx: &mut Cx<'_>) -> Result<HealthCheck> {
    let proto::HealthCheck {
        timeout,
        interval,
        initial_jitter,
        interval_jitter,
        interval_jitter_percent,
        unhealthy_threshold,
        healthy_threshold,
        alt_port,
        reuse_connection,
        no_traffic_interval,
        no_traffic_healthy_interval,
        unhealthy_interval,
        unhealthy_edge_interval,
        healthy_edge_interval,
        event_log_path,
        event_logger,
        event_service,
        always_log_health_check_failures,
        always_log_health_check_success,
        tls_options,
        transport_socket_match_criteria,
        health_checker,
    } = value;
    refuse!(tls_options);
    left_out!(
        cx,
        "HealthCheck",
        "changes of health are in the proxy's own log",
        event_log_path,
        event_logger,
        event_service,
        always_log_health_check_failures,
        always_log_health_check_success,
    );
    let steady = positive(interval).at("interval")?;
    let or = |value: Option<wkt::Duration>, default| duration_or(value, default);
    let unhealthy = or(unhealthy_interval, steady).at("unhealthy_interval")?;
    let no_traffic = or(no_traffic_interval, NO_TRAFFIC).at("no_traffic_interval")?;
    Ok(HealthCheck {
        probe: probe(health_checker.ok_or_else(|| Error::missing("health_checker"))?)?,
        timeout: positive(timeout).at("timeout")?,
        unhealthy_threshold: threshold(unhealthy_threshold).at("unhealthy_threshold")?,
        healthy_threshold: threshold(healthy_threshold).at("healthy_threshold")?,
        intervals: CheckIntervals {
            steady,
            no_traffic,
            no_traffic_healthy: or(no_traffic_healthy_interval, no_traffic)
                .at("no_traffic_healthy_interval")?,
            unhealthy,
            unhealthy_edge: or(unhealthy_edge_interval, unhealthy).at("unhealthy_edge_interval")?,
            healthy_edge: or(healthy_edge_interval, steady).at("healthy_edge_interval")?,
            initial_jitter: or(initial_jitter, Duration::ZERO).at("initial_jitter")?,
            jitter: or(interval_jitter, Duration::ZERO).at("interval_jitter")?,
            jitter_percent: interval_jitter_percent,
        },
        reuse_connection: bool_or(reuse_connection, true),
        alt_port: alt_port
            .map(|port| u16::try_from(port.value))
            .transpose()
            .map_err(|_| Error::new("is above 65535").at_field("alt_port"))?
            .filter(|port| *port > 0),
        transport_criteria: transport_socket_match_criteria.map(criteria),
    })
}

fn positive(value: Option<wkt::Duration>) -> Result<Duration> {
    let value = duration(value.ok_or_else(|| Error::new("is required"))?)?;
    if value.is_zero() {
        return Err(Error::new("must be above 0"));
    }
    Ok(value)
}

fn threshold(value: Option<wkt::UInt32Value>) -> Result<u32> {
    let value = value.ok_or_else(|| Error::new("is required"))?;
    Ok(u32_or(Some(value), 1).max(1))
}

fn probe(value: nested::HealthChecker) -> Result<HealthProbe> {
    match value {
        nested::HealthChecker::HttpHealthCheck(value) => {
            http(value).map(HealthProbe::Http).at("http_health_check")
        }
        nested::HealthChecker::TcpHealthCheck(value) => tcp(value).at("tcp_health_check"),
        nested::HealthChecker::GrpcHealthCheck(value) => grpc(value).at("grpc_health_check"),
        nested::HealthChecker::CustomHealthCheck(_) => {
            Err(Error::unsupported("custom_health_check"))
        }
    }
}

fn http(value: nested::HttpHealthCheck) -> Result<HttpProbe> {
    let codec = value.codec_client_type();
    let method = value.method();
    let nested::HttpHealthCheck {
        host,
        path,
        send,
        receive,
        response_buffer_size,
        request_headers_to_add,
        request_headers_to_remove,
        expected_statuses,
        retriable_statuses,
        codec_client_type: _,
        service_name_matcher,
        method: _,
    } = value;
    refuse!(service_name_matcher);
    let without_content = matches!(
        method,
        proto::RequestMethod::MethodUnspecified
            | proto::RequestMethod::Get
            | proto::RequestMethod::Head
            | proto::RequestMethod::Delete
            | proto::RequestMethod::Trace
    );
    if send.is_some() && without_content {
        return Err(
            Error::new("needs a method with content: POST, PUT, PATCH or OPTIONS").at_field("send"),
        );
    }
    let receive = payloads(receive)?;
    // 0: no bound in Envoy, ours here.
    let looked_at = match response_buffer_size.map_or(LOOKED_AT, |value| value.value) {
        0 => usize::MAX,
        size => usize::try_from(size).unwrap_or(usize::MAX),
    };
    if receive.iter().map(Bytes::len).sum::<usize>() > looked_at {
        return Err(Error::new("is longer than response_buffer_size").at_field("receive"));
    }
    let HeaderOps { add, remove } = headers::operations(
        request_headers_to_add,
        request_headers_to_remove,
        "request_headers",
    )?;
    if path.is_empty() {
        return Err(Error::missing("path"));
    }
    let expected = statuses(expected_statuses).at("expected_statuses")?;
    Ok(HttpProbe {
        method: match method {
            proto::RequestMethod::MethodUnspecified | proto::RequestMethod::Get => Method::GET,
            other => other
                .as_str_name()
                .parse()
                .map_err(|_| Error::new("is not known").at_field("method"))?,
        },
        path: path
            .parse()
            .map_err(|_| Error::new(format!("{path:?} is no path")).at_field("path"))?,
        host: optional(&host).at("host")?,
        add: literals(add)?,
        remove: remove.into_iter().collect(),
        expected: if expected.is_empty() {
            vec![200..=200]
        } else {
            expected
        },
        retriable: statuses(retriable_statuses).at("retriable_statuses")?,
        send: send.map(payload).transpose().at("send")?,
        receive,
        looked_at,
        http2: match codec {
            types::CodecClientType::Http1 => false,
            types::CodecClientType::Http2 => true,
            types::CodecClientType::Http3 => {
                return Err(Error::new("HTTP3 is not supported").at_field("codec_client_type"));
            }
        },
    })
}

/// Half-open ranges, as Envoy has them.
fn statuses(values: Vec<types::Int64Range>) -> Result<Vec<RangeInclusive<u16>>> {
    values
        .into_iter()
        .map(|types::Int64Range { start, end }| {
            if !(100..600).contains(&start) || end <= start || end > 600 {
                return Err(Error::new(format!(
                    "{start} to {end} is no range of HTTP statuses (start within 100 to 599, end above it)"
                )));
            }
            Ok(start as u16..=(end - 1) as u16)
        })
        .collect()
}

fn tcp(value: nested::TcpHealthCheck) -> Result<HealthProbe> {
    let nested::TcpHealthCheck {
        send,
        receive,
        proxy_protocol_config,
    } = value;
    refuse!(proxy_protocol_config);
    Ok(HealthProbe::Tcp {
        send: send.map(payload).transpose().at("send")?,
        receive: payloads(receive)?,
    })
}

fn payloads(values: Vec<nested::Payload>) -> Result<Vec<Bytes>> {
    let values = values.into_iter().enumerate();
    values
        .map(|(index, value)| payload(value).nth("receive", index))
        .collect()
}

/// Text is hexadecimal.
fn payload(value: nested::Payload) -> Result<Bytes> {
    match value.payload {
        Some(nested::payload::Payload::Binary(bytes)) => Ok(bytes.into()),
        Some(nested::payload::Payload::Text(text)) => hex(&text)
            .map(Into::into)
            .ok_or_else(|| Error::new(format!("{text:?} is not hexadecimal")).at_field("text")),
        None => Err(Error::new("is empty")),
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| match pair {
            [high, low] => {
                let digit = |byte: &u8| (*byte as char).to_digit(16);
                Some((digit(high)? * 16 + digit(low)?) as u8)
            }
            _ => None,
        })
        .collect()
}

fn grpc(value: nested::GrpcHealthCheck) -> Result<HealthProbe> {
    let nested::GrpcHealthCheck {
        service_name,
        authority,
        initial_metadata,
    } = value;
    let HeaderOps { add, .. } = headers::operations(initial_metadata, Vec::new(), "metadata")?;
    Ok(HealthProbe::Grpc {
        service: service_name.into(),
        authority: optional(&authority).at("authority")?,
        metadata: literals(add)?,
    })
}

fn optional(text: &str) -> Result<Option<HeaderValue>> {
    (!text.is_empty())
        .then(|| HeaderValue::from_str(text))
        .transpose()
        .map_err(|_| Error::new(format!("{text:?} is no host")))
}

/// There is no request that values could be formatted of.
fn literals(
    adds: impl IntoIterator<Item = crate::model::HeaderAdd>,
) -> Result<Vec<(HeaderName, HeaderValue)>> {
    adds.into_iter()
        .map(|add| match (add.name, add.value) {
            (AddName::Header(name), HeaderText::Literal(value)) => Ok((name, value)),
            (AddName::Authority, _) => {
                Err(Error::new("the host is set by `host`, not by a header"))
            }
            (AddName::Header(name), _) => Err(Error::new(format!(
                "{name}: only a literal value is supported here"
            ))),
        })
        .collect()
}
