//! SDS: Kubernetes Secrets for gateways, as `kubernetes://NAME`.
//!
//! A proxy gets Secrets of its own namespace, and of those only the ones that a Gateway selecting
//! it names (or a DestinationRule that selects it): a Secret is never served because it was asked
//! for. Those of other namespaces are a Kubernetes Gateway's to name, whose references were
//! checked against ReferenceGrants.

use std::collections::BTreeSet;

use meltemi_api::{ObjectKey, k8s};

use crate::issue::Issues;
use crate::listener::GatewayListener;
use crate::pb::{core, tls};
use crate::proxy::Proxy;
use crate::sds::{self, Holder};
use crate::world::scope::Scope;

/// The Secrets that the proxy's listeners and clusters name.
pub fn translate(
    scope: &Scope<'_>,
    proxy: &Proxy,
    gateways: &[GatewayListener<'_>],
    issues: &mut Issues,
) -> Vec<tls::Secret> {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for server in gateways.iter().flat_map(|gateway| &gateway.servers) {
        let Some(tls) = server.tls() else { continue };
        let mut named = tls.credential_names.clone();
        named.push(tls.ca_cert_credential_name.clone());
        if !tls.credential_name.is_empty() {
            named.push(tls.credential_name.clone());
            named.push(format!("{}-cacert", tls.credential_name));
        }
        named.retain(|name| {
            server.gateway.names_any_secret() || sds::of_any_namespace(name).is_none()
        });
        wanted.extend(named);
    }
    let rules = scope
        .services
        .values()
        .filter_map(|service| scope.rule(service));
    for rule in rules {
        let gateway = proxy.kind == crate::proxy::ProxyKind::Gateway;
        if !gateway && (rule.selector.is_empty() || rule.key.namespace != proxy.namespace) {
            continue;
        }
        let policies = rule.traffic_policy.iter().chain(
            rule.subsets
                .iter()
                .filter_map(|subset| subset.traffic_policy.as_ref()),
        );
        for policy in policies {
            let ports = policy
                .port_level_settings
                .iter()
                .filter_map(|port| port.tls.as_ref());
            for tls in policy.tls.iter().chain(ports) {
                let own = sds::of_any_namespace(&tls.credential_name).is_none();
                if own && !tls.credential_name.is_empty() {
                    wanted.insert(tls.credential_name.clone());
                    wanted.insert(format!("{}-cacert", tls.credential_name));
                }
            }
        }
    }
    wanted.remove("");
    wanted
        .iter()
        .filter_map(|name| resolve(scope, proxy, name, issues))
        .collect()
}

fn resolve(
    scope: &Scope<'_>,
    proxy: &Proxy,
    name: &str,
    issues: &mut Issues,
) -> Option<tls::Secret> {
    let (holder, namespace, own_name) =
        sds::of_any_namespace(name).unwrap_or((Holder::Secret, &proxy.namespace, name));
    if holder == Holder::ConfigMap {
        let own_name = own_name.strip_suffix("-cacert").unwrap_or(own_name);
        let place = (namespace.to_owned(), own_name.to_owned());
        let roots = scope.world.ca_certificates.get(&place)?;
        return Some(tls::Secret {
            name: sds::resource(name),
            r#type: Some(tls::secret::Type::ValidationContext(
                tls::CertificateValidationContext {
                    trusted_ca: Some(inline(roots.as_bytes().to_vec())),
                    ..Default::default()
                },
            )),
        });
    }
    let find = |name: &str| {
        scope
            .world
            .secrets
            .get(&(namespace.to_owned(), name.to_owned()))
            .map(|secret| &**secret)
    };
    let secret = match own_name.strip_suffix("-cacert") {
        // The roots stand in a Secret of their own, or beside the certificate.
        Some(base) => {
            let secret = find(own_name).or_else(|| find(base))?;
            let roots = entry(secret, &["cacert", "ca.crt"])?;
            tls::secret::Type::ValidationContext(tls::CertificateValidationContext {
                trusted_ca: Some(inline(roots)),
                crl: entry(secret, &["ca.crl", "crl"]).map(inline),
                ..Default::default()
            })
        }
        None => {
            let secret = find(own_name)?;
            let certificate = entry(secret, &["cert", "tls.crt"]);
            let key = entry(secret, &["key", "tls.key"]);
            match (certificate, key, entry(secret, &["cacert", "ca.crt"])) {
                (Some(certificate), Some(key), _) => {
                    tls::secret::Type::TlsCertificate(tls::TlsCertificate {
                        certificate_chain: Some(inline(certificate)),
                        private_key: Some(inline(key)),
                        ocsp_staple: entry(secret, &["tls.ocsp-staple"]).map(inline),
                        ..Default::default()
                    })
                }
                (None, None, Some(roots)) => {
                    tls::secret::Type::ValidationContext(tls::CertificateValidationContext {
                        trusted_ca: Some(inline(roots)),
                        ..Default::default()
                    })
                }
                _ => {
                    issues.add(
                        &ObjectKey::new(meltemi_api::Kind::Secret, namespace, own_name),
                        "data",
                        "has no tls.crt and tls.key (or cert and key); add both. Connections that need it wait",
                    );
                    return None;
                }
            }
        }
    };
    Some(tls::Secret {
        name: sds::resource(name),
        r#type: Some(secret),
    })
}

/// The first of the entries that a Secret has.
pub fn entry(secret: &k8s::Secret, names: &[&str]) -> Option<Vec<u8>> {
    names.iter().find_map(|name| {
        let data = secret.data.as_ref().and_then(|data| data.get(*name));
        let text = secret.string_data.as_ref().and_then(|data| data.get(*name));
        data.map(|bytes| bytes.0.clone())
            .or_else(|| text.map(|text| text.clone().into_bytes()))
    })
}

fn inline(bytes: Vec<u8>) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineBytes(bytes)),
        ..Default::default()
    }
}
