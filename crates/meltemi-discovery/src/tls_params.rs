//! Versions of TLS, cipher suites and key exchange groups: what an object says, else what
//! MeshConfig says for all.

use meltemi_api::networking::{ServerTlsSettings, TlsProtocol};
use meltemi_api::{
    COMMON_CIPHER_SUITES, COMMON_CURVES, ENVOY_CURVES, allowed_cipher_suites, allowed_curves,
};

use crate::pb::tls::TlsParameters;
use crate::pb::tls::tls_parameters::TlsProtocol as Version;
use crate::proxy::Flavor;
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

/// What becomes of a server's settings.
#[derive(Debug, PartialEq)]
pub struct Chosen {
    pub params: TlsParameters,
    /// What is less than was asked for.
    pub restricted: Option<Refused>,
}

/// A setting that cannot be kept to.
#[derive(Debug, PartialEq)]
pub struct Refused {
    /// Of the server's settings.
    pub field: &'static str,
    pub reason: String,
}

impl Refused {
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { field, reason }
    }
}

/// Of TLS that a gateway, or a Sidecar's ingress, ends: the settings go before `tlsDefaults`.
///
/// # Errors
/// What they ask for is nothing that the proxy can do: it must not do more instead.
pub fn of_server(
    settings: &ServerTlsSettings,
    mesh: &Mesh,
    flavor: Flavor,
) -> Result<Chosen, Refused> {
    let defaults = mesh.config.tls_defaults.clone().unwrap_or_default();
    let (mut min, max) = (settings.min_protocol_version, settings.max_protocol_version);
    if min == TlsProtocol::TlsAuto {
        min = defaults.min_protocol_version;
    }
    if max != TlsProtocol::TlsAuto && (max as u8) < min as u8 {
        let reason = "is below minProtocolVersion in MeshConfig's tlsDefaults";
        return Err(Refused::new("maxProtocolVersion", reason));
    }
    let old = matches!(max, TlsProtocol::TlsV10 | TlsProtocol::TlsV11);
    if flavor == Flavor::Meltemi && old {
        let reason = "TLS below 1.2 is not spoken";
        return Err(Refused::new("maxProtocolVersion", reason));
    }
    let suites = List::of(
        "cipherSuites",
        &settings.cipher_suites,
        &defaults.cipher_suites,
    );
    let cipher_suites = allowed_cipher_suites(suites.names);
    let speaks = |rank: &String| match flavor {
        Flavor::Meltemi => COMMON_CIPHER_SUITES.iter().any(|name| rank.contains(name)),
        Flavor::Envoy => true,
    };
    let mut restricted = None;
    if !suites.names.is_empty() && !cipher_suites.iter().any(speaks) {
        let mut refused = suites.refused(COMMON_CIPHER_SUITES);
        if cipher_suites.is_empty() || max == TlsProtocol::TlsV12 {
            return Err(refused);
        }
        min = TlsProtocol::TlsV13;
        refused.reason += "; clients of TLS 1.2 are refused until then";
        restricted = Some(refused);
    }
    let curves = List::of("ecdhCurves", &settings.ecdh_curves, &defaults.ecdh_curves);
    let ecdh_curves = spoken_curves(curves.names, flavor);
    if !curves.names.is_empty() && ecdh_curves.is_empty() {
        return Err(curves.refused(curves_of(flavor)));
    }
    let params = TlsParameters {
        tls_minimum_protocol_version: version(min) as i32,
        tls_maximum_protocol_version: version(max) as i32,
        cipher_suites,
        ecdh_curves,
        ..Default::default()
    };
    Ok(Chosen { params, restricted })
}

/// A server's own list, else that of `tlsDefaults`.
struct List<'a> {
    field: &'static str,
    names: &'a [String],
    is_own: bool,
}

impl<'a> List<'a> {
    fn of(field: &'static str, own: &'a [String], defaults: &'a [String]) -> Self {
        let is_own = !own.is_empty();
        let names = if is_own { own } else { defaults };
        Self {
            field,
            names,
            is_own,
        }
    }

    fn refused(&self, spoken: &[&str]) -> Refused {
        let whose = match self.is_own {
            true => String::new(),
            false => format!("MeshConfig's tlsDefaults.{}: ", self.field),
        };
        let (names, spoken) = (self.names.join(", "), spoken.join(", "));
        let reason = format!("{whose}none of {names} is supported; name {spoken}");
        Refused::new(self.field, reason)
    }
}

fn curves_of(flavor: Flavor) -> &'static [&'static str] {
    match flavor {
        Flavor::Meltemi => COMMON_CURVES,
        Flavor::Envoy => ENVOY_CURVES,
    }
}

fn spoken_curves(names: &[String], flavor: Flavor) -> Vec<String> {
    let mut curves = allowed_curves(names);
    curves.retain(|name| curves_of(flavor).contains(&name.as_str()));
    curves
}

