//! Clients that mean harm: floods of resets and continuations, slow heads, heads without
//! end, and peers that stop reading.

use crate::http::testkit::*;
use crate::telemetry::stats::Counter;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET / http` and `:authority: a`, by HPACK's static table.
const GET: &[u8] = &[0x82, 0x84, 0x86, 0x41, 0x01, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

async fn http2(proxy: &Proxy, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream
        .write_all(&frame(SETTINGS, 0, 0, settings))
        .await
        .unwrap();
    stream
}

/// Sends until the proxy has had enough of it; the number of rounds.
async fn flood(proxy: &Proxy, settle: bool, round: impl Fn(u32) -> Vec<u8>) -> u32 {
    let stream = http2(proxy, &[]).await;
    let (mut read, mut write) = stream.into_split();
    let ended = Rc::new(Cell::new(false));
    let end = ended.clone();
    tokio::task::spawn_local(async move {
        let mut sink = vec![0; 4096];
        while read.read(&mut sink).await.is_ok_and(|length| length > 0) {}
        end.set(true);
    });
    for number in 0..100_000 {
        if ended.get() || write.write_all(&round(number)).await.is_err() {
            return number;
        }
        if settle {
            tokio::task::yield_now().await;
        }
    }
    panic!("the flood was not stopped");
}

#[test]
fn rapid_resets_end_the_connection_and_nobody_elses() {
    run(async {
        let upstream = Upstream::http1(|request| async move {
            if request.uri().path() == "/other" {
                return text(200, "here");
            }
            std::future::pending().await
        })
        .await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let mut other = Client::http2(proxy.address).await;
        // At once, before anyone has looked at the streams, and one by one.
        for settle in [false, true] {
            let rounds = flood(&proxy, settle, |number| {
                let stream = number * 2 + 1;
                let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
                bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
                bytes
            })
            .await;
            assert!(rounds < 20_000, "{rounds}");
            assert_eq!(other.get("/other").await.body, "here");
        }
        until(|| proxy.open.get() == 1).await;
    });
}

#[test]
fn abandoned_requests_that_were_forwarded_count_too() {
    run(async {
        let upstream = Upstream::http1(|_| std::future::pending()).await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let stream = http2(&proxy, &[]).await;
        let (mut read, mut write) = stream.into_split();
        tokio::task::spawn_local(async move {
            let mut sink = vec![0; 4096];
            while read.read(&mut sink).await.is_ok_and(|length| length > 0) {}
        });
        for number in 0..700u32 {
            let id = number * 2 + 1;
            let seen = upstream.seen();
            let open = frame(HEADERS, END_STREAM | END_HEADERS, id, GET);
            if write.write_all(&open).await.is_err() {
                break;
            }
            until(|| upstream.seen() > seen || proxy.open.get() == 0).await;
            let reset = frame(RST_STREAM, 0, id, &8u32.to_be_bytes());
            if proxy.open.get() == 0 || write.write_all(&reset).await.is_err() {
                break;
            }
        }
        until(|| proxy.open.get() == 0).await;
        assert!(upstream.seen() <= 520, "{}", upstream.seen());
    });
}

#[test]
fn continuations_without_end_are_cut() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        // A literal header field of 16 KiB, and empty frames.
        for payload in [vec![b'a'; 16_000], Vec::new()] {
            let rounds = flood(&proxy, true, |number| match number {
                0 => frame(HEADERS, END_STREAM, 1, GET),
                _ => frame(CONTINUATION, 0, 1, &payload),
            })
            .await;
            assert!(rounds < 20_000, "{rounds}");
        }
        assert_eq!(upstream.seen(), 0);
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn slow_heads_time_out() {
    run(async {
        let upstream = Upstream::named("up").await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.timeouts.request_headers = Some(Duration::from_millis(100));
        let config = cluster_config("b");
        let proxy = Proxy::start(manager, vec![cluster(config, &[&upstream])]).await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let (mut read, mut write) = stream.split();
        let drip = async {
            for byte in b"GET / HTTP/1.1\r\nhost: a\r\nx: ".iter().cycle() {
                if write.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let mut answer = Vec::new();
        let reading = read.read_to_end(&mut answer);
        tokio::select! {
            () = drip => {}
            read = reading => { read.ok(); }
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
        until(|| proxy.open.get() == 0).await;
        assert_eq!(upstream.seen(), 0);
    });
}

#[test]
fn heads_are_bounded_in_lines_and_bytes() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
        let large = format!("x: {}\r\n", "a".repeat(70 * 1024));
        for lines in [many, large] {
            let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
            let answer = proxy.raw(request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
        let mut client = Client::http2(proxy.address).await;
        let mut get = request("GET", "/");
        for number in 0..150 {
            get = get.header(format!("x-{number}"), "1");
        }
        let answer = client.send(get.body(full("")).unwrap()).await;
        assert_eq!(answer.status, 431);
        assert_eq!(upstream.seen(), 0);
    });
}

/// An answer without end; counts what was taken of it.
fn endless(taken: Arc<AtomicUsize>) -> ClientBody {
    const CHUNK: &[u8] = &[b'x'; 16 * 1024];
    let frames = futures_util::stream::repeat_with(move || {
        taken.fetch_add(CHUNK.len(), Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(CHUNK)))
    });
    BodyExt::boxed(StreamBody::new(frames))
}

/// Neither by a window of HTTP/2 that stays shut nor by TCP's.
#[test]
fn a_client_that_takes_nothing_is_idle() {
    run(async {
        let upstream = Upstream::http1(|_| async {
            http::Response::new(endless(Arc::new(AtomicUsize::new(0))))
        })
        .await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.timeouts.stream_idle = Some(Duration::from_millis(100));
        manager.stat_prefix = "takes-nothing".into();
        let idle = Counter::scoped("http", "takes-nothing", "downstream_rq_idle_timeout");
        let clusters = vec![cluster(cluster_config("c"), &[&upstream])];
        let proxy = Proxy::start(manager, clusters).await;
        let mut two = http2(&proxy, &[0, 4, 0, 0, 0, 0]).await;
        two.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, GET))
            .await
            .unwrap();
        let mut received = Vec::new();
        while !received
            .windows(5)
            .any(|part| part == [0, 0, 4, RST_STREAM, 0])
        {
            assert_ne!(two.read_buf(&mut received).await.unwrap(), 0);
        }
        until(|| idle.value() == 1).await;
        let mut one = TcpStream::connect(proxy.address).await.unwrap();
        one.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        until(|| idle.value() == 2).await;
        let mut rest = Vec::new();
        // All that was on its way, and then a reset or the end.
        let _ = one.read_to_end(&mut rest).await;
    });
}

#[test]
fn a_client_that_stops_reading_holds_the_upstream_back() {
    run(async {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let upstream = Upstream::http1(move |_| {
            let body = endless(count.clone());
            async move { http::Response::new(body) }
        })
        .await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let mut one = TcpStream::connect(proxy.address).await.unwrap();
        one.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        // Windows as large as they come: only TCP holds back.
        let window = [&[0, 4][..], &0x7fff_ffffu32.to_be_bytes()].concat();
        let mut two = http2(&proxy, &window).await;
        let grow = 0x7fff_0000u32.to_be_bytes();
        two.write_all(&frame(8, 0, 0, &grow)).await.unwrap();
        two.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, GET))
            .await
            .unwrap();
        until(|| upstream.seen() == 2).await;
        let mut before = 0;
        // Until nothing moves any more.
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = taken.load(Ordering::Relaxed);
            if now == before {
                break;
            }
            before = now;
        }
        // Four sockets' buffers and the proxy's own; not a body without end.
        assert!(before < 64 << 20, "{before} bytes");
    });
}
