//! From a document (JSON value) to a typed object, with the path of what is wrong.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment as SerdeSegment;

use crate::suggest::{did_you_mean, nearest};
use crate::{FieldPath, Kind, Meta, Object, ObjectKey, Segment, Spec, k8s};

/// Why a document is not an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}; {remedy}")]
pub struct DecodeError {
    /// Which object, when that much could be read.
    pub key: Option<ObjectKey>,
    /// Where.
    pub path: FieldPath,
    /// What is wrong.
    pub message: Box<str>,
    /// What to do.
    pub remedy: Box<str>,
    /// The document is of a kind that Meltemi does not know: a warning, not an error.
    pub unknown_kind: bool,
}

impl DecodeError {
    fn new(key: Option<ObjectKey>, path: FieldPath, message: String, remedy: String) -> Self {
        Self {
            key,
            path,
            message: message.into(),
            remedy: remedy.into(),
            unknown_kind: false,
        }
    }
}

/// Reads kind, namespace and name of a document without its content.
///
/// # Errors
/// When one of them is missing or not text, or the kind is not known (`unknown_kind`).
pub fn identify(value: &Value, default_namespace: &str) -> Result<ObjectKey, DecodeError> {
    let text = |path: &[&str], remedy: &str| -> Result<String, DecodeError> {
        let field = path.iter().fold(FieldPath::root(), |p, s| p.field(*s));
        match path.iter().try_fold(value, |v, s| v.get(*s)) {
            None | Some(Value::Null) => Err(DecodeError::new(
                None,
                field,
                "is missing".into(),
                remedy.into(),
            )),
            Some(Value::String(s)) if s.is_empty() => Err(DecodeError::new(
                None,
                field,
                "is empty".into(),
                remedy.into(),
            )),
            Some(Value::String(s)) => Ok(s.clone()),
            Some(other) => Err(DecodeError::new(
                None,
                field,
                format!("is {}, not text", kind_of(other)),
                "put it in quotes".into(),
            )),
        }
    };
    if !value.is_object() {
        return Err(DecodeError::new(
            None,
            FieldPath::root(),
            format!("the document is {}, not an object", kind_of(value)),
            "write apiVersion, kind, metadata and spec".into(),
        ));
    }
    let api_version = text(
        &["apiVersion"],
        "write for example apiVersion: networking.istio.io/v1",
    )?;
    let kind_name = text(&["kind"], "write for example kind: VirtualService")?;
    let Some(kind) = Kind::of(&api_version, &kind_name) else {
        return Err(unknown_kind(&api_version, &kind_name));
    };
    let is_mesh = matches!(kind, Kind::MeshConfig | Kind::MeshNetworks);
    let name = match text(&["metadata", "name"], "give the object a name") {
        Err(_) if is_mesh && value.pointer("/metadata/name").is_none() => "istio".to_owned(),
        other => other?,
    };
    let namespace = if !kind.namespaced() {
        String::new()
    } else {
        match value.pointer("/metadata/namespace") {
            None | Some(Value::Null) if is_mesh => "istio-system".to_owned(),
            None | Some(Value::Null) => default_namespace.to_owned(),
            Some(Value::String(s)) if s.is_empty() => default_namespace.to_owned(),
            Some(_) => text(&["metadata", "namespace"], "name a namespace")?,
        }
    };
    Ok(ObjectKey {
        kind,
        namespace,
        name,
    })
}

/// Most errors told of one document.
const MAX_ERRORS: usize = 32;

/// Reads a document as [`decode`] does, but tells of every field that is unknown or has the
/// wrong type.
///
/// # Errors
/// Those fields, the first 32.
pub fn decode_all(value: &Value, default_namespace: &str) -> Result<Object, Vec<DecodeError>> {
    let mut errors = Vec::new();
    let mut rest = value.clone();
    loop {
        match decode(&rest, default_namespace) {
            Ok(object) if errors.is_empty() => return Ok(object),
            Ok(_) => return Err(errors),
            Err(error) => {
                let more = error.key.is_some() && remove(&mut rest, &error.path);
                errors.push(error);
                if !more || errors.len() == MAX_ERRORS {
                    return Err(errors);
                }
            }
        }
    }
}

/// Removes a field, or the whole list that an element is in so that the paths of the others
/// stay right; whether there was one.
fn remove(value: &mut Value, path: &FieldPath) -> bool {
    let fields = path.0.iter().rposition(|s| matches!(s, Segment::Field(_)));
    let Some((Segment::Field(name), parents)) =
        fields.and_then(|last| path.0[..=last].split_last())
    else {
        return false;
    };
    let parent = parents
        .iter()
        .try_fold(value, |value, segment| match segment {
            Segment::Field(name) => value.get_mut(name),
            Segment::Index(index) => value.get_mut(index),
        });
    parent
        .and_then(Value::as_object_mut)
        .is_some_and(|map| map.shift_remove(name).is_some())
}