/// Of TLS to servers outside the mesh: 1.2 or 1.3, as Istio asks of clients, and `tlsDefaults`,
/// as far as every proxy speaks it.
pub fn of_client(mesh: &Mesh) -> TlsParameters {
    let mut params = between_sidecars();
    if let Some(defaults) = &mesh.config.tls_defaults {
        allow(&mut params, &defaults.cipher_suites);
        params.ecdh_curves = spoken_curves(&defaults.ecdh_curves, Flavor::Meltemi);
        if params.ecdh_curves.is_empty() {
            // Proxies refuse clusters with names that they do not know, and say so.
            params.ecdh_curves = defaults.ecdh_curves.clone();
        }
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
        allow(&mut params, &own.cipher_suites);
        raise(&mut params, own.min_protocol_version);
    }
    if params.cipher_suites.is_empty() {
        params.cipher_suites = MESH_CIPHERS.map(str::to_owned).into();
    }
    params
}

/// These suites alone; where none is known TLS 1.3 alone, which has its own.
fn allow(params: &mut TlsParameters, suites: &[String]) {
    params.cipher_suites = allowed_cipher_suites(suites);
    if params.cipher_suites.is_empty() && !suites.is_empty() {
        raise(params, TlsProtocol::TlsV13);
    }
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

    fn of(settings: Value, mesh: &Mesh) -> Result<TlsParameters, &'static str> {
        let chosen = of_server(&server(settings), mesh, Flavor::Meltemi);
        chosen
            .map(|chosen| chosen.params)
            .map_err(|refused| refused.field)
    }

    #[test]
    fn what_a_server_says_goes_before_the_meshs_defaults() {
        let plain = mesh(json!({}));
        assert_eq!(of(json!({}), &plain), Ok(TlsParameters::default()));
        let mesh = mesh(json!({"tlsDefaults": {
            "minProtocolVersion": "TLSV1_3",
            "cipherSuites": ["ECDHE-RSA-AES128-GCM-SHA256", "nonsense"],
            "ecdhCurves": ["P-521", "P-384", "P-999", "P-384"],
        }}));
        let params = of(json!({}), &mesh).unwrap();
        assert_eq!(params.tls_minimum_protocol_version, Version::TlSv13 as i32);
        assert_eq!(params.cipher_suites, ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(params.ecdh_curves, ["P-384"]);
        let envoys = of_server(&server(json!({})), &mesh, Flavor::Envoy).unwrap();
        assert_eq!(envoys.params.ecdh_curves, ["P-521", "P-384"]);
        let own = json!({
            "minProtocolVersion": "TLSV1_2",
            "maxProtocolVersion": "TLSV1_2",
            "cipherSuites": ["ECDHE-ECDSA-AES128-GCM-SHA256"],
            "ecdhCurves": ["X25519"],
        });
        let params = of(own, &mesh).unwrap();
        assert_eq!(params.tls_minimum_protocol_version, Version::TlSv12 as i32);
        assert_eq!(params.tls_maximum_protocol_version, Version::TlSv12 as i32);
        assert_eq!(params.cipher_suites, ["ECDHE-ECDSA-AES128-GCM-SHA256"]);
        assert_eq!(params.ecdh_curves, ["X25519"]);
        // The mesh's minimum is not lifted in silence.
        let own = json!({"maxProtocolVersion": "TLSV1_2"});
        assert_eq!(of(own, &mesh), Err("maxProtocolVersion"));
    }

    #[test]
    fn a_list_of_which_nothing_is_left_allows_nothing() {
        let plain = mesh(json!({}));
        for (field, names) in [
            ("cipherSuites", json!(["nonsense"])),
            ("cipherSuites", json!(["ALL", "!ALL"])),
            ("ecdhCurves", json!(["P-521", "CECPQ2"])),
            ("maxProtocolVersion", json!("TLSV1_1")),
        ] {
            assert_eq!(of(json!({field: names}), &plain), Err(field));
        }
        // TLS 1.3 has suites of its own, 1.2 none that may be used.
        let unspoken = server(json!({"cipherSuites": ["AES128-SHA"]}));
        let Chosen { params, restricted } = of_server(&unspoken, &plain, Flavor::Meltemi).unwrap();
        assert_eq!(params.tls_minimum_protocol_version, Version::TlSv13 as i32);
        assert_eq!(restricted.unwrap().field, "cipherSuites");
        let old = json!({"cipherSuites": ["AES128-SHA"], "maxProtocolVersion": "TLSV1_2"});
        assert_eq!(of(old, &plain), Err("cipherSuites"));
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

    #[test]
    fn what_the_mesh_cannot_keep_to_closes() {
        let unknown = json!(["nonsense"]);
        let mesh = mesh(json!({
            "tlsDefaults": {"cipherSuites": unknown, "ecdhCurves": ["P-521"]},
            "meshMTLS": {"cipherSuites": unknown},
        }));
        let client = of_client(&mesh);
        assert_eq!(client.tls_minimum_protocol_version, Version::TlSv13 as i32);
        assert_eq!(client.ecdh_curves, ["P-521"]);
        let sidecar = of_sidecar(&mesh);
        assert_eq!(sidecar.tls_minimum_protocol_version, Version::TlSv13 as i32);
        let refused = of_server(&server(json!({})), &mesh, Flavor::Meltemi).unwrap_err();
        assert!(
            refused
                .reason
                .starts_with("MeshConfig's tlsDefaults.cipherSuites")
        );
    }
}
