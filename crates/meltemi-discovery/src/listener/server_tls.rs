//! The TLS that a gateway's servers and a Sidecar's ingress listeners end: certificates from
//! Secrets, from files, or the proxy's own mesh identity.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meltemi_api::networking::{ServerTlsMode, ServerTlsSettings};
use meltemi_api::{Kind, ObjectKey};

use crate::issue::Issues;
use crate::pb::{self, core, tls};
use crate::proxy::{Flavor, Proxy};
use crate::sds::{self, TLS_SOCKET};
use crate::tls_params;
use crate::world::scope::Scope;

/// Where the settings stand.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub object: &'a ObjectKey,
    /// For example `spec.servers[0].tls`.
    pub path: String,
}

impl Place<'_> {
    /// Other kinds' objects have other names for the fields: the path alone says enough there.
    fn field(&self, name: &str) -> String {
        match self.object.kind {
            Kind::KubernetesGateway | Kind::Ingress => self.path.clone(),
            _ => format!("{}.{name}", self.path),
        }
    }
}

/// Restrictions that the proxy could not keep: without them it would let clients in that are to
/// be kept out, so that the server is not opened at all.
fn unenforceable(
    proxy: &Proxy,
    place: &Place<'_>,
    settings: &ServerTlsSettings,
    issues: &mut Issues,
) -> bool {
    let by_secret = !settings.credential_name.is_empty() || !settings.credential_names.is_empty();
    let wants_client = matches!(
        settings.mode,
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    );
    let mut found = Vec::new();
    if wants_client && by_secret && !settings.ca_crl.is_empty() {
        found.push(("caCrl", "not supported beside credentialName".to_owned()));
    }
    if wants_client {
        let not = |what: &str, value: &String| format!("{value:?} is not a SHA-256 hash in {what}");
        let hashes = &settings.verify_certificate_hash;
        if let Some(bad) = hashes.iter().find(|hash| !is_hex_hash(hash)) {
            let reason = not("hex (64 digits)", bad);
            found.push(("verifyCertificateHash", reason));
        }
        let keys = &settings.verify_certificate_spki;
        if let Some(bad) = keys.iter().find(|hash| !is_base64_hash(hash)) {
            let reason = not("base64 (44 characters)", bad);
            found.push(("verifyCertificateSpki", reason));
        }
    }
    let curves = &settings.ecdh_curves;
    let none_spoken = !curves.is_empty() && !curves.iter().any(|name| SPOKEN.contains(&&**name));
    if proxy.flavor == Flavor::Meltemi && none_spoken {
        let reason = format!(
            "none of {} is supported; name {}",
            curves.join(", "),
            SPOKEN.join(", ")
        );
        found.push(("ecdhCurves", reason));
    }
    for (name, reason) in &found {
        issues.add(
            place.object,
            place.field(name),
            format!("{reason}; the server refuses connections until it is removed"),
        );
    }
    !found.is_empty()
}

/// Key exchange groups that our proxy speaks.
const SPOKEN: [&str; 4] = ["P-256", "P-384", "X25519", "X25519MLKEM768"];

fn is_hex_hash(text: &str) -> bool {
    let digits = text.replace(':', "");
    digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn is_base64_hash(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|hash| hash.len() == 32)
}

/// What clients' certificates have to be, whoever issued them.
fn clients(
    settings: &ServerTlsSettings,
    names: Vec<pb::matcher::StringMatcher>,
) -> tls::CertificateValidationContext {
    tls::CertificateValidationContext {
        verify_certificate_spki: settings.verify_certificate_spki.clone(),
        verify_certificate_hash: settings.verify_certificate_hash.clone(),
        ..sds::validation(names)
    }
}

