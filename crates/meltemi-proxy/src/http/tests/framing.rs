//! Requests that smuggle, flood or simply break the protocol.

use crate::http::testkit::*;
use std::time::Duration;

async fn refused(proxy: &Proxy, upstream: &Upstream, request: &[u8], status: &str) {
    let answer = proxy.raw(request).await;
    let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    assert!(
        answer.split(' ').nth(1) == Some(status),
        "{shown:?} -> {answer:?}"
    );
    assert_eq!(
        answer.matches("content-length").count(),
        1,
        "{shown:?} -> {answer:?}"
    );
    assert_eq!(upstream.seen(), 0, "{shown:?} was forwarded");
}

#[test]
fn smuggling_corpus_never_reaches_the_upstream() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        for request in [
            &b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na",
            b"GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n",
            b"GET /#frag HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX\0Y: z\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            b"GE T / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            refused(&proxy, &upstream, request, "400").await;
        }
    });
}

#[test]
fn too_large_heads_are_431() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let many: String = (0..101).map(|i| format!("x-{i}: 1\r\n")).collect();
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
        refused(&proxy, &upstream, many.as_bytes(), "431").await;
        let big = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n",
            "y".repeat(61 * 1024)
        );
        refused(&proxy, &upstream, big.as_bytes(), "431").await;
    });
}

#[test]
fn http_1_0_needs_permission() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        refused(
            &proxy,
            &upstream,
            b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "426",
        )
        .await;

        let mut manager = manager(routes(vec![any(to(0))]));
        manager.http1.accept_http_10 = true;
        let proxy = Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
        let answer = proxy.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
        assert!(
            answer.contains(" 200 OK") && answer.ends_with("up"),
            "{answer}"
        );
    });
}

#[test]
fn absolute_form_names_the_host() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        proxy
            .raw(
                b"GET http://real.example/x?y HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n",
            )
            .await;
        assert_eq!(upstream.last("host").unwrap(), "real.example");
        assert_eq!(upstream.last_path(), "/x?y");
    });
}

#[test]
fn what_connection_nominates_is_not_forwarded() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        proxy
            .raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-Hop: 1\r\nX-Kept: 1\r\nKeep-Alive: 5\r\nConnection: close, X-Hop\r\n\r\n")
            .await;
        assert_eq!(upstream.last("x-hop"), None);
        assert_eq!(upstream.last("keep-alive"), None);
        assert_eq!(upstream.last("x-kept").unwrap(), "1");
        // Naming what the proxy itself adds removes nothing.
        proxy
            .raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Request-Id, X-Forwarded-Proto\r\n\r\n")
            .await;
        assert!(upstream.last("x-request-id").is_some());
        assert!(upstream.last("x-forwarded-proto").is_some());
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    run(async {
        let upstream =
            Upstream::http1(|request| async move { text(200, request.uri().path().to_owned()) })
                .await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let answer = proxy
            .raw(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nPOST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /three HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        let order: Vec<_> = ["/one", "/two", "/three"].map(|p| answer.find(p)).into();
        assert!(
            order.iter().all(Option::is_some) && order.is_sorted(),
            "{answer}"
        );
    });
}

#[test]
fn a_slow_head_is_408() {
    run(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.timeouts.request_headers = Some(Duration::from_millis(50));
        let proxy = Proxy::start(manager, vec![]).await;
        let mut stream = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        until(|| proxy.open.get() == 0).await;
    });
}
