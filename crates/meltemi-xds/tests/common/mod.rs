//! A source whose content a test sets, and a server of it on a Unix socket.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use meltemi_xds::client::{AdsClient, ClientOptions, Endpoint, Mode, Status, Update};
use meltemi_xds::server::{
    Ack, AdsServer, Nack, PeerInfo, Push, ResourceSource, bind_unix, serve_unix,
};
use meltemi_xds::{Resource, ResourceSet, Subscription};
use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A message with a name in its first field, as all named xDS types have.
#[derive(Clone, PartialEq, Message)]
pub struct Body {
    #[prost(string, tag = "1")]
    pub name: String,
    /// A cluster's discovery type.
    #[prost(int32, tag = "2")]
    pub kind: i32,
    #[prost(string, tag = "15")]
    pub value: String,
}

/// The value of a cluster whose endpoints are discovered.
pub const DISCOVERED: &str = "type: EDS";

/// What the server's callbacks report.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Connected(PeerInfoSummary),
    Push {
        type_url: String,
        resources: usize,
        removed: usize,
    },
    Ack(String),
    Nack {
        type_url: String,
        message: String,
        names: Vec<String>,
    },
    Disconnected,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PeerInfoSummary {
    pub node: String,
    pub pid: Option<i32>,
}

struct Inner {
    content: Mutex<BTreeMap<String, ResourceSet>>,
    version: watch::Sender<u64>,
    events: mpsc::UnboundedSender<Event>,
}

#[derive(Clone)]
pub struct Source(Arc<Inner>);

impl Source {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let inner = Inner {
            content: Mutex::default(),
            version: watch::channel(0).0,
            events,
        };
        (Self(Arc::new(inner)), receiver)
    }

    pub fn set(&self, type_url: &str, content: &[(&str, &str)]) {
        let set = content
            .iter()
            .map(|(name, value)| {
                let body = Body {
                    name: (*name).to_owned(),
                    kind: if *value == DISCOVERED { 3 } else { 0 },
                    value: (*value).to_owned(),
                };
                Resource::from_value(*name, type_url, Bytes::from(body.encode_to_vec()))
            })
            .collect();
        self.0
            .content
            .lock()
            .unwrap()
            .insert(type_url.to_owned(), set);
        self.0.version.send_modify(|version| *version += 1);
    }

    fn tell(&self, event: Event) {
        let _ = self.0.events.send(event);
    }
}

impl ResourceSource for Source {
    type Proxy = ();

    fn connect(&self, node: &Node, peer: &PeerInfo) -> Result<(), tonic::Status> {
        use meltemi_xds::server::PeerAddress;
        if node.id == "forbidden" {
            return Err(tonic::Status::permission_denied("not you"));
        }
        let PeerAddress::Unix(credentials) = &peer.address else {
            return Err(tonic::Status::internal("not a Unix socket"));
        };
        self.tell(Event::Connected(PeerInfoSummary {
            node: node.id.clone(),
            pid: credentials.and_then(|credentials| credentials.pid),
        }));
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    fn resources(&self, _: &(), type_url: &str, _: &Subscription) -> ResourceSet {
        self.0
            .content
            .lock()
            .unwrap()
            .get(type_url)
            .cloned()
            .unwrap_or_default()
    }

    fn on_push(&self, _: &(), push: &Push<'_>) {
        self.tell(Event::Push {
            type_url: push.type_url.to_owned(),
            resources: push.resources,
            removed: push.removed,
        });
    }

    fn on_ack(&self, _: &(), ack: &Ack<'_>) {
        self.tell(Event::Ack(ack.type_url.to_owned()));
    }

    fn on_nack(&self, _: &(), nack: &Nack<'_>) {
        self.tell(Event::Nack {
            type_url: nack.type_url.to_owned(),
            message: nack.message.to_owned(),
            names: nack
                .resource_names
                .iter()
                .map(ToString::to_string)
                .collect(),
        });
    }

    fn disconnected(&self, _: &()) {
        self.tell(Event::Disconnected);
    }
}

pub struct Server {
    pub source: Source,
    pub events: mpsc::UnboundedReceiver<Event>,
    path: PathBuf,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    pub fn start(directory: &Path) -> Self {
        let (source, events) = Source::new();
        let path = directory.join("xds.sock");
        let (shutdown, task) = run(&source, &path);
        Self {
            source,
            events,
            path,
            shutdown,
            task,
        }
    }

    /// Ends all streams and stops listening.
    pub async fn stop(&mut self) {
        self.shutdown.cancel();
        within(&mut self.task).await.unwrap();
    }

    pub fn restart(&mut self) {
        (self.shutdown, self.task) = run(&self.source, &self.path);
    }

    pub fn client(&self, mode: Mode) -> (AdsClient, mpsc::Receiver<Update>) {
        self.client_as("test", mode)
    }

    pub fn client_as(&self, node: &str, mode: Mode) -> (AdsClient, mpsc::Receiver<Update>) {
        let node = Node {
            id: node.to_owned(),
            ..Default::default()
        };
        let mut options = ClientOptions::new(Endpoint::Unix(self.path.clone()), node);
        options.mode = mode;
        AdsClient::spawn(options)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next event that is not a connection's.
    pub async fn event(&mut self) -> Event {
        within(async {
            loop {
                match self.events.recv().await.unwrap() {
                    Event::Connected { .. } | Event::Disconnected => {}
                    event => return event,
                }
            }
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn run(source: &Source, path: &Path) -> (CancellationToken, JoinHandle<()>) {
    let shutdown = CancellationToken::new();
    let server = AdsServer::new(source.clone(), shutdown.clone());
    let listener = bind_unix(path).unwrap();
    let stop = shutdown.clone();
    let task = tokio::spawn(async move {
        let routes = tonic::service::Routes::new(server);
        serve_unix(listener, routes, stop).await.unwrap();
    });
    (shutdown, task)
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("took too long")
}

pub async fn next(updates: &mut mpsc::Receiver<Update>) -> Update {
    within(updates.recv())
        .await
        .expect("the client has stopped")
}

/// Names of what an update adds, with the values.
pub fn added(update: &Update) -> Vec<(String, String)> {
    update
        .added
        .iter()
        .map(|resource| {
            let body = Body::decode(resource.body.clone()).unwrap();
            assert_eq!(body.name, *resource.name);
            (body.name, body.value)
        })
        .collect()
}

pub fn pairs(content: &[(&str, &str)]) -> Vec<(String, String)> {
    content
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

pub async fn connected(client: &AdsClient) {
    let mut status = client.status();
    within(status.wait_for(|status| matches!(status, Status::Connected { .. })))
        .await
        .unwrap();
}
