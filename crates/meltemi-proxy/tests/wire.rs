//! Workers with hand-built snapshots: accept, chain choice, relay, change and drain.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod wire_support;

use meltemi_proxy::Publish;
use meltemi_proxy::model::*;
use meltemi_proxy::worker::{Group, Workers};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use wire_support::{always, chain, cluster, listener, snapshot};

const DRAIN: Duration = Duration::from_millis(300);

/// A free port of the loopback interface. Nobody else takes it: the kernel hands ports out
/// in turn.
fn free() -> SocketAddr {
    let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    probe.local_addr().unwrap()
}

/// Answers every byte with the byte and, first of all, its own name.
async fn echo(name: u8) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(async move {
                if stream.write_all(&[name]).await.is_err() {
                    return;
                }
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

struct Proxy {
    snapshots: watch::Sender<Arc<Snapshot>>,
    workers: Workers,
}

impl Proxy {
    async fn start(first: Arc<Snapshot>, publish: Option<Publish>) -> Self {
        Self::start_with(first, publish, 1000).await
    }

    async fn start_with(
        first: Arc<Snapshot>,
        publish: Option<Publish>,
        max_connections: u32,
    ) -> Self {
        let generation = first.generation;
        let (snapshots, receiver) = watch::channel(first);
        let group = Group {
            sockets: Default::default(),
            count: 2,
            namespace: None,
            mesh: Vec::new(),
            publish,
            max_connections,
            overload: Default::default(),
            listener_drain: DRAIN,
        };
        let proxy = Self {
            snapshots,
            workers: Workers::start(group, receiver).unwrap(),
        };
        proxy.applied(generation).await;
        proxy
    }

    async fn apply(&self, next: Arc<Snapshot>) {
        let generation = next.generation;
        self.snapshots.send(next).unwrap();
        self.applied(generation).await;
    }

    async fn applied(&self, generation: u64) {
        let mut applied = self.workers.handle().applied();
        applied
            .wait_for(|known| *known == generation)
            .await
            .unwrap();
    }
}

/// Connects until the server's name is the wanted one: a worker may still hold the
/// configuration of a moment ago.
async fn connect_to(address: SocketAddr, wanted: u8) -> TcpStream {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if stream.read_u8().await.is_ok_and(|name| name == wanted) {
            return stream;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "never reached {}",
            char::from(wanted)
        );
        tokio::task::yield_now().await;
    }
}

async fn ping(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"x").await?;
    assert_eq!(stream.read_u8().await?, b'x');
    Ok(())
}

async fn closed(stream: &mut TcpStream) {
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0; 8])).await;
    assert!(!matches!(ended.expect("still open"), Ok(1..)), "got data");
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_changed_chain_serves_new_connections_and_old_ones_end_with_the_drain_time() {
    run(async {
        let clusters = vec![
            cluster(0, Some(echo(b'a').await)),
            cluster(1, Some(echo(b'b').await)),
        ];
        let address = free();
        let proxy = Proxy::start(
            snapshot(1, vec![listener("l", address, always(0))], clusters.clone()),
            None,
        )
        .await;
        let mut old = connect_to(address, b'a').await;
        ping(&mut old).await.unwrap();
        proxy
            .apply(snapshot(
                2,
                vec![listener("l", address, always(1))],
                clusters.clone(),
            ))
            .await;
        let mut new = connect_to(address, b'b').await;
        // A stream that goes on does not outlive its filter chain for ever.
        while ping(&mut old).await.is_ok() {}
        ping(&mut new).await.unwrap();
        proxy.apply(snapshot(3, Vec::new(), clusters)).await;
        closed(&mut new).await;
        let refused = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), refused)
            .await
            .unwrap();
        proxy.workers.stop();
    });
}

#[test]
fn connections_to_an_endpoint_that_fails_end_where_that_is_configured() {
    run(async {
        let service = echo(b'a').await;
        for closes in [true, false] {
            let mut cluster = cluster(0, Some(service));
            let changed = Arc::get_mut(&mut cluster).unwrap();
            Arc::get_mut(&mut changed.config).unwrap().close_on_failure = closes;
            let address = free();
            let first = snapshot(
                1,
                vec![listener("l", address, always(0))],
                vec![cluster.clone()],
            );
            let proxy = Proxy::start(first, None).await;
            let mut stream = connect_to(address, b'a').await;
            ping(&mut stream).await.unwrap();
            let endpoint = cluster.endpoints.endpoints().next().unwrap();
            endpoint.state.set_checked(CheckResult::Failed);
            cluster.shared.health_changed();
            if closes {
                closed(&mut stream).await;
            } else {
                ping(&mut stream).await.unwrap();
            }
            proxy.workers.stop();
        }
    });
}

#[test]
fn failures_close_the_connection_and_the_worker_lives_on() {
    run(async {
        let clusters = vec![
            cluster(0, Some(free())),
            cluster(1, None),
            cluster(2, Some(echo(b'c').await)),
        ];
        let (refused, empty, good, none) = (free(), free(), free(), free());
        let no_chain = ChainTable {
            chains: vec![(
                ChainMatch {
                    destination_port: Some(1),
                    ..ChainMatch::default()
                },
                chain(2),
            )],
            default: None,
        };
        let listeners = vec![
            listener("refused", refused, always(0)),
            listener("empty", empty, always(1)),
            listener("good", good, always(2)),
            listener("no-chain", none, no_chain),
            listener("no-cluster", free(), always(9)),
        ];
        let no_cluster = listeners[4].addresses[0];
        let proxy = Proxy::start(snapshot(1, listeners, clusters), None).await;
        for address in [refused, empty, none, no_cluster] {
            // A reset may come so soon that it is the connecting that fails.
            if let Ok(mut stream) = TcpStream::connect(address).await {
                closed(&mut stream).await;
            }
        }
        ping(&mut connect_to(good, b'c').await).await.unwrap();
        proxy.workers.stop();
    });
}

