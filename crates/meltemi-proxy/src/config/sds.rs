//! Secrets from SDS servers of their own (`StreamSecrets`), such as Istio's agent.

use super::clusters::{Target, TargetHost};
use super::state::State;
use crate::model::UpstreamTransport;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use hyper_util::rt::TokioIo;
use meltemi_xds::type_url::SECRET;
use prost::Message;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tonic::transport::{Channel, Uri};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A secret as a server sent it.
pub struct Event {
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// The encoded `Secret`.
    pub body: Bytes,
}

/// One stream a cluster.
pub struct Streams {
    node: Node,
    events: mpsc::Sender<Event>,
    streams: HashMap<Box<str>, Stream>,
}

struct Stream {
    names: watch::Sender<BTreeSet<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Streams {
    pub fn new(node: Node, events: mpsc::Sender<Event>) -> Self {
        Self {
            node,
            events,
            streams: HashMap::new(),
        }
    }

    /// Opens, changes and ends streams so that they ask for what is wanted now.
    pub fn subscribe(&mut self, state: &State) {
        let mut wanted: HashMap<Box<str>, BTreeSet<String>> = HashMap::new();
        for (cluster, name) in state.secrets.by_sds() {
            wanted.entry(cluster).or_default().insert(name.into());
        }
        self.streams
            .retain(|cluster, _| wanted.contains_key(cluster));
        for (cluster, names) in wanted {
            if let Some(stream) = self.streams.get(&cluster) {
                stream.names.send_if_modified(|known| {
                    let changed = *known != names;
                    *known = names;
                    changed
                });
                continue;
            }
            let Some(target) = state
                .clusters
                .get(&*cluster)
                .and_then(|entry| entry.target())
            else {
                // Looked for again when something changes.
                continue;
            };
            let (sender, receiver) = watch::channel(names);
            let server = Server {
                cluster: cluster.clone(),
                target: Arc::new(target),
                node: self.node.clone(),
                events: self.events.clone(),
            };
            let task = tokio::spawn(server.run(receiver));
            self.streams.insert(
                cluster,
                Stream {
                    names: sender,
                    task,
                },
            );
        }
    }
}

struct Server {
    cluster: Box<str>,
    target: Arc<Target>,
    node: Node,
    events: mpsc::Sender<Event>,
}

impl Server {
    async fn run(self, mut names: watch::Receiver<BTreeSet<String>>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let served = match self.connect().await {
                Ok(channel) => self.stream(channel, &mut names, &mut pause).await,
                Err(error) => Err(error),
            };
            match served {
                // The manager is gone.
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(cluster = %self.cluster, %error, "SDS stream ended, trying again");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self) -> Result<Channel, String> {
        if !matches!(self.target.transport, UpstreamTransport::Plain) {
            return Err("SDS over TLS or with the PROXY protocol is not supported".to_owned());
        }
        let connecting = async {
            match &self.target.host {
                TargetHost::Pipe(path) => unix(path.clone()).await,
                TargetHost::Address(address) => {
                    tonic::transport::Endpoint::from_shared(format!("http://{address}"))?
                        .connect()
                        .await
                }
            }
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| "no connection".to_owned())?
            .map_err(|error| error.to_string())
    }

    /// Serves one stream until it ends (an error) or the manager does.
    async fn stream(
        &self,
        channel: Channel,
        names: &mut watch::Receiver<BTreeSet<String>>,
        pause: &mut Duration,
    ) -> Result<(), String> {
        let (requests, outgoing) = mpsc::channel::<DiscoveryRequest>(4);
        let mut request = DiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: SECRET.to_owned(),
            resource_names: names.borrow_and_update().iter().cloned().collect(),
            ..DiscoveryRequest::default()
        };
        send(&requests, request.clone()).await?;
        request.node = None;
        let outgoing = futures_util::stream::unfold(outgoing, async |mut outgoing| {
            outgoing.recv().await.map(|request| (request, outgoing))
        });
        let mut responses = SecretDiscoveryServiceClient::new(channel)
            .stream_secrets(outgoing)
            .await
            .map_err(|status| status.to_string())?
            .into_inner();
        loop {
            tokio::select! {
                changed = names.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    request.resource_names = names.borrow_and_update().iter().cloned().collect();
                    send(&requests, request.clone()).await?;
                }
                response = responses.message() => {
                    let response = response
                        .map_err(|status| status.to_string())?
                        .ok_or("the server ended the stream")?;
                    *pause = FIRST_PAUSE;
                    request.version_info.clone_from(&response.version_info);
                    request.response_nonce.clone_from(&response.nonce);
                    if !self.deliver(response).await {
                        return Ok(());
                    }
                    send(&requests, request.clone()).await?;
                }
            }
        }
    }

    /// False when nobody listens any more.
    async fn deliver(&self, response: DiscoveryResponse) -> bool {
        let version: Arc<str> = response.version_info.into();
        for any in response.resources {
            /// `Secret.name`.
            #[derive(Clone, PartialEq, Message)]
            struct Named {
                #[prost(string, tag = "1")]
                name: String,
            }
            let name = Named::decode(any.value.as_slice()).map(|named| named.name);
            let event = Event {
                name: name.unwrap_or_default().into(),
                version: version.clone(),
                body: any.value.into(),
            };
            if self.events.send(event).await.is_err() {
                return false;
            }
        }
        true
    }
}

async fn send(
    requests: &mpsc::Sender<DiscoveryRequest>,
    request: DiscoveryRequest,
) -> Result<(), String> {
    requests
        .send(request)
        .await
        .map_err(|_| "the stream is closed".to_owned())
}

async fn unix(path: PathBuf) -> Result<Channel, tonic::transport::Error> {
    // The URI only becomes the :authority of requests.
    tonic::transport::Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
}
