//! TLS of a listener: certificates from Secrets, and whether clients must have one.

use meltemi_api::gateway_api::{
    FrontendValidation, FrontendValidationMode, Gateway, Listener, ListenerTls, ObjectReference,
    SecretObjectReference, TlsMode,
};
use meltemi_api::networking::{ServerTlsMode, ServerTlsSettings};

use super::super::Source;
use super::super::issue::Problem;
use super::Context;
use crate::issue::Issues;
use crate::sds::{self, Holder};
use crate::secret;

/// Istio's option for what is asked of clients: `SIMPLE`, `MUTUAL`, `ISTIO_MUTUAL`.
const MODE: &str = "gateway.istio.io/tls-terminate-mode";

/// The settings of a listener; none for a protocol without TLS.
///
/// # Errors
/// Why the listener must stay closed.
pub fn settings(
    context: &Context<'_>,
    source: &Source<'_, Gateway>,
    listener: &Listener,
    field: &str,
    issues: &mut Issues,
) -> Result<Option<ServerTlsSettings>, Problem> {
    let secure = ["HTTPS", "TLS"].contains(&listener.protocol.as_str());
    let Some(tls) = &listener.tls else {
        return match secure {
            false => Ok(None),
            true => Err(Problem::new(
                "InvalidCertificateRef",
                format!("{field}.tls"),
                "has no certificate; add certificateRefs. The listener is not opened",
            )),
        };
    };
    if tls.mode == TlsMode::Passthrough {
        return Ok(Some(ServerTlsSettings {
            mode: ServerTlsMode::Passthrough,
            ..ServerTlsSettings::default()
        }));
    }
    let field = format!("{field}.tls");
    let mut settings = ServerTlsSettings {
        mode: mode(tls, &field, source, issues)?,
        ..ServerTlsSettings::default()
    };
    if settings.mode == ServerTlsMode::IstioMutual {
        return Ok(Some(settings));
    }
    for (index, reference) in tls.certificate_refs.iter().enumerate() {
        let field = format!("{field}.certificateRefs[{index}]");
        let name = certificate(context, source, reference, &field)?;
        settings.credential_names.push(name);
    }
    match settings.credential_names.as_slice() {
        [] => {
            return Err(Problem::new(
                "InvalidCertificateRef",
                format!("{field}.certificateRefs"),
                "names no Secret; name one with tls.crt and tls.key. The listener is not opened",
            ));
        }
        // Of one certificate the Secret may hold the clients' CA too.
        [_] => settings.credential_name = settings.credential_names.remove(0),
        _ => {}
    }
    if listener.protocol == "HTTPS"
        && let Some((validation, field)) = frontend(source.spec, listener.port)
    {
        clients(context, source, validation, &field, &mut settings, issues)?;
    }
    Ok(Some(settings))
}

fn mode(
    tls: &ListenerTls,
    field: &str,
    source: &Source<'_, Gateway>,
    issues: &mut Issues,
) -> Result<ServerTlsMode, Problem> {
    let mut mode = ServerTlsMode::Simple;
    for (option, value) in &tls.options {
        let at = format!("{field}.options.{option}");
        match (option.as_str(), value.as_str()) {
            (MODE, "SIMPLE") => {}
            (MODE, "MUTUAL") => mode = ServerTlsMode::Mutual,
            (MODE, "ISTIO_MUTUAL") => mode = ServerTlsMode::IstioMutual,
            (MODE, other) => {
                return Err(Problem::new(
                    "Invalid",
                    at,
                    format!(
                        "{other:?} is not a mode; write SIMPLE, MUTUAL or ISTIO_MUTUAL. The listener is not opened"
                    ),
                ));
            }
            _ => issues.add(
                &source.key,
                at,
                "the option is not supported and not in force; remove it",
            ),
        }
    }
    Ok(mode)
}

/// The name of a Secret's certificate.
fn certificate(
    context: &Context<'_>,
    source: &Source<'_, Gateway>,
    reference: &SecretObjectReference,
    field: &str,
) -> Result<String, Problem> {
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    if (group, kind) != ("", "Secret") {
        return Err(Problem::new(
            "InvalidCertificateRef",
            field,
            format!(
                "certificates of {kind} objects are not supported; name a Secret. The listener is not opened"
            ),
        ));
    }
    let own = source.key.namespace.as_str();
    let namespace = non_empty(&reference.namespace, own);
    permitted(context, own, kind, namespace, &reference.name, field)?;
    let place = (namespace.to_owned(), reference.name.clone());
    let complete = context.place.secrets.get(&place).is_some_and(|found| {
        secret::entry(found, &["cert", "tls.crt"]).is_some()
            && secret::entry(found, &["key", "tls.key"]).is_some()
    });
    if !complete {
        return Err(Problem::new(
            "InvalidCertificateRef",
            field,
            format!(
                "there is no Secret {namespace}/{} with tls.crt and tls.key; create it. The listener is not opened until then",
                reference.name
            ),
        ));
    }
    Ok(sds::in_namespace(
        Holder::Secret,
        namespace,
        &reference.name,
    ))
}

