//! Sidecar.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::destination_rule::pool;
use super::gateway::server_tls;
use super::names::{fqdn, is_label, unix_path, whole_wildcard_domain};
use super::report::Report;
use crate::FieldPath;
use crate::networking::{
    CaptureMode, IstioEgressListener, IstioIngressListener, OutboundTrafficPolicy, ServerTlsMode,
    ServerTlsSettings, Sidecar, SidecarPort,
};

pub(super) fn validate(spec: &Sidecar, namespace: &str, at: &FieldPath, report: &mut Report) {
    if let Some(selector) = &spec.workload_selector {
        let at = at.field("workloadSelector");
        if selector.labels.is_empty() {
            let message = "has no labels: it applies to the whole namespace";
            report.warning(&at, message, "add labels, or remove it");
        }
        report.selector(&at.field("labels"), &selector.labels);
    }
    if spec.egress.is_empty()
        && spec.ingress.is_empty()
        && spec.outbound_traffic_policy.is_none()
        && spec.inbound_connection_pool.is_none()
    {
        report.error(
            at,
            "is empty",
            "add egress, ingress or outboundTrafficPolicy",
        );
    }
    let mut ports = BTreeSet::new();
    for (index, listener) in spec.ingress.iter().enumerate() {
        ingress(
            listener,
            &mut ports,
            &at.field("ingress").index(index),
            report,
        );
    }
    if let Some(limits) = &spec.inbound_connection_pool {
        pool(limits, &at.field("inboundConnectionPool"), report);
    }
    egress(spec, namespace, &at.field("egress"), report);
    if let Some(policy) = &spec.outbound_traffic_policy {
        outbound(policy, &at.field("outboundTrafficPolicy"), report);
    }
}

fn ingress(
    listener: &IstioIngressListener,
    ports: &mut BTreeSet<u32>,
    at: &FieldPath,
    report: &mut Report,
) {
    let Some(port) = &listener.port else {
        return report.error(
            &at.field("port"),
            "is required",
            "add number, name and protocol",
        );
    };
    listener_port(port, &at.field("port"), report);
    if !ports.insert(port.number) {
        let message = format!("port {} is there for a second time", port.number);
        report.error(&at.field("port"), message, "keep one of them");
    }
    if !listener.bind.is_empty() && listener.bind.parse::<IpAddr>().is_err() {
        let message = format!("{:?} is not an address", listener.bind);
        report.error(
            &at.field("bind"),
            message,
            "write an IP address, or leave it out",
        );
    }
    default_endpoint(
        &listener.default_endpoint,
        &at.field("defaultEndpoint"),
        report,
    );
    if let Some(tls) = &listener.tls {
        ingress_tls(tls, port, &at.field("tls"), report);
    }
    if let Some(limits) = &listener.connection_pool {
        pool(limits, &at.field("connectionPool"), report);
    }
}

fn listener_port(port: &SidecarPort, at: &FieldPath, report: &mut Report) {
    report.port(&at.field("number"), port.number);
    if port.target_port != 0 {
        report.warning(
            &at.field("targetPort"),
            "has no effect in a Sidecar",
            "remove it",
        );
    }
}

fn default_endpoint(text: &str, at: &FieldPath, report: &mut Report) {
    if text.is_empty() {
        return;
    }
    if let Some(path) = text.strip_prefix("unix://") {
        return report.check(at, unix_path(path));
    }
    let valid = text.parse::<SocketAddr>().is_ok_and(|address| {
        address.port() != 0 && (address.ip().is_loopback() || address.ip().is_unspecified())
    });
    if !valid {
        report.error(
            at,
            format!("{text:?} is not an endpoint of the workload"),
            "write 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, [::]:PORT or unix:///path",
        );
    }
}

fn ingress_tls(tls: &ServerTlsSettings, port: &SidecarPort, at: &FieldPath, report: &mut Report) {
    for (name, set) in [
        ("httpsRedirect", tls.https_redirect),
        ("credentialName", !tls.credential_name.is_empty()),
        ("credentialNames", !tls.credential_names.is_empty()),
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ("tlsCertificates", !tls.tls_certificates.is_empty()),
    ] {
        if set {
            report.error(
                &at.field(name),
                "is not supported in a Sidecar",
                "remove it",
            );
        }
    }
    if matches!(
        tls.mode,
        ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough
    ) {
        let message = format!("{} is not possible in a Sidecar", tls.mode);
        report.error(&at.field("mode"), message, "use SIMPLE or MUTUAL");
    }
    if !["HTTPS", "TLS"].contains(&port.protocol.to_ascii_uppercase().as_str()) {
        report.error(
            at,
            "is for HTTPS and TLS ports",
            "change the port's protocol",
        );
    }
    server_tls(tls, at, report);
}

