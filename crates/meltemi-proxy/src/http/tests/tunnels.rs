//! CONNECT and upgrades, through every pair of protocols.

use super::super::testkit::*;
use crate::model::*;
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request, Response, StatusCode, Version};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Sends back what it reads; ends when the peer does.
async fn tcp_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.write_all(b" and over").await;
            });
        }
    });
    address
}

/// Accepts an upgrade of HTTP/1.1 or a CONNECT with this head, then sends back what it reads.
async fn http1_echo(head: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut asked).await.unwrap();
                }
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&asked).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// As [`http1_echo`], for extended CONNECT if that is offered; the pseudo-headers come first.
async fn http2_echo(offers: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut builder = h2::server::Builder::new();
        if offers {
            builder.enable_connect_protocol();
        }
        let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
        while let Some(Ok((request, mut answer))) = connection.accept().await {
            tokio::task::spawn_local(async move {
                let protocol = request.extensions().get::<Protocol>();
                let seen = format!(
                    "{} {} {:?}\n",
                    request.method(),
                    request.uri(),
                    protocol.map(Protocol::as_str)
                );
                let mut body = request.into_body();
                let mut out = answer.send_response(Response::new(()), false).unwrap();
                out.send_data(seen.into(), false).unwrap();
                while let Some(Ok(data)) = body.data().await {
                    out.send_data(data, false).unwrap();
                }
                out.send_data(Bytes::from_static(b"over"), true).unwrap();
            });
        }
    });
    address
}

async fn proxy(upstream: SocketAddr, protocol: UpstreamProtocol, ends_connect: bool) -> Proxy {
    let mut config = cluster_config("b");
    config.protocol = protocol;
    to_cluster(to_one(upstream, config), ends_connect).await
}

fn to_one(upstream: SocketAddr, config: ClusterConfig) -> Arc<Cluster> {
    Arc::new(Cluster {
        endpoints: Arc::new(endpoints(vec![endpoint(upstream)])),
        ..Arc::into_inner(cluster(config, &[])).unwrap()
    })
}

async fn to_cluster(cluster: Arc<Cluster>, ends_connect: bool) -> Proxy {
    let connect = route(
        PathMatch::Connect,
        Action::Forward(Box::new(Forward {
            upgrades: Box::new([("connect".into(), true)]),
            ends_connect,
            ..forward()
        })),
    );
    let mut manager = manager(routes(vec![connect, any(to(0))]));
    manager.http2.allow_connect = true;
    Proxy::start(manager, vec![cluster]).await
}

/// Asks over HTTP/1.1 and reads until the answer contains a text.
async fn ask(proxy: &Proxy, request: &str, until: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let got = read_until(&mut stream, until).await;
    (stream, got)
}

async fn read_until(stream: &mut TcpStream, until: &str) -> String {
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains(until) {
        assert!(
            stream.read_buf(&mut got).await.unwrap() > 0,
            "{}",
            String::from_utf8_lossy(&got)
        );
    }
    String::from_utf8(got).unwrap()
}

/// A tunnel over HTTP/2: the answer's status, and both halves.
async fn ask_http2(
    proxy: &Proxy,
    uri: &str,
    protocol: Option<&'static str>,
) -> (StatusCode, h2::SendStream<Bytes>, h2::RecvStream) {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    let mut client = client.ready().await.unwrap();
    while !client.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(uri)
        .body(())
        .unwrap();
    if let Some(protocol) = protocol {
        request
            .extensions_mut()
            .insert(Protocol::from_static(protocol));
    }
    let (answer, out) = client.send_request(request, false).unwrap();
    let answer = answer.await.unwrap();
    assert!(!answer.headers().contains_key("upgrade"), "{answer:?}");
    (answer.status(), out, answer.into_body())
}

async fn receive(body: &mut h2::RecvStream, until: &str) -> String {
    let mut got = String::new();
    while !got.contains(until) {
        let data = body.data().await.expect(&got).unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        got.push_str(std::str::from_utf8(&data).unwrap());
    }
    got
}

async fn has_ended(body: &mut h2::RecvStream) -> bool {
    match body.data().await {
        None => true,
        Some(data) => data.unwrap().is_empty() && body.is_end_stream(),
    }
}

const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const CONNECT: &str = "CONNECT there:7 HTTP/1.1\r\nHost: there:7\r\n\r\n";

#[test]
fn websocket_from_http2_to_http1() {
    run(async {
        let upstream = http1_echo(SWITCHED).await;
        let proxy = proxy(upstream, UpstreamProtocol::Http1, false).await;
        let (status, mut out, mut body) =
            ask_http2(&proxy, "http://a/chat", Some("websocket")).await;
        assert_eq!(status, 200);
        let head = receive(&mut body, "\r\n\r\n").await;
        assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        out.send_data("there".into(), false).unwrap();
        assert_eq!(receive(&mut body, "there").await, "there");
        out.send_data("and back".into(), true).unwrap();
        assert_eq!(receive(&mut body, "back").await, "and back");
        assert!(has_ended(&mut body).await);
    });
}

