//! Options of either side: trailers, the spelling of header names, ALPN, invalid requests.

use crate::http::testkit::*;
use crate::model::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn with_trailers() -> ClientBody {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let frames = [
        Frame::data(Bytes::from_static(b"data")),
        Frame::trailers(trailers),
    ];
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

#[test]
fn trailers_end_where_they_are_not_enabled() {
    run(async {
        let upstream = Upstream::http1(|request| async {
            let trailers = request.into_body().collect().await.unwrap();
            let seen = trailers.trailers().is_some().to_string();
            Response::builder()
                .header("trailer", "x-sum")
                .header("x-seen", seen)
                .body(with_trailers())
                .unwrap()
        })
        .await;
        for (downstream, up, pass) in [
            (true, true, true),
            (false, true, false),
            (true, false, false),
        ] {
            let mut config = cluster_config("b");
            config.http1.trailers = up;
            let mut manager = manager(routes(vec![any(to(0))]));
            manager.http1.enable_trailers = downstream;
            let proxy = Proxy::start(manager, vec![cluster(config, &[&upstream])]).await;
            let mut client = proxy.connect().await;
            for _ in 0..2 {
                let post = request("POST", "/")
                    .header("te", "trailers")
                    .header("trailer", "x-sum")
                    .body(with_trailers())
                    .unwrap();
                let answer = client.send(post).await;
                assert_eq!(answer.body, "data");
                assert_eq!(answer.trailers.is_some(), pass);
                assert_eq!(answer.header("x-seen"), Some(&*pass.to_string()));
            }
        }
    });
}

/// An upstream that answers each connection's one request with these bytes.
async fn raw_upstream(answer: &'static [u8]) -> (std::net::SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let log = seen.clone();
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = vec![0; 4096];
            let length = stream.read(&mut read).await.unwrap();
            *log.borrow_mut() = String::from_utf8_lossy(&read[..length]).into_owned();
            stream.write_all(answer).await.unwrap();
        }
    });
    (address, seen)
}

type Seen = std::rc::Rc<std::cell::RefCell<String>>;

#[test]
fn header_names_keep_or_change_their_spelling() {
    run(async {
        let answer =
            b"HTTP/1.1 200 OK\r\nX-oDD: 1\r\nconnection: close\r\nContent-Length: 0\r\n\r\n";
        for (keep, proper) in [(false, false), (true, false), (false, true)] {
            let (address, seen) = raw_upstream(answer).await;
            let mut config = cluster_config("b");
            config.http1.preserve_case = keep;
            config.http1.proper_case = proper;
            let mut manager = manager(routes(vec![any(to(0))]));
            manager.http1.preserve_case = keep;
            manager.http1.proper_case = proper;
            let target = Cluster {
                endpoints: std::sync::Arc::new(endpoints(vec![endpoint(address)])),
                ..std::sync::Arc::into_inner(cluster(config, &[])).unwrap()
            };
            let proxy = Proxy::start(manager, vec![std::sync::Arc::new(target)]).await;
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nmy-hEADER: 1\r\nConnection: close\r\n\r\n";
            let got = proxy.raw(request).await;
            let (name, reply) = match (keep, proper) {
                (true, _) => ("my-hEADER: 1", "X-oDD: 1"),
                (_, true) => ("My-Header: 1", "X-Odd: 1"),
                _ => ("my-header: 1", "x-odd: 1"),
            };
            assert!(seen.borrow().contains(name), "{}", seen.borrow());
            assert!(got.contains(reply), "{got}");
        }
    });
}

#[test]
fn connections_outlive_invalid_requests_only_when_told_so() {
    run(async {
        for tolerant in [false, true] {
            let upstream = Upstream::named("up").await;
            let mut manager = manager(routes(vec![any(to(0))]));
            manager.stream_error_on_invalid_message = tolerant;
            let config = cluster_config("b");
            let proxy = Proxy::start(manager, vec![cluster(config, &[&upstream])]).await;
            let mut stream = TcpStream::connect(proxy.address).await.unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: a@b\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut got = String::new();
            stream.read_to_string(&mut got).await.unwrap();
            assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
            assert_eq!(got.contains("HTTP/1.1 200 "), tolerant, "{got}");
            assert_eq!(upstream.seen(), usize::from(tolerant));
        }
    });
}
