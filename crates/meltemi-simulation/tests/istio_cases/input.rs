//! A case as objects, a proxy and calls.

use meltemi_api::Object;
use meltemi_config::yaml;
use meltemi_discovery::pb::{Struct, Value as PbValue, core, structs};
use meltemi_discovery::{Proxy, World, WorldOptions};
use meltemi_simulation::{Call, Direction, Protocol, Tls};
use serde_json::{Value, json};

pub fn read(case: &Value) -> Result<(World, Proxy), String> {
    let mut objects = Vec::new();
    for text in ["config", "kubeConfig"] {
        documents(case[text].as_str().unwrap_or(""), &mut objects)?;
    }
    if let Some(mesh) = case.get("meshConfig") {
        let value = json!({
            "apiVersion": "mesh.istio.io/v1alpha1",
            "kind": "MeshConfig",
            "metadata": {"name": "istio", "namespace": "istio-system"},
            "spec": mesh,
        });
        objects.push(decode(&value)?);
    }
    let world = World::build(&objects, &WorldOptions::default(), 1);
    Ok((world, proxy(&case["proxy"])))
}

fn documents(text: &str, objects: &mut Vec<Object>) -> Result<(), String> {
    for document in yaml::parse(text.as_bytes()) {
        let mut value = document.map_err(|error| error.message)?.root.to_value();
        // The CRD has no such field, and the API server refuses it.
        for route in value["spec"]["tcp"].as_array_mut().into_iter().flatten() {
            route.as_object_mut().map(|route| route.remove("name"));
        }
        if !value.is_null() {
            objects.push(decode(&value)?);
        }
    }
    Ok(())
}

fn decode(value: &Value) -> Result<Object, String> {
    meltemi_api::decode(value, "default").map_err(|error| format!("{error}: {value}"))
}

fn proxy(value: &Value) -> Proxy {
    let text = |key: &str| value[key].as_str().unwrap_or("");
    let ips: Vec<&str> = value["ips"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut metadata = value["metadata"].clone();
    metadata["INSTANCE_IPS"] = json!(ips.join(","));
    metadata["NAMESPACE"] = json!(text("namespace"));
    metadata["LABELS"] = value["labels"].clone();
    let locality = &value["locality"];
    let part = |key: &str| locality[key].as_str().unwrap_or("").to_owned();
    let node = core::Node {
        id: format!(
            "{}~{}~{}~{}",
            text("type"),
            ips.first().unwrap_or(&""),
            text("id"),
            text("dnsDomain")
        ),
        metadata: Some(structure(&metadata)),
        locality: Some(core::Locality {
            region: part("region"),
            zone: part("zone"),
            sub_zone: part("subZone"),
        }),
        ..Default::default()
    };
    Proxy::from_node(&node).unwrap()
}

fn structure(value: &Value) -> Struct {
    Struct {
        fields: value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), protobuf(value)))
            .collect(),
    }
}

fn protobuf(value: &Value) -> PbValue {
    match value {
        Value::String(text) => structs::string(text),
        Value::Bool(flag) => structs::boolean(*flag),
        Value::Array(values) => structs::list(values.iter().map(protobuf).collect()),
        Value::Object(_) => PbValue {
            kind: Some(structs::Kind::StructValue(structure(value))),
        },
        other => structs::string(other.to_string()),
    }
}

pub fn call(value: &Value) -> Call {
    let text = |key: &str| value[key].as_str().unwrap_or("").to_owned();
    let names = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let sni = names("sni");
    Call {
        direction: match value["callMode"].as_str() {
            Some("inbound") => Direction::Inbound,
            _ => Direction::Outbound,
        },
        address: text("address").parse().unwrap(),
        port: value["port"].as_u64().unwrap().try_into().unwrap(),
        protocol: match value["protocol"].as_str() {
            Some("http") => Protocol::Http,
            Some("http2") => Protocol::Http2,
            _ => Protocol::Tcp,
        },
        tls: match value["tls"].as_str() {
            Some("mtls") => Tls::Mtls,
            Some("tls") => Tls::Tls,
            // A server name is seen in TLS only, also where Istio's case says otherwise.
            _ if sni.is_some() => Tls::Tls,
            _ => Tls::Plaintext,
        },
        sni,
        alpn: Some(names("alpn").into_iter().collect()),
        host: text("hostHeader"),
        path: text("path"),
        headers: value["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(name, values)| {
                let values = values.as_array().into_iter().flatten();
                values.map(move |value| (name.clone(), value.as_str().unwrap().to_owned()))
            })
            .collect(),
        ..Call::default()
    }
}
