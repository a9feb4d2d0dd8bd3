//! Parameters of a request's query. Those that nothing is said of stay as they were written, and
//! where they stood.

use crate::compile::pb::{core, wkt};
use crate::compile::{At, Error, Result};
use crate::http::head::Head;
use crate::http::header_ops;
use crate::model::{AddAction, LogFormat};
use crate::telemetry::{StreamInfo, log};
use core::key_value_append::KeyValueAppendAction as Proto;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::cell::RefCell;

/// What Envoy escapes.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// A change of one parameter; names and values as they are decoded.
pub(super) enum Parameter {
    Remove(Box<str>),
    Put {
        name: Box<str>,
        value: Value,
        action: AddAction,
    },
}

pub(super) enum Value {
    Literal(Box<str>),
    Format(LogFormat),
}

pub(super) fn compile(value: core::KeyValueMutation) -> Result<Parameter> {
    let core::KeyValueMutation { append, remove } = value;
    match append {
        None if remove.is_empty() => Err(Error::new("is empty")),
        None => Ok(Parameter::Remove(remove.into())),
        Some(_) if !remove.is_empty() => {
            Err(Error::new("does not go with append").at_field("remove"))
        }
        Some(append) => put(append).at("append"),
    }
}

#[expect(deprecated, reason = "it is refused")]
fn put(value: core::KeyValueAppend) -> Result<Parameter> {
    use wkt::value::Kind;
    let action = match value.action() {
        Proto::AppendIfExistsOrAdd => AddAction::AppendIfExistsOrAdd,
        Proto::AddIfAbsent => AddAction::AddIfAbsent,
        Proto::OverwriteIfExistsOrAdd => AddAction::OverwriteIfExistsOrAdd,
        Proto::OverwriteIfExists => AddAction::OverwriteIfExists,
    };
    let core::KeyValueAppend {
        record,
        entry,
        action: _,
    } = value;
    if entry.is_some() {
        return Err(Error::unsupported("entry"));
    }
    let core::KeyValuePair { key, value } = record.ok_or_else(|| Error::missing("record"))?;
    if key.is_empty() {
        return Err(Error::missing("record.key"));
    }
    let Some(Kind::StringValue(text)) = value.and_then(|value| value.kind) else {
        return Err(Error::new("must be a string").at_field("record.value"));
    };
    let value = match text.contains('%') {
        true => {
            let format = log::parse_text(&text).map_err(Error::new);
            Value::Format(format.at("record.value")?)
        }
        false => Value::Literal(text.into()),
    };
    Ok(Parameter::Put {
        name: key.into(),
        value,
        action,
    })
}

pub(super) fn change(changes: &[Parameter], head: &mut Head, info: &RefCell<StreamInfo>) {
    if changes.is_empty() || !head.path.as_str().starts_with('/') {
        return;
    }
    let query = head.path.query().filter(|query| !query.is_empty());
    let query = query.into_iter().flat_map(|query| query.split('&'));
    let mut parameters: Vec<String> = query.map(str::to_owned).collect();
    for change in changes {
        match change {
            Parameter::Remove(name) => parameters.retain(|parameter| !is(parameter, name)),
            Parameter::Put {
                name,
                value,
                action,
            } => {
                let first = parameters.iter().position(|parameter| is(parameter, name));
                let (overwrites, adds) = match action {
                    AddAction::AppendIfExistsOrAdd => (false, true),
                    AddAction::AddIfAbsent => (false, first.is_none()),
                    AddAction::OverwriteIfExistsOrAdd => (true, true),
                    AddAction::OverwriteIfExists => (true, false),
                };
                if !adds && (!overwrites || first.is_none()) {
                    continue;
                }
                let value = match value {
                    Value::Literal(text) => utf8_percent_encode(text, ESCAPED).to_string(),
                    Value::Format(format) => {
                        let text = header_ops::request_text(format, head, info);
                        utf8_percent_encode(&text, ESCAPED).to_string()
                    }
                };
                let fresh = format!("{}={value}", utf8_percent_encode(name, ESCAPED));
                match first.filter(|_| overwrites) {
                    None => parameters.push(fresh),
                    Some(first) => {
                        parameters[first] = fresh;
                        let mut index = 0;
                        parameters.retain(|parameter| {
                            index += 1;
                            index <= first + 1 || !is(parameter, name)
                        });
                    }
                }
            }
        }
    }
    let path = head.path.path();
    let fresh = match parameters.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", parameters.join("&")),
    };
    // It is made of what was a path, and of escapes.
    if let Ok(fresh) = PathAndQuery::try_from(fresh) {
        head.path = fresh;
    }
}

/// Whether a parameter, as it is written, has this name.
fn is(parameter: &str, name: &str) -> bool {
    let written = parameter.split('=').next().unwrap_or(parameter);
    written == name || percent_decode_str(written).eq(name.bytes())
}
