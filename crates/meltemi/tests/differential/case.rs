//! One question to both proxies.

use super::client::Exchange;
use http_body_util::Full;
use hyper::body::Bytes;
use std::collections::BTreeMap;

/// A configuration and the questions about it.
pub struct Group {
    pub name: &'static str,
    pub config: fn(&super::upstream::Upstreams) -> super::bootstrap::Config,
    pub cases: fn() -> Vec<Case>,
}

/// How a request is sent.
#[derive(Clone)]
pub enum Input {
    /// Bytes as they are.
    Raw(Exchange),
    /// A request composed from the case's parts, by HTTP/1.1.
    Http1,
    /// The same, by HTTP/2 with prior knowledge.
    Http2,
    /// A TLS handshake by `openssl s_client` with these arguments, which asks for an OCSP response.
    Handshake(&'static [&'static str]),
    /// What the administration counts under these names, of all listeners together.
    Statistics(&'static [&'static str]),
    /// A CONNECT by HTTP/2, extended to switch to a protocol.
    Tunnel(Option<&'static str>),
}

#[derive(Clone)]
pub struct Case {
    pub name: &'static str,
    /// Which of the group's listeners.
    pub listener: usize,
    pub input: Input,
    method: &'static str,
    target: String,
    host: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    until_closed: bool,
    then: &'static [u8],
    /// Access-log lines that it makes.
    pub logs: usize,
    /// Requests that the services see, at least (mirrors arrive late).
    pub seen: usize,
    /// Aspects that are not compared.
    pub loose: &'static [&'static str],
}

impl Case {
    pub fn get(name: &'static str, target: impl Into<String>) -> Self {
        Self {
            name,
            listener: 0,
            input: Input::Http1,
            method: "GET",
            target: target.into(),
            host: "app.test".into(),
            headers: Vec::new(),
            body: Vec::new(),
            until_closed: false,
            then: b"",
            logs: 1,
            seen: 0,
            loose: &[],
        }
    }

    /// Bytes as they are; waits for one answer.
    pub fn raw(name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        let mut case = Self::get(name, "");
        case.input = Input::Raw(Exchange {
            bytes: bytes.into(),
            answers: 1,
            head: false,
            until_closed: false,
            then: Vec::new(),
            opaque: false,
        });
        case
    }

    /// Bytes that are no HTTP: everything that comes back is read.
    pub fn opaque(name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        let mut case = Self::raw(name, bytes);
        if let Input::Raw(exchange) = &mut case.input {
            exchange.opaque = true;
        }
        case
    }

    /// A TLS handshake; what it brought is the connection's end.
    pub fn handshake(name: &'static str, arguments: &'static [&'static str]) -> Self {
        let mut case = Self::get(name, "").logs(0);
        case.input = Input::Handshake(arguments);
        case
    }

    /// Numbers that the cases before have left behind.
    pub fn statistics(name: &'static str, names: &'static [&'static str]) -> Self {
        let mut case = Self::get(name, "").logs(0);
        case.input = Input::Statistics(names);
        case
    }

    pub fn http2(mut self) -> Self {
        self.input = Input::Http2;
        self
    }

    /// CONNECT by HTTP/2; without a protocol the target is left out.
    pub fn tunnel(mut self, protocol: Option<&'static str>) -> Self {
        self.input = Input::Tunnel(protocol);
        self.method = "CONNECT";
        self
    }

    /// A gRPC call, by HTTP/2.
    pub fn grpc(name: &'static str, target: &str) -> Self {
        Self::get(name, target)
            .method("POST")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body("\0\0\0\0\0")
            .http2()
    }

    pub fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// With the services' ports in place of `{name}` in host and headers.
    pub fn placed(&self, ports: &BTreeMap<&'static str, u16>) -> Self {
        let mut case = self.clone();
        let headers = case.headers.iter_mut().map(|(_, value)| value);
        for text in headers.chain([&mut case.host]) {
            for (name, port) in ports {
                *text = text.replace(&format!("{{{name}}}"), &port.to_string());
            }
        }
        case
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// How the service is to treat the request.
    pub fn ask(self, orders: &str) -> Self {
        self.header("x-do", orders)
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = body.into();
        self
    }

    pub fn on(mut self, listener: usize) -> Self {
        self.listener = listener;
        self
    }

    pub fn logs(mut self, lines: usize) -> Self {
        self.logs = lines;
        self
    }

    pub fn seen(mut self, requests: usize) -> Self {
        self.seen = requests;
        self
    }

    /// Leaves out aspects that depend on who comes first, in Envoy itself.
    pub fn loose(mut self, aspects: &'static [&'static str]) -> Self {
        self.loose = aspects;
        self
    }

    /// Sent after the answer; the same amount is waited for.
    pub fn then(mut self, bytes: &'static [u8]) -> Self {
        self.then = bytes;
        self
    }

    /// The number of answers to wait for.
    pub fn answers(mut self, count: usize) -> Self {
        if let Input::Raw(exchange) = &mut self.input {
            exchange.answers = count;
        }
        self
    }

    /// Waits for the proxy to close the connection.
    pub fn closing(mut self) -> Self {
        self.until_closed = true;
        self
    }

    /// The bytes of an HTTP/1.1 connection.
    pub fn exchange(&self) -> Exchange {
        if let Input::Raw(exchange) = &self.input {
            let until_closed = exchange.until_closed || self.until_closed;
            return Exchange {
                until_closed,
                then: self.then.to_vec(),
                ..exchange.clone()
            };
        }
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method, self.target, self.host
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        Exchange {
            bytes,
            answers: 1,
            head: self.method == "HEAD",
            until_closed: self.until_closed,
            then: self.then.to_vec(),
            opaque: false,
        }
    }

    /// What is sent through a tunnel.
    pub fn sent(&self) -> &'static [u8] {
        self.then
    }

    /// The head of a CONNECT as HTTP/2 sends it.
    pub fn head(&self, protocol: Option<&'static str>) -> http::Request<()> {
        let uri = match protocol {
            Some(_) => format!("http://{}{}", self.host, self.target),
            None => self.host.clone(),
        };
        let mut request = http::Request::builder().method(self.method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(protocol) = protocol {
            request = request.extension(h2::ext::Protocol::from_static(protocol));
        }
        request.body(()).expect("a case holds a valid request")
    }

    /// The request as HTTP/2 sends it.
    pub fn request(&self) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(format!("http://{}{}", self.host, self.target));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = Full::new(Bytes::from(self.body.clone()));
        request.body(body).expect("a case holds a valid request")
    }
}
