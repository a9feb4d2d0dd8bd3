//! Service ports of which neither name nor appProtocol says what they speak.

use meltemi_api::k8s::Service;
use meltemi_registry::Protocol;

use crate::code::{EXTERNAL_NAME_PORT, PORT_NAME};
use crate::report::at;
use crate::{Analyzer, Index, Report};

pub struct PortName;

impl Analyzer for PortName {
    fn name(&self) -> &'static str {
        "service.PortNameAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that the ports of Services say what they speak"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (resource, service) in index.of::<Service>() {
            if is_control_plane(&resource.labels) {
                continue;
            }
            let Some(spec) = &service.spec else { continue };
            let external = spec.type_.as_deref() == Some("ExternalName");
            for (position, port) in spec.ports.iter().flatten().enumerate() {
                let name = port.name.as_deref().unwrap_or_default();
                let protocol = Protocol::of_kubernetes(port);
                let field = at!(spec.ports[position]);
                if external && (protocol.is_sniffed() || name == "tcp") {
                    report.add(
                        &EXTERNAL_NAME_PORT,
                        resource,
                        field.field("name"),
                        format!("port {} of an ExternalName Service goes by its SNI or Host, which {name:?} does not promise", port.port),
                        "name it https or tls, or http for plaintext HTTP",
                    );
                } else if protocol.is_sniffed() {
                    let what = match name {
                        "" => format!("port {} has no name", port.port),
                        name => format!(
                            "the name {name:?} of port {} begins with no protocol",
                            port.port
                        ),
                    };
                    report.add(
                        &PORT_NAME,
                        resource,
                        field.field("name"),
                        format!("{what}: what it speaks is detected per connection"),
                        "name it PROTOCOL or PROTOCOL-SUFFIX (http, http2, grpc, tcp, tls ...), or set appProtocol",
                    );
                }
            }
        }
    }
}

/// Istio's own Services, and those that it makes for Kubernetes Gateways.
fn is_control_plane(labels: &crate::selector::Labels) -> bool {
    labels.contains_key("istio")
        || labels
            .get("release")
            .is_some_and(|release| release == "istio")
        || labels.contains_key("gateway.istio.io/managed")
}
