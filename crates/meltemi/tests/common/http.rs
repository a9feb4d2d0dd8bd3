//! A small HTTP/1.1 client on hyper.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Bound on one exchange.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// # Panics
    /// When the body is no JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A request to be sent once.
#[derive(Clone)]
pub struct Request {
    port: u16,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    /// To a port of loopback.
    pub fn get(port: u16, path: &str) -> Self {
        Self {
            port,
            method: "GET",
            path: path.to_owned(),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub fn post(port: u16, path: &str, body: &str) -> Self {
        let mut request = Self::get(port, path);
        request.method = "POST";
        request.body = body.to_owned();
        request
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// # Errors
    /// What kept the answer from coming, in words.
    pub fn send(&self) -> Result<Response, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let mut connection = connect(self.port).await?;
            exchange(&mut connection, self).await
        })
    }

    fn build(&self) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::builder().method(self.method).uri(&self.path);
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request = request.header("host", format!("127.0.0.1:{}", self.port));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(self.body.clone()));
        request.body(body).expect("tests send valid requests")
    }
}

/// A connection that can be used again.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Waits until the next request can be sent; false: the server has closed.
    pub async fn ready(&mut self) -> bool {
        self.0.ready().await.is_ok()
    }
}

pub async fn connect(port: u16) -> Result<Connection, String> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(|error| format!("connect: {error}"))?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("connect: {error}"))?;
    // Ends with the sender.
    tokio::spawn(connection);
    Ok(Connection(sender))
}

pub async fn exchange(connection: &mut Connection, request: &Request) -> Result<Response, String> {
    let work = async {
        let response = connection.0.send_request(request.build()).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok::<_, hyper::Error>(Response {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(format!("{error:?}")),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}
