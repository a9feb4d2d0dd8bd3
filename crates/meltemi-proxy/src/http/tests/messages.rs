//! HTTP/1 messages on the wire: where they end, who ends them early, and what a connection
//! is good for afterwards.

use crate::http::testkit::*;
use crate::model::*;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An upstream that answers what each of its connections asks with these bytes, and closes
/// then if told so. Tells how many connections it got.
async fn raw_upstream(
    answer: &'static [u8],
    closes: bool,
) -> (SocketAddr, Rc<std::cell::Cell<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Rc::new(std::cell::Cell::new(0));
    let count = connections.clone();
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.set(count.get() + 1);
            tokio::task::spawn_local(async move {
                let mut read = Vec::new();
                while stream
                    .read_buf(&mut read)
                    .await
                    .is_ok_and(|length| length > 0)
                {
                    if read.windows(4).any(|four| four == b"\r\n\r\n") {
                        read.clear();
                        stream.write_all(answer).await.unwrap();
                        if closes {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, connections)
}

async fn proxy_to(address: SocketAddr) -> Proxy {
    proxy_with(manager(routes(vec![any(to(0))])), address).await
}

async fn proxy_with(manager: HttpManager, address: SocketAddr) -> Proxy {
    let cluster = Cluster {
        endpoints: Arc::new(endpoints(vec![endpoint(address)])),
        ..Arc::into_inner(cluster(cluster_config("b"), &[])).unwrap()
    };
    Proxy::start(manager, vec![Arc::new(cluster)]).await
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[test]
fn answers_whose_end_is_in_doubt_do_not_pass() {
    run(async {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                [..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
        ] {
            let (address, _) = raw_upstream(answer, false).await;
            let got = proxy_to(address).await.raw(GET).await;
            let shown = String::from_utf8_lossy(answer);
            assert!(got.starts_with("HTTP/1.1 502 "), "{shown:?}: {got}");
            assert!(got.contains("protocol error"), "{shown:?}: {got}");
        }
    });
}

#[test]
fn interim_answers_are_skipped_and_not_without_end() {
    run(async {
        const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
        const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let some = HINTS.repeat(3) + "HTTP/1.1 100 Continue\r\n\r\n" + OK;
        let (address, _) = raw_upstream(some.leak().as_bytes(), false).await;
        let got = proxy_to(address).await.raw(GET).await;
        assert!(
            got.starts_with("HTTP/1.1 200 ") && got.ends_with("ok"),
            "{got}"
        );
        let flood = HINTS.repeat(1000) + OK;
        let (address, _) = raw_upstream(flood.leak().as_bytes(), false).await;
        let got = proxy_to(address).await.raw(GET).await;
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    });
}

#[test]
fn connections_are_used_again_only_when_nothing_is_left_on_them() {
    run(async {
        for (answer, again) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], true),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                true,
            ),
            (b"HTTP/1.1 204 No Content\r\n\r\n", true),
            (
                b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
                true,
            ),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
            (
                b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
                false,
            ),
            // Of another answer, that nobody asked for.
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
                false,
            ),
            (
                b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nno",
                false,
            ),
        ] {
            let (address, connections) = raw_upstream(answer, false).await;
            let proxy = proxy_to(address).await;
            let mut client = proxy.connect().await;
            for _ in 0..3 {
                assert!(client.get("/").await.status < 300);
            }
            let shown = String::from_utf8_lossy(answer);
            assert_eq!(connections.get(), if again { 1 } else { 3 }, "{shown:?}");
        }
    });
}

#[test]
fn answers_that_break_off_are_seen_to_be_incomplete() {
    run(async {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nx\r\n",
        ] {
            let (address, _) = raw_upstream(answer, true).await;
            let proxy = proxy_to(address).await;
            let mut client = proxy.connect().await;
            let get = request("GET", "/").body(full("")).unwrap();
            let answer = client.try_send(get).await.unwrap();
            let body = http_body_util::BodyExt::collect(answer.into_body()).await;
            assert!(body.is_err());
            until(|| proxy.open.get() == 0).await;
        }
        // One that lasts until the end of the connection is complete.
        let (address, _) = raw_upstream(b"HTTP/1.1 200 OK\r\n\r\nall of it", true).await;
        let got = proxy_to(address).await.get("/").await;
        assert_eq!(got.body, "all of it");
    });
}

