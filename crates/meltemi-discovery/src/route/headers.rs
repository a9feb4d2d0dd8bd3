//! Header operations.

use meltemi_api::networking::{HeaderOperations, Headers};

use crate::pb::core;

/// What is added, set and removed.
#[derive(Debug, Default)]
pub struct Operations {
    pub add: Vec<core::HeaderValueOption>,
    pub remove: Vec<String>,
    /// A new value of `Host`, which is not a header but part of the routing.
    pub authority: Option<String>,
}

pub fn request(headers: Option<&Headers>) -> Operations {
    operations(headers.and_then(|headers| headers.request.as_ref()), true)
}

pub fn response(headers: Option<&Headers>) -> Operations {
    operations(headers.and_then(|headers| headers.response.as_ref()), false)
}

fn operations(operations: Option<&HeaderOperations>, request: bool) -> Operations {
    let Some(operations) = operations else {
        return Operations::default();
    };
    let is_authority =
        |name: &str| request && (name.eq_ignore_ascii_case("host") || name == ":authority");
    let mut result = Operations {
        remove: operations.remove.clone(),
        ..Default::default()
    };
    for (name, value) in &operations.set {
        if is_authority(name) {
            result.authority = Some(value.clone());
        } else {
            let action = core::header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd;
            result.add.push(option(name, value, action));
        }
    }
    for (name, value) in &operations.add {
        if is_authority(name) {
            result.authority = Some(value.clone());
        } else {
            let action = core::header_value_option::HeaderAppendAction::AppendIfExistsOrAdd;
            result.add.push(option(name, value, action));
        }
    }
    result
}

fn option(
    name: &str,
    value: &str,
    action: core::header_value_option::HeaderAppendAction,
) -> core::HeaderValueOption {
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: action as i32,
        ..Default::default()
    }
}
