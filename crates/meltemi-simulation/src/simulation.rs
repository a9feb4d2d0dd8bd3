//! A proxy's whole configuration, asked about calls.

use std::collections::HashMap;
use std::net::IpAddr;

use meltemi_discovery::pb::{cluster, core, endpoint, listener};
use meltemi_discovery::{Issue, Proxy, Resources, World, translate};
use meltemi_proxy::model::{self, ClusterChoice, ServerTls};
use meltemi_proxy::offline::{Chain, HandshakeFailure, Offline, Outcome, Refused, Request};

use crate::call::{BadCall, Call, Tls};
use crate::effects::{self, Action, Destination, Redirect, State};
use crate::reasons;
use crate::rule::Rule;
use crate::upstream;
use crate::verdict::{Downstream, PassedOver, Refusal, Verdict};

/// An endpoint, and what a proxy speaks to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: IpAddr,
    pub port: u16,
    pub tls: Tls,
}

/// What one proxy is configured with.
pub struct Simulation {
    resources: Resources,
    offline: Offline,
    clusters: HashMap<String, (State, Option<Rule>)>,
}

impl Simulation {
    /// Translates a World for a proxy, and compiles the result as that proxy would.
    pub fn new(world: &World, proxy: &Proxy) -> Self {
        let resources = translate(world, proxy);
        let offline = Offline::new(
            resources.listeners.iter().cloned(),
            resources.routes.iter().cloned(),
            resources.clusters.iter().cloned(),
        );
        let clusters = clusters(&resources);
        Self {
            resources,
            offline,
            clusters,
        }
    }

    /// What the proxy is sent.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// What of the objects the proxy does not get.
    pub fn issues(&self) -> &[Issue] {
        &self.resources.issues
    }

    /// What the proxy does not take.
    pub fn refused(&self) -> &[Refused] {
        self.offline.refused()
    }

    /// What becomes of a call.
    ///
    /// # Errors
    /// When no client can make such a call.
    pub fn call(&self, call: &Call) -> Result<Verdict, BadCall> {
        let offline = call.offline()?;
        let decision = self.offline.decide(&offline);
        let mut verdict = Verdict {
            listener: decision.listener.map(|listener| listener.name.to_string()),
            ..Verdict::default()
        };
        let message = self
            .resources
            .listeners
            .iter()
            .find(|known| Some(&known.name) == verdict.listener.as_ref());
        if let Some(Chain { chain, position }) = decision.chain {
            verdict.filter_chain = Some(chain.name.to_string());
            verdict.downstream = chain.tls.as_deref().map(downstream);
            let chain = message.and_then(|message| filter_chain(message, position));
            verdict.rule = chain.and_then(|chain| Rule::of(chain.metadata.as_ref()));
        }
        let mesh = verdict.downstream.as_ref().map(Downstream::is_mesh);
        let wrong_mesh = mesh.is_some_and(|mesh| mesh != (call.tls == Tls::Mtls));
        match decision.outcome {
            Outcome::NoListener => verdict.refusal = Some(Refusal::NoListener),
            Outcome::NoChain => verdict.refusal = Some(Refusal::NoFilterChain),
            Outcome::Handshake(_, HandshakeFailure::Plaintext) => {
                verdict.refusal = Some(Refusal::TlsError);
            }
            // A workload's client takes nobody's certificate but a workload's.
            Outcome::Handshake(_, HandshakeFailure::NoCertificate) => {
                verdict.refusal = Some(Refusal::MtlsError);
            }
            _ if wrong_mesh => verdict.refusal = Some(Refusal::MtlsError),
            Outcome::NotHttp => verdict.refusal = Some(Refusal::ProtocolError),
            Outcome::Refused(status, details) => {
                verdict.refusal = Some(Refusal::BadRequest(
                    status.as_u16(),
                    details.clone().into_owned(),
                ));
            }
            Outcome::NoTable(name) => {
                verdict.route_config = Some(name.to_owned());
                verdict.refusal = Some(Refusal::NoRouteConfig);
            }
            Outcome::Denied(details) => {
                verdict.refusal = Some(Refusal::ConnectionDenied(details.into_owned()));
            }
            Outcome::Relayed(proxy) => {
                let clusters = proxy.clusters.iter();
                let clusters: Vec<_> = clusters.map(|(id, weight)| self.to(*id, *weight)).collect();
                verdict.refusal = no_cluster(&clusters);
                verdict.action = Some(Action::Forward { clusters });
            }
            Outcome::Request(request) => self.request(&request, &mut verdict),
        }
        Ok(verdict)
    }

    /// The endpoints of a cluster that have an IP address, in the order of their localities.
    pub fn endpoints(&self, cluster: &str) -> Vec<Endpoint> {
        let message = self.resources.clusters.iter().find(|c| c.name == cluster);
        let Some(message) = message else {
            return Vec::new();
        };
        let mut assignments = self.resources.endpoints.iter();
        let assignment = assignments
            .find(|assignment| assignment.cluster_name == cluster)
            .or(message.load_assignment.as_ref());
        let groups = assignment
            .iter()
            .flat_map(|assignment| &assignment.endpoints);
        groups
            .flat_map(|group| &group.lb_endpoints)
            .filter_map(|endpoint| {
                let address = upstream::address(endpoint)?;
                Some(Endpoint {
                    ip: address.ip(),
                    port: address.port(),
                    tls: upstream::tls(message, endpoint),
                })
            })
            .collect()
    }

