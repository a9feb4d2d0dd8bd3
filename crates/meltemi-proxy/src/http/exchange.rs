//! The way of one exchange, in order.

use super::body::ResponseBody;
use super::codec::Incoming;
use super::downstream::Downstream;
use super::filters::{Answer, Call, Kept, Plan};
use super::head::{self, Head};
use super::record::{Guard, Record};
use super::reply::Reply;
use super::router::{self, Chosen};
use super::routing::{self, Choice, Matched};
use super::source::RequestSource;
use super::upload::Upload;
use super::{address, client_cert, grpc, header_ops, names, path, peer, redirect, trace, upgrade};
use crate::model::{Action, HttpFilter, ServerHeader, Snapshot, UpstreamHttp1};
use crate::telemetry::{Flags, Protocol};
use crate::upstream::ConnectionFacts;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SERVER, SET_COOKIE, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

pub(crate) struct Exchange {
    pub downstream: Rc<Downstream>,
    pub record: Rc<Record>,
    /// The configuration in force when the request came, until its end.
    pub snapshot: Rc<Snapshot>,
    pub client: SocketAddr,
    pub grpc: bool,
    pub high_priority: bool,
    /// Priority of the endpoint in use.
    pub priority: u32,
    pub cookies: Vec<HeaderValue>,
    /// Upstream connections offer Istio's protocols (the ALPN filter).
    pub overrides_alpn: Cell<bool>,
    guard: Option<Guard>,
    protocol: Protocol,
    is_head: bool,
    close: bool,
    /// What follows the answer's head is no HTTP.
    switched: bool,
    /// Told in the answer.
    pub request_id: Option<HeaderValue>,
    /// What the client is told that the request is called (tracing).
    pub operation: Option<HeaderValue>,
    plan: Plan,
    kept: Kept,
}