/// The TLS that a server ends; `None` when it must not be opened.
pub fn terminate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    place: &Place<'_>,
    settings: &ServerTlsSettings,
    http: bool,
    issues: &mut Issues,
) -> Option<core::TransportSocket> {
    let key = place.object;
    if settings.mode == ServerTlsMode::IstioMutual {
        let mesh = &scope.world.mesh;
        let alpn: &[&str] = if http {
            &["h2", "http/1.1"]
        } else {
            &["istio-peer-exchange", "h2", "http/1.1"]
        };
        let domains = std::slice::from_ref(&mesh.trust_domain);
        let params = tls_params::of_sidecar(mesh);
        let context = sds::mesh_server(domains, alpn, params);
        return Some(pb::transport_socket(TLS_SOCKET, &context));
    }
    if unenforceable(proxy, place, settings, issues) {
        return None;
    }
    if settings.insecure_skip_verify == Some(true) {
        issues.add(
            key,
            place.field("insecureSkipVerify"),
            "not supported and not in force; remove it",
        );
    }
    let wants_client = matches!(
        settings.mode,
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    );
    let mut common = tls::CommonTlsContext {
        tls_params: tls_params::of_server(settings, &scope.world.mesh),
        ..Default::default()
    };
    if http {
        common.alpn_protocols = vec!["h2".to_owned(), "http/1.1".to_owned()];
    }
    let names: Vec<_> = settings
        .subject_alt_names
        .iter()
        .map(|name| pb::exact(name))
        .collect();
    let secrets: Vec<&String> = std::iter::once(&settings.credential_name)
        .chain(&settings.credential_names)
        .filter(|name| !name.is_empty())
        .collect();
    if let Some(external) = secrets.iter().find(|name| name.starts_with("sds://")) {
        issues.add(
            key,
            place.field("credentialName"),
            format!(
                "{external}: SDS servers of others are not supported, as keys would cross the network unprotected; name a Secret. The server is not opened"
            ),
        );
        return None;
    }
    let roots = std::iter::once(&settings.ca_cert_credential_name);
    let foreign = |name: &&&String| {
        key.kind != Kind::KubernetesGateway && sds::of_any_namespace(name).is_some()
    };
    if let Some(foreign) = secrets
        .iter()
        .copied()
        .chain(roots)
        .find(|name| foreign(&name))
    {
        issues.add(
            key,
            place.field("credentialName"),
            format!(
                "{foreign}: only a Gateway of the Gateway API may use another namespace's Secret; copy it. The server is not opened"
            ),
        );
        return None;
    }
    if let Some(first) = secrets.first() {
        common.tls_certificate_sds_secret_configs =
            secrets.iter().map(|name| sds::kubernetes(name)).collect();
        if wants_client {
            let roots = if settings.ca_cert_credential_name.is_empty() {
                format!("{first}-cacert")
            } else {
                settings.ca_cert_credential_name.clone()
            };
            common.validation_context_type = Some(sds::combined(
                clients(settings, names),
                sds::kubernetes(&roots),
            ));
        }
        for name in &secrets {
            let namespace = scope.namespace.clone();
            if !name.contains('/')
                && !scope
                    .world
                    .secrets
                    .contains_key(&(namespace.clone(), (*name).clone()))
            {
                issues.add(
                    key,
                    place.field("credentialName"),
                    format!(
                        "Secret {namespace}/{name} does not exist; create it (kind Secret, type kubernetes.io/tls). Connections wait until then"
                    ),
                );
            }
        }
    } else {
        common.tls_certificates =
            std::iter::once((&settings.server_certificate, &settings.private_key))
                .chain(
                    settings
                        .tls_certificates
                        .iter()
                        .map(|pair| (&pair.server_certificate, &pair.private_key)),
                )
                .filter(|(certificate, _)| !certificate.is_empty())
                .map(|(certificate, private_key)| sds::file_certificate(certificate, private_key))
                .collect();
        if wants_client {
            common.validation_context_type = Some(
                tls::common_tls_context::ValidationContextType::ValidationContext(
                    tls::CertificateValidationContext {
                        trusted_ca: Some(sds::file(&settings.ca_certificates)),
                        crl: (!settings.ca_crl.is_empty()).then(|| sds::file(&settings.ca_crl)),
                        ..clients(settings, names)
                    },
                ),
            );
        }
    }
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: pb::boolv(settings.mode == ServerTlsMode::Mutual),
        ..Default::default()
    };
    Some(pb::transport_socket(TLS_SOCKET, &context))
}
