//! What to open in a browser once a mesh is up.

use serde_json::Value;

use crate::mesh::Mesh;

/// A path that a gateway routes, by whichever kind of object.
pub async fn first(mesh: &Mesh) -> Option<String> {
    let mut paths = Vec::new();
    for (kind, of) in KINDS {
        let path = format!("/v1/objects?kind={kind}");
        let answer: Value = mesh.api().get(&path).await.ok()?;
        for entry in answer["objects"].as_array()? {
            paths.extend(of(&entry["object"]["spec"]));
        }
    }
    let page = paths.iter().find(|path| **path != "/").or(paths.first());
    page.cloned()
}

/// The paths of an object's rules.
type Paths = fn(&Value) -> Vec<String>;

const KINDS: [(&str, Paths); 3] = [
    ("VirtualService", virtual_service),
    ("HTTPRoute", http_route),
    ("Ingress", ingress),
];

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn virtual_service(spec: &Value) -> Vec<String> {
    let gateways = list(&spec["gateways"]).filter_map(Value::as_str);
    if gateways.filter(|gateway| *gateway != "mesh").count() == 0 {
        return Vec::new();
    }
    list(&spec["http"])
        .flat_map(|route| list(&route["match"]))
        .filter_map(|rule| text(&rule["uri"]["exact"]).or(text(&rule["uri"]["prefix"])))
        .collect()
}

fn http_route(spec: &Value) -> Vec<String> {
    let parents = || list(&spec["parentRefs"]);
    if !parents().any(|parent| parent["kind"].as_str().unwrap_or("Gateway") == "Gateway") {
        return Vec::new();
    }
    list(&spec["rules"])
        .flat_map(|rule| list(&rule["matches"]))
        .filter(|matching| matching["path"]["type"] != "RegularExpression")
        .filter_map(|matching| text(&matching["path"]["value"]))
        .collect()
}

fn ingress(spec: &Value) -> Vec<String> {
    list(&spec["rules"])
        .flat_map(|rule| list(&rule["http"]["paths"]))
        .filter_map(|path| text(&path["path"]))
        .collect()
}
