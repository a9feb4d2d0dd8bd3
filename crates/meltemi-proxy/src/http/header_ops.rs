//! Configured changes to headers, in Envoy's order: the most specific level first, at each
//! level removal before addition.

use super::head::Head;
use crate::model::{AddAction, AddName, HeaderOps, HeaderText, LogFormat};
use crate::telemetry::{StreamInfo, log};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::cell::RefCell;

pub(crate) fn request(ops: &HeaderOps, head: &mut Head, info: &RefCell<StreamInfo>) {
    for name in &ops.remove {
        head.headers.remove(name);
    }
    for add in &ops.add {
        let value = match &add.value {
            HeaderText::Literal(value) => value.clone(),
            HeaderText::Format(format) => {
                match HeaderValue::from_str(&request_text(format, head, info)) {
                    Ok(value) => value,
                    Err(_) => continue,
                }
            }
        };
        if value.is_empty() && !add.keep_empty {
            continue;
        }
        match &add.name {
            AddName::Authority => head.authority = value,
            AddName::Header(name) => put(&mut head.headers, name, value, add.action),
        }
    }
}

/// What a format makes of a request as it stands.
pub(crate) fn request_text(
    format: &LogFormat,
    head: &mut Head,
    info: &RefCell<StreamInfo>,
) -> String {
    head.describe(&mut info.borrow_mut().request, true);
    render(format, info, |info| {
        std::mem::swap(&mut info.request.headers, &mut head.headers);
    })
}

pub(crate) fn response(ops: &HeaderOps, headers: &mut HeaderMap, info: &RefCell<StreamInfo>) {
    change(ops, headers, |format, headers| {
        render(format, info, |info| {
            std::mem::swap(&mut info.response_headers, headers);
        })
    });
}

/// What formats read of the request was told the record before.
pub(crate) fn request_trailers(
    ops: &HeaderOps,
    trailers: &mut HeaderMap,
    info: &RefCell<StreamInfo>,
) {
    change(ops, trailers, |format, _| render(format, info, |_| {}));
}

/// What formats read of both heads was told the record before.
pub(crate) fn response_trailers(
    ops: &HeaderOps,
    trailers: &mut HeaderMap,
    info: &RefCell<StreamInfo>,
) {
    change(ops, trailers, |format, trailers| {
        render(format, info, |info| {
            let place = info.response_trailers.get_or_insert_default();
            std::mem::swap(&mut **place, trailers);
        })
    });
}

fn change(
    ops: &HeaderOps,
    headers: &mut HeaderMap,
    mut render: impl FnMut(&LogFormat, &mut HeaderMap) -> String,
) {
    for name in &ops.remove {
        headers.remove(name);
    }
    for add in &ops.add {
        let AddName::Header(name) = &add.name else {
            continue;
        };
        let value = match &add.value {
            HeaderText::Literal(value) => value.clone(),
            HeaderText::Format(format) => match HeaderValue::from_str(&render(format, headers)) {
                Ok(value) => value,
                Err(_) => continue,
            },
        };
        if value.is_empty() && !add.keep_empty {
            continue;
        }
        put(headers, name, value, add.action);
    }
}

/// Whether values depend on the exchange, and so on the request's headers.
pub(crate) fn has_formats(ops: &HeaderOps) -> bool {
    ops.add
        .iter()
        .any(|add| matches!(add.value, HeaderText::Format(_)))
}

/// Renders with the current headers lent to the record: no copy is made.
fn render(
    format: &LogFormat,
    info: &RefCell<StreamInfo>,
    mut swap: impl FnMut(&mut StreamInfo),
) -> String {
    let mut info = info.borrow_mut();
    swap(&mut info);
    let text = log::header_value(format, &info);
    swap(&mut info);
    text
}

fn put(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue, action: AddAction) {
    match action {
        AddAction::AppendIfExistsOrAdd => {
            headers.append(name.clone(), value);
        }
        AddAction::AddIfAbsent => {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value);
            }
        }
        AddAction::OverwriteIfExistsOrAdd => {
            headers.insert(name.clone(), value);
        }
        AddAction::OverwriteIfExists => {
            if headers.contains_key(name) {
                headers.insert(name.clone(), value);
            }
        }
    }
}
