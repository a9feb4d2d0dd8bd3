//! Versions of TLS, cipher suites and key exchange groups: what an object says, else what
//! MeshConfig says for all.

use meltemi_api::networking::{ServerTlsSettings, TlsProtocol};
use meltemi_api::{is_cipher_suite, is_curve};

use crate::pb::tls::TlsParameters;
use crate::pb::tls::tls_parameters::TlsProtocol as Version;
use crate::world::mesh::Mesh;

/// What sidecars take from each other by default, as Istio has it.
const MESH_CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// Of TLS that a gateway, or a Sidecar's ingress, ends: the settings go before `tlsDefaults`.
pub fn of_server(settings: &ServerTlsSettings, mesh: &Mesh) -> Option<TlsParameters> {
    let mut params = TlsParameters {
        tls_minimum_protocol_version: version(settings.min_protocol_version) as i32,
        tls_maximum_protocol_version: version(settings.max_protocol_version) as i32,
        cipher_suites: known_suites(&settings.cipher_suites),
        ecdh_curves: known_curves(&settings.ecdh_curves),
        ..Default::default()
    };
    if let Some(defaults) = &mesh.config.tls_defaults {
        let open = settings.max_protocol_version == TlsProtocol::TlsAuto
            || settings.max_protocol_version as u8 >= defaults.min_protocol_version as u8;
        if settings.min_protocol_version == TlsProtocol::TlsAuto && open {
            params.tls_minimum_protocol_version = version(defaults.min_protocol_version) as i32;
        }
        if params.cipher_suites.is_empty() {
            params.cipher_suites = known_suites(&defaults.cipher_suites);
        }
        if params.ecdh_curves.is_empty() {
            params.ecdh_curves = known_curves(&defaults.ecdh_curves);
        }
    }
    (params != TlsParameters::default()).then_some(params)
}

/// Of TLS to servers outside the mesh: 1.2 or 1.3, as Istio asks of clients, and `tlsDefaults`.
pub fn of_client(mesh: &Mesh) -> TlsParameters {
    let mut params = between_sidecars();
    if let Some(defaults) = &mesh.config.tls_defaults {
        params.cipher_suites = known_suites(&defaults.cipher_suites);
        params.ecdh_curves = known_curves(&defaults.ecdh_curves);
        raise(&mut params, defaults.min_protocol_version);
    }
    params
}

/// Of TLS to sidecars, as Istio asks of clients.
pub fn between_sidecars() -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: Version::TlSv12 as i32,
        tls_maximum_protocol_version: Version::TlSv13 as i32,
        ..Default::default()
    }
}

/// Of TLS that a sidecar ends: `meshMTLS`.
pub fn of_sidecar(mesh: &Mesh) -> TlsParameters {
    let mut params = between_sidecars();
    if let Some(own) = &mesh.config.mesh_mtls {
        params.cipher_suites = known_suites(&own.cipher_suites);
        raise(&mut params, own.min_protocol_version);
    }
    if params.cipher_suites.is_empty() {
        params.cipher_suites = MESH_CIPHERS.map(str::to_owned).into();
    }
    params
}

fn raise(params: &mut TlsParameters, min: TlsProtocol) {
    if min == TlsProtocol::TlsV13 {
        params.tls_minimum_protocol_version = Version::TlSv13 as i32;
    }
}

fn version(version: TlsProtocol) -> Version {
    match version {
        TlsProtocol::TlsAuto => Version::TlsAuto,
        TlsProtocol::TlsV10 => Version::TlSv10,
        TlsProtocol::TlsV11 => Version::TlSv11,
        TlsProtocol::TlsV12 => Version::TlSv12,
        TlsProtocol::TlsV13 => Version::TlSv13,
    }
}

/// Validation has told of the others.
fn known_suites(names: &[String]) -> Vec<String> {
    let known = names.iter().filter(|name| is_cipher_suite(name));
    known.cloned().collect()
}

fn known_curves(names: &[String]) -> Vec<String> {
    names
        .iter()
        .filter(|name| is_curve(name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn mesh(config: Value) -> Mesh {
        Mesh::new(Arc::new(serde_json::from_value(config).unwrap()))
    }

    fn server(settings: Value) -> ServerTlsSettings {
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn what_a_server_says_goes_before_the_meshs_defaults() {
        let plain = mesh(json!({}));
        assert_eq!(of_server(&server(json!({})), &plain), None);
        let mesh = mesh(json!({"tlsDefaults": {
            "minProtocolVersion": "TLSV1_3",
            "cipherSuites": ["ECDHE-RSA-AES128-GCM-SHA256", "nonsense"],
            "ecdhCurves": ["P-384", "P-999"],
        }}));
        let params = of_server(&server(json!({})), &mesh).unwrap();
        assert_eq!(params.tls_minimum_protocol_version, Version::TlSv13 as i32);
        assert_eq!(params.cipher_suites, ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(params.ecdh_curves, ["P-384"]);
        let own = server(json!({
            "maxProtocolVersion": "TLSV1_2",
            "cipherSuites": ["ECDHE-ECDSA-AES128-GCM-SHA256"],
            "ecdhCurves": ["X25519"],
        }));
        let params = of_server(&own, &mesh).unwrap();
        assert_eq!(params.tls_minimum_protocol_version, Version::TlsAuto as i32);
        assert_eq!(params.tls_maximum_protocol_version, Version::TlSv12 as i32);
        assert_eq!(params.cipher_suites, own.cipher_suites);
        assert_eq!(params.ecdh_curves, own.ecdh_curves);
    }

    #[test]
    fn clients_and_sidecars_never_go_below_1_2() {
        let mesh = mesh(json!({
            "tlsDefaults": {"minProtocolVersion": "TLSV1_1", "ecdhCurves": ["P-256"]},
            "meshMTLS": {"minProtocolVersion": "TLSV1_3"},
        }));
        let client = of_client(&mesh);
        assert_eq!(client.tls_minimum_protocol_version, Version::TlSv12 as i32);
        assert_eq!(client.ecdh_curves, ["P-256"]);
        let sidecar = of_sidecar(&mesh);
        assert_eq!(sidecar.tls_minimum_protocol_version, Version::TlSv13 as i32);
        assert_eq!(sidecar.cipher_suites, MESH_CIPHERS);
        assert!(sidecar.ecdh_curves.is_empty());
    }
}
