//! One question to a captured proxy, and how it is asked.

use super::certificates::Authority;
use super::world::Mark;
use crate::client::{Answer, Received, answer_of};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// Bound on one question.
const PATIENCE: Duration = Duration::from_secs(8);
/// Some address, for a handshake that names no server.
const NAMELESS: &str = "192.0.2.1";

#[derive(Clone, Debug)]
pub struct Tls {
    /// SNI.
    pub name: Option<String>,
    /// ALPN.
    pub protocols: Vec<String>,
    /// Whether the client has a certificate.
    pub certified: bool,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    pub body: &'static str,
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }
}

#[derive(Clone, Debug)]
pub enum Input {
    /// No HTTP.
    Bytes,
    Http1(Request),
    /// With prior knowledge, or as TLS agreed.
    Http2(Request),
}

#[derive(Clone, Debug)]
pub struct Question {
    pub name: String,
    pub mark: Mark,
    pub destination: SocketAddrV4,
    pub tls: Option<Tls>,
    pub input: Input,
}

impl Question {
    /// By which the log and the services tell questions apart: who asks, and with which words.
    pub fn source(index: usize) -> Ipv4Addr {
        let [.., high, low] = (index as u32 + 1).to_be_bytes();
        Ipv4Addr::new(100, 64, high, low)
    }

    pub fn agent(index: usize) -> String {
        format!("captured/{index}.")
    }

    /// Never fails: what went wrong is part of what is compared.
    pub async fn ask(&self, index: usize, authority: &Authority) -> Received {
        let result = tokio::time::timeout(PATIENCE, self.exchange(index, authority)).await;
        let failed = |end: String| Received {
            end,
            ..Received::default()
        };
        match result {
            Ok(Ok(received)) => received,
            Ok(Err(error)) => failed(said(&error)),
            Err(_) => failed("no answer in time".into()),
        }
    }

    async fn exchange(&self, index: usize, authority: &Authority) -> io::Result<Received> {
        let stream = self.connect(index).await?;
        let Some(tls) = &self.tls else {
            return self.over(stream, index).await;
        };
        let connector = TlsConnector::from(authority.client(tls.certified, &tls.protocols));
        let name = tls.name.clone().unwrap_or_else(|| NAMELESS.to_owned());
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = connector.connect(name, stream).await?;
        self.over(stream, index).await
    }

    async fn connect(&self, index: usize) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let mark = self.mark as u32;
        // SAFETY: the option is a number of this size.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MARK,
                (&raw const mark).cast(),
                size_of_val(&mark) as libc::socklen_t,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        socket.bind(SocketAddrV4::new(Self::source(index), 0).into())?;
        socket.connect(self.destination.into()).await
    }

    async fn over<S>(&self, mut stream: S, index: usize) -> io::Result<Received>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let agent = Self::agent(index);
        match &self.input {
            Input::Bytes => {
                stream
                    .write_all(format!("\x01 {agent}\n").as_bytes())
                    .await?;
                let mut answer = Vec::new();
                let end = match stream.read_to_end(&mut answer).await {
                    Ok(_) => "closed".to_owned(),
                    Err(error) => said(&error),
                };
                let answer = String::from_utf8_lossy(&answer);
                Ok(Received {
                    answers: Vec::new(),
                    end: match answer.is_empty() {
                        true => end,
                        false => format!("{end} after {answer:?}"),
                    },
                })
            }
            Input::Http1(request) => {
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream))
                        .await
                        .map_err(|_| io::ErrorKind::ConnectionReset)?;
                let connection = tokio::spawn(connection);
                let target = request.target.clone();
                let request = compose(request, &target, &agent).header("host", &request.host);
                let request = request.body(Full::new(Bytes::from(self.body())));
                let result = sender
                    .send_request(request.map_err(io::Error::other)?)
                    .await;
                let answered = received(result).await;
                connection.abort();
                Ok(answered)
            }
            Input::Http2(request) => {
                let (mut sender, connection) = hyper::client::conn::http2::handshake(
                    TokioExecutor::new(),
                    TokioIo::new(stream),
                )
                .await
                .map_err(|_| io::ErrorKind::ConnectionReset)?;
                let connection = tokio::spawn(connection);
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let target = format!("{scheme}://{}{}", request.host, request.target);
                let request = compose(request, &target, &agent);
                let request = request.body(Full::new(Bytes::from(self.body())));
                let result = sender
                    .send_request(request.map_err(io::Error::other)?)
                    .await;
                let answered = received(result).await;
                connection.abort();
                Ok(answered)
            }
        }
    }

    fn body(&self) -> &'static str {
        match &self.input {
            Input::Http1(request) | Input::Http2(request) => request.body,
            Input::Bytes => "",
        }
    }
}

fn compose(request: &Request, target: &str, agent: &str) -> http::request::Builder {
    let mut builder = http::Request::builder()
        .method(request.method.as_str())
        .uri(target)
        .header("user-agent", agent);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    builder
}

async fn received(result: hyper::Result<http::Response<Incoming>>) -> Received {
    let mut received = Received::default();
    match result {
        Ok(response) => {
            let answer: Answer = answer_of(response).await;
            received.answers.push(answer);
        }
        // When the end was noticed decides over what it is called.
        Err(_) => received.end = "closed".into(),
    }
    received
}

/// Ends of connections that differ only in when they were noticed are the same.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => "closed".into(),
        _ => error.to_string(),
    }
}
