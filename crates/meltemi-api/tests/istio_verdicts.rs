//! Istio's own verdicts on objects of every kind, and on the scalars in them: accepted, warned
//! about, or refused. An object counts as accepted when both Istio's webhook and its schema take
//! it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use meltemi_api::{Kind, Severity, decode, validate};
use serde::Deserialize;
use serde_json::{Value, json};

/// How many cases of each kind there are: a file that lost some would prove less.
const CASES: [(&str, usize); 18] = [
    ("AuthorizationPolicy", 28),
    ("DestinationRule", 61),
    ("EnvoyFilter", 15),
    ("Gateway", 46),
    ("MeshConfig", 57),
    ("MeshNetworks", 4),
    ("PeerAuthentication", 13),
    ("ProxyConfig", 3),
    ("RequestAuthentication", 27),
    ("ServiceEntry", 44),
    ("Sidecar", 33),
    ("Telemetry", 17),
    ("TrafficExtension", 9),
    ("VirtualService", 113),
    ("WasmPlugin", 23),
    ("WorkloadEntry", 9),
    ("WorkloadGroup", 6),
    ("scalar", 43),
];

/// Cases that are judged otherwise here, and why.
const DIFFERENT: [(&str, &str); 3] = [
    (
        "MeshConfig: TestValidateMeshConfigProxyConfig/empty_proxy_config",
        "the function is called without the defaults that Istio fills in before it; what a user \
         leaves out has its default",
    ),
    (
        "MeshConfig: TestValidateMeshConfigProxyConfig/proxy_admin_port_invalid",
        "as above: proxyAdminPort is left out and is 15000",
    ),
    (
        "scalar: TestValidateWildcardDomainForVirtualServiceBoundToGateway/IP_address",
        "an address is no domain, but Istio too takes it as a host of a VirtualService",
    ),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    kind: String,
    name: String,
    api_version: Option<String>,
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    field: String,
    spec: Value,
    valid: bool,
    #[serde(default)]
    warning: bool,
    error: Option<String>,
    schema_valid: Option<bool>,
    schema_error: Option<String>,
    warning_text: Option<String>,
}

impl Case {
    fn id(&self) -> String {
        format!("{}: {}", self.kind, self.name)
    }

    /// The object that is judged.
    fn object(&self) -> Value {
        let of = |kind: Kind, metadata: Value, spec: Value| {
            json!({
                "apiVersion": kind.api_version(),
                "kind": kind.as_str(),
                "metadata": metadata,
                "spec": spec,
            })
        };
        match self.kind.as_str() {
            "MeshConfig" => of(
                Kind::MeshConfig,
                json!({}),
                mesh_spec(&self.field, &self.spec),
            ),
            "MeshNetworks" => of(Kind::MeshNetworks, json!({}), self.spec.clone()),
            "scalar" => {
                let (kind, spec) = around(&self.field, &self.spec);
                of(kind, json!({"name": "x"}), spec)
            }
            kind => json!({
                "apiVersion": self.api_version,
                "kind": kind,
                "metadata": self.metadata,
                "spec": self.spec,
            }),
        }
    }
}

/// The MeshConfig that has `value` at `field`.
fn mesh_spec(field: &str, value: &Value) -> Value {
    match field {
        "serviceSettings" => value.clone(),
        "connectionSettings" => json!({"defaultConfig": {"connectionSettings": value}}),
        field => match field.strip_prefix("extensionProviders.") {
            Some(provider) => json!({"extensionProviders": [{"name": "x", provider: value}]}),
            None => field
                .rsplit('.')
                .fold(value.clone(), |inner, name| json!({ name: inner })),
        },
    }
}

