//! Fields of Kubernetes' kinds that nobody knows. k8s-openapi drops them when it reads an
//! object, so what was written is compared with what was read.

use serde_json::Value;

use crate::{FieldPath, Object};

/// A field that the kind does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// Where.
    pub path: FieldPath,
    /// Its name.
    pub name: String,
    /// Names in its place that were read.
    pub known: Vec<String>,
}

/// The fields of `value` that are missing from `object`, which was decoded from it. Only for
/// Kubernetes' kinds: the other types refuse unknown fields themselves.
pub fn unknown_fields(value: &Value, object: &Object) -> Vec<UnknownField> {
    let mut out = Vec::new();
    if object.meta.kind.is_kubernetes() && object.meta.kind.support() == crate::Support::Honoured {
        walk(value, &object.to_value(), &FieldPath::root(), &mut out);
    }
    out
}

fn walk(written: &Value, read: &Value, path: &FieldPath, out: &mut Vec<UnknownField>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (name, child) in written {
                let at = path.field(name);
                match read.get(name) {
                    Some(other) => walk(child, other, &at, out),
                    None if vanishes(child) => {}
                    None => out.push(UnknownField {
                        path: at,
                        name: name.clone(),
                        known: super::tables::siblings(path),
                    }),
                }
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            for (index, (a, b)) in written.iter().zip(read).enumerate() {
                walk(a, b, &path.index(index), out);
            }
        }
        // A number for a quantity or a text for an int-or-string reads as another scalar.
        _ => {}
    }
}

/// Values that are not written back because they say nothing.
fn vanishes(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(vanishes),
        _ => false,
    }
}