/// Serves one request. Not an `async fn`, whose future holds its arguments twice.
pub(crate) fn run(
    downstream: Rc<Downstream>,
    protocol: Protocol,
    request: Request<Incoming>,
) -> impl Future<Output = Response<ResponseBody>> {
    downstream.info.speaks(protocol);
    let mut exchange = Exchange::new(downstream, protocol, &request);
    let (parts, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    let arrival = exchange.downstream.arrival();
    let (mut head, mut refused) = head::receive(arrival, protocol, parts, has_body);
    if exchange.downstream.worker.overload.refuses_request() {
        exchange.downstream.stats.rq_overload_close.inc();
        let says = exchange.downstream.manager.append_local_overload;
        refused = Some(Reply::overloaded(says));
    }
    let mut body = match head.upgrade {
        None => RequestSource::Client(body),
        Some(_) => {
            // Unless it is accepted: what follows such a request may be no HTTP.
            exchange.close = true;
            RequestSource::Tunnel { body, open: false }
        }
    };
    async move {
        let result = match refused.take() {
            None => exchange.route(&mut head, &mut body).await,
            Some(reply) => Err(reply),
        };
        let mut response = match result {
            Ok(response) => response,
            Err(reply) => {
                if exchange.record.info.borrow().request.method.is_none() {
                    exchange.note_head(&head, false);
                }
                exchange.answer(reply)
            }
        };
        exchange.filter_answer(&mut response);
        exchange.finish_head(response.headers_mut());
        response
    }
}

impl Exchange {
    async fn route(
        &mut self,
        head: &mut Head,
        body: &mut RequestSource,
    ) -> Result<Response<ResponseBody>, Reply> {
        let downstream = self.downstream.clone();
        path::normalize(downstream.manager.path, &mut head.path)?;
        self.client = address::apply(downstream.arrival(), head);
        address::request_id(&downstream, head);
        client_cert::apply(&downstream, &mut head.headers);
        self.introduce(head, body);
        if !head.path.as_str().starts_with('/') {
            return Err(Reply::no_path());
        }

        let table =
            routing::table(&downstream.manager, &self.snapshot).ok_or_else(Reply::no_route)?;
        let matched = match routing::choose(downstream.arrival(), table, head) {
            Choice::Route(matched) => matched,
            Choice::RequireTls => return Err(redirect::to_tls(head)),
            Choice::None(host) => {
                self.record.info.borrow_mut().virtual_host = host;
                trace::begin(self, head, None);
                self.filter(head, body, None).await?;
                return Err(Reply::no_route());
            }
        };
        self.note_route(&matched);
        if downstream.manager.tracing.is_some() {
            trace::begin(self, head, Some(&matched.route));
        }
        let chosen = match &matched.route.action {
            Action::Forward(forward) => router::choose(self, forward, head),
            _ => Chosen::default(),
        };
        if let Some(cluster) = chosen.id.and_then(|id| self.snapshot.cluster(id)) {
            self.record.info.borrow_mut().cluster = Some(cluster.config.clone());
        }
        self.respond(head, body, &matched, &chosen)
            .await
            .map_err(|reply| self.with_route_headers(reply, head, &matched, &chosen))
    }

    async fn respond(
        &mut self,
        head: &mut Head,
        body: &mut RequestSource,
        matched: &Matched,
        chosen: &Chosen<'_>,
    ) -> Result<Response<ResponseBody>, Reply> {
        if let Some(token) = &head.upgrade
            && !upgrade::is_enabled(&self.downstream.manager, &matched.route.action, token)
        {
            return Err(Reply::upgrade_refused());
        }
        self.filter(head, body, Some((matched, *chosen))).await?;
        match &matched.route.action {
            Action::Forward(forward) => {
                router::forward(self, head, body, matched, forward, chosen).await
            }
            Action::Redirect(to) => Err(redirect::of_route(to, &matched.route.matches.path, head)),
            Action::Direct(direct) => {
                let mut reply = Reply::new(direct.status, "", Flags::default(), "direct_response");
                reply.bytes = Some(direct.body.clone());
                Err(redirect::with_own_location(reply, head))
            }
            Action::NonForwarding => Err(Reply::no_route()),
        }
    }

    /// The filters before the router, in the configured order.
    pub async fn filter(
        &mut self,
        head: &mut Head,
        body: &mut RequestSource,
        matched: Option<(&Matched, Chosen<'_>)>,
    ) -> Result<(), Reply> {
        let downstream = self.downstream.clone();
        let filters = &downstream.manager.filters;
        if let Some((matched, chosen)) = matched {
            self.plan = filters.plan_for(match chosen.weighted {
                Some(weighted) => &weighted.filters,
                None => &matched.route.filters,
            });
        }
        let mut kept = Kept::new();
        let mut call = Call {
            exchange: self,
            head,
            body,
            matched,
        };
        let result = filters.request(&self.plan, &mut call, &mut kept).await;
        self.kept = kept;
        if result.is_ok() {
            downstream.stats.router_rq_total.inc();
        }
        result
    }

    /// The filters that the exchange meets, in the order of requests.
    pub fn chain(&self) -> impl Iterator<Item = &HttpFilter> {
        let filters = &self.downstream.manager.filters;
        filters.walk(&self.plan).map(|(_, filter, _)| filter)
    }

    /// The filters on the way back.
    pub fn filter_answer(&mut self, response: &mut Response<ResponseBody>) {
        let downstream = self.downstream.clone();
        let kept = std::mem::take(&mut self.kept);
        let mut answer = Answer {
            exchange: self,
            response,
        };
        let filters = &downstream.manager.filters;
        filters.response(&self.plan, kept, &mut answer);
    }

    pub fn new<B>(downstream: Rc<Downstream>, protocol: Protocol, request: &Request<B>) -> Self {
        let record = Record::new(downstream.clone(), protocol);
        let grpc = grpc::is_grpc(request.headers());
        record.info.borrow_mut().grpc = grpc;
        Self {
            snapshot: downstream.worker.snapshot(),
            client: downstream.info.facts.source,
            grpc,
            high_priority: false,
            priority: 0,
            cookies: Vec::new(),
            guard: Some(Guard(record.clone())),
            protocol,
            is_head: request.method() == Method::HEAD,
            close: head::ends_connection(request),
            switched: false,
            request_id: None,
            operation: None,
            plan: downstream.manager.filters.plan(),
            kept: Kept::new(),
            overrides_alpn: Cell::new(false),
            record,
            downstream,
        }
    }

    /// Tells the record who asks, and notes what the answer will need.
    fn introduce(&mut self, head: &mut Head, body: &RequestSource) {
        let manager = &self.downstream.manager;
        if let Some(Ok(value)) = manager.via.as_deref().map(HeaderValue::from_str) {
            head.headers.append(VIA, value);
        }
        if manager.request_id.always_set_in_response {
            self.request_id = head.headers.get(&names::X_REQUEST_ID).cloned();
        }
        if body.is_end_stream() && head.upgrade.is_none() {
            self.record.request_ended();
        }
        let mut info = self.record.info.borrow_mut();
        info.client = self.client;
        if manager.peer_metadata.downstream_discovery {
            info.peer = peer::take(&mut head.headers);
        }
    }

    /// Tells the record what was asked, as it stands: before the first wait, and when the
    /// request is ready to be sent. `formats`: configured values depend on it.
    pub fn note_head(&self, head: &Head, formats: bool) {
        let mut info = self.record.info.borrow_mut();
        let formats = formats || info.trace.as_ref().is_some_and(|trace| trace.is_told());
        head.describe(&mut info.request, self.downstream.keeps_head || formats);
        if self.downstream.keeps_headers || formats {
            info.request.headers = head.headers.clone();
        }
    }

    fn note_route(&self, matched: &Matched) {
        let mut info = self.record.info.borrow_mut();
        info.route = Some(matched.route.clone());
        if self.downstream.keeps_headers {
            info.virtual_host = Some(matched.shared_host());
        }
    }

    /// The host was replaced by that of the endpoint.
    pub fn note_host(&self, head: &Head) {
        if self.downstream.keeps_head {
            let mut info = self.record.info.borrow_mut();
            info.request.authority = Some(head.authority_str().into());
        }
    }

    /// Answers of our own get the route's response headers too.
    fn with_route_headers(
        &self,
        mut reply: Reply,
        head: &Head,
        matched: &Matched,
        chosen: &Chosen<'_>,
    ) -> Reply {
        let levels = [
            &matched.route.response_headers,
            &matched.host().response_headers,
            &matched.table.response_headers,
        ];
        let attempts = self.record.info.borrow().attempts;
        if attempts > 0 && matched.host().attempt_count_in_response {
            reply = reply.with(&names::X_ENVOY_ATTEMPT_COUNT, attempts.into());
        }
        if levels.iter().all(|ops| ops.is_empty()) {
            return reply;
        }
        let noted = self.record.info.borrow().request.method.is_some();
        if !noted && levels.iter().any(|ops| header_ops::has_formats(ops)) {
            self.note_head(head, true);
        }
        {
            let mut info = self.record.info.borrow_mut();
            info.status = reply.status.as_u16();
            info.flags.insert(reply.flags);
            info.details = reply.details.clone();
        }
        let mut headers: HeaderMap = reply.headers.drain(..).collect();
        router::respond_headers(self, &mut headers, matched, chosen);
        reply.add_headers(headers);
        reply
    }

    /// An answer of our own; as a gRPC status when the request is gRPC.
    pub fn answer(&mut self, reply: Reply) -> Response<ResponseBody> {
        let guard = self.take_guard();
        let mut info = self.record.info.borrow_mut();
        info.flags.insert(reply.flags);
        info.details = reply.details;
        self.close |= reply.close && !self.downstream.manager.stream_error_on_invalid_message;
        let text = reply
            .bytes
            .unwrap_or_else(|| reply.body.into_owned().into());
        let mut headers = HeaderMap::with_capacity(8);
        for (name, value) in reply.headers {
            headers.append(name, value);
        }
        let mut status = reply.status;
        let body;
        if self.grpc && !status.is_redirection() {
            let code = reply.grpc_status.unwrap_or_else(|| grpc::status_of(status));
            info.grpc_status = Some(code);
            status = StatusCode::OK;
            headers.insert(CONTENT_TYPE, names::GRPC.clone());
            headers.insert(names::GRPC_STATUS.clone(), HeaderValue::from(code));
            if let Ok(text) = std::str::from_utf8(&text)
                && !text.is_empty()
            {
                headers.insert(names::GRPC_MESSAGE.clone(), grpc::message(text));
            }
            body = ResponseBody::empty(guard);
        } else {
            if !text.is_empty() {
                headers
                    .entry(CONTENT_TYPE)
                    .or_insert_with(|| names::TEXT.clone());
            }
            if self.is_head {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
                body = ResponseBody::empty(guard);
            } else {
                body = ResponseBody::text(text, guard);
            }
        }
        info.status = status.as_u16();
        drop(info);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// What every answer gets.
    fn finish_head(&mut self, headers: &mut HeaderMap) {
        let manager = &self.downstream.manager;
        let overwrite = match manager.server_header {
            ServerHeader::Overwrite => true,
            ServerHeader::AppendIfAbsent => !headers.contains_key(SERVER),
            ServerHeader::PassThrough => false,
        };
        if overwrite {
            headers.insert(SERVER, self.downstream.server_name.clone());
        }
        if let Some(Ok(value)) = manager.via.as_deref().map(HeaderValue::from_str) {
            headers.append(VIA, value);
        }
        if let Some(id) = self.request_id.take() {
            headers.insert(names::X_REQUEST_ID.clone(), id);
        }
        for cookie in self.cookies.drain(..) {
            headers.append(SET_COOKIE, cookie);
        }
        if manager.peer_metadata.downstream_propagation {
            peer::put(headers);
        }
        if manager.tracing.is_some() {
            trace::answer(self, headers);
        }
        let http1 = self.protocol != Protocol::Http2;
        if http1 && !self.switched && (self.close || self.downstream.closes()) {
            headers.insert(CONNECTION, names::CLOSE.clone());
        }
        if self.downstream.keeps_headers {
            self.record.info.borrow_mut().response_headers = headers.clone();
        }
    }

    /// The request's body, or `None` when it has none.
    pub fn upload(&self, body: RequestSource, keep: bool, gated: bool) -> Option<Rc<Upload>> {
        (!body.is_end_stream()).then(|| Upload::new(body, self.record.clone(), keep, gated))
    }

    /// HTTP/1.1 options of the cluster in use.
    pub fn upstream_http1(&self) -> UpstreamHttp1 {
        let info = self.record.info.borrow();
        info.cluster
            .as_ref()
            .map_or_else(UpstreamHttp1::default, |cluster| cluster.http1)
    }

    pub fn flag(&self, flag: Flags) {
        self.record.info.borrow_mut().flags.insert(flag);
    }

    /// The answer accepts CONNECT or an upgrade.
    pub fn switch(&mut self) {
        self.switched = true;
    }

    pub fn next_attempt(&self) -> u32 {
        let mut info = self.record.info.borrow_mut();
        info.attempts += 1;
        info.attempts
    }

    /// Who ends the exchange from now on: the answer's body or the tunnel.
    pub fn take_guard(&mut self) -> Guard {
        self.guard
            .take()
            .unwrap_or_else(|| Guard(self.record.clone()))
    }

    pub fn note_connection(&self, facts: &ConnectionFacts) {
        let mut info = self.record.info.borrow_mut();
        info.upstream_local = facts.local;
        if facts.remote.is_some() {
            info.upstream_remote = facts.remote;
        }
        info.upstream_tls = facts.tls.clone();
    }

    pub fn propagate_peer(&self, headers: &mut HeaderMap) {
        if self.downstream.manager.peer_metadata.upstream_propagation {
            peer::put(headers);
        }
    }

    pub fn discover_peer(&self, headers: &mut HeaderMap) {
        if self.downstream.manager.peer_metadata.upstream_discovery {
            self.record.info.borrow_mut().peer = peer::take(headers);
        }
    }
}
