//! Header additions and removals.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::matching::header_name;
use super::pb::core;
use super::{At, Error, Result};
use crate::model::{AddAction, AddName, HeaderAdd, HeaderOps, HeaderText};
use http::HeaderValue;
use std::sync::Arc;

/// `field` is `request_headers` or `response_headers`, for messages.
pub fn operations(
    add: Vec<core::HeaderValueOption>,
    remove: Vec<String>,
    field: &str,
) -> Result<HeaderOps> {
    Ok(HeaderOps {
        remove: remove
            .into_iter()
            .enumerate()
            .map(|(index, name)| removable(&name).nth(&format!("{field}_to_remove"), index))
            .collect::<Result<_>>()?,
        add: add
            .into_iter()
            .enumerate()
            .map(|(index, value)| addition(value).nth(&format!("{field}_to_add"), index))
            .collect::<Result<_>>()?,
    })
}

/// The removal of one header.
pub fn removal(name: &str) -> Result<HeaderOps> {
    Ok(HeaderOps {
        remove: Box::new([removable(name)?]),
        ..HeaderOps::default()
    })
}

/// The addition of one header.
pub fn put(value: core::HeaderValueOption) -> Result<HeaderOps> {
    Ok(HeaderOps {
        add: Box::new([addition(value)?]),
        ..HeaderOps::default()
    })
}

fn removable(name: &str) -> Result<http::HeaderName> {
    if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        return Err(Error::new(format!("{name:?} may not be removed")));
    }
    header_name(name)
}

fn addition(value: core::HeaderValueOption) -> Result<HeaderAdd> {
    use core::header_value_option::HeaderAppendAction;
    let action = value.append_action();
    let core::HeaderValueOption {
        header,
        append,
        append_action: _,
        keep_empty_value,
    } = value;
    let core::HeaderValue {
        key,
        value,
        raw_value,
    } = header.ok_or_else(|| Error::missing("header"))?;
    // The deprecated `append` counts when it is set, as in Envoy.
    let action = match append {
        Some(append) if append.value => AddAction::AppendIfExistsOrAdd,
        Some(_) => AddAction::OverwriteIfExistsOrAdd,
        None => match action {
            HeaderAppendAction::AppendIfExistsOrAdd => AddAction::AppendIfExistsOrAdd,
            HeaderAppendAction::AddIfAbsent => AddAction::AddIfAbsent,
            HeaderAppendAction::OverwriteIfExistsOrAdd => AddAction::OverwriteIfExistsOrAdd,
            HeaderAppendAction::OverwriteIfExists => AddAction::OverwriteIfExists,
        },
    };
    let name = match key.to_ascii_lowercase().as_str() {
        ":authority" | "host" => AddName::Authority,
        name if name.starts_with(':') => {
            return Err(Error::new(format!("{name:?} may not be set")).at_field("header.key"));
        }
        name => AddName::Header(header_name(name).at("header.key")?),
    };
    let text = if raw_value.is_empty() {
        value
    } else {
        String::from_utf8(raw_value)
            .map_err(|_| Error::new("is not UTF-8"))
            .at("header.raw_value")?
    };
    Ok(HeaderAdd {
        name,
        value: text_value(&text).at("header.value")?,
        action,
        keep_empty: keep_empty_value,
    })
}

/// A literal, or a format when it holds operators.
pub fn text_value(text: &str) -> Result<HeaderText> {
    if text.contains('%') {
        let format = crate::telemetry::log::parse_text(text).map_err(Error::new)?;
        return Ok(HeaderText::Format(Arc::new(format)));
    }
    HeaderValue::from_str(text)
        .map(HeaderText::Literal)
        .map_err(|_| Error::new(format!("{text:?} is not a header value")))
}
