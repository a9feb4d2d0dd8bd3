//! What is to be said of one object.

use meltemi_api::{
    FieldPath, Finding, Object, Segment, Severity, Support, did_you_mean, not_honoured,
    unknown_fields, validate,
};

use crate::{Code, code};

/// What is to be said of one object without looking at others.
pub fn findings(value: &serde_json::Value, object: &Object) -> Vec<(&'static Code, Finding)> {
    let mut out: Vec<(&'static Code, Finding)> = validate(object)
        .into_iter()
        .map(|finding| match finding.severity {
            Severity::Error => (&code::SCHEMA_VALIDATION_ERROR, finding),
            _ => (&code::SCHEMA_WARNING, finding),
        })
        .collect();
    let kind = object.meta.kind;
    if kind.support() != Support::Honoured {
        let finding = Finding::warning(
            FieldPath::root().field("kind"),
            format!("Meltemi does not support {kind} yet"),
            "do not rely on it where Meltemi runs the mesh",
        );
        out.push((&code::NOT_HONOURED, finding));
    }
    let unknown = unknown_fields(value, object);
    let without_effect = not_honoured(value, object.meta.kind)
        .into_iter()
        .filter(|field| field.severity == Severity::Notice && is_users(&field.path))
        .filter(|field| !unknown.iter().any(|unknown| unknown.path == field.path));
    out.extend(without_effect.map(|field| {
        let finding = Finding::warning(
            field.path,
            "Meltemi accepts this field but does not honour it yet",
            "do not rely on it",
        );
        (&code::NOT_HONOURED, finding)
    }));
    out.extend(unknown.iter().map(|unknown| {
        let known = unknown.known.iter().map(String::as_str);
        let finding = Finding::warning(
            unknown.path.clone(),
            format!("unknown field {:?} has no effect", unknown.name),
            did_you_mean(&unknown.name, known),
        );
        (&code::SCHEMA_WARNING, finding)
    }));
    out
}

/// Fields that a user writes; the status is the control plane's.
fn is_users(path: &FieldPath) -> bool {
    !matches!(path.0.first(), Some(Segment::Field(name)) if name == "status")
}
