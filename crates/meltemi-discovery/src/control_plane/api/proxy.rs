//! What one proxy is served, as JSON.

use super::answer::{Answer, Refusal};
use crate::control_plane::state::State;
use crate::pb::descriptor::encoded_to_json;
use hyper::StatusCode;
use meltemi_xds::type_url::{self, PUSH_ORDER, short_name};
use prost::Message;
use serde_json::{Map, Value, json};

pub(super) fn config(state: &State, namespace: &str, pod: &str) -> Result<Answer, Refusal> {
    let connection = state.proxies.of(namespace, pod).ok_or_else(|| {
        Refusal::not_found(format!("no proxy of {namespace}/{pod} is connected"))
            .remedy("`meltemi status` lists the connected ones")
    })?;
    let served = state.served(&connection);
    let mut types = Map::new();
    for type_url in PUSH_ORDER {
        // A private key is not for reading.
        if type_url == type_url::SECRET {
            continue;
        }
        let Some(set) = served.translated.sets.get(type_url) else {
            continue;
        };
        let resources: Result<Vec<Value>, Refusal> =
            set.iter().map(|resource| json_of(&resource.any)).collect();
        types.insert(short_name(type_url).to_owned(), Value::Array(resources?));
    }
    let issues: Vec<Value> = served
        .translated
        .issues
        .iter()
        .map(|issue| json!({"object": issue.object.to_string(), "field": issue.field, "message": issue.message}))
        .collect();
    Ok(Answer::Json(json!({
        "proxy": connection.proxy.id,
        "generation": served.generation,
        "resources": types,
        "issues": issues,
    })))
}

fn json_of(any: &[u8]) -> Result<Value, Refusal> {
    let defect = |error: String| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error);
    let any = prost_types::Any::decode(any).map_err(|error| defect(error.to_string()))?;
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    encoded_to_json(name, &any.value).map_err(|error| defect(error.to_string()))
}
