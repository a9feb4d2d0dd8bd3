//! HTTP/2, gRPC, trailers, streaming, WebSocket, 100 (Continue).

use crate::http::testkit::*;
use crate::model::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn frames(frames: Vec<Frame<Bytes>>) -> ClientBody {
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

async fn backend(upstream: &Upstream, protocol: UpstreamProtocol) -> Proxy {
    let mut config = cluster_config("b");
    config.protocol = protocol;
    Proxy::start(
        manager(routes(vec![any(to(0))])),
        vec![cluster(config, &[upstream])],
    )
    .await
}

#[test]
fn every_pair_of_protocols_carries_bodies() {
    run(async {
        let echo = |request: http::Request<hyper::body::Incoming>| async move {
            text(200, request.into_body().collect().await.unwrap().to_bytes())
        };
        let (one, two) = (Upstream::http1(echo).await, Upstream::http2(echo).await);
        let payload = "x".repeat(300_000);
        for (upstream, protocol) in [
            (&one, UpstreamProtocol::Http1),
            (&two, UpstreamProtocol::Http2),
        ] {
            let proxy = backend(upstream, protocol).await;
            for mut client in [
                Client::http1(proxy.address).await,
                Client::http2(proxy.address).await,
            ] {
                for _ in 0..3 {
                    let post = request("POST", "/").body(full(payload.clone())).unwrap();
                    let answer = client.send(post).await;
                    assert_eq!((answer.status, answer.body.len()), (200, payload.len()));
                }
                let head = client
                    .send(request("HEAD", "/").body(full("")).unwrap())
                    .await;
                assert_eq!(head.status, 200);
            }
            assert_eq!(upstream.connections.get(), 1);
        }
    });
}

#[test]
fn grpc_trailers_pass_and_failures_become_a_status() {
    run(async {
        let upstream = Upstream::http2(|_| async {
            let body = frames(vec![
                Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi")),
                Frame::trailers(trailers(&[("grpc-status", "0")])),
            ]);
            Response::builder()
                .header("content-type", "application/grpc")
                .body(body)
                .unwrap()
        })
        .await;
        let proxy = backend(&upstream, UpstreamProtocol::Http2).await;
        let mut client = Client::http2(proxy.address).await;
        let grpc = |path: &str| {
            request("POST", path)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(full("\0\0\0\0\0"))
                .unwrap()
        };
        let answer = client.send(grpc("/s/M")).await;
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        assert_eq!(upstream.last("te").unwrap(), "trailers");

        let empty = Proxy::start(manager(routes(vec![])), vec![]).await;
        let answer = Client::http2(empty.address).await.send(grpc("/s/M")).await;
        assert_eq!(
            (answer.status, answer.header("grpc-status")),
            (200, Some("12"))
        );
        assert_eq!(answer.header("content-type"), Some("application/grpc"));

        let cluster = cluster(cluster_config("b"), &[]);
        let nobody = Proxy::start(manager(routes(vec![any(to(0))])), vec![cluster]).await;
        let answer = Client::http2(nobody.address).await.send(grpc("/s/M")).await;
        assert_eq!(answer.header("grpc-status"), Some("14"));
        assert_eq!(answer.header("grpc-message"), Some("no healthy upstream"));
    });
}

#[test]
fn http1_trailers_pass() {
    run(async {
        let upstream = Upstream::http1(|_| async {
            let body = frames(vec![
                Frame::data(Bytes::from_static(b"data")),
                Frame::trailers(trailers(&[("x-sum", "42")])),
            ]);
            Response::builder()
                .header("trailer", "x-sum")
                .body(body)
                .unwrap()
        })
        .await;
        let proxy = backend(&upstream, UpstreamProtocol::Http1).await;
        let get = request("GET", "/")
            .header("te", "trailers")
            .body(full(""))
            .unwrap();
        let answer = proxy.connect().await.send(get).await;
        assert_eq!(answer.body, "data");
        assert_eq!(answer.trailers.unwrap()["x-sum"], "42");
    });
}

#[test]
fn an_answer_streams_before_the_request_has_ended() {
    run(async {
        let upstream = Upstream::http1(|request| async move {
            let body = request
                .into_body()
                .map_err(|_| unreachable!("the client sends on"));
            Response::new(BodyExt::boxed(body))
        })
        .await;
        for protocol in [false, true] {
            let proxy = backend(&upstream, UpstreamProtocol::Http1).await;
            let mut client = match protocol {
                false => Client::http1(proxy.address).await,
                true => Client::http2(proxy.address).await,
            };
            let (sender, receiver) =
                tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
            let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
                receiver.recv().await.map(|frame| (frame, receiver))
            });
            let stream = SyncStream(std::sync::Mutex::new(Box::pin(stream)));
            let body: ClientBody = BodyExt::boxed(StreamBody::new(stream));
            let answer = client
                .try_send(request("POST", "/").body(body).unwrap())
                .await
                .unwrap();
            let mut body = answer.into_body();
            for part in ["one", "two", "three"] {
                sender.send(Ok(Frame::data(part.into()))).await.unwrap();
                let frame = body.frame().await.unwrap().unwrap();
                assert_eq!(frame.data_ref().unwrap(), part.as_bytes());
            }
            drop(sender);
            // HTTP/2 may end with an empty frame.
            while let Some(frame) = body.frame().await {
                assert_eq!(
                    frame.unwrap().data_ref().map(Bytes::len),
                    Some(0),
                    "HTTP/2: {protocol}"
                );
            }
        }
    });
}