fn permitted(
    context: &Context<'_>,
    own: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    field: &str,
) -> Result<(), Problem> {
    if context
        .grants
        .allow(("Gateway", own), ("", kind, namespace, name))
    {
        return Ok(());
    }
    Err(Problem::new(
        "RefNotPermitted",
        field,
        format!(
            "no ReferenceGrant in namespace {namespace} lets Gateways of namespace {own} use {kind} {name}; create one there. The listener is not opened"
        ),
    ))
}

fn non_empty<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// The verification of clients on a port, and where it stands.
fn frontend(gateway: &Gateway, port: u32) -> Option<(&FrontendValidation, String)> {
    let frontend = gateway.tls.as_ref()?.frontend.as_ref()?;
    let field = "spec.tls.frontend";
    let own = frontend.per_port.iter().position(|own| own.port == port);
    let (settings, field) = match own {
        Some(index) => (
            frontend.per_port[index].tls.as_ref()?,
            format!("{field}.perPort[{index}].tls.validation"),
        ),
        None => (
            frontend.default.as_ref()?,
            format!("{field}.default.validation"),
        ),
    };
    Some((settings.validation.as_ref()?, field))
}

/// Makes a server ask clients for certificates.
fn clients(
    context: &Context<'_>,
    source: &Source<'_, Gateway>,
    validation: &FrontendValidation,
    field: &str,
    settings: &mut ServerTlsSettings,
    issues: &mut Issues,
) -> Result<(), Problem> {
    let [reference] = validation.ca_certificate_refs.as_slice() else {
        return Err(Problem::new(
            "InvalidCACertificateRef",
            format!("{field}.caCertificateRefs"),
            "does not name exactly one ConfigMap or Secret with ca.crt; name one. The listener is not opened",
        ));
    };
    let field = format!("{field}.caCertificateRefs[0]");
    settings.ca_cert_credential_name = roots(context, source, reference, &field)?;
    settings.mode = match validation.mode {
        FrontendValidationMode::AllowValidOnly => ServerTlsMode::Mutual,
        FrontendValidationMode::AllowInsecureFallback => {
            issues.add(
                &source.key,
                field,
                "AllowInsecureFallback lets clients in that have no certificate; one that is not valid is refused all the same",
            );
            ServerTlsMode::OptionalMutual
        }
    };
    Ok(())
}

/// The name of CA certificates.
fn roots(
    context: &Context<'_>,
    source: &Source<'_, Gateway>,
    reference: &ObjectReference,
    field: &str,
) -> Result<String, Problem> {
    let own = source.key.namespace.as_str();
    let namespace = non_empty(&reference.namespace, own);
    let place = (namespace.to_owned(), reference.name.clone());
    let (holder, found) = match (reference.group.as_str(), reference.kind.as_str()) {
        ("", "ConfigMap") => (
            Holder::ConfigMap,
            context.place.ca_certificates.contains_key(&place),
        ),
        ("", "Secret") => (
            Holder::Secret,
            context
                .place
                .secrets
                .get(&place)
                .is_some_and(|found| secret::entry(found, &["cacert", "ca.crt"]).is_some()),
        ),
        (_, kind) => {
            return Err(Problem::new(
                "InvalidCACertificateKind",
                field,
                format!(
                    "CA certificates of {kind} objects are not supported; name a ConfigMap or a Secret. The listener is not opened"
                ),
            ));
        }
    };
    permitted(
        context,
        own,
        &reference.kind,
        namespace,
        &reference.name,
        field,
    )?;
    if !found {
        return Err(Problem::new(
            "InvalidCACertificateRef",
            field,
            format!(
                "there is no {} {namespace}/{} with ca.crt; create it. The listener is not opened until then",
                reference.kind, reference.name
            ),
        ));
    }
    let name = format!("{}-cacert", reference.name);
    Ok(sds::in_namespace(holder, namespace, &name))
}