fn egress(spec: &Sidecar, own: &str, at: &FieldPath, report: &mut Report) {
    let (mut ports, mut sockets) = (BTreeSet::new(), BTreeSet::new());
    let mut seen_hosts = BTreeSet::new();
    for (index, listener) in spec.egress.iter().enumerate() {
        let at = at.index(index);
        let last = index + 1 == spec.egress.len();
        match (&listener.port, listener.bind.strip_prefix("unix://")) {
            (_, Some(path)) => {
                report.check(&at.field("bind"), unix_path(path));
                if !sockets.insert(listener.bind.as_str()) {
                    report.error(&at.field("bind"), "is there for a second time", "change it");
                }
                if listener.port.as_ref().is_some_and(|port| port.number != 0) {
                    report.error(
                        &at.field("port"),
                        "a Unix socket has no port",
                        "remove number",
                    );
                }
                if !matches!(
                    listener.capture_mode,
                    CaptureMode::Default | CaptureMode::None
                ) {
                    let message = "traffic is not captured to a Unix socket";
                    report.error(&at.field("captureMode"), message, "use NONE");
                }
            }
            (Some(port), None) => {
                listener_port(port, &at.field("port"), report);
                if !ports.insert(port.number) {
                    let message = format!("port {} is there for a second time", port.number);
                    report.error(&at.field("port"), message, "keep one of them");
                }
                if !listener.bind.is_empty() && listener.bind.parse::<IpAddr>().is_err() {
                    let message = format!("{:?} is not an address", listener.bind);
                    report.error(&at.field("bind"), message, "write an IP address");
                }
            }
            (None, None) => {
                if !last {
                    let message = "a listener without port takes what the others leave";
                    report.error(&at, message, "move it to the end");
                }
                if !listener.bind.is_empty() {
                    report.error(
                        &at.field("bind"),
                        "needs a port",
                        "add port, or remove bind",
                    );
                }
            }
        }
        hosts(listener, own, &at.field("hosts"), &mut seen_hosts, report);
    }
}

/// `seen` are the hosts so far, by namespace in full and name.
fn hosts<'a>(
    listener: &'a IstioEgressListener,
    own: &'a str,
    at: &FieldPath,
    seen: &mut BTreeSet<(&'a str, &'a str)>,
    report: &mut Report,
) {
    if listener.hosts.is_empty() {
        report.error(
            at,
            "is required",
            "write for example ./* and istio-system/*",
        );
    }
    for (index, text) in listener.hosts.iter().enumerate() {
        let at = at.index(index);
        let Some((namespace, host)) = text.split_once('/') else {
            report.error(
                &at,
                format!("{text:?} names no namespace"),
                "write NAMESPACE/HOST",
            );
            continue;
        };
        if !["*", ".", "~"].contains(&namespace) && !is_label(namespace) {
            let message = format!("{namespace:?} is not a namespace");
            report.error(&at, message, "write NAMESPACE/HOST, ./HOST or */HOST");
        }
        report.check(&at, whole_wildcard_domain(host));
        if fqdn(host).is_ok() && !host.contains('.') {
            let message = format!("{host:?} is a short name");
            report.error(&at, message, "write the full name");
        }
        let namespace = if namespace == "." { own } else { namespace };
        let covered = namespace != "~" && seen.contains(&(namespace, "*"));
        if !seen.insert((namespace, host)) || covered {
            report.warning(&at, format!("{text:?} is covered already"), "remove it");
        }
    }
}

fn outbound(policy: &OutboundTrafficPolicy, at: &FieldPath, report: &mut Report) {
    let Some(proxy) = &policy.egress_proxy else {
        return;
    };
    let field = at.field("egressProxy");
    if policy.mode != crate::networking::OutboundTrafficPolicyMode::AllowAny {
        report.error(&field, "is for mode ALLOW_ANY", "set mode: ALLOW_ANY");
    }
    report.check(&field.field("host"), fqdn(&proxy.host));
    match &proxy.port {
        Some(port) => report.port(&field.field("port").field("number"), port.number),
        None => report.error(&field.field("port"), "is required", "set port.number"),
    }
}
