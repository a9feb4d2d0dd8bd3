//! Every service at every address: it remembers what it was sent, and where the proxy
//! meant to send it.

use super::super::upstream::Seen;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What a TLS handshake begins with.
const HANDSHAKE: u8 = 0x16;
/// What the PROXY protocol's second version begins with.
const PROXY_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub struct Echo {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What is known of a connection before it says something: `endpoint`, `tls`, `announced`.
type About = Vec<(String, String)>;
type Memory = Arc<Mutex<Vec<Seen>>>;

impl Echo {
    pub async fn start(tls: ServerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(("0.0.0.0", 0)).await?;
        let port = listener.local_addr()?.port();
        let seen = Memory::default();
        let memory = seen.clone();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), memory.clone()));
            }
        });
        Ok(Self { port, seen })
    }

    /// What was seen so far.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn remember(memory: &Memory, seen: Seen) {
    memory
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(seen);
}

async fn serve(mut stream: TcpStream, acceptor: TlsAcceptor, memory: Memory) -> io::Result<()> {
    let endpoint = meltemi_capture::original_destination(&stream)?;
    let mut about = vec![("endpoint".to_owned(), endpoint.to_string())];
    let mut first = vec![0; 16];
    let count = stream.peek(&mut first).await?;
    if first[..count].starts_with(PROXY_HEADER) {
        let mut header = [0; 16];
        stream.read_exact(&mut header).await?;
        let mut addresses = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
        stream.read_exact(&mut addresses).await?;
        // Without the ports.
        about.push(("announced".into(), format!("{:?}", addresses.get(..8))));
        stream.peek(&mut first).await?;
    }
    if first[0] != HANDSHAKE {
        return plain(stream, about, memory).await;
    }
    let stream = acceptor.accept(stream).await?;
    let (_, connection) = stream.get_ref();
    let protocol = connection.alpn_protocol().unwrap_or_default();
    about.push((
        "tls-protocol".into(),
        String::from_utf8_lossy(protocol).into_owned(),
    ));
    about.push((
        "tls-name".into(),
        connection.server_name().unwrap_or("-").to_owned(),
    ));
    plain(stream, about, memory).await
}

/// HTTP, or bytes that come back.
async fn plain<S>(mut stream: S, about: About, memory: Memory) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut first = vec![0; 4096];
    let count = stream.read(&mut first).await?;
    first.truncate(count);
    if !first.first().is_some_and(u8::is_ascii_uppercase) {
        let seen = Seen {
            upstream: "echo",
            method: "(bytes)".into(),
            target: String::from_utf8_lossy(&first).into_owned(),
            headers: about,
            body: Vec::new(),
        };
        remember(&memory, seen);
        stream.write_all(b"echo: ").await?;
        stream.write_all(&first).await?;
        return stream.shutdown().await;
    }
    let (read, write) = tokio::io::split(stream);
    let stream = tokio::io::join(io::Cursor::new(first).chain(read), write);
    let service = service_fn(move |request| answer(request, about.clone(), memory.clone()));
    hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

/// `x-do: 503` is answered with that status.
async fn answer(
    request: Request<Incoming>,
    about: About,
    memory: Memory,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    headers.push(("version".into(), format!("{:?}", parts.version)));
    headers.extend(about);
    let status = parts
        .headers
        .get("x-do")
        .and_then(|status| status.to_str().ok()?.parse().ok());
    let body = body.collect().await.map(|body| body.to_bytes().to_vec());
    let seen = Seen {
        upstream: "echo",
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers,
        body: body.unwrap_or_else(|error| format!("broken off: {error}").into_bytes()),
    };
    remember(&memory, seen);
    let response = Response::builder()
        .status(status.unwrap_or(200))
        .header("x-service", "yes")
        .header("server-timing", "none")
        .body(Full::new(Bytes::from_static(match parts.method {
            http::Method::HEAD => b"",
            _ => b"echo\n",
        })));
    Ok(response.expect("static headers are valid"))
}
