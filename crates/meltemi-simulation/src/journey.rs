//! A call by URL, followed from the client's proxy to the server's.

use std::net::{IpAddr, Ipv4Addr};

use meltemi_discovery::{Proxy, ProxyKind};
use meltemi_proxy::dns::{Table, Zone};
use meltemi_proxy::model::Direction;
use serde::Serialize;

use crate::call::{BadCall, Call, Protocol, Tls};
use crate::mesh::Mesh;
use crate::simulation::Endpoint;
use crate::verdict::{Refusal, Verdict};

/// Stands for the address of a host outside the mesh (RFC 5737, TEST-NET-1).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Gateways that a call may pass after the first proxy.
const MOST_GATEWAYS: usize = 4;

/// What a workload asks for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `http://HOST[:PORT]/PATH`; also `https`, `http2`, `grpc`, `tcp`, `tls`.
    pub url: String,
    /// Empty: GET.
    pub method: String,
    pub headers: Vec<(String, String)>,
    /// Instead of what the URL says.
    pub tls: Option<Tls>,
    pub sni: Option<String>,
    pub alpn: Option<Vec<String>>,
    /// The client's address.
    pub source: Option<IpAddr>,
}

/// Why there is nothing to follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error(
        "{0:?} is not a URL such as http://reviews:9080/path; http, https, http2, grpc, tcp and tls are known"
    )]
    Url(String),
    #[error(transparent)]
    Call(#[from] BadCall),
}

/// One proxy on the way.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// `POD.NAMESPACE`.
    pub proxy: String,
    pub role: Role,
    /// The cluster by which the call came here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// What the connection to this proxy is.
    pub tls: Tls,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Beside the client.
    Client,
    Gateway,
    /// Beside the server.
    Server,
}

/// A call and all the proxies it meets; the first is the client's (or the gateway that was
/// asked).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Journey {
    pub host: String,
    pub port: u16,
    /// The mesh knows the host's address.
    pub known: bool,
    pub hops: Vec<Hop>,
}

impl Journey {
    /// Where the call ends badly, and why.
    pub fn refusal(&self) -> Option<(&Hop, &Refusal)> {
        let mut hops = self.hops.iter();
        hops.find_map(|hop| Some((hop, hop.verdict.refusal.as_ref()?)))
    }
}

struct Url {
    protocol: Protocol,
    tls: Tls,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

fn url(text: &str) -> Option<Url> {
    let uri: http::Uri = text.parse().ok()?;
    let (protocol, tls, default) = match uri.scheme_str()? {
        "http" => (Protocol::Http, Tls::Plaintext, Some(80)),
        "https" => (Protocol::Http, Tls::Tls, Some(443)),
        "http2" | "h2c" | "grpc" => (Protocol::Http2, Tls::Plaintext, Some(80)),
        "tcp" => (Protocol::Tcp, Tls::Plaintext, None),
        "tls" => (Protocol::Tcp, Tls::Tls, Some(443)),
        _ => return None,
    };
    let authority = uri.authority()?;
    let host = authority.host().trim_matches(['[', ']']);
    Some(Url {
        protocol,
        tls,
        host: host.to_owned(),
        port: authority.port_u16().or(default)?,
        authority: authority.as_str().to_owned(),
        path: match uri.path_and_query() {
            Some(path) if !path.as_str().is_empty() => path.to_string(),
            _ => "/".to_owned(),
        },
    })
}

impl Mesh {
    /// Follows a request of a workload; one that is asked of a gateway comes to it from outside.
    ///
    /// # Errors
    /// When it is no request that a client could make.
    pub fn follow(&self, from: &Proxy, request: &Request) -> Result<Journey, BadRequest> {
        let url = url(&request.url).ok_or_else(|| BadRequest::Url(request.url.clone()))?;
        let mut call = Call {
            port: url.port,
            protocol: url.protocol,
            tls: request.tls.unwrap_or(url.tls),
            sni: request
                .sni
                .clone()
                .or_else(|| match url.host.parse::<IpAddr>() {
                    Ok(_) => None,
                    Err(_) => Some(url.host.clone()),
                }),
            alpn: request.alpn.clone(),
            host: url.authority,
            path: url.path,
            headers: request.headers.clone(),
            identity: self.identity(from),
            ..Call::default()
        };
        if !request.method.is_empty() {
            call.method.clone_from(&request.method);
        }
        let mut journey = Journey {
            host: url.host,
            port: url.port,
            known: true,
            hops: Vec::new(),
        };
        let role = match from.kind {
            ProxyKind::Gateway => {
                call.address = from.ips.first().copied().unwrap_or(ELSEWHERE);
                call.port = self.listens_at(from, url.port);
                Role::Gateway
            }
            ProxyKind::Sidecar => {
                if let Some(own) = from.ips.first() {
                    call.source = *own;
                }
                match self.resolve(from, &journey.host) {
                    Resolved::At(address) => call.address = address,
                    Resolved::Elsewhere => {
                        journey.known = false;
                        call.address = ELSEWHERE;
                    }
                    Resolved::Nowhere => {
                        journey.known = false;
                        journey.hops.push(Hop {
                            proxy: from.id.clone(),
                            role: Role::Client,
                            through: None,
                            tls: call.tls,
                            verdict: Verdict {
                                refusal: Some(Refusal::NoSuchHost),
                                ..Verdict::default()
                            },
                        });
                        return Ok(journey);
                    }
                }
                Role::Client
            }
        };
        if let Some(source) = request.source {
            call.source = source;
        }
        self.hop(from, role, None, &call, &mut journey)?;
        Ok(journey)
    }

