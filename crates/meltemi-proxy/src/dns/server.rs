//! The server: UDP and TCP on one address.

use super::answer::{Verdict, answer};
use super::forward::{Forwarder, read_message, write_message};
use super::table::SharedTable;
use crate::hot_restart::{SocketKey, SocketKind, Sockets};
use crate::net::{self, netns};
use crate::options::UnknownNames;
use crate::telemetry::stats::Counter;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// TCP clients at once; the next wait in the kernel's queue.
const TCP_CLIENTS: usize = 64;
/// A TCP client without a query is let go.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// UDP queries being forwarded at once; further ones are dropped, the client asks again.
const UDP_WAITING: usize = 256;

struct Service {
    table: SharedTable,
    unknown: UnknownNames,
    forwarder: Forwarder,
    requests: Counter,
    upstream: Counter,
    failures: Counter,
}

/// Binds in the namespace and serves until a successor does or the `LocalSet` ends.
///
/// # Errors
/// The address cannot be bound.
pub fn serve(
    address: SocketAddr,
    namespace: Option<BorrowedFd<'_>>,
    table: SharedTable,
    unknown: UnknownNames,
    forwarder: Forwarder,
    sockets: &Sockets,
) -> io::Result<SocketAddr> {
    let (udp, tcp) = netns::run(namespace, || {
        let key = SocketKey::ip(SocketKind::Udp, address);
        let mut udp = sockets.get(&key, 1, |_| {
            let udp = std::net::UdpSocket::bind(address)?;
            udp.set_nonblocking(true)?;
            Ok(udp)
        })?;
        let udp = udp.swap_remove(0);
        let key = SocketKey::ip(SocketKind::Tcp, address);
        let bound = udp.local_addr()?;
        let mut tcp = sockets.get(&key, 1, |_| net::sockets::listen(bound, false))?;
        Ok((udp, tcp.swap_remove(0)))
    })
    .map_err(|error| io::Error::new(error.kind(), format!("DNS server on {address}: {error}")))?;
    let bound = udp.local_addr()?;
    let service = Rc::new(Service {
        table,
        unknown,
        forwarder,
        requests: Counter::new("dns.requests"),
        upstream: Counter::new("dns.upstream_requests"),
        failures: Counter::new("dns.upstream_failures"),
    });
    let udp = Arc::new(UdpSocket::from_std(udp)?);
    let tcp = TcpListener::from_std(tcp)?;
    let sockets = sockets.clone();
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = serve_udp(udp, service.clone()) => {}
            () = serve_tcp(tcp, service.clone()) => {}
            () = sockets.handed_over() => {}
        }
    });
    Ok(bound)
}

impl Service {
    /// The reply, or `None` for none.
    async fn reply(&self, query: &[u8], udp: bool) -> Option<Vec<u8>> {
        self.requests.inc();
        let verdict = answer(&self.table.load(), self.unknown, query, udp);
        match verdict {
            Verdict::Reply(reply) => Some(reply),
            Verdict::Ignore => None,
            Verdict::Forward { otherwise } => {
                self.upstream.inc();
                match self.forwarder.ask(query, udp).await {
                    Ok(reply) => Some(reply),
                    Err(error) => {
                        self.failures.inc();
                        tracing::debug!(%error, "no resolver answered");
                        Some(otherwise)
                    }
                }
            }
        }
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, service: Rc<Service>) {
    let places = Arc::new(Semaphore::new(UDP_WAITING));
    let mut buffer = vec![0; 4096];
    loop {
        let (length, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An ICMP error of an earlier reply.
            Err(error) => {
                tracing::debug!(%error, "DNS receive failed");
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let query = buffer[..length].to_vec();
        let (socket, service) = (socket.clone(), service.clone());
        tokio::task::spawn_local(async move {
            if let Some(reply) = service.reply(&query, true).await {
                // The client may be gone; it asks again if not.
                let _ = socket.send_to(&reply, peer).await;
            }
            drop(place);
        });
    }
}

async fn serve_tcp(listener: TcpListener, service: Rc<Service>) {
    let places = Arc::new(Semaphore::new(TCP_CLIENTS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = service.clone();
                tokio::task::spawn_local(async move {
                    if let Err(error) = converse(stream, &service).await {
                        tracing::trace!(%error, "DNS client over TCP ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "DNS over TCP: accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(mut stream: TcpStream, service: &Service) -> io::Result<()> {
    loop {
        let query = match tokio::time::timeout(TCP_IDLE, read_message(&mut stream)).await {
            Ok(query) => query?,
            Err(_) => return Ok(()),
        };
        match service.reply(&query, false).await {
            Some(reply) => write_message(&mut stream, &reply).await?,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{ResolverConfig, Table, Zone};
    use arc_swap::ArcSwap;
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RecordType};
    use meltemi_xds::nds::{NameInfo, NameTable};
    use std::str::FromStr;

    #[tokio::test]
    async fn both_protocols_answer_and_a_new_table_is_used_at_once() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let table: SharedTable =
                    Arc::new(ArcSwap::from_pointee(Table::empty(Zone::default())));
                let forwarder = Forwarder::new(ResolverConfig {
                    servers: Vec::new(),
                });
                let address = serve(
                    ([127, 0, 0, 1], 0).into(),
                    None,
                    table.clone(),
                    UnknownNames::Refuse,
                    forwarder,
                    &Sockets::default(),
                )
                .unwrap();
                let mut query = Message::query();
                query.add_query(Query::query(
                    Name::from_str("reviews.").unwrap(),
                    RecordType::A,
                ));
                let query = query.to_vec().unwrap();

                let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let ask = async || {
                    client.send_to(&query, address).await.unwrap();
                    let mut buffer = [0; 512];
                    let length = client.recv(&mut buffer).await.unwrap();
                    Message::from_vec(&buffer[..length]).unwrap()
                };
                assert!(ask().await.answers.is_empty());
                let info = NameInfo {
                    ips: vec!["10.99.0.1".into()],
                    registry: "Kubernetes".into(),
                    shortname: "reviews".into(),
                    namespace: "default".into(),
                    alt_hosts: Vec::new(),
                };
                let nds = NameTable {
                    table: [("reviews.default.svc.cluster.local".to_owned(), info)].into(),
                };
                table.store(Arc::new(Table::from_nds(&nds, Zone::default()).0));
                assert_eq!(ask().await.answers.len(), 1);

                let mut stream = TcpStream::connect(address).await.unwrap();
                write_message(&mut stream, &query).await.unwrap();
                let reply = read_message(&mut stream).await.unwrap();
                assert_eq!(Message::from_vec(&reply).unwrap().answers.len(), 1);
            })
            .await;
    }
}
