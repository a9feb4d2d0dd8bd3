//! GatewayClass and Gateway.

use super::super::report::Report;
use super::hostname;
use crate::FieldPath;
use crate::gateway_api::{FromNamespaces, Gateway, GatewayClass, Listener, TlsMode};

/// Most listeners of a Gateway.
const LISTENERS: usize = 64;
/// Protocols that a listener may have; others are implementations' own.
const PROTOCOLS: [&str; 6] = ["HTTP", "HTTPS", "TLS", "TCP", "UDP", "HBONE"];

pub(in crate::validate) fn class(spec: &GatewayClass, at: &FieldPath, report: &mut Report) {
    let at = at.field("controllerName");
    if !spec.controller_name.contains('/') {
        report.error(
            &at,
            "must be DOMAIN/PATH",
            "write istio.io/gateway-controller for this mesh's Gateways",
        );
    }
}

pub(in crate::validate) fn gateway(spec: &Gateway, at: &FieldPath, report: &mut Report) {
    report.required(
        &at.field("gatewayClassName"),
        &spec.gateway_class_name,
        "write istio",
    );
    for (index, address) in spec.addresses.iter().enumerate() {
        if address.kind == "Hostname" && !address.value.is_empty() {
            let at = at.field("addresses").index(index).field("value");
            hostname(&address.value, true, &at, report);
        }
    }
    let at = at.field("listeners");
    if spec.listeners.is_empty() {
        report.error(
            &at,
            "is required",
            "add a listener with name, port and protocol",
        );
    }
    report.at_most_items(&at, spec.listeners.len(), LISTENERS);
    for (index, listener) in spec.listeners.iter().enumerate() {
        let at = at.index(index);
        listener_rules(listener, &at, report);
        let before = &spec.listeners[..index];
        if before.iter().any(|other| other.name == listener.name) {
            let message = format!("the name {:?} is taken by another listener", listener.name);
            report.error(&at.field("name"), message, "rename it");
        }
        let key = |listener: &Listener| {
            (
                listener.port,
                listener.protocol.clone(),
                listener.hostname.clone(),
            )
        };
        if let Some(other) = before.iter().find(|other| key(other) == key(listener)) {
            report.error(
                &at,
                format!(
                    "has port, protocol and hostname of listener {:?}",
                    other.name
                ),
                "change one of the three, or remove it",
            );
        }
    }
}

fn listener_rules(listener: &Listener, at: &FieldPath, report: &mut Report) {
    report.required(&at.field("name"), &listener.name, "name the listener");
    report.port(&at.field("port"), listener.port);
    let protocol = listener.protocol.as_str();
    report.required(
        &at.field("protocol"),
        protocol,
        "write HTTP, HTTPS, TLS or TCP",
    );
    if !protocol.is_empty() && !PROTOCOLS.contains(&protocol) && !protocol.contains('/') {
        let message = format!("{protocol:?} is not a protocol");
        report.error(
            &at.field("protocol"),
            message,
            "write HTTP, HTTPS, TLS or TCP, in capitals",
        );
    }
    let opaque = ["TCP", "UDP"].contains(&protocol);
    if !listener.hostname.is_empty() {
        let at = at.field("hostname");
        if opaque {
            let message = format!("{protocol} has no host names");
            report.error(&at, message, "remove it");
        }
        hostname(&listener.hostname, true, &at, report);
    }
    tls(listener, &at.field("tls"), report);
    if let Some(namespaces) = listener
        .allowed_routes
        .as_ref()
        .and_then(|r| r.namespaces.as_ref())
        && namespaces.from == FromNamespaces::Selector
        && namespaces.selector.is_none()
    {
        report.error(
            &at.field("allowedRoutes")
                .field("namespaces")
                .field("selector"),
            "is required with from: Selector",
            "add matchLabels",
        );
    }
}

fn tls(listener: &Listener, at: &FieldPath, report: &mut Report) {
    let protocol = listener.protocol.as_str();
    let Some(tls) = &listener.tls else {
        if protocol == "TLS" {
            report.error(at, "is required for TLS", "add tls.mode");
        }
        return;
    };
    if ["HTTP", "TCP", "UDP"].contains(&protocol) {
        let message = format!("{protocol} listeners have no TLS");
        report.error(at, message, "use HTTPS or TLS, or remove tls");
    }
    if protocol == "HTTPS" && tls.mode != TlsMode::Terminate {
        report.error(
            &at.field("mode"),
            "must be Terminate for HTTPS",
            "use protocol TLS to pass TLS through",
        );
    }
    if tls.mode == TlsMode::Terminate && tls.certificate_refs.is_empty() && tls.options.is_empty() {
        report.error(
            &at.field("certificateRefs"),
            "is required to end TLS",
            "name a Secret with tls.crt and tls.key",
        );
    }
    for (index, secret) in tls.certificate_refs.iter().enumerate() {
        let at = at.field("certificateRefs").index(index).field("name");
        report.required(&at, &secret.name, "name a Secret");
    }
}
