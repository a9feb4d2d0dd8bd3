//! Passing queries on to the host's resolvers, unchanged.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// Time for one resolver to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Rounds through the resolvers over UDP.
const ROUNDS: usize = 2;
/// Queries on their way; more are answered SERVFAIL by the caller.
const CONCURRENT: usize = 256;
/// Resolvers of the file that are used, as glibc does.
const MOST_SERVERS: usize = 3;

/// The host's resolvers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    pub servers: Vec<SocketAddr>,
}

impl ResolverConfig {
    /// Reads `nameserver` lines of a resolv.conf; none, or no file, is the local resolver
    /// as for glibc.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot read the host's resolvers, using 127.0.0.1");
            String::new()
        });
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut servers: Vec<SocketAddr> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .filter_map(|rest| rest.split_whitespace().next())
            // A zone (`fe80::1%eth0`) cannot be expressed as an address: such a server is left out.
            .filter_map(|server| server.parse::<IpAddr>().ok())
            .map(|ip| SocketAddr::new(ip, 53))
            .take(MOST_SERVERS)
            .collect();
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        Self { servers }
    }
}

/// Forwards queries. Its sockets belong to the namespace of the thread that drives it.
pub struct Forwarder {
    config: ResolverConfig,
    places: Semaphore,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Forwarder({:?})", self.config.servers)
    }
}

impl Forwarder {
    pub fn new(config: ResolverConfig) -> Self {
        Self {
            config,
            places: Semaphore::new(CONCURRENT),
        }
    }

    /// Asks the resolvers in turn, by the protocol the client used; the answer comes back as
    /// it is, with the query's id. Each query has a socket of its own, with a random port.
    ///
    /// # Errors
    /// Nobody answered in time, or too many queries wait already.
    pub async fn ask(&self, query: &[u8], udp: bool) -> io::Result<Vec<u8>> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(io::Error::other("too many queries are being forwarded"));
        };
        let rounds = if udp { ROUNDS } else { 1 };
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for server in self
            .config
            .servers
            .iter()
            .cycle()
            .take(rounds * self.config.servers.len())
        {
            let attempt = async {
                if udp {
                    over_udp(*server, query).await
                } else {
                    over_tcp(*server, query).await
                }
            };
            match tokio::time::timeout(TIMEOUT, attempt).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => last = error,
                Err(_) => {}
            }
        }
        Err(last)
    }
}

/// A reply that belongs to the query: same id, a response, and the same question.
fn belongs(query: &[u8], reply: &[u8]) -> bool {
    reply.len() >= 12
        && query.len() >= 12
        && reply[..2] == query[..2]
        && reply[2] & 0x80 != 0
        && (reply[4..6] == [0, 0] || same_question(&query[12..], &reply[12..]))
}

/// Compares the first name without regard to case, then type and class.
fn same_question(query: &[u8], reply: &[u8]) -> bool {
    let mut end = 0;
    while let Some(length) = query.get(end) {
        end += 1 + usize::from(*length);
        if *length == 0 {
            break;
        }
    }
    match (query.get(..end + 4), reply.get(..end + 4)) {
        (Some(asked), Some(answered)) => asked.eq_ignore_ascii_case(answered),
        _ => false,
    }
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: the kernel drops what comes from others.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if belongs(query, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    write_message(&mut stream, query).await?;
    let reply = read_message(&mut stream).await?;
    if belongs(query, &reply) {
        Ok(reply)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// One message with its length before it (RFC 1035 §4.2.2).
pub(super) async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

pub(super) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_glibc_does() {
        let text = "# x\nsearch a b\nnameserver 10.0.0.1\n nameserver fd00::1 \nnameserver bad\nnameserver fe80::1%eth0\nnameserver 1.1.1.1\nnameserver 2.2.2.2\n";
        let servers = ResolverConfig::parse(text).servers;
        assert_eq!(servers.len(), 3);
        assert_eq!(servers[1], "[fd00::1]:53".parse().unwrap());
        assert_eq!(
            ResolverConfig::parse("").servers,
            ["127.0.0.1:53".parse().unwrap()]
        );
    }

    #[tokio::test]
    async fn a_forged_reply_is_not_taken() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let forwarder = Forwarder::new(ResolverConfig {
            servers: vec![server.local_addr().unwrap()],
        });
        let query =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01";
        let serve = async {
            let mut buffer = [0; 512];
            let (length, peer) = server.recv_from(&mut buffer).await.unwrap();
            let mut reply = buffer[..length].to_vec();
            reply[2] |= 0x80;
            let mut wrong_id = reply.clone();
            wrong_id[0] ^= 1;
            server.send_to(&wrong_id, peer).await.unwrap();
            let mut wrong_name = reply.clone();
            wrong_name[13] = b'x';
            server.send_to(&wrong_name, peer).await.unwrap();
            reply[13] = b'A';
            server.send_to(&reply, peer).await.unwrap();
        };
        let (reply, ()) = tokio::join!(forwarder.ask(query, true), serve);
        assert_eq!(reply.unwrap()[13], b'A');
    }
}