    fn request(&self, request: &Request<'_>, verdict: &mut Verdict) {
        let table = request.table;
        verdict.route_config = Some(table.name.to_string());
        if let Some(details) = &request.denied {
            verdict.refusal = Some(Refusal::Denied(details.clone().into_owned()));
            return;
        }
        let Some(position) = request.host else {
            verdict.refusal = Some(Refusal::NoVirtualHost);
            return;
        };
        verdict.virtual_host = Some(table.hosts[position].name.to_string());
        // Inline tables have no message of their own; they hold no rules either.
        let message = self
            .resources
            .routes
            .iter()
            .find(|known| *known.name == *table.name)
            .and_then(|table| table.virtual_hosts.get(position));
        let rule = |position: usize| {
            let route = message?.routes.get(position)?;
            Rule::of(route.metadata.as_ref())
        };
        verdict.passed_over = request
            .passed_over
            .iter()
            .map(|(position, mismatch)| PassedOver {
                rule: rule(*position),
                reason: reasons::mismatch(mismatch),
            })
            .collect();
        if request.requires_tls {
            verdict.action = Some(Action::Redirect(Redirect {
                status: 301,
                scheme: Some("https".to_owned()),
                ..Redirect::default()
            }));
            return;
        }
        let Some((position, route)) = request.route else {
            verdict.refusal = Some(Refusal::NoRoute);
            return;
        };
        verdict.route = Some(route.name.to_string());
        verdict.rule = rule(position);
        let routes = table.hosts[request.host.unwrap_or_default()].routes.len();
        verdict.not_reached = (position + 1..routes).filter_map(rule).collect();
        if let Some(message) = message.and_then(|host| host.routes.get(position)) {
            verdict.effects = effects::effects(message, &route.filters);
        }
        verdict.action = match &route.action {
            model::Action::Forward(forward) => {
                let clusters = self.choice(&forward.cluster);
                verdict.refusal = no_cluster(&clusters);
                Some(Action::Forward { clusters })
            }
            model::Action::Redirect(redirect) => Some(Action::Redirect(redirection(redirect))),
            model::Action::Direct(answer) => Some(Action::Respond {
                status: answer.status.as_u16(),
            }),
            model::Action::NonForwarding => {
                verdict.refusal = Some(Refusal::NoRoute);
                None
            }
        };
    }

    fn choice(&self, choice: &ClusterChoice) -> Vec<Destination> {
        match choice {
            ClusterChoice::One(id) => vec![self.to(*id, 1)],
            ClusterChoice::Weighted { clusters, .. } => clusters
                .iter()
                .map(|weighted| self.to(weighted.cluster, weighted.weight))
                .collect(),
            // No translation makes such routes.
            ClusterChoice::Header(_) => Vec::new(),
        }
    }

    fn to(&self, id: model::ClusterId, weight: u32) -> Destination {
        let cluster = self.offline.cluster_name(id).to_owned();
        let (state, rule) = match self.clusters.get(&cluster) {
            Some((state, rule)) => (*state, rule.clone()),
            None => (State::Unknown, None),
        };
        Destination {
            cluster,
            weight,
            state,
            rule,
        }
    }
}

/// Where nothing that the call could go to exists.
fn no_cluster(clusters: &[Destination]) -> Option<Refusal> {
    let none = clusters.iter().all(|to| to.state == State::Unknown);
    none.then_some(Refusal::NoCluster)
}

fn filter_chain(
    listener: &listener::Listener,
    position: Option<usize>,
) -> Option<&listener::FilterChain> {
    match position {
        Some(position) => listener.filter_chains.get(position),
        None => listener.default_filter_chain.as_ref(),
    }
}

fn downstream(tls: &ServerTls) -> Downstream {
    let common = &tls.spec.common;
    Downstream {
        certificates: common.certificates.iter().map(|n| n.to_string()).collect(),
        requires_client_certificate: tls.requires_client_cert,
        alpn: common
            .alpn
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
    }
}

fn redirection(redirect: &model::Redirect) -> Redirect {
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    Redirect {
        status: redirect.status.as_u16(),
        scheme: match redirect.https {
            true => Some("https".to_owned()),
            false => text(&redirect.scheme),
        },
        host: text(&redirect.host),
        port: redirect.port,
        path: match &redirect.path {
            model::PathRewrite::Prefix(prefix) => Some(prefix.to_string()),
            model::PathRewrite::Regex(_, substitution) => Some(substitution.to_string()),
            model::PathRewrite::None => text(&redirect.full_path),
        },
    }
}

/// What is known of every cluster.
fn clusters(resources: &Resources) -> HashMap<String, (State, Option<Rule>)> {
    let assignments: HashMap<&str, usize> = resources
        .endpoints
        .iter()
        .map(|assignment| (assignment.cluster_name.as_str(), count(assignment)))
        .collect();
    resources
        .clusters
        .iter()
        .map(|cluster| {
            let state = state(cluster, &assignments);
            (cluster.name.clone(), (state, destination_rule(cluster)))
        })
        .collect()
}

fn count(assignment: &endpoint::ClusterLoadAssignment) -> usize {
    let localities = assignment.endpoints.iter();
    localities.map(|group| group.lb_endpoints.len()).sum()
}

fn state(cluster: &cluster::Cluster, assignments: &HashMap<&str, usize>) -> State {
    use cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
    let number = match cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) if kind == DiscoveryType::OriginalDst as i32 => {
            return State::OriginalDestination;
        }
        Some(ClusterDiscoveryType::Type(kind)) if kind == DiscoveryType::Eds as i32 => {
            assignments.get(cluster.name.as_str()).copied()
        }
        _ => cluster.load_assignment.as_ref().map(count),
    };
    match number {
        None | Some(0) => State::NoEndpoints,
        Some(number) => State::Endpoints(number),
    }
}

fn destination_rule(cluster: &cluster::Cluster) -> Option<Rule> {
    use meltemi_discovery::pb::structs;
    let metadata: &core::Metadata = cluster.metadata.as_ref()?;
    Rule::of_cluster(structs::text(metadata, "istio", "config")?)
}