#[test]
fn protocols_are_detected_and_server_first_clients_are_not_kept_waiting() {
    run(async {
        let clusters = vec![
            cluster(0, Some(echo(b't').await)),
            cluster(1, Some(echo(b'h').await)),
        ];
        let address = free();
        let http = ChainMatch {
            application_protocols: vec![b"http/1.1".as_slice().into()],
            transport: Some(Transport::RawBuffer),
            ..ChainMatch::default()
        };
        let table = ChainTable {
            chains: vec![(http, chain(1))],
            default: Some(chain(0)),
        };
        let mut sniffing = Arc::into_inner(listener("l", address, table)).unwrap();
        sniffing.tls_inspector = Some(InspectorPorts::default());
        sniffing.http_inspector = Some(InspectorPorts::default());
        sniffing.inspect_timeout = Some(Duration::from_millis(50));
        let proxy = Proxy::start(snapshot(1, vec![Arc::new(sniffing)], clusters), None).await;
        let mut silent = connect_to(address, b't').await;
        ping(&mut silent).await.unwrap();
        let mut http = TcpStream::connect(address).await.unwrap();
        http.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(http.read_u8().await.unwrap(), b'h');
        assert_eq!(
            http.read_u8().await.unwrap(),
            b'G',
            "the bytes that were looked at arrive"
        );
        proxy.workers.stop();
    });
}

#[test]
fn publishing_names_collisions_and_serves_the_rest() {
    run(async {
        let clusters = vec![cluster(0, Some(echo(b'p').await))];
        let (first, second, third) = (free(), free(), free());
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken_port = taken.local_addr().unwrap().port();
        let published = free().port();
        let publish = Publish {
            address: Ipv4Addr::LOCALHOST.into(),
            ports: vec![
                (first.port(), published),
                (second.port(), taken_port),
                (third.port(), published),
            ],
        };
        // Chains by port: a published connection is one to the listener's own port.
        let by_port = |address: SocketAddr| ChainTable {
            chains: vec![(
                ChainMatch {
                    destination_port: Some(address.port()),
                    ..ChainMatch::default()
                },
                chain(0),
            )],
            default: None,
        };
        let listeners = vec![
            listener("first", first, by_port(first)),
            listener("second", second, by_port(second)),
            listener("third", third, by_port(third)),
        ];
        let proxy = Proxy::start(snapshot(1, listeners, clusters), Some(publish)).await;
        for port in [published, first.port(), second.port(), third.port()] {
            ping(&mut connect_to((Ipv4Addr::LOCALHOST, port).into(), b'p').await)
                .await
                .unwrap();
        }
        let mut watching = proxy.workers.handle().bind_failures();
        let failures = watching
            .wait_for(|failures| failures.len() == 2)
            .await
            .unwrap()
            .clone();
        let text: Vec<String> = failures.iter().map(ToString::to_string).collect();
        assert!(
            text.iter()
                .any(|text| text.contains("`third`") && text.contains("`first`")),
            "{text:?}"
        );
        let collision = text.iter().find(|text| text.contains("`second`")).unwrap();
        assert!(
            collision.contains("taken") && collision.contains("--publish 127.0.0.1"),
            "{collision}"
        );
        // When the port is free again, the listener takes it.
        drop(taken);
        watching
            .wait_for(|failures| failures.len() == 1)
            .await
            .unwrap();
        ping(&mut connect_to((Ipv4Addr::LOCALHOST, taken_port).into(), b'p').await)
            .await
            .unwrap();
        proxy.workers.stop();
    });
}

#[test]
fn the_limit_of_connections_holds_and_draining_ends_them() {
    run(async {
        let clusters = vec![cluster(0, Some(echo(b'l').await))];
        let address = free();
        let proxy = Proxy::start_with(
            snapshot(1, vec![listener("l", address, always(0))], clusters),
            None,
            2,
        )
        .await;
        let mut first = connect_to(address, b'l').await;
        let mut second = connect_to(address, b'l').await;
        let mut third = TcpStream::connect(address).await.unwrap();
        closed(&mut third).await;
        ping(&mut first).await.unwrap();
        let handle = proxy.workers.handle();
        assert_eq!(handle.active_connections(), 2);
        handle.drain(Some(Duration::from_millis(50)), false);
        closed(&mut first).await;
        closed(&mut second).await;
        while handle.active_connections() > 0 {
            tokio::task::yield_now().await;
        }
        proxy.workers.stop();
    });
}

#[test]
fn the_first_connection_of_a_listener_that_drains_is_drained_too() {
    run(async {
        let clusters = vec![cluster(0, Some(echo(b'l').await))];
        let address = free();
        let proxy = Proxy::start(
            snapshot(1, vec![listener("l", address, always(0))], clusters),
            None,
        )
        .await;
        let handle = proxy.workers.handle();
        handle.drain(Some(Duration::from_millis(100)), false);
        let mut late = TcpStream::connect(address).await.unwrap();
        let ended = async { while !matches!(late.read(&mut [0; 8]).await, Ok(0) | Err(_)) {} };
        tokio::time::timeout(Duration::from_secs(10), ended)
            .await
            .unwrap();
        proxy.workers.stop();
    });
}