/// `BoxBody` asks for `Sync`, which a stream polled by one task need not be.
struct SyncStream<S>(std::sync::Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        let stream = self.0.get_mut().unwrap();
        stream.as_mut().poll_next(cx)
    }
}

/// Accepts one connection; switches protocols or refuses, then echoes bytes.
async fn websocket_server(
    accept: bool,
) -> (
    std::net::SocketAddr,
    tokio::sync::oneshot::Receiver<Vec<u8>>,
) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    tokio::task::spawn_local(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
        // Bytes that came before our answer would be in the buffer by now.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut early = [0; 64];
        if let Ok(length) = stream.try_read(&mut early) {
            head.extend_from_slice(&early[..length]);
        }
        sender.send(head).unwrap();
        if !accept {
            stream
                .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
                .await
                .unwrap();
            std::future::pending::<()>().await;
        }
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\nhello")
            .await
            .unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    (address, receiver)
}

const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly";

async fn websocket_proxy(address: std::net::SocketAddr) -> Proxy {
    let cluster = Cluster {
        endpoints: std::sync::Arc::new(endpoints(vec![endpoint(address)])),
        ..std::sync::Arc::into_inner(cluster(cluster_config("b"), &[])).unwrap()
    };
    Proxy::start(
        manager(routes(vec![any(to(0))])),
        vec![std::sync::Arc::new(cluster)],
    )
    .await
}

#[test]
fn websocket_bytes_flow_only_after_101() {
    run(async {
        let (address, seen) = websocket_server(true).await;
        let proxy = websocket_proxy(address).await;
        let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(UPGRADE).await.unwrap();
        let head = String::from_utf8(seen.await.unwrap()).unwrap();
        assert!(
            head.ends_with("\r\n\r\n"),
            "early bytes were forwarded: {head:?}"
        );
        let lower = head.to_lowercase();
        assert!(
            lower.contains("upgrade: websocket") && lower.contains("connection: upgrade"),
            "{head}"
        );
        let mut answer = Vec::new();
        while !answer.ends_with(b"helloearly") {
            assert!(
                stream.read_buf(&mut answer).await.unwrap() > 0,
                "{answer:?}"
            );
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        stream.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        stream.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"ping");
        drop(stream);
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn a_refused_upgrade_ends_the_connection_and_leaks_nothing() {
    run(async {
        let (address, seen) = websocket_server(false).await;
        let proxy = websocket_proxy(address).await;
        let answer = proxy.raw(UPGRADE).await;
        assert!(
            answer.starts_with("HTTP/1.1 403") && answer.ends_with("no"),
            "{answer}"
        );
        assert!(seen.await.unwrap().ends_with(b"\r\n\r\n"));
    });
}

#[test]
fn upgrades_that_are_not_configured_are_refused() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let other =
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: other\r\n\r\n";
        assert!(proxy.raw(other).await.starts_with("HTTP/1.1 403"));
        let connect = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n";
        assert!(proxy.raw(connect).await.starts_with("HTTP/1.1 404"));
        assert_eq!(upstream.seen(), 0);
        // A client that would also speak h2c is served as it is (Java's HttpClient).
        let h2c = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
        assert!(proxy.raw(h2c).await.ends_with("up"));
        assert_eq!(upstream.last("upgrade"), None);
        assert_eq!(upstream.last("http2-settings"), None);
    });
}

#[test]
fn expect_continue_is_answered_or_passed_on() {
    run(async {
        let upstream = Upstream::http1(|request| async move {
            text(200, request.into_body().collect().await.unwrap().to_bytes())
        })
        .await;
        for pass in [false, true] {
            let mut manager = manager(routes(vec![any(to(0))]));
            manager.proxy_100_continue = pass;
            let proxy =
                Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
            let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
            stream
                .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"100 Continue\r\n\r\n") {
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
            }
            stream.write_all(b"body").await.unwrap();
            stream.read_to_end(&mut answer).await.unwrap();
            assert!(answer.ends_with(b"body"));
            assert_eq!(upstream.last("expect").is_some(), pass);
        }
    });
}