#[test]
fn websocket_from_http1_to_http2() {
    run(async {
        let proxy = proxy(http2_echo(true).await, UpstreamProtocol::Http2, false).await;
        let (mut stream, head) = ask(&proxy, UPGRADE, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        stream.write_all(b"there").await.unwrap();
        let got = read_until(&mut stream, "there").await;
        assert!(got.ends_with("there"), "{got}");
        stream.shutdown().await.unwrap();
        assert_eq!(read_until(&mut stream, "over").await, "over");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn websocket_from_http2_to_http2() {
    run(async {
        let proxy = proxy(http2_echo(true).await, UpstreamProtocol::Http2, false).await;
        let (status, mut out, mut body) =
            ask_http2(&proxy, "http://a/chat", Some("websocket")).await;
        assert_eq!(status, 200);
        let seen = receive(&mut body, "\n").await;
        assert_eq!(seen, "CONNECT http://a/chat Some(\"websocket\")\n");
        out.send_data("there".into(), true).unwrap();
        assert_eq!(receive(&mut body, "over").await, "thereover");
        assert!(has_ended(&mut body).await);
    });
}

#[test]
fn an_upstream_that_does_not_offer_extended_connect_gets_none() {
    run(async {
        let proxy = proxy(http2_echo(false).await, UpstreamProtocol::Http2, false).await;
        let (_, got) = ask(&proxy, UPGRADE, "protocol error").await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    });
}

#[test]
fn extended_connect_is_not_taken_unless_it_is_offered() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let (client, connection) = h2::client::handshake::<_>(stream).await.unwrap();
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        let mut client: h2::client::SendRequest<Bytes> = client.ready().await.unwrap();
        let plain = Request::get("http://a/").body(()).unwrap();
        let (answer, _) = client.send_request(plain, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        assert!(!client.is_extended_connect_protocol_enabled());
    });
}

#[test]
fn connect_ends_here_and_both_sides_may_end_first() {
    run(async {
        let proxy = proxy(tcp_echo().await, UpstreamProtocol::Http1, true).await;
        let request = format!("{CONNECT}early");
        let (mut stream, got) = ask(&proxy, &request, "early").await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
        assert!(got.ends_with("\r\n\r\nearly"), "{got}");
        assert!(!got.contains("connection: close"), "{got}");
        assert!(!got.contains("transfer-encoding"), "{got}");
        stream.write_all(b" late").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(read_until(&mut stream, "over").await, " late and over");
        until(|| proxy.open.get() == 0).await;

        let (status, mut out, mut body) = ask_http2(&proxy, "there:7", None).await;
        assert_eq!(status, 200);
        out.send_data("data".into(), true).unwrap();
        assert_eq!(receive(&mut body, "over").await, "data and over");
        assert!(has_ended(&mut body).await);
    });
}

#[test]
fn a_connect_that_ends_here_ends_with_an_endpoint_that_fails_where_that_is_configured() {
    run(async {
        let service = tcp_echo().await;
        for closes in [true, false] {
            let mut config = cluster_config("b");
            config.close_on_failure = closes;
            let cluster = to_one(service, config);
            let proxy = to_cluster(cluster.clone(), true).await;
            let (mut stream, _) = ask(&proxy, &format!("{CONNECT}early"), "early").await;
            let (_, mut out, mut body) = ask_http2(&proxy, "there:7", None).await;
            out.send_data("early".into(), false).unwrap();
            receive(&mut body, "early").await;
            let endpoint = cluster.endpoints.endpoints().next().unwrap();
            endpoint.state.set_checked(CheckResult::Failed);
            cluster.shared.health_changed();
            if closes {
                assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
                assert!(body.data().await.unwrap().is_err());
            } else {
                stream.write_all(b" late").await.unwrap();
                read_until(&mut stream, "late").await;
                out.send_data(" late".into(), false).unwrap();
                receive(&mut body, "late").await;
            }
        }
    });
}

#[test]
fn connect_is_passed_on() {
    run(async {
        let accepts = "HTTP/1.1 200 Connected\r\n\r\n";
        let over1 = proxy(http1_echo(accepts).await, UpstreamProtocol::Http1, false).await;
        let (mut stream, got) = ask(&over1, CONNECT, "host: there:7\r\n").await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
        assert!(got.contains("CONNECT there:7 HTTP/1.1\r\n"), "{got}");
        stream.write_all(b"data").await.unwrap();
        read_until(&mut stream, "data").await;

        let over2 = proxy(http2_echo(false).await, UpstreamProtocol::Http2, false).await;
        let (mut stream, got) = ask(&over2, CONNECT, "None").await;
        assert!(got.contains("\r\n\r\nCONNECT there:7 None"), "{got}");
        stream.write_all(b"data").await.unwrap();
        read_until(&mut stream, "data").await;
    });
}

#[test]
fn a_connect_that_is_refused_closes_the_connection() {
    run(async {
        let refuses = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
        let over1 = proxy(http1_echo(refuses).await, UpstreamProtocol::Http1, false).await;
        let got = over1.raw(format!("{CONNECT}early").as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 403 "), "{got}");
        assert!(got.ends_with("no"), "{got}");
        // Nobody listens there.
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        let ends = proxy(address, UpstreamProtocol::Http1, true).await;
        let got = ends.raw(CONNECT.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
    });
}
