//! From Envoy's messages to the filter.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::{Compressor, Direction, Etag, RouteCompressor};
use crate::compile::basic::{runtime_flag, u32_or};
use crate::compile::pb::filters::http::compressor::v3 as proto;
use crate::compile::{At, Error, Result as Compiled, refuse};
use crate::http::filters::coding::Encoding;
use http::StatusCode;

/// Envoy's `content_type` and `min_content_length` where none are configured.
const CONTENT_TYPES: &[&str] = &[
    "text/html",
    "text/plain",
    "text/css",
    "application/javascript",
    "application/x-javascript",
    "text/javascript",
    "text/x-javascript",
    "text/ecmascript",
    "text/js",
    "text/jscript",
    "text/x-js",
    "application/ecmascript",
    "application/x-json",
    "application/xml",
    "application/json",
    "image/svg+xml",
    "text/xml",
    "application/xhtml+xml",
];
const MIN_LENGTH: u32 = 30;

pub(super) fn filter(value: proto::Compressor) -> Compiled<Compressor> {
    use proto::compressor::{
        CommonDirectionConfig, RequestDirectionConfig, ResponseDirectionConfig,
    };
    let proto::Compressor {
        content_length,
        content_type,
        disable_on_etag_header,
        remove_accept_encoding_header,
        runtime_enabled,
        compressor_library,
        request_direction_config,
        response_direction_config,
        choose_first,
    } = value;
    refuse!(choose_first);
    let encoding = compressor_library
        .ok_or_else(|| Error::new("is required"))
        .and_then(Encoding::compile)
        .at("compressor_library")?;
    // The fields outside of it are those of older versions, and count without it only.
    let direction = response_direction_config.unwrap_or_else(|| ResponseDirectionConfig {
        common_config: Some(CommonDirectionConfig {
            enabled: runtime_enabled,
            min_content_length: content_length,
            content_type,
            content_type_matcher: Vec::new(),
        }),
        disable_on_etag_header,
        remove_accept_encoding_header,
        ..ResponseDirectionConfig::default()
    });
    let requests = request_direction_config
        .map(|RequestDirectionConfig { common_config }| messages(common_config))
        .transpose()
        .at("request_direction_config")?;
    let filter = answers(direction, encoding).at("response_direction_config")?;
    Ok(Compressor { requests, ..filter })
}

fn answers(
    value: proto::compressor::ResponseDirectionConfig,
    encoding: Encoding,
) -> Compiled<Compressor> {
    use proto::compressor::ResponseDirectionConfig;
    let ResponseDirectionConfig {
        common_config,
        disable_on_etag_header,
        weaken_etag_on_compress,
        remove_accept_encoding_header,
        uncompressible_response_codes,
        status_header_enabled,
    } = value;
    refuse!(status_header_enabled);
    let status = |code: u32| {
        u16::try_from(code)
            .ok()
            .and_then(|c| StatusCode::from_u16(c).ok())
    };
    Ok(Compressor {
        encoding,
        requests: None,
        answers: messages(common_config)?,
        etag: match (disable_on_etag_header, weaken_etag_on_compress) {
            (true, _) => Etag::Keep,
            (false, true) => Etag::Weaken,
            (false, false) => Etag::Remove,
        },
        remove_accept_encoding: remove_accept_encoding_header,
        uncompressible: uncompressible_response_codes
            .into_iter()
            .map(|code| status(code).ok_or_else(|| Error::new(format!("{code} is no status"))))
            .collect::<Compiled<_>>()
            .at("uncompressible_response_codes")?,
    })
}

fn messages(value: Option<proto::compressor::CommonDirectionConfig>) -> Compiled<Direction> {
    let proto::compressor::CommonDirectionConfig {
        enabled,
        min_content_length,
        content_type,
        content_type_matcher,
    } = value.unwrap_or_default();
    refuse!(content_type_matcher);
    Ok(Direction {
        enabled: runtime_flag(enabled),
        min_length: u32_or(min_content_length, MIN_LENGTH),
        content_types: match content_type.is_empty() {
            true => CONTENT_TYPES.iter().map(|name| (*name).into()).collect(),
            false => content_type.into_iter().map(Into::into).collect(),
        },
    })
}

pub(super) fn route(value: proto::CompressorPerRoute) -> Compiled<RouteCompressor> {
    use proto::compressor_per_route::Override;
    let proto::CompressorPerRoute { r#override } = value;
    match r#override {
        Some(Override::Disabled(true)) => Ok(RouteCompressor::Disabled),
        Some(Override::Disabled(false)) | None => Err(Error::missing("overrides")),
        Some(Override::Overrides(proto::CompressorOverrides {
            response_direction_config,
            compressor_library,
        })) => {
            let encoding = compressor_library.map(Encoding::compile).transpose();
            let remove = response_direction_config.and_then(|direction| {
                let proto::ResponseDirectionOverrides {
                    remove_accept_encoding_header,
                } = direction;
                remove_accept_encoding_header
            });
            Ok(RouteCompressor::Own(
                encoding.at("overrides.compressor_library")?,
                remove.map(|value| value.value),
            ))
        }
    }
}
