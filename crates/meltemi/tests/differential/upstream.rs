//! The services behind both proxies. Each has a name and a port, so that the chosen cluster
//! is seen, and remembers what it was sent. Requests say in `x-do` how they want to be
//! treated; without, they are answered 200 with the service's name.

use crate::common::ports::free_port;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Services that answer by HTTP/1.1.
const HTTP: &[&str] = &["a", "b", "c"];
/// Bound on a request's head and body.
const MAX_REQUEST: usize = 1 << 20;

/// A request as a service received it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub upstream: &'static str,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What was seen since [`Upstreams::take`].
#[derive(Default)]
pub struct Memory {
    seen: Mutex<Vec<Seen>>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests came before this one. Health checks come when they come, and are
    /// not remembered.
    pub fn add(&self, seen: Seen) -> usize {
        let mut all = self.lock();
        let before = all.len();
        if seen.header("user-agent") != Some("Envoy/HC") {
            all.push(seen);
        }
        before
    }
}

pub struct Upstreams {
    pub ports: BTreeMap<&'static str, u16>,
    /// Of the name server.
    pub dns: u16,
    memory: Arc<Memory>,
}

impl Upstreams {
    pub async fn start() -> io::Result<Self> {
        let memory = Arc::new(Memory::default());
        let mut ports = BTreeMap::new();
        for name in HTTP {
            let memory = memory.clone();
            ports.insert(
                *name,
                serve(move |stream| http1(stream, name, memory.clone())).await?,
            );
        }
        let shared = memory.clone();
        ports.insert(
            "h2",
            serve(move |stream| super::upstream_h2::serve(stream, shared.clone())).await?,
        );
        let shared = memory.clone();
        ports.insert(
            "als",
            serve(move |stream| super::upstream_als::serve(stream, shared.clone())).await?,
        );
        ports.insert("closed", serve(read_and_close).await?);
        ports.insert("silent", serve(silent).await?);
        ports.insert("garbage", serve(garbage).await?);
        ports.insert("echo", serve(echo).await?);
        ports.insert("announced", serve(announced).await?);
        ports.insert("tcp", serve(|stream| tcp(stream, "tcp")).await?);
        ports.insert("tcp2", serve(|stream| tcp(stream, "tcp2")).await?);
        // Nobody listens there: connections are refused.
        ports.insert("refused", free_port());
        let dns = super::name_server::start().await?;
        Ok(Self { ports, dns, memory })
    }

    /// What was seen so far, by service and then in order.
    pub fn take(&self) -> Vec<Seen> {
        let mut seen = std::mem::take(&mut *self.memory.lock());
        seen.sort_by_key(|seen| seen.upstream);
        seen
    }

    pub fn seen(&self) -> usize {
        self.memory.lock().len()
    }
}

async fn serve<F>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> io::Result<u16>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    Ok(port)
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}

async fn read_and_close(mut stream: TcpStream) -> io::Result<()> {
    stream.read(&mut [0; 4096]).await.map(drop)
}

async fn silent(mut stream: TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}

async fn garbage(mut stream: TcpStream) -> io::Result<()> {
    // Whatever came first of the request is enough.
    let _ = stream.read(&mut [0; 4096]).await?;
    stream.write_all(b"this is no HTTP\r\n\r\n").await
}

/// Answers by HTTP with the PROXY header that came first, without its ports.
async fn announced(mut stream: TcpStream) -> io::Result<()> {
    let mut received = Vec::new();
    // Binary headers begin with what ends a request's head.
    while received.len() <= 16 || !received.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    }
    let header = match received.first() {
        Some(b'P') => {
            let line = String::from_utf8_lossy(&received).into_owned();
            let words = line.lines().next().unwrap_or_default().split(' ');
            words.take(4).collect::<Vec<_>>().join(" ")
        }
        _ => format!("{:?}", received.get(12..24)),
    };
    let length = header.len();
    stream
        .write_all(
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{header}").as_bytes(),
        )
        .await?;
    // Until the proxy has had enough of the connection.
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

/// Says who it is, then sends back what comes.
async fn tcp(mut stream: TcpStream, name: &'static str) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).await?;
    stream
        .write_all(format!("{name} got {count}: ").as_bytes())
        .await?;
    stream.write_all(&buffer[..count]).await?;
    stream.shutdown().await
}

async fn http1(mut stream: TcpStream, name: &'static str, memory: Arc<Memory>) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer, name).await? {
        let orders = Orders::of(&seen);
        let before = memory.add(seen.clone());
        match answer(&mut stream, &seen, &orders, before).await? {
            Next::Request => {}
            Next::Nothing => return Ok(()),
            Next::Tunnel => return echo(stream).await,
        }
    }
    Ok(())
}

