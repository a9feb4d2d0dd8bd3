//! One stream to a server, from opening it to its end.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;
use tracing::warn;

use super::update::{Answer, Update, Verdict};
use super::variant::{Accepted, Delivered, Delivery, Variant};
use super::{ClientOptions, Shared, Status};

/// Requests on their way into the stream.
const REQUESTS: usize = 16;
/// Largest response. A mesh of ten thousand services stays well below.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;

/// The owner's answer to an update of some session, once it comes.
type Answered = BoxFuture<'static, (u64, Delivered, Verdict)>;

/// What outlives a stream.
pub struct Memory {
    /// What the owner has accepted, by type.
    pub accepted: HashMap<Arc<str>, Accepted>,
    /// Updates the owner has yet to answer. Bounded by the owner: it has got
    /// each of them.
    pub unanswered: FuturesUnordered<Answered>,
    /// Number of the current stream.
    pub session: u64,
}

/// Runs until the stream fails; returns why. Progress is reported in `status`.
pub async fn run<V: Variant>(
    options: &ClientOptions,
    shared: &Shared,
    updates: &mpsc::Sender<Update>,
    status: &watch::Sender<Status>,
    memory: &mut Memory,
) -> String {
    let channel = match options.endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => return error,
    };
    let (sender, receiver) = mpsc::channel(REQUESTS);
    let mut request = Request::new(ReceiverStream::new(receiver));
    if let Some(value) = options.authorization.as_ref().and_then(|give| give()) {
        match value.parse() {
            Ok(value) => {
                request.metadata_mut().insert("authorization", value);
            }
            Err(_) => return "the credential is no valid header value".to_owned(),
        }
    }
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_RESPONSE_BYTES);
    if let Err(error) = grpc.ready().await {
        return super::connect::chain(&error);
    }
    let codec = ProstCodec::<V::Request, V::Response>::default();
    // Some servers send no headers before their first response: requests have
    // to flow while the call is still being opened.
    let mut opening = pin!(grpc.streaming(request, PathAndQuery::from_static(V::PATH), codec));
    let mut responses: Option<Streaming<V::Response>> = None;
    let mut session = Session::<V> {
        variant: V::default(),
        outbox: VecDeque::new(),
        introduced: false,
        deliverable: None,
    };
    memory.session += 1;
    let current = memory.session;
    let mut interests_changed = true;
    loop {
        // Only with an empty outbox, which bounds it: changes add up meanwhile.
        if interests_changed && session.outbox.is_empty() {
            interests_changed = false;
            session.subscribe(options, shared, memory);
        }
        tokio::select! {
            opened = &mut opening, if responses.is_none() => match opened {
                Ok(response) => {
                    responses = Some(response.into_inner());
                    status.send_replace(Status::Connected { since: SystemTime::now(), server: None });
                }
                Err(error) => return refusal(&error),
            },
            response = next(&mut responses), if session.deliverable.is_none() => match response {
                Ok(Some(response)) => {
                    let delivery = session.variant.receive(response, &memory.accepted);
                    identify(status, delivery.server.clone());
                    session.deliver(delivery, current, memory);
                }
                Ok(None) => return "the server closed the stream".to_owned(),
                Err(error) => return refusal(&error),
            },
            room = updates.reserve(), if session.deliverable.is_some() => match room {
                Ok(room) => if let Some(update) = session.deliverable.take() {
                    room.send(update);
                },
                Err(_) => return "the owner of the updates is gone".to_owned(),
            },
            Some((of, delivered, verdict)) = memory.unanswered.next() => {
                let accepted = memory.accepted.entry(Arc::clone(&delivered.type_url)).or_default();
                let type_url = Arc::clone(&delivered.type_url);
                let nonce = delivered.nonce.clone();
                let error = delivered.settle(verdict, accepted);
                if of == current {
                    let request = session.variant.answer(&type_url, &nonce, error, accepted);
                    session.enqueue(options, request);
                }
            }
            () = shared.changed.notified() => interests_changed = true,
            room = sender.reserve(), if !session.outbox.is_empty() => match room {
                Ok(room) => if let Some(request) = session.outbox.pop_front() {
                    room.send(request);
                },
                // The call has failed; `opening` or `next` says why.
                Err(_) => session.outbox.clear(),
            },
        }
    }
}

/// State of one stream.
struct Session<V: Variant> {
    variant: V,
    outbox: VecDeque<V::Request>,
    /// Whether the node has been sent.
    introduced: bool,
    /// Received, but the owner has no room for it yet.
    deliverable: Option<Update>,
}

impl<V: Variant> Session<V> {
    fn subscribe(&mut self, options: &ClientOptions, shared: &Shared, memory: &mut Memory) {
        let mut requests = Vec::new();
        let interests = shared
            .interests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (type_url, wanted) in interests.iter() {
            let accepted = memory.accepted.entry(Arc::clone(type_url)).or_default();
            requests.extend(self.variant.subscribe(type_url, wanted, accepted));
        }
        drop(interests);
        for request in requests {
            self.enqueue(options, request);
        }
    }

    fn enqueue(&mut self, options: &ClientOptions, mut request: V::Request) {
        if !self.introduced {
            V::introduce(&mut request, options.node.clone());
            self.introduced = true;
        }
        self.outbox.push_back(request);
    }

    fn deliver(&mut self, delivery: Delivery, current: u64, memory: &mut Memory) {
        for (name, why) in &delivery.malformed {
            warn!(
                r#type = &*delivery.type_url,
                resource = name,
                "malformed resource: {why}"
            );
        }
        let delivered = Delivered::of(&delivery);
        let (answer, verdict) = Answer::new();
        memory.unanswered.push(Box::pin(async move {
            // An Answer says something even when it is dropped.
            let verdict = verdict.await.unwrap_or(Verdict::Rejected {
                message: "the update was lost".to_owned(),
                resources: None,
            });
            (current, delivered, verdict)
        }));
        self.deliverable = Some(Update {
            type_url: delivery.type_url,
            added: delivery.added,
            removed: delivery.removed,
            version: delivery.version,
            nonce: delivery.nonce,
            answer,
        });
    }
}

async fn next<R>(responses: &mut Option<Streaming<R>>) -> Result<Option<R>, tonic::Status> {
    match responses {
        Some(responses) => responses.message().await,
        None => std::future::pending().await,
    }
}

fn identify(status: &watch::Sender<Status>, name: Option<String>) {
    status.send_if_modified(|status| match status {
        Status::Connected { server, .. } if name.is_some() && *server != name => {
            *server = name;
            true
        }
        _ => false,
    });
}

fn refusal(status: &tonic::Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => format!("{}: {message}", status.code()),
    }
}
