//! Takes the static resources out of a bootstrap before anything else is read: a large one
//! is converted resource by resource, without a tree of the whole in memory.

use super::BootstrapError;
use bytes::Bytes;
use envoy_types::pb::envoy::config::bootstrap::v3 as proto;
use meltemi_schema::JsonError;
use prost::Message;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A bootstrap without its static resources, and those, encoded.
pub struct Parts {
    pub rest: proto::Bootstrap,
    pub listeners: Vec<Bytes>,
    pub clusters: Vec<Bytes>,
    pub secrets: Vec<Bytes>,
}

type Object<'a> = BTreeMap<String, &'a RawValue>;

const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";
const STATIC: &str = "static_resources";

pub fn text(text: &str) -> Result<Parts, BootstrapError> {
    let mut object: Object<'_> = parse("", text)?;
    let statics = match (object.remove(STATIC), object.remove("staticResources")) {
        (None, None) => None,
        (Some(value), None) | (None, Some(value)) => Some(value),
        (Some(_), Some(_)) => return Err(invalid(STATIC, "is given twice")),
    };
    let rest = serde_json::to_string(&object).map_err(|error| invalid("", &error.to_string()))?;
    let rest = meltemi_schema::encode_text(BOOTSTRAP, &rest)?;
    let mut parts = Parts {
        rest: proto::Bootstrap::decode(rest.as_slice())
            .map_err(|error| JsonError::Bytes(BOOTSTRAP.to_owned(), error))?,
        listeners: Vec::new(),
        clusters: Vec::new(),
        secrets: Vec::new(),
    };
    let Some(statics) = statics.filter(|value| value.get() != "null") else {
        return Ok(parts);
    };
    for (kind, value) in parse::<Object<'_>>(STATIC, statics.get())? {
        let (message, into) = match kind.as_str() {
            "listeners" => ("envoy.config.listener.v3.Listener", &mut parts.listeners),
            "clusters" => ("envoy.config.cluster.v3.Cluster", &mut parts.clusters),
            "secrets" => (
                "envoy.extensions.transport_sockets.tls.v3.Secret",
                &mut parts.secrets,
            ),
            other => return Err(invalid(&format!("{STATIC}.{other}"), "unknown field")),
        };
        let path = format!("{STATIC}.{kind}");
        for (index, value) in parse::<Vec<&RawValue>>(&path, value.get())?
            .iter()
            .enumerate()
        {
            let bytes = meltemi_schema::encode_text(message, value.get())
                .map_err(|error| error.within(&format!("{path}[{index}]")))?;
            into.push(bytes.into());
        }
    }
    Ok(parts)
}

pub fn protobuf(content: &[u8]) -> Result<Parts, BootstrapError> {
    let mut rest = proto::Bootstrap::decode(content)
        .map_err(|error| JsonError::Bytes(BOOTSTRAP.to_owned(), error))?;
    let proto::bootstrap::StaticResources {
        listeners,
        clusters,
        secrets,
    } = rest.static_resources.take().unwrap_or_default();
    Ok(Parts {
        rest,
        listeners: encoded(&listeners),
        clusters: encoded(&clusters),
        secrets: encoded(&secrets),
    })
}

fn encoded<M: Message>(messages: &[M]) -> Vec<Bytes> {
    messages
        .iter()
        .map(|message| message.encode_to_vec().into())
        .collect()
}

fn parse<'a, T: serde::Deserialize<'a>>(path: &str, text: &'a str) -> Result<T, BootstrapError> {
    serde_json::from_str(text).map_err(|error| invalid(path, &error.to_string()))
}

fn invalid(path: &str, reason: &str) -> BootstrapError {
    BootstrapError::Json(JsonError::Field {
        path: path.to_owned(),
        reason: reason.to_owned(),
    })
}
