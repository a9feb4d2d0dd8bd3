//! HTTP/1 and HTTP/2 options of either side.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any;
use super::basic::{bool_or, timeout, u32_or};
use super::context::Cx;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result, pb};
use crate::model::{Http1Options, Http2Options};
use pb::core;
use std::time::Duration;

/// Envoy's windows where none is configured, in bytes.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 24 << 20;
/// Envoy's `max_concurrent_streams`.
const MAX_STREAMS: u32 = 1024;
/// The protocol's bound on both.
const LARGEST: u32 = (1 << 31) - 1;

/// Options, and `override_stream_error_on_invalid_http_message` where set.
pub struct Compiled<T> {
    pub options: T,
    pub stream_error: Option<bool>,
}

pub fn http1(value: core::Http1ProtocolOptions) -> Result<Compiled<Http1Options>> {
    use core::http1_protocol_options::header_key_format::HeaderFormat;
    let core::Http1ProtocolOptions {
        allow_absolute_url,
        accept_http_10,
        default_host_for_http_10,
        header_key_format,
        enable_trailers,
        allow_chunked_length,
        override_stream_error_on_invalid_http_message,
        send_fully_qualified_url,
        use_balsa_parser,
        allow_custom_methods,
        ignore_http_11_upgrade,
    } = value;
    refuse!(
        allow_chunked_length,
        send_fully_qualified_url,
        ignore_http_11_upgrade
    );
    // Which of Envoy's parsers runs; every token is accepted as a method anyway.
    harmless!(use_balsa_parser, allow_custom_methods);
    let (proper_case, preserve_case) = match header_key_format.and_then(|f| f.header_format) {
        None => (false, false),
        Some(HeaderFormat::ProperCaseWords(_)) => (true, false),
        Some(HeaderFormat::StatefulFormatter(extension)) => {
            let typed = any::open(extension.typed_config).at("header_key_format")?;
            let kind = typed.type_name();
            if !kind.contains("preserve_case") {
                return Err(Error::new(format!("{kind} is not supported"))
                    .at_field("header_key_format.stateful_formatter"));
            }
            (false, true)
        }
    };
    Ok(Compiled {
        options: Http1Options {
            accept_http_10,
            default_host_for_http_10: (!default_host_for_http_10.is_empty())
                .then(|| default_host_for_http_10.into()),
            allow_absolute_url: bool_or(allow_absolute_url, true),
            enable_trailers,
            preserve_case,
            proper_case,
        },
        stream_error: override_stream_error_on_invalid_http_message.map(|value| value.value),
    })
}

pub fn http2(value: core::Http2ProtocolOptions, cx: &mut Cx<'_>) -> Result<Compiled<Http2Options>> {
    let core::Http2ProtocolOptions {
        hpack_table_size,
        max_concurrent_streams,
        initial_stream_window_size,
        initial_connection_window_size,
        allow_connect,
        allow_metadata,
        max_outbound_frames,
        max_outbound_control_frames,
        max_consecutive_inbound_frames_with_empty_payload,
        max_inbound_priority_frames_per_stream,
        max_inbound_window_update_frames_per_data_frame_sent,
        stream_error_on_invalid_http_messaging,
        override_stream_error_on_invalid_http_message,
        custom_settings_parameters,
        connection_keepalive,
        use_oghttp2_codec,
        max_metadata_size,
        enable_huffman_encoding,
        max_header_field_size_kb,
        disallow_obs_text,
        stream_reset_burst,
        stream_reset_rate,
    } = value;
    refuse!(allow_metadata, custom_settings_parameters);
    // Which of Envoy's codecs runs, metadata's bound (there is none), and encoding choices
    // that the peer cannot observe but in bytes.
    harmless!(
        use_oghttp2_codec,
        max_metadata_size,
        enable_huffman_encoding,
        disallow_obs_text
    );
    left_out!(
        cx,
        "Http2ProtocolOptions",
        "the HTTP/2 codec has its own bounds against floods",
        hpack_table_size,
        max_outbound_frames,
        max_outbound_control_frames,
        max_consecutive_inbound_frames_with_empty_payload,
        max_inbound_priority_frames_per_stream,
        max_inbound_window_update_frames_per_data_frame_sent,
        max_header_field_size_kb,
        stream_reset_burst,
        stream_reset_rate,
    );
    let keepalive = connection_keepalive
        .map(keepalive)
        .transpose()
        .at("connection_keepalive")?;
    Ok(Compiled {
        options: Http2Options {
            max_concurrent_streams: u32_or(max_concurrent_streams, MAX_STREAMS).min(LARGEST),
            initial_stream_window: u32_or(initial_stream_window_size, STREAM_WINDOW).min(LARGEST),
            initial_connection_window: u32_or(initial_connection_window_size, CONNECTION_WINDOW)
                .min(LARGEST),
            allow_connect,
            keepalive_interval: keepalive.and_then(|(interval, _)| interval),
            keepalive_timeout: keepalive.and_then(|(_, timeout)| timeout),
        },
        stream_error: override_stream_error_on_invalid_http_message
            .map(|value| value.value)
            .or(stream_error_on_invalid_http_messaging.then_some(true)),
    })
}

fn keepalive(value: core::KeepaliveSettings) -> Result<(Option<Duration>, Option<Duration>)> {
    let core::KeepaliveSettings {
        interval,
        timeout: answer_timeout,
        interval_jitter,
        connection_idle_interval,
    } = value;
    refuse!(connection_idle_interval);
    // Spreads pings that no peer minds.
    harmless!(interval_jitter);
    Ok((
        timeout(interval, None).at("interval")?,
        timeout(answer_timeout, None).at("timeout")?,
    ))
}

/// Lower-case token of an upgrade that works: CONNECT-UDP needs HTTP datagrams.
pub fn upgrade_token(upgrade_type: &str) -> Result<Box<str>> {
    if upgrade_type.eq_ignore_ascii_case("connect-udp") {
        return Err(Error::new("CONNECT-UDP is not supported").at_field("upgrade_type"));
    }
    Ok(upgrade_type.to_ascii_lowercase().into())
}
