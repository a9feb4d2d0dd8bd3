//! The types have every field, every version and every value of an enumeration that the schemas
//! of Istio and of the Gateway API have.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::path::Path;

use meltemi_api::{Kind, decode};
use meltemi_config::yaml::parse;
use serde_json::{Map, Value, json};

/// Fields looked at, so that a schema that was not understood is noticed.
const AT_LEAST: usize = 3400;

/// No field has this name, nor one that is near to it.
const NOBODY: &str = "0123456789";

/// A value with a field that nobody knows in every message, and the names that are known there.
fn strangers(schema: &Value, wrap: &dyn Fn(Value) -> Value, out: &mut Vec<(Value, String)>) {
    let fields = schema["properties"].as_object();
    for (name, field) in fields.into_iter().flatten() {
        let wrap = |inner: Value| wrap(json!({ name: inner }));
        strangers(field, &wrap, out);
    }
    if schema["items"].is_object() {
        strangers(&schema["items"], &|inner| wrap(json!([inner])), out);
    }
    if schema["additionalProperties"].is_object() {
        let wrap = |inner: Value| wrap(json!({ "1": inner }));
        strangers(&schema["additionalProperties"], &wrap, out);
    }
    if let Some(fields) = fields {
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        let known = format!("known here: {}", names.join(", "));
        out.push((wrap(json!({ NOBODY: 1 })), known));
    }
}

/// Values that hold one field each: `wrap` puts the field's value where it belongs.
fn samples(schema: &Value, wrap: &dyn Fn(Value) -> Value, out: &mut Vec<Value>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let wrap = |inner: Value| wrap(json!({ name: inner }));
        samples(field, &wrap, out);
    }
    if schema["items"].is_object() {
        samples(&schema["items"], &|inner| wrap(json!([inner])), out);
    }
    if schema["additionalProperties"].is_object() {
        // A number, since some maps have ports for keys.
        let wrap = |inner: Value| wrap(json!({ "1": inner }));
        samples(&schema["additionalProperties"], &wrap, out);
    }
    out.extend(leaves(schema).into_iter().map(wrap));
}

fn leaves(schema: &Value) -> Vec<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return values.clone();
    }
    let is_map = schema["additionalProperties"].is_object();
    match schema["type"].as_str() {
        Some("string") if schema["format"] == "byte" => vec![json!("aGk=")],
        // Durations have no type of their own in the schemas: a text that is one fits all.
        Some("string") => vec![json!("1s")],
        Some("integer") => vec![json!(1)],
        Some("number") => vec![json!(1.5), json!(1)],
        Some("boolean") => vec![json!(true)],
        Some("array") => vec![json!([])],
        Some("object") if is_map => vec![],
        Some("object") => vec![Value::Object(Map::new())],
        _ if schema["x-kubernetes-int-or-string"] == true => vec![json!(1), json!("1")],
        other => panic!("what is a {other:?}? {schema}"),
    }
}

/// What was looked at, and what is wrong.
#[derive(Default)]
struct Tally {
    looked_at: usize,
    kinds: BTreeSet<Kind>,
    wrong: Vec<String>,
}

impl Tally {
    /// Compares the types with CRDs; with `exact` they have no field beyond the schemas'.
    fn compare(&mut self, text: &[u8], exact: bool) {
        for document in parse(text) {
            let crd = document.unwrap().root.to_value();
            if crd["kind"] != "CustomResourceDefinition" {
                continue;
            }
            let group = crd["spec"]["group"].as_str().unwrap();
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            for version in crd["spec"]["versions"].as_array().unwrap() {
                let api_version = format!("{group}/{}", version["name"].as_str().unwrap());
                if version["served"] == true {
                    self.version(kind, &api_version, version, exact);
                }
            }
        }
    }

    fn version(&mut self, kind: &str, api_version: &str, version: &Value, exact: bool) {
        let Some(known) = Kind::of(api_version, kind) else {
            self.wrong
                .push(format!("{kind} {api_version} is not known"));
            return;
        };
        self.kinds.insert(known);
        let schema = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let read = |spec: Value| {
            let object = json!({
                "apiVersion": api_version,
                "kind": kind,
                "metadata": {"name": "x"},
                "spec": spec,
            });
            decode(&object, "default")
        };
        let mut specs = Vec::new();
        samples(schema, &|inner| inner, &mut specs);
        self.looked_at += specs.len();
        for spec in specs {
            if let Err(error) = read(spec) {
                self.wrong.push(format!("{kind} {api_version}: {error}"));
            }
        }
        let mut specs = Vec::new();
        if exact {
            strangers(schema, &|inner| inner, &mut specs);
        }
        for (spec, known) in specs {
            let told = match read(spec.clone()) {
                Err(error) if *error.remedy == *known => continue,
                Err(error) => format!("{kind} {api_version}: {error}; {known}"),
                Ok(_) => format!("{kind} {api_version}: {spec} is taken"),
            };
            self.wrong.push(told);
        }
    }
}

fn shared(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(path)
}

#[test]
fn every_field_of_istios_schemas_is_read_and_no_other() {
    let path = shared("istio-crds.yaml");
    let Ok(text) = std::fs::read(&path) else {
        println!("left out: {} is not there", path.display());
        return;
    };
    let mut tally = Tally::default();
    tally.compare(&text, true);
    let Tally {
        looked_at,
        kinds,
        wrong,
    } = tally;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(kinds.len(), 15);
    assert!(looked_at >= AT_LEAST, "{looked_at} fields only");
    println!("{looked_at} fields of {} kinds", kinds.len());
}

/// Kinds of the Gateway API that are read; the others are recognised only.
const GATEWAY_API: [&str; 7] = [
    "gatewayclasses",
    "gateways",
    "grpcroutes",
    "httproutes",
    "referencegrants",
    "tcproutes",
    "tlsroutes",
];

#[test]
fn every_field_of_the_gateway_api_is_read_and_no_other() {
    let mut tally = Tally::default();
    for channel in ["experimental", "standard"] {
        for plural in GATEWAY_API {
            let name =
                format!("gateway-api-crds/{channel}/gateway.networking.k8s.io_{plural}.yaml");
            let path = shared(&name);
            match std::fs::read(&path) {
                // The standard channel's schemas are parts of the experimental ones.
                Ok(text) => tally.compare(&text, channel == "experimental"),
                Err(_) if channel == "standard" => {}
                Err(_) => {
                    println!("left out: {} is not there", path.display());
                    return;
                }
            }
        }
    }
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    assert_eq!(tally.kinds.len(), GATEWAY_API.len());
    assert!(tally.looked_at >= 900, "{} fields only", tally.looked_at);
    println!("{} fields of {} kinds", tally.looked_at, tally.kinds.len());
}