#[test]
fn a_client_that_goes_away_is_noticed_while_the_upstream_thinks() {
    run(async {
        let upstream = Upstream::http1(|_| std::future::pending()).await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
            .await
            .unwrap();
        until(|| upstream.seen() == 1).await;
        drop(stream);
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    run(async {
        let proxy = Proxy::start(manager(routes(vec![])), vec![]).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let (mut read, mut write) = stream.split();
        let mut answer = String::new();
        let sending = async {
            // Until the proxy has had enough of it.
            while write.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
        };
        let (_, ()) = tokio::join!(read.read_to_string(&mut answer), sending);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn the_rest_of_a_short_request_is_read_and_the_connection_goes_on() {
    run(async {
        let proxy = Proxy::start(manager(routes(vec![])), vec![]).await;
        let got = proxy
            .raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(got.matches("HTTP/1.1 404 ").count(), 2, "{got}");
        assert_eq!(got.matches("connection: close").count(), 1, "{got}");
        // Whether a body comes that was to wait for 100 (Continue) is not known.
        let got = proxy
            .raw(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            .await;
        assert!(
            got.contains("connection: close") && !got.contains(" 100 "),
            "{got}"
        );
    });
}

#[test]
fn broken_chunks_end_the_exchange_and_the_connection() {
    run(async {
        let upstream = Upstream::http1(|request| async move {
            let body = http_body_util::BodyExt::collect(request.into_body()).await;
            text(200, if body.is_ok() { "whole" } else { "broken" })
        })
        .await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
        stream.write_all(head).await.unwrap();
        until(|| upstream.seen() == 1).await;
        stream
            .write_all(b"2\r\nabGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).await.unwrap();
        assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
        assert_eq!(got.matches("HTTP/1.1").count(), 1, "{got}");
        until(|| proxy.open.get() == 0).await;
        assert_eq!(upstream.seen(), 1);
    });
}

#[test]
fn requests_behind_one_another_are_held_back_until_it_is_their_turn() {
    run(async {
        let (release, wait) = tokio::sync::watch::channel(false);
        let upstream = Upstream::http1(move |request| {
            let mut wait = wait.clone();
            async move {
                wait.wait_for(|go| *go).await.unwrap();
                text(200, request.uri().path().to_owned())
            }
        })
        .await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream
            .write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        until(|| upstream.seen() == 1).await;
        // Far more than may be read ahead.
        let (mut read, mut write) = stream.into_split();
        let writing = tokio::task::spawn_local(async move {
            let request = b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
            let _ = write.write_all(&request.repeat(1_000_000)).await;
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!writing.is_finished());
        assert_eq!(upstream.seen(), 1);
        release.send(true).unwrap();
        let mut got = Vec::new();
        while got.windows(2).filter(|two| two == b"/2").count() < 100 {
            assert!(read.read_buf(&mut got).await.unwrap() > 0);
        }
        let first = got.windows(2).position(|two| two == b"/1").unwrap();
        assert!(first < got.windows(2).position(|two| two == b"/2").unwrap());
        writing.abort();
    });
}

#[test]
fn trailers_pass_also_when_nobody_announced_them() {
    run(async {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nContent-Length: 9\r\n\r\n";
        let (address, _) = raw_upstream(answer, false).await;
        let got = proxy_to(address).await.raw(GET).await;
        assert!(
            got.ends_with("\r\n2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n"),
            "{got}"
        );
    });
}

#[test]
fn a_body_without_a_length_lasts_until_the_end_for_old_clients() {
    run(async {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let (address, _) = raw_upstream(answer, false).await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.http1.accept_http_10 = true;
        let proxy = proxy_with(manager, address).await;
        let got = proxy
            .raw(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .await;
        assert!(got.starts_with("HTTP/1.0 200 OK\r\n"), "{got}");
        assert!(
            got.contains("connection: close\r\n") && got.ends_with("\r\n\r\nok"),
            "{got}"
        );
    });
}

#[test]
fn an_old_client_is_not_told_that_half_an_answer_is_all_of_it() {
    run(async {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        let (address, _) = raw_upstream(answer, true).await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.http1.accept_http_10 = true;
        let proxy = proxy_with(manager, address).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut got = Vec::new();
        let end = stream.read_to_end(&mut got).await;
        assert!(end.is_err(), "{:?}", String::from_utf8_lossy(&got));
    });
}