/// The next request; `None` at the end of the connection.
async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    upstream: &'static str,
) -> io::Result<Option<Seen>> {
    let (mut seen, head) = loop {
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let mut request = httparse::Request::new(&mut headers);
        if let httparse::Status::Complete(head) = request.parse(buffer).map_err(io::Error::other)? {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let headers = request.headers.iter();
            let seen = Seen {
                upstream,
                method: request.method.unwrap_or_default().to_owned(),
                target: request.path.unwrap_or_default().to_owned(),
                headers: headers
                    .map(|h| (h.name.to_owned(), text(h.value)))
                    .collect(),
                body: Vec::new(),
            };
            break (seen, head);
        }
        if buffer.len() > MAX_REQUEST || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    buffer.drain(..head);
    if is_tunnel(&seen) {
        return Ok(Some(seen));
    }
    let chunked = seen.header("transfer-encoding").is_some();
    let length = seen
        .header("content-length")
        .and_then(|text| text.parse().ok());
    // A chunked body is kept as it came: its framing is the proxy's own.
    let complete = |buffer: &[u8]| match chunked {
        true => super::client::chunked_end(buffer),
        false => (buffer.len() >= length.unwrap_or(0)).then_some(length.unwrap_or(0)),
    };
    let end = loop {
        if let Some(end) = complete(buffer) {
            break end;
        }
        if buffer.len() > MAX_REQUEST || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let body: Vec<u8> = buffer.drain(..end).collect();
    seen.body = if chunked {
        super::client::unchunk(&body)
    } else {
        body
    };
    Ok(Some(seen))
}

/// Whether the request's body is a stream that is answered before it ends.
fn is_tunnel(seen: &Seen) -> bool {
    seen.method == "POST" && Orders::of(seen).has("once")
}

/// `x-do: status=503, delay=100`.
struct Orders(HashMap<String, String>);

impl Orders {
    fn of(seen: &Seen) -> Self {
        let words = seen.header("x-do").unwrap_or_default().split(", ");
        let pair = |word: &str| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            (name.to_owned(), value.to_owned())
        };
        Self(words.map(pair).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.parse().ok()
    }
}

/// What a connection carries behind an answer.
enum Next {
    Request,
    Nothing,
    /// What comes is sent back.
    Tunnel,
}

async fn answer(
    stream: &mut TcpStream,
    seen: &Seen,
    orders: &Orders,
    before: usize,
) -> io::Result<Next> {
    if let Some(milliseconds) = orders.number("delay") {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    if orders.has("close") {
        return Ok(Next::Nothing);
    }
    if orders.has("reset") {
        stream.set_zero_linger()?;
        return Ok(Next::Nothing);
    }
    if orders.has("upgrade") {
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Accept: yes\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        return Ok(Next::Tunnel);
    }
    if seen.method == "CONNECT" && !orders.has("status") {
        let head = "HTTP/1.1 200 Connected\r\nX-Accept: yes\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        if orders.has("once") {
            let mut buffer = [0; 1024];
            let count = stream.read(&mut buffer).await?;
            stream.write_all(&buffer[..count]).await?;
            return Ok(Next::Nothing);
        }
        return Ok(Next::Tunnel);
    }
    if is_tunnel(seen) && !orders.has("status") {
        let head = "HTTP/1.1 200 OK\r\nX-Accept: yes\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        // The first chunk as it came, and no end: Envoy 1.40 dies of one.
        let mut chunk = Vec::new();
        while chunk.iter().filter(|byte| **byte == b'\n').count() < 2 {
            if stream.read_buf(&mut chunk).await? == 0 {
                return Ok(Next::Nothing);
            }
        }
        stream.write_all(&chunk).await?;
        return Ok(Next::Nothing);
    }
    if orders.has("hints") {
        stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")
            .await?;
    }
    let status = match orders.number("fail-first") {
        Some(count) if (before as u64) < count => 503,
        _ => orders.number("status").unwrap_or(200),
    };
    let mut head = format!(
        "HTTP/1.1 {status} Chosen\r\nX-Upstream: {}\r\nX-Remove-Me: now\r\nX-Multi: one\r\nX-Multi: two\r\n",
        seen.upstream
    );
    if let Some(count) = orders.number("big-header") {
        head += &format!("X-Big: {}\r\n", "b".repeat(count as usize));
    }
    for name in [
        "grpc-status",
        "location",
        "retry-after",
        "server",
        "connection",
    ] {
        if let Some(value) = orders.0.get(name) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    let body = format!("{} says {status}\n", seen.upstream);
    let bodiless = seen.method == "HEAD" || matches!(status, 204 | 304);
    let (framing, body) = if orders.has("chunked") {
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        )
    } else if orders.has("until-close") {
        (String::new(), body)
    } else if orders.has("partial") {
        ("Content-Length: 100\r\n".to_owned(), body)
    } else if status == 204 {
        (String::new(), body)
    } else {
        (format!("Content-Length: {}\r\n", body.len()), body)
    };
    let shown = if bodiless { "" } else { body.as_str() };
    stream
        .write_all(format!("{head}{framing}\r\n{shown}").as_bytes())
        .await?;
    if orders.has("partial") {
        // Breaks off when the beginning has long been read.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    Ok(match orders.has("until-close") || orders.has("partial") {
        true => Next::Nothing,
        false => Next::Request,
    })
}
