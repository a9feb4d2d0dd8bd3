//! Port names that begin with a protocol and are still not read as one.

use meltemi_api::k8s::Service;
use meltemi_registry::Protocol;

use crate::code::PORT_NAME_LOOKS_LIKE_PROTOCOL;
use crate::report::at;
use crate::{Analyzer, Index, Report};

pub struct PortNameForm;

/// Longest first, so that `http2web` is not taken for `http`.
const PROTOCOLS: [&str; 11] = [
    "grpc-web", "https", "http2", "mongo", "mysql", "redis", "http", "grpc", "tls", "tcp", "udp",
];

impl Analyzer for PortNameForm {
    fn name(&self) -> &'static str {
        "service.PortNameFormAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks for port names that begin with a protocol but not in the form that is read"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        for (resource, service) in index.of::<Service>() {
            let ports = service
                .spec
                .iter()
                .flat_map(|spec| spec.ports.iter().flatten());
            for (position, port) in ports.enumerate() {
                let name = port.name.as_deref().unwrap_or_default();
                let protocol = Protocol::of_kubernetes(port);
                let lower = name.to_ascii_lowercase();
                let hidden = PROTOCOLS
                    .into_iter()
                    .find_map(|known| Some((known, lower.strip_prefix(known)?)));
                if let Some((known, suffix)) = hidden.filter(|_| protocol.is_sniffed()) {
                    let suffix = suffix.trim_start_matches(['_', '.', '-']);
                    report.add(
                        &PORT_NAME_LOOKS_LIKE_PROTOCOL,
                        resource,
                        at!(spec.ports[position].name),
                        format!("the name {name:?} is not read as {known}: a suffix begins with a hyphen"),
                        format!("rename it {known}-{suffix}, or set appProtocol: {known}"),
                    );
                }
            }
        }
    }
}
