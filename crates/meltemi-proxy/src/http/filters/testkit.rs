//! A filter by itself: configured as in a chain, shown one request and an answer to it.

use crate::compile::{self, Cx, Names};
use crate::http::body::ResponseBody;
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::head::{self, Head};
use crate::http::router::{self, Chosen};
use crate::http::routing::{self, Choice};
use crate::http::source::RequestSource;
use crate::model::{Action, Direction, Snapshot, Terminal, Transport};
use crate::net::Connector;
use crate::telemetry::{ConnectionInfo, Flags, Protocol};
use crate::worker::{DrainSignal, Worker};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use prost::Message;
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;

/// Envoy's name of a filter, and its message.
pub fn filter(name: &str, kind: &str, fields: Value) -> Value {
    json!({ "name": name, "typed_config": typed(kind, fields) })
}

/// `kind` without `envoy.extensions.filters.http.`.
pub fn typed(kind: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!(
        "type.googleapis.com/envoy.extensions.filters.http.{kind}"
    ));
    fields
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().expect("an object") {
        into[key] = value.clone();
    }
}

/// A connection manager with some filters and one route.
pub struct Bench {
    downstream: Rc<Downstream>,
}

/// What became of a request.
pub struct Outcome {
    /// As the router gets it; `None`: a filter answered.
    pub passed: Option<Head>,
    /// Trailers of a request that no filter recoded.
    pub passed_trailers: Option<http::HeaderMap>,
    /// The answer, as the client gets it.
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub details: String,
    pub flags: Flags,
}

impl Outcome {
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    /// A header of the request as the router gets it.
    pub fn passed_header(&self, name: &str) -> Option<&str> {
        let head = self.passed.as_ref().expect("a filter answered");
        Some(head.headers.get(name)?.to_str().unwrap())
    }
}

impl Bench {
    /// `route` is merged into a route that forwards everything.
    ///
    /// # Errors
    /// What the proxy says of a configuration that it does not take.
    pub fn new(filters: Value, route: Value) -> Result<Self, String> {
        Self::with_host(filters, route, json!({}))
    }

    /// `host` is merged into the virtual host.
    pub fn with_host(filters: Value, route: Value, host: Value) -> Result<Self, String> {
        let mut filters = filters.as_array().expect("a list").clone();
        let router = typed("router.v3.Router", json!({}));
        filters.push(json!({ "name": "router", "typed_config": router }));
        let mut whole = json!({ "match": { "prefix": "/" }, "route": { "cluster": "c" } });
        merge(&mut whole, &route);
        let mut whole_host = json!({ "name": "v", "domains": ["*"], "routes": [whole] });
        merge(&mut whole_host, &host);
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench",
            "route_config": { "virtual_hosts": [whole_host] },
            "http_filters": filters,
        });
        let listener = json!({
            "name": "l",
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": 1 } },
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
        });
        let kind = "envoy.config.listener.v3.Listener";
        let bytes = meltemi_schema::encode(kind, &listener).map_err(|e| e.to_string())?;
        let listener = compile::pb::listener::Listener::decode(&*bytes).expect("encoded here");
        let mut names = Names::default();
        let listener = compile::listener(listener, 0, &mut Cx::new(&mut names))
            .map_err(|error| error.to_string())?;
        let Terminal::Http(manager) = &listener.chains.chains[0].1.terminal else {
            unreachable!("it is a connection manager");
        };
        let connector = Connector::own();
        let worker = Worker::new(0, Snapshot::default(), connector, Arc::default());
        let address = "127.0.0.1:80".parse().unwrap();
        let info = ConnectionInfo::new(
            crate::model::ConnectionFacts {
                destination: address,
                source: "10.0.0.9:4711".parse().unwrap(),
                peer: "10.0.0.9:4711".parse().unwrap(),
                server_name: None,
                transport: Transport::RawBuffer,
                application_protocols: Vec::new(),
            },
            address,
            Direction::Inbound,
            "",
        );
        let (info, drain) = (Arc::new(info), DrainSignal::new());
        let downstream = Downstream::new(manager.clone(), info, Rc::new(worker), &drain);
        Ok(Self {
            downstream: Rc::new(downstream),
        })
    }

    /// The upstream says `answer`.
    pub async fn call(&self, request: http::request::Builder, answer: Response<&str>) -> Outcome {
        self.exchange(request, "", None, answer).await
    }

    /// As [`Self::ask`], with a body.
    pub async fn send(&self, request: http::request::Builder, body: &str) -> Outcome {
        self.exchange(request, body, None, Response::new("")).await
    }

    /// As [`Self::send`], with trailers.
    pub async fn send_trailing(
        &self,
        request: http::request::Builder,
        trailers: http::HeaderMap,
    ) -> Outcome {
        let answer = Response::new("");
        self.exchange(request, "body", Some(trailers), answer).await
    }

    async fn exchange(
        &self,
        request: http::request::Builder,
        body: &str,
        trailers: Option<http::HeaderMap>,
        answer: Response<&str>,
    ) -> Outcome {
        let chunks = body.as_bytes().chunks(3).map(Bytes::copy_from_slice);
        let mut body = RequestSource::Read {
            chunks: chunks.collect(),
            trailers,
        };
        let request = request.body(()).unwrap();
        let mut exchange = Exchange::new(self.downstream.clone(), Protocol::Http11, &request);
        let (mut head, refused) = self.receive(request);
        assert!(refused.is_none(), "the request itself is refused");
        let table = routing::table(&self.downstream.manager, &exchange.snapshot).unwrap();
        let Choice::Route(matched) = routing::choose(self.downstream.arrival(), table, &head)
        else {
            panic!("no route");
        };
        let chosen = match &matched.route.action {
            Action::Forward(forward) => router::choose(&exchange, forward, &head),
            _ => Chosen::default(),
        };
        let result = exchange
            .filter(&mut head, &mut body, Some((&matched, chosen)))
            .await;
        let passed = result.is_ok();
        let mut response = match result {
            Ok(()) => {
                let (parts, text) = answer.into_parts();
                let body = ResponseBody::text(text.to_owned().into(), exchange.take_guard());
                Response::from_parts(parts, body)
            }
            Err(reply) => exchange.answer(reply),
        };
        exchange.filter_answer(&mut response);
        let (parts, answered) = response.into_parts();
        let text = answered
            .collect()
            .await
            .expect("the body is whole")
            .to_bytes();
        let info = exchange.record.info.borrow();
        Outcome {
            passed: passed.then_some(head),
            passed_trailers: match body {
                RequestSource::Read { trailers, .. } => trailers,
                _ => None,
            },
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8_lossy(&text).into_owned(),
            details: info.details.to_string(),
            flags: info.flags,
        }
    }

    fn receive(&self, request: Request<()>) -> (Head, Option<crate::http::reply::Reply>) {
        let parts = request.into_parts().0;
        head::receive(self.downstream.arrival(), Protocol::Http11, parts, false)
    }

    /// As [`Self::call`], with an upstream that has nothing to say.
    pub async fn ask(&self, request: http::request::Builder) -> Outcome {
        self.call(request, Response::new("")).await
    }
}
