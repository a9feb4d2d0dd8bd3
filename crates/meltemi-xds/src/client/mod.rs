//! The ADS client: one stream to a server, kept alive, whose updates go to one
//! owner.
//!
//! The owner subscribes, receives [`Update`]s and answers each. The client
//! reconnects by itself and then tells the server what the owner has already
//! accepted, so that only the difference comes. Losing the server is a matter of
//! [`Status`] only: nothing that was accepted is ever taken back.
//!
//! Not here: which part of an update is good. The owner decides, keeps what it
//! had of the rejected rest, and says so with [`Answer::nack`].

mod connect;
mod delta;
mod interest;
mod run;
mod session;
mod sotw;
mod update;
mod variant;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use connect::chain;
pub use connect::{Endpoint, Tls, TlsSource};
pub use update::{Answer, DecodeError, RawResource, Update};

use interest::Interests;

/// Which variant of the protocol to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Incremental: the server sends what changed.
    #[default]
    Delta,
    /// State of the world: the server sends all of a type each time, and this
    /// client finds out what changed.
    StateOfTheWorld,
}

/// Gives the `authorization` header of the next connection (`Bearer ...`).
pub type Authorization = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// How an [`AdsClient`] connects.
#[derive(Clone)]
pub struct ClientOptions {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// Introduces the client; sent in the first request of every stream.
    pub node: Node,
    /// Delta unless the server cannot.
    pub mode: Mode,
    /// Credential of the stream, asked anew for every connection.
    pub authorization: Option<Authorization>,
    /// Delay before the first reconnect; each further one doubles it.
    pub initial_backoff: Duration,
    /// Longest delay between two attempts.
    pub max_backoff: Duration,
}

impl ClientOptions {
    /// Delta, no credential, reconnects after 50 ms at first and every 10 s at most.
    pub fn new(endpoint: Endpoint, node: Node) -> Self {
        Self {
            endpoint,
            node,
            mode: Mode::Delta,
            authorization: None,
            initial_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(10),
        }
    }
}

/// Whether there is a server at the moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// The stream is open.
    Connected {
        /// Since when.
        since: SystemTime,
        /// What the server calls itself (`control_plane.identifier`), once it
        /// has sent something.
        server: Option<String>,
    },
    /// There is no stream; the client keeps trying.
    Disconnected {
        /// Since when.
        since: SystemTime,
        /// Failed attempts since then.
        attempts: u32,
        /// Why the last attempt or stream failed; none before the first one.
        last_error: Option<String>,
    },
}

/// A handle on the client; clones are handles on the same one. It stops when the
/// last handle or the receiver of updates is dropped.
#[derive(Clone)]
pub struct AdsClient {
    shared: Arc<Shared>,
    status: watch::Receiver<Status>,
    _stop: Arc<DropGuard>,
}

/// What the handles and the task have in common.
struct Shared {
    interests: Mutex<Interests>,
    changed: Notify,
}

/// Updates that wait for the owner. The server sends one of a type at a time, so
/// that a few cover all types; while they are full nothing more is read.
const UPDATES: usize = 8;

impl AdsClient {
    /// Starts the client on the current tokio runtime. Updates arrive on the
    /// receiver; see [`Update`] for the duties of their owner.
    pub fn spawn(options: ClientOptions) -> (Self, mpsc::Receiver<Update>) {
        let (updates, receiver) = mpsc::channel(UPDATES);
        let (status_sender, status) = watch::channel(Status::Disconnected {
            since: SystemTime::now(),
            attempts: 0,
            last_error: None,
        });
        let shared = Arc::new(Shared {
            interests: Mutex::default(),
            changed: Notify::new(),
        });
        let stop = CancellationToken::new();
        let guard = Arc::new(stop.clone().drop_guard());
        tokio::spawn(run::run(
            options,
            Arc::clone(&shared),
            updates,
            status_sender,
            stop,
        ));
        let client = Self {
            shared,
            status,
            _stop: guard,
        };
        (client, receiver)
    }

    /// Subscribes to every resource of a type.
    pub fn subscribe_all(&self, type_url: &str) {
        self.change(|interests| interests.subscribe_all(type_url));
    }

    /// Adds names to the subscription of a type.
    pub fn subscribe<I: IntoIterator<Item = impl Into<String>>>(&self, type_url: &str, names: I) {
        self.change(|interests| interests.subscribe(type_url, names));
    }

    /// Takes names out of the subscription of a type; what was received under
    /// them is the owner's to drop, no update tells of it.
    pub fn unsubscribe<I: IntoIterator<Item = impl AsRef<str>>>(&self, type_url: &str, names: I) {
        self.change(|interests| interests.unsubscribe(type_url, names));
    }

    /// Makes the named subscription of a type exactly these names: the
    /// difference to the former ones is subscribed and unsubscribed.
    pub fn set_names<I: IntoIterator<Item = impl Into<String>>>(&self, type_url: &str, names: I) {
        self.change(|interests| interests.set_names(type_url, names));
    }

    /// Follows the state of the connection.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Interests)) {
        // A panic cannot have left the interests half changed: they are maps.
        let mut interests = self
            .shared
            .interests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut interests);
        drop(interests);
        self.shared.changed.notify_one();
    }
}