fn unknown_kind(api_version: &str, kind: &str) -> DecodeError {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let same_name = || Kind::ALL.into_iter().filter(|k| k.as_str() == kind);
    let same_name = same_name()
        .find(|k| k.group() == group)
        .or_else(|| same_name().next());
    let remedy = match same_name {
        Some(known) => format!("{known} is known as {}", versions(known)),
        None => match nearest(kind, Kind::ALL.iter().map(|k| k.as_str())) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "leave it out, or accept that it does nothing".to_owned(),
        },
    };
    let path = FieldPath::root().field("kind");
    if Kind::ALL
        .into_iter()
        .any(|kind| !kind.is_kubernetes() && kind.group() == group)
    {
        // A misspelt policy must not be left out.
        let message = format!("there is no kind {kind} in {api_version}");
        return DecodeError::new(None, path, message, remedy);
    }
    let message =
        format!("{kind} of {api_version} is not a kind that Meltemi supports; it is left out");
    DecodeError {
        unknown_kind: true,
        ..DecodeError::new(None, path, message, remedy)
    }
}

fn versions(kind: Kind) -> String {
    let prefix = if kind.group().is_empty() {
        String::new()
    } else {
        format!("{}/", kind.group())
    };
    let all: Vec<String> = kind
        .versions()
        .iter()
        .map(|v| format!("{prefix}{v}"))
        .collect();
    all.join(", ")
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads a document. `null` counts as absent, as in proto JSON and in Kubernetes.
///
/// # Errors
/// The first field that is unknown or has the wrong type, with its path.
pub fn decode(value: &Value, default_namespace: &str) -> Result<Object, DecodeError> {
    let key = identify(value, default_namespace)?;
    let mut value = value.clone();
    drop_nulls(&mut value);
    if !key.kind.is_kubernetes() {
        refuse_unknown(&value, FieldPath::root(), &TOP_LEVEL, &key)?;
        if let Some(metadata) = value.get("metadata") {
            let at = FieldPath::root().field("metadata");
            refuse_unknown(metadata, at, &METADATA, &key)?;
        }
    }
    let meta = meta(&value, &key)?;
    let spec = spec(value, &key)?;
    Ok(Object { meta, spec })
}

const TOP_LEVEL: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
/// Kubernetes' `ObjectMeta`, whose type drops what it does not know.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

fn refuse_unknown(
    value: &Value,
    at: FieldPath,
    known: &[&str],
    key: &ObjectKey,
) -> Result<(), DecodeError> {
    for name in value.as_object().into_iter().flat_map(|m| m.keys()) {
        if !known.contains(&name.as_str()) {
            return Err(DecodeError::new(
                Some(key.clone()),
                at.field(name),
                format!("unknown field {name:?}"),
                did_you_mean(name, known.iter().copied()),
            ));
        }
    }
    Ok(())
}

fn meta(value: &Value, key: &ObjectKey) -> Result<Meta, DecodeError> {
    let metadata = value
        .get("metadata")
        .cloned()
        .unwrap_or(Value::Object(Default::default()));
    let metadata: k8s::ObjectMeta = typed(metadata, key, &["metadata"])?;
    Ok(Meta {
        kind: key.kind,
        api_version: value
            .get("apiVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        creation_timestamp: metadata.creation_timestamp.map(|t| t.0),
        resource_version: 0,
        origin: None,
    })
}

fn spec(mut value: Value, key: &ObjectKey) -> Result<Spec, DecodeError> {
    fn custom<T: DeserializeOwned>(
        value: &mut Value,
        key: &ObjectKey,
    ) -> Result<Arc<T>, DecodeError> {
        let spec = value
            .get_mut("spec")
            .map(Value::take)
            .unwrap_or(Value::Object(Default::default()));
        typed(spec, key, &["spec"]).map(Arc::new)
    }
    fn native<T: DeserializeOwned>(value: Value, key: &ObjectKey) -> Result<Arc<T>, DecodeError> {
        typed(value, key, &[]).map(Arc::new)
    }
    Ok(match key.kind {
        Kind::VirtualService => Spec::VirtualService(custom(&mut value, key)?),
        Kind::DestinationRule => Spec::DestinationRule(custom(&mut value, key)?),
        Kind::Gateway => Spec::Gateway(custom(&mut value, key)?),
        Kind::ServiceEntry => Spec::ServiceEntry(custom(&mut value, key)?),
        Kind::WorkloadEntry => Spec::WorkloadEntry(custom(&mut value, key)?),
        Kind::WorkloadGroup => Spec::WorkloadGroup(custom(&mut value, key)?),
        Kind::Sidecar => Spec::Sidecar(custom(&mut value, key)?),
        Kind::EnvoyFilter => Spec::EnvoyFilter(custom(&mut value, key)?),
        Kind::ProxyConfig => Spec::ProxyConfig(custom(&mut value, key)?),
        Kind::PeerAuthentication => Spec::PeerAuthentication(custom(&mut value, key)?),
        Kind::RequestAuthentication => Spec::RequestAuthentication(custom(&mut value, key)?),
        Kind::AuthorizationPolicy => Spec::AuthorizationPolicy(custom(&mut value, key)?),
        Kind::Telemetry => Spec::Telemetry(custom(&mut value, key)?),
        Kind::WasmPlugin => Spec::WasmPlugin(custom(&mut value, key)?),
        Kind::TrafficExtension => Spec::TrafficExtension(custom(&mut value, key)?),
        Kind::MeshConfig => Spec::MeshConfig(custom(&mut value, key)?),
        Kind::MeshNetworks => Spec::MeshNetworks(custom(&mut value, key)?),
        Kind::Service => Spec::Service(native(value, key)?),
        Kind::Endpoints => Spec::Endpoints(native(value, key)?),
        Kind::EndpointSlice => Spec::EndpointSlice(native(value, key)?),
        Kind::Pod => Spec::Pod(native(value, key)?),
        Kind::Deployment => Spec::Deployment(native(value, key)?),
        Kind::StatefulSet => Spec::StatefulSet(native(value, key)?),
        Kind::ServiceAccount => Spec::ServiceAccount(native(value, key)?),
        Kind::Namespace => Spec::Namespace(native(value, key)?),
        Kind::ConfigMap => Spec::ConfigMap(native(value, key)?),
        Kind::Secret => Spec::Secret(native(value, key)?),
        Kind::Ingress => Spec::Ingress(native(value, key)?),
        Kind::IngressClass => Spec::IngressClass(native(value, key)?),
        Kind::GatewayClass => Spec::GatewayClass(custom(&mut value, key)?),
        Kind::KubernetesGateway => Spec::KubernetesGateway(custom(&mut value, key)?),
        Kind::HttpRoute => Spec::HttpRoute(custom(&mut value, key)?),
        Kind::GrpcRoute => Spec::GrpcRoute(custom(&mut value, key)?),
        Kind::TlsRoute => Spec::TlsRoute(custom(&mut value, key)?),
        Kind::TcpRoute => Spec::TcpRoute(custom(&mut value, key)?),
        Kind::ReferenceGrant => Spec::ReferenceGrant(custom(&mut value, key)?),
        Kind::UdpRoute | Kind::ListenerSet | Kind::BackendTlsPolicy => {
            Spec::Unsupported(Arc::new(value))
        }
    })
}

fn typed<T: DeserializeOwned>(
    value: Value,
    key: &ObjectKey,
    at: &[&str],
) -> Result<T, DecodeError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut path = at.iter().fold(FieldPath::root(), |p, s| p.field(*s));
        for segment in error.path() {
            match segment {
                SerdeSegment::Seq { index } => path.0.push(Segment::Index(*index)),
                SerdeSegment::Map { key } => path.0.push(Segment::Field(key.clone())),
                SerdeSegment::Enum { variant } => path.0.push(Segment::Field(variant.clone())),
                SerdeSegment::Unknown => {}
            }
        }
        let (message, remedy) = explain(&error.into_inner().to_string());
        DecodeError::new(Some(key.clone()), path, message, remedy)
    })
}

