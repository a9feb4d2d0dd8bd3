//! Which fields are honoured. A field that is accepted but not in its kind's table is
//! reported, so that nothing a user writes is swallowed.
//!
//! The tables are plain data: paths without indices, `[]` for the elements of a list, `{}` for
//! the values of a map. A path honours everything below it unless a longer path of the same
//! table's `except` list names a part of it.

mod tables;
mod unknown;

pub use unknown::{UnknownField, unknown_fields};

use serde_json::Value;

use crate::{FieldPath, Kind, Severity};

/// A field that is accepted but has no effect yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHonoured {
    /// Where.
    pub path: FieldPath,
    /// Notice, or info when it is of no consequence here.
    pub severity: Severity,
}

/// One kind's table.
pub(crate) struct Table {
    /// Honoured, with everything below.
    pub honoured: &'static [&'static str],
    /// Not honoured, though below an honoured path.
    pub except: &'static [&'static str],
    /// Not honoured and of no consequence on one machine.
    pub harmless: &'static [&'static str],
}

/// The fields of `value` that its kind's table does not honour, outermost only.
pub fn not_honoured(value: &Value, kind: Kind) -> Vec<NotHonoured> {
    let mut out = Vec::new();
    if let Some(table) = tables::of(kind) {
        walk(value, &FieldPath::root(), "", table, &mut out);
    }
    out
}

fn walk(value: &Value, path: &FieldPath, pattern: &str, table: &Table, out: &mut Vec<NotHonoured>) {
    let severity = match verdict(pattern, table) {
        Verdict::Honoured => return,
        Verdict::Inside => None,
        Verdict::Harmless => Some(Severity::Info),
        Verdict::NotHonoured => Some(Severity::Notice),
    };
    if let Some(severity) = severity {
        if !is_empty(value) {
            out.push(NotHonoured {
                path: path.clone(),
                severity,
            });
        }
        return;
    }
    match value {
        Value::Object(map) => {
            let any_key = join(pattern, "{}");
            let is_map = mentions(&any_key, table);
            for (name, child) in map {
                let pattern = if is_map {
                    any_key.clone()
                } else {
                    join(pattern, name)
                };
                walk(child, &path.field(name), &pattern, table, out);
            }
        }
        Value::Array(items) => {
            let pattern = format!("{pattern}[]");
            for (index, child) in items.iter().enumerate() {
                walk(child, &path.index(index), &pattern, table, out);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

enum Verdict {
    Honoured,
    Inside,
    Harmless,
    NotHonoured,
}

fn verdict(pattern: &str, table: &Table) -> Verdict {
    let covered = |list: &[&str]| list.iter().any(|p| covers(p, pattern));
    let leads = |list: &[&str]| list.iter().any(|p| covers(pattern, p) && *p != pattern);
    if covered(table.except) {
        return Verdict::NotHonoured;
    }
    if covered(table.harmless) {
        return Verdict::Harmless;
    }
    if covered(table.honoured) {
        // Parts of an honoured field may be excepted.
        return if leads(table.except) || leads(table.harmless) {
            Verdict::Inside
        } else {
            Verdict::Honoured
        };
    }
    if leads(table.honoured) || leads(table.harmless) || leads(table.except) {
        return Verdict::Inside;
    }
    Verdict::NotHonoured
}

/// Whether `outer` is `inner` or a path that leads to it.
fn covers(outer: &str, inner: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

fn mentions(pattern: &str, table: &Table) -> bool {
    [table.honoured, table.except, table.harmless]
        .iter()
        .flat_map(|list| list.iter())
        .any(|p| covers(pattern, p))
}

fn join(pattern: &str, name: &str) -> String {
    if pattern.is_empty() {
        name.to_owned()
    } else {
        format!("{pattern}.{name}")
    }
}
