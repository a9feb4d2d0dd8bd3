//! The TLS that a gateway's servers and a Sidecar's ingress listeners end: certificates from
//! Secrets, from files, or the proxy's own mesh identity.

use meltemi_api::networking::{ServerTlsMode, ServerTlsSettings};
use meltemi_api::{Kind, ObjectKey};

use crate::issue::Issues;
use crate::pb::tls::TlsParameters;
use crate::pb::{self, core, tls};
use crate::proxy::Proxy;
use crate::sds::{self, TLS_SOCKET};
use crate::tls_params::{self, Refused};
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
fn enforceable(
    scope: &Scope<'_>,
    proxy: &Proxy,
    place: &Place<'_>,
    settings: &ServerTlsSettings,
    issues: &mut Issues,
) -> Option<TlsParameters> {
    let by_secret = !settings.credential_name.is_empty() || !settings.credential_names.is_empty();
    let chosen = match tls_params::of_server(settings, &scope.world.mesh, proxy.flavor) {
        Ok(_) if wants_client(settings) && by_secret && !settings.ca_crl.is_empty() => Err(
            Refused::new("caCrl", "not supported beside credentialName; remove it"),
        ),
        chosen => chosen,
    };
    let mut tell = |refused: Refused, more: &str| {
        let message = refused.reason + more;
        issues.add(place.object, place.field(refused.field), message);
    };
    match chosen {
        Ok(chosen) => {
            if let Some(restricted) = chosen.restricted {
                tell(restricted, "");
            }
            Some(chosen.params)
        }
        Err(refused) => {
            tell(refused, "; the server refuses connections until then");
            None
        }
    }
}

fn wants_client(settings: &ServerTlsSettings) -> bool {
    matches!(
        settings.mode,
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    )
}

/// What clients' certificates have to be, whoever issued them.
fn clients(settings: &ServerTlsSettings) -> tls::CertificateValidationContext {
    let names = settings.subject_alt_names.iter();
    tls::CertificateValidationContext {
        verify_certificate_spki: settings.verify_certificate_spki.clone(),
        verify_certificate_hash: settings.verify_certificate_hash.clone(),
        ..sds::validation(names.map(|name| pb::exact(name)).collect())
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
        let mut clients = clients(settings);
        if settings.subject_alt_names.is_empty() {
            let domain = sds::validation(sds::of_trust_domains([&mesh.trust_domain]));
            clients = tls::CertificateValidationContext {
                verify_certificate_spki: clients.verify_certificate_spki,
                verify_certificate_hash: clients.verify_certificate_hash,
                ..domain
            };
        }
        let context = sds::mesh_server(clients, alpn, tls_params::of_sidecar(mesh));
        return Some(pb::transport_socket(TLS_SOCKET, &context));
    }
    let params = enforceable(scope, proxy, place, settings, issues)?;
    if settings.insecure_skip_verify == Some(true) {
        issues.add(
            key,
            place.field("insecureSkipVerify"),
            "not supported and not in force; remove it",
        );
    }
    let wants_client = wants_client(settings);
    let mut common = tls::CommonTlsContext {
        tls_params: (params != TlsParameters::default()).then_some(params),
        ..Default::default()
    };
    if http {
        common.alpn_protocols = vec!["h2".to_owned(), "http/1.1".to_owned()];
    }
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
            common.validation_context_type =
                Some(sds::combined(clients(settings), sds::kubernetes(&roots)));
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
                        ..clients(settings)
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