/// Turns serde's sentence into a message and a remedy.
fn explain(text: &str) -> (String, String) {
    let quoted = |part: &str| -> Vec<String> {
        part.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    for what in ["unknown field", "unknown variant"] {
        if let Some(rest) = text.strip_prefix(what) {
            let names = quoted(rest);
            let (Some(name), known) = (names.first(), names.get(1..).unwrap_or_default()) else {
                break;
            };
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let message = match what {
                "unknown field" => format!("unknown field {name:?}"),
                _ => format!("{name:?} is not one of the values"),
            };
            let remedy = if known.is_empty() {
                "remove it".to_owned()
            } else {
                did_you_mean(name, known)
            };
            return (message, remedy);
        }
    }
    if let Some((found, expected)) = text
        .strip_prefix("invalid type: ")
        .and_then(|t| t.split_once(", expected "))
    {
        return (
            format!("wrong type: {found}"),
            format!("write {}", plain_expected(expected)),
        );
    }
    if let Some((found, expected)) = text
        .strip_prefix("invalid value: ")
        .and_then(|t| t.split_once(", expected "))
    {
        return (
            format!("wrong value: {found}"),
            format!("write {}", plain_expected(expected)),
        );
    }
    match text.split_once("; ") {
        Some((message, remedy)) => (message.to_owned(), remedy.to_owned()),
        None => (text.to_owned(), "correct it".to_owned()),
    }
}

fn plain_expected(expected: &str) -> String {
    match expected {
        "a string" => "text (in quotes)".to_owned(),
        "u16" => "a number from 0 to 65535".to_owned(),
        "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i32" | "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a map" => "a map".to_owned(),
        other if other.starts_with("struct ") => "an object with fields".to_owned(),
        other => other.to_owned(),
    }
}

/// Within the free-form fields, which are handed on as they are, `null` stays.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            let free_form = |name: &str| name == "pluginConfig" || name == "value";
            let typed = map
                .iter_mut()
                .filter(|(name, value)| !(free_form(name) && value.is_object()));
            typed.for_each(|(_, value)| drop_nulls(value));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