    /// The port that a gateway listens on behind its Service's.
    fn listens_at(&self, gateway: &Proxy, port: u16) -> u16 {
        meltemi_discovery::targets(self.world(), gateway)
            .iter()
            .find(|target| target.port.number == port)
            .map_or(port, |target| target.target_port)
    }

    fn identity(&self, proxy: &Proxy) -> String {
        format!(
            "spiffe://{}/ns/{}/sa/{}",
            self.world().mesh.trust_domain,
            proxy.namespace,
            proxy.service_account
        )
    }

    fn hop(
        &self,
        proxy: &Proxy,
        role: Role,
        through: Option<String>,
        call: &Call,
        journey: &mut Journey,
    ) -> Result<(), BadCall> {
        let simulation = self.simulation(proxy);
        let verdict = simulation.call(call)?;
        let ends = verdict.refusal.is_some() || role == Role::Server;
        let onward = match ends {
            true => Vec::new(),
            false => verdict.destinations().to_vec(),
        };
        let rewrites_path = verdict.effects.path_rewrite.is_some();
        let host = verdict.effects.host_rewrite.clone();
        journey.hops.push(Hop {
            proxy: proxy.id.clone(),
            role,
            through,
            tls: call.tls,
            verdict,
        });
        for destination in onward {
            let Some(endpoint) = simulation
                .endpoints(&destination.cluster)
                .into_iter()
                .next()
            else {
                continue;
            };
            let Some(instance) = self.at(endpoint.ip) else {
                continue;
            };
            let next = self.proxy_of(instance);
            let call = arriving(call, proxy, self.identity(proxy), &endpoint, host.clone());
            let cluster = Some(destination.cluster);
            let gateways = journey.hops.iter().filter(|hop| hop.role == Role::Gateway);
            if instance.gateway && !rewrites_path && gateways.count() < MOST_GATEWAYS {
                self.hop(&next, Role::Gateway, cluster, &call, journey)?;
            } else if instance.workload.mutual_tls {
                let call = Call {
                    direction: Direction::Inbound,
                    ..call
                };
                self.hop(&next, Role::Server, cluster, &call, journey)?;
            }
        }
        Ok(())
    }

    fn resolve(&self, from: &Proxy, host: &str) -> Resolved {
        if let Ok(address) = host.parse() {
            return Resolved::At(address);
        }
        let zone = Zone {
            namespace: from.namespace.clone(),
            domain: from.domain_suffix().to_owned(),
        };
        let simulation = self.simulation(from);
        let (table, _) = Table::from_nds(&simulation.resources().name_table, zone);
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let found = table.find(&host).and_then(|found| {
            let v4 = found.v4.first().map(|ip| IpAddr::V4(*ip));
            v4.or(found.v6.first().map(|ip| IpAddr::V6(*ip)))
        });
        match found {
            Some(address) => Resolved::At(address),
            // Only the mesh can know such names.
            None if !host.contains('.') || table.is_mesh_name(&host) || host.ends_with(".svc") => {
                Resolved::Nowhere
            }
            None => Resolved::Elsewhere,
        }
    }
}

enum Resolved {
    At(IpAddr),
    /// Somewhere outside the mesh, if the host exists.
    Elsewhere,
    /// The name cannot exist.
    Nowhere,
}

/// The call as it comes to an endpoint.
fn arriving(
    call: &Call,
    from: &Proxy,
    identity: String,
    endpoint: &Endpoint,
    host: Option<String>,
) -> Call {
    Call {
        address: endpoint.ip,
        port: endpoint.port,
        // TLS of the application's own passes through what does not end it.
        tls: match (endpoint.tls, call.tls) {
            (Tls::Plaintext, Tls::Tls) if call.protocol == Protocol::Tcp => Tls::Tls,
            (tls, _) => tls,
        },
        alpn: None,
        host: host.unwrap_or_else(|| call.host.clone()),
        source: from.ips.first().copied().unwrap_or(call.source),
        identity,
        ..call.clone()
    }
}
