//! Plays many sidecars to a control plane: each opens a delta ADS stream, asks for clusters,
//! endpoints, listeners, routes and their virtual hosts as a sidecar does, acknowledges
//! everything and stays. Prints
//! a line of JSON when all have everything; then, for each line read from standard input, how
//! long until each proxy heard of what the caller changed when it wrote the line. The line
//! `reconnect` makes all of them come back, telling what they have.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::resources::{CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, endpoints_of, routes_of};

const METHOD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// The client feature of Meltemi's proxy: virtual hosts may come apart from their routes.
const DISCOVERY: &str = "dev.meltemi.vhds";
/// A change is over when nobody has heard anything for this long.
const SILENCE: Duration = Duration::from_secs(2);
const MAX_PROXIES: usize = 5000;
const MAX_MESSAGE: usize = 1 << 30;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The control plane's plaintext address.
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    proxies: usize,
    /// Namespaces that the proxies are in: ns-0, ns-1 ...
    #[arg(long, default_value_t = 20)]
    namespaces: usize,
    /// Further proxies that ask for everything and never read an answer.
    #[arg(long, default_value_t = 0)]
    stuck: usize,
    /// Virtual hosts come with their routes and not apart from them, as Envoy asks for them.
    #[arg(long)]
    whole_routes: bool,
    /// Seconds that each phase may take.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

/// What all proxies have counted.
#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    responses: AtomicU64,
    resources: AtomicU64,
}

impl Counts {
    fn now(&self) -> [u64; 3] {
        [&self.bytes, &self.responses, &self.resources].map(|count| count.load(Ordering::Relaxed))
    }
}

struct Shared {
    begun: Instant,
    counts: Counts,
    /// When each proxy heard something last, microseconds after `begun`.
    heard: Vec<AtomicU64>,
    complete: watch::Sender<usize>,
    /// Grows with each order to reconnect.
    round: watch::Sender<u64>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        (1..=MAX_PROXIES).contains(&(options.proxies + options.stuck)),
        "proxies: 1 to {MAX_PROXIES}"
    );
    ensure!(options.namespaces > 0, "namespaces: at least 1");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(play(options))
}

async fn play(options: &Options) -> Result<()> {
    let shared = Arc::new(Shared {
        begun: Instant::now(),
        counts: Counts::default(),
        heard: (0..options.proxies).map(|_| AtomicU64::new(0)).collect(),
        complete: watch::Sender::new(0),
        round: watch::Sender::new(0),
    });
    let (failed, mut failures) = mpsc::unbounded_channel();
    let endpoint = Endpoint::from_shared(format!("http://{}", options.address))?;
    let discovers_hosts = !options.whole_routes;
    for index in 0..options.proxies + options.stuck {
        let (shared, failed) = (Arc::clone(&shared), failed.clone());
        let (endpoint, mut node) = (endpoint.clone(), node(index, options.namespaces));
        if discovers_hosts {
            node.client_features.push(DISCOVERY.to_owned());
        }
        let stuck = index >= options.proxies;
        tokio::spawn(async move {
            let ended = match stuck {
                true => ask_and_wait(&endpoint, node).await,
                false => {
                    Proxy::new(index, discovers_hosts, shared)
                        .run(&endpoint, node)
                        .await
                }
            };
            if let Err(error) = ended {
                // Nobody listens any more at the end.
                let _ = failed.send(error.context(format!("proxy {index}")));
            }
        });
    }
    let limit = Duration::from_secs(options.timeout);
    let mut lines = lines();
    let mut phase = "connect".to_owned();
    loop {
        let before = shared.counts.now();
        let begun = shared.begun.elapsed();
        let ended = async {
            match phase.as_str() {
                "connect" | "reconnect" => all_complete(&shared, options.proxies).await,
                _ => silence(&shared, begun).await,
            }
        };
        tokio::select! {
            ended = tokio::time::timeout(limit, ended) => {
                ended.with_context(|| format!("{phase}: not over after {limit:?}"))?;
            }
            Some(error) = failures.recv() => return Err(error),
        }
        report(&phase, &shared, begun, before)?;
        match lines.recv().await {
            None => return Ok(()),
            Some(next) => phase = next,
        }
        if phase == "reconnect" {
            shared.complete.send_replace(0);
            shared.round.send_modify(|round| *round += 1);
        }
    }
}