/// An object that is right if and only if the scalar is.
fn around(what: &str, value: &Value) -> (Kind, Value) {
    let gateway = |gateway: Value| json!({"networks": {"n": {"gateways": [gateway]}}});
    match what {
        "fqdn" => (
            Kind::MeshNetworks,
            gateway(json!({"registryServiceName": value, "port": 1})),
        ),
        "port" => (
            Kind::MeshNetworks,
            gateway(json!({"address": "1.1.1.1", "port": value})),
        ),
        "proxyAddress" => (
            Kind::MeshConfig,
            json!({"defaultConfig": {"statsdUdpAddress": value}}),
        ),
        "wildcardDomain" => (Kind::DestinationRule, json!({"host": value})),
        "wildcardDomainGatewayBound" => {
            let host = &value["domain"];
            let destination = json!([{"destination": {"host": "a.b"}}]);
            let rules = if value["sni"] == true {
                json!({"tls": [{"match": [{"sniHosts": [host]}], "route": destination}]})
            } else {
                json!({"http": [{"route": destination}]})
            };
            let mut spec = json!({"hosts": [host], "gateways": ["g"]});
            let map = spec.as_object_mut().unwrap();
            map.extend(rules.as_object().unwrap().clone());
            (Kind::VirtualService, spec)
        }
        "trustDomain" => (Kind::MeshConfig, json!({"trustDomain": value})),
        "ipAddress" => {
            let port = json!({"number": 80, "name": "http", "protocol": "HTTP"});
            let server = json!({"port": port, "hosts": ["*"], "bind": value});
            (Kind::Gateway, json!({"servers": [server]}))
        }
        "ipSubnet" => (
            Kind::ServiceEntry,
            json!({
                "hosts": ["a.b"],
                "addresses": [value],
                "resolution": "NONE",
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            }),
        ),
        "extensionProviderService" => (
            Kind::MeshConfig,
            mesh_spec(
                "extensionProviders.zipkin",
                &json!({"service": value, "port": 1}),
            ),
        ),
        other => panic!("what is a scalar {other:?}?"),
    }
}

struct Verdict {
    accepted: bool,
    warned: bool,
    said: String,
}

fn judge(object: &Value) -> Verdict {
    let object = match decode(object, "default") {
        Ok(object) => object,
        Err(error) => {
            return Verdict {
                accepted: false,
                warned: false,
                said: error.to_string(),
            };
        }
    };
    let findings = validate(&object);
    let has = |severity| findings.iter().any(|f| f.severity == severity);
    let said: Vec<String> = findings
        .iter()
        .map(|f| format!("{} {}: {}", f.severity, f.path, f.message))
        .collect();
    Verdict {
        accepted: !has(Severity::Error),
        warned: has(Severity::Warning),
        said: said.join(" | "),
    }
}

fn cases() -> Option<Vec<Case>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/istio-cases/validation.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("left out: {} is not there", path.display());
        return None;
    };
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

#[test]
fn agrees_with_istio() {
    let Some(cases) = cases() else { return };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differ: BTreeSet<String> = BTreeSet::new();
    for case in &cases {
        *counts.entry(&case.kind).or_default() += 1;
        let object = case.object();
        let here = judge(&object);
        let accepted = case.valid && case.schema_valid != Some(false);
        let warned = case.warning && accepted;
        if here.accepted == accepted && (here.warned && here.accepted) == warned {
            continue;
        }
        differ.insert(case.id());
        if !DIFFERENT.iter().any(|(id, _)| *id == case.id()) {
            println!(
                "{}\n  Istio: accepted {accepted}, warned {warned}: {:?} {:?} {:?}\n  here: accepted {}, warned {}: {}\n  {}",
                case.id(),
                case.error,
                case.schema_error,
                case.warning_text,
                here.accepted,
                here.warned,
                here.said,
                object["spec"],
            );
        }
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), CASES);
    let explained: BTreeSet<String> = DIFFERENT.iter().map(|(id, _)| (*id).to_owned()).collect();
    assert_eq!(
        differ, explained,
        "the left differ, the right are explained"
    );
}

#[test]
fn all_served_versions_are_judged_alike() {
    let Some(cases) = cases() else { return };
    for case in cases.iter().filter(|case| case.kind != "scalar") {
        let mut object = case.object();
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == case.kind)
            .unwrap();
        let accepted = judge(&object).accepted;
        for version in kind.versions() {
            object["apiVersion"] = format!("{}/{version}", kind.group()).into();
            assert_eq!(judge(&object).accepted, accepted, "{} {version}", case.id());
        }
    }
}
