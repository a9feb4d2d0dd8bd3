//! Ingress listeners that a Sidecar declares, in place of those of the services.

use meltemi_api::ObjectKey;
use meltemi_api::networking::{CaptureMode, IstioIngressListener};
use meltemi_registry::{Port, Protocol};

use crate::issue::Issues;
use crate::pb::{self, core};
use crate::proxy::Proxy;
use crate::world::scope::Scope;

/// One declared listener.
#[derive(Debug)]
pub struct Ingress<'w> {
    pub port: Port,
    pub spec: &'w IstioIngressListener,
    pub sidecar: &'w ObjectKey,
    /// Position in the Sidecar's list.
    pub index: usize,
}

/// Where an ingress listener's requests go.
#[derive(Debug, Clone, PartialEq)]
pub enum Endpoint {
    /// To the address and port they came for.
    AsReceived,
    At(core::Address),
}

/// The declared listeners; `None` where the Sidecar declares none.
pub fn listeners<'w>(scope: &Scope<'w>) -> Option<Vec<Ingress<'w>>> {
    let sidecar = scope.sidecar?;
    if sidecar.spec.ingress.is_empty() {
        return None;
    }
    let listeners = sidecar
        .spec
        .ingress
        .iter()
        .enumerate()
        .filter_map(|(index, spec)| {
            let port = spec.port.as_ref()?;
            Some(Ingress {
                port: Port {
                    name: port.name.clone(),
                    number: u16::try_from(port.number).ok()?,
                    protocol: Protocol::parse(&port.protocol).unwrap_or(Protocol::Sniffed),
                },
                spec,
                sidecar: &sidecar.key,
                index,
            })
        })
        .collect();
    Some(listeners)
}

impl Ingress<'_> {
    /// Reached through the redirection, not by binding the port.
    pub fn is_captured(&self) -> bool {
        self.spec.capture_mode != CaptureMode::None
    }

    pub fn field(&self, name: &str) -> String {
        format!("spec.ingress[{}].{name}", self.index)
    }
}

/// Reads `defaultEndpoint`: `127.0.0.1:PORT`, `[::1]:PORT`, `0.0.0.0:PORT` and `[::]:PORT` (the
/// workload's own address) or `unix:///PATH`; nothing means as received.
pub fn endpoint(proxy: &Proxy, listener: &Ingress<'_>, issues: &mut Issues) -> Endpoint {
    let text = listener.spec.default_endpoint.as_str();
    if text.is_empty() {
        return Endpoint::AsReceived;
    }
    if let Some(path) = text.strip_prefix("unix://") {
        return Endpoint::At(pb::pipe_address(path));
    }
    match text.parse::<std::net::SocketAddr>() {
        // The workload's own address.
        Ok(address) if address.ip().is_unspecified() && proxy.intercepts => {
            let mut own = proxy.ips.iter();
            match own.find(|ip| ip.is_ipv4() == address.is_ipv4()) {
                Some(ip) => Endpoint::At(pb::socket_address(
                    &ip.to_string(),
                    u32::from(address.port()),
                )),
                None => Endpoint::AsReceived,
            }
        }
        // Beside a proxy that binds the port the application is on its loopback.
        Ok(address) if address.ip().is_unspecified() => match proxy.application() {
            Some(ip) => Endpoint::At(pb::socket_address(
                &ip.to_string(),
                u32::from(address.port()),
            )),
            None => Endpoint::AsReceived,
        },
        Ok(address) => {
            // The workload's own loopback, which it has to itself only in a network of its own.
            let ip = match &proxy.loopback {
                Some(loopback) if address.ip().is_loopback() => loopback.application.into(),
                _ => address.ip(),
            };
            Endpoint::At(pb::socket_address(
                &ip.to_string(),
                u32::from(address.port()),
            ))
        }
        Err(_) => {
            issues.add(
                listener.sidecar,
                listener.field("defaultEndpoint"),
                format!("{text:?} is not ADDRESS:PORT or unix:///PATH; requests go to the port they came for"),
            );
            Endpoint::AsReceived
        }
    }
}