async fn all_complete(shared: &Shared, proxies: usize) {
    // The sender lives as long as we do.
    let _ = shared
        .complete
        .subscribe()
        .wait_for(|complete| *complete >= proxies)
        .await;
}

async fn silence(shared: &Shared, begun: Duration) {
    let begun = begun.as_micros() as u64;
    loop {
        let heard = shared.heard.iter().map(|at| at.load(Ordering::Relaxed));
        let newest = heard.max().unwrap_or_default();
        let now = shared.begun.elapsed().as_micros() as u64;
        if newest > begun && now > newest + SILENCE.as_micros() as u64 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn report(phase: &str, shared: &Shared, begun: Duration, before: [u64; 3]) -> Result<()> {
    let begun = begun.as_micros() as u64;
    let mut latencies: Vec<u64> = shared
        .heard
        .iter()
        .map(|at| at.load(Ordering::Relaxed))
        .filter(|at| *at > begun)
        .map(|at| at - begun)
        .collect();
    latencies.sort_unstable();
    let quantile = |q: usize| latencies.get(latencies.len() * q / 100).copied();
    let after = shared.counts.now();
    let mut out = std::io::stdout().lock();
    let line = json!({
        "phase": phase, "heard": latencies.len(),
        "bytes": after[0] - before[0], "responses": after[1] - before[1],
        "resources": after[2] - before[2],
        "p50_us": quantile(50), "p99_us": quantile(99), "max_us": latencies.last(),
    });
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Standard input, line by line.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn node(index: usize, namespaces: usize) -> Node {
    let namespace = format!("ns-{}", index % namespaces);
    let ip = format!(
        "10.{}.{}.{}",
        100 + (index >> 16),
        index >> 8 & 255,
        index & 255
    );
    let name = format!("load-{index}");
    let text = |value: &str| Value {
        kind: Some(Kind::StringValue(value.to_owned())),
    };
    let structure = |fields: &[(&str, Value)]| Struct {
        fields: fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    };
    let labels = Value {
        kind: Some(Kind::StructValue(structure(&[("app", text(&name))]))),
    };
    Node {
        id: format!("sidecar~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(structure(&[
            ("NAMESPACE", text(&namespace)),
            ("CLUSTER_ID", text("Kubernetes")),
            ("INSTANCE_IPS", text(&ip)),
            ("ISTIO_VERSION", text("1.28.0")),
            ("MESH_ID", text("cluster.local")),
            ("SERVICE_ACCOUNT", text("default")),
            ("WORKLOAD_NAME", text(&name)),
            ("INTERCEPTION_MODE", text("REDIRECT")),
            ("LABELS", labels),
        ])),
        ..Default::default()
    }
}

/// What a sidecar asks for.
const KINDS: [&str; 5] = [CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST];

type Requests = mpsc::UnboundedSender<DeltaDiscoveryRequest>;

/// Opens a stream on a connection of its own, as a proxy has one.
async fn open(
    endpoint: &Endpoint,
    node: Node,
    versions: &HashMap<&'static str, HashMap<String, String>>,
    wanted: &HashMap<&'static str, HashSet<String>>,
) -> Result<(Requests, tonic::Streaming<DeltaDiscoveryResponse>)> {
    let (requests, receiver) = mpsc::unbounded_channel();
    let mut node = Some(node);
    for kind in KINDS {
        let names = wanted.get(kind);
        // The others are asked for by name, once names are known.
        if names.is_none() && !matches!(kind, CLUSTER | LISTENER) {
            continue;
        }
        requests.send(DeltaDiscoveryRequest {
            node: node.take(),
            type_url: kind.to_owned(),
            resource_names_subscribe: names.into_iter().flatten().cloned().collect(),
            initial_resource_versions: versions.get(kind).cloned().unwrap_or_default(),
            ..Default::default()
        })?;
    }
    let channel: Channel = endpoint.connect().await?;
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_MESSAGE);
    client.ready().await?;
    let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
    let outgoing = tonic::Request::new(UnboundedReceiverStream::new(receiver));
    let path = PathAndQuery::from_static(METHOD);
    let answers = client.streaming(outgoing, path, codec).await?.into_inner();
    Ok((requests, answers))
}

/// A proxy that is stuck: what it asked for is never read.
async fn ask_and_wait(endpoint: &Endpoint, node: Node) -> Result<()> {
    let _open = open(endpoint, node, &HashMap::new(), &HashMap::new()).await?;
    std::future::pending().await
}

struct Proxy {
    index: usize,
    discovers_hosts: bool,
    shared: Arc<Shared>,
    /// By type: versions by name, and the names asked for.
    versions: HashMap<&'static str, HashMap<String, String>>,
    wanted: HashMap<&'static str, HashSet<String>>,
}

impl Proxy {
    fn new(index: usize, discovers_hosts: bool, shared: Arc<Shared>) -> Self {
        Self {
            index,
            discovers_hosts,
            shared,
            versions: HashMap::new(),
            wanted: HashMap::new(),
        }
    }

    async fn run(mut self, endpoint: &Endpoint, node: Node) -> Result<()> {
        let mut round = self.shared.round.subscribe();
        loop {
            let (requests, mut answers) =
                open(endpoint, node.clone(), &self.versions, &self.wanted).await?;
            let mut seen: HashSet<&str> = HashSet::new();
            // Who comes back may be told nothing of what it has: its clusters are answered
            // always, and say that it is heard.
            let expected = match (*round.borrow(), self.discovers_hosts) {
                (0, true) => KINDS.len(),
                (0, false) => KINDS.len() - 1,
                _ => 1,
            };
            loop {
                let answer = tokio::select! {
                    answer = answers.message() => answer?.context("the stream ended")?,
                    changed = round.changed() => {
                        changed?;
                        break;
                    }
                };
                let complete_before = seen.len() >= expected;
                seen.extend(self.take(answer, &requests)?);
                if !complete_before && seen.len() >= expected {
                    self.shared.complete.send_modify(|complete| *complete += 1);
                }
            }
        }
    }

    /// Takes and acknowledges an answer, and asks for what it makes needed; the type.
    fn take(
        &mut self,
        answer: DeltaDiscoveryResponse,
        requests: &Requests,
    ) -> Result<Option<&'static str>> {
        requests.send(DeltaDiscoveryRequest {
            type_url: answer.type_url.clone(),
            response_nonce: answer.nonce,
            ..Default::default()
        })?;
        let kind = KINDS.into_iter().find(|kind| *kind == answer.type_url);
        let Some(kind) = kind else { return Ok(None) };
        let counts = &self.shared.counts;
        counts.responses.fetch_add(1, Ordering::Relaxed);
        counts
            .resources
            .fetch_add(answer.resources.len() as u64, Ordering::Relaxed);
        let mut names = Vec::new();
        let versions = self.versions.entry(kind).or_default();
        for name in &answer.removed_resources {
            versions.remove(name);
        }
        for resource in answer.resources {
            let value = resource.resource.unwrap_or_default().value;
            counts
                .bytes
                .fetch_add(value.len() as u64, Ordering::Relaxed);
            match kind {
                CLUSTER => names.extend(endpoints_of(&value)),
                LISTENER => names.extend(routes_of(&value)),
                ROUTE if self.discovers_hosts => names.push(resource.name.clone()),
                _ => {}
            }
            versions.insert(resource.name, resource.version);
        }
        match kind {
            CLUSTER => self.subscribe(ENDPOINT, names, requests)?,
            LISTENER => self.subscribe(ROUTE, names, requests)?,
            ROUTE => self.subscribe(VIRTUAL_HOST, names, requests)?,
            _ => {}
        }
        let now = self.shared.begun.elapsed().as_micros() as u64;
        self.shared.heard[self.index].store(now, Ordering::Relaxed);
        Ok(Some(kind))
    }

    fn subscribe(
        &mut self,
        kind: &'static str,
        names: Vec<String>,
        requests: &Requests,
    ) -> Result<()> {
        let wanted = self.wanted.entry(kind).or_default();
        let new = names.into_iter().filter(|name| wanted.insert(name.clone()));
        let new: Vec<String> = new.collect();
        if !new.is_empty() {
            requests.send(DeltaDiscoveryRequest {
                type_url: kind.to_owned(),
                resource_names_subscribe: new,
                ..Default::default()
            })?;
        }
        Ok(())
    }
}
