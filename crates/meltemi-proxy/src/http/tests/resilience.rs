//! Retries, timeouts, faults, mirrors, limits, ejection.

use crate::http::testkit::*;
use crate::model::*;
use crate::overload::{Levels, Timer};
use http::StatusCode;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn forward_with(change: impl FnOnce(&mut Forward)) -> HttpManager {
    let mut forward = forward();
    change(&mut forward);
    manager(routes(vec![any(Action::Forward(Box::new(forward)))]))
}

/// Fails the first requests with 503.
async fn flaky(failures: u32) -> Upstream {
    let left = Rc::new(Cell::new(failures));
    Upstream::http1(move |request| {
        let left = left.clone();
        async move {
            use http_body_util::BodyExt;
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if left.get() > 0 {
                left.set(left.get() - 1);
                return text(503, "busy");
            }
            text(200, body)
        }
    })
    .await
}

async fn with_retries(upstream: &Upstream, on: RetryOn) -> Proxy {
    let manager = forward_with(|f| f.retry = Some(Arc::new(retry(on))));
    Proxy::start(manager, vec![cluster(cluster_config("b"), &[upstream])]).await
}

#[test]
fn failed_answers_are_retried_with_their_body() {
    run(async {
        let upstream = flaky(2).await;
        let proxy = with_retries(&upstream, RetryOn::GATEWAY_ERROR).await;
        let post = request("POST", "/").body(full("the body")).unwrap();
        let answer = proxy.connect().await.send(post).await;
        assert_eq!((answer.status, &*answer.body), (200, "the body"));
        assert_eq!(upstream.seen(), 3);
    });
}

#[test]
fn retries_end_and_the_last_answer_is_passed_on() {
    run(async {
        let upstream = flaky(99).await;
        let proxy = with_retries(&upstream, RetryOn::FIVE_XX).await;
        let answer = proxy.get("/").await;
        assert_eq!((answer.status, &*answer.body), (503, "busy"));
        assert_eq!(upstream.seen(), 3);
    });
}

#[test]
fn a_long_body_is_not_retried() {
    run(async {
        let upstream = flaky(1).await;
        let proxy = with_retries(&upstream, RetryOn::FIVE_XX).await;
        let post = request("POST", "/")
            .body(full(vec![b'x'; 200 * 1024]))
            .unwrap();
        assert_eq!(proxy.connect().await.send(post).await.status, 503);
        assert_eq!(upstream.seen(), 1);
    });
}

#[test]
fn conditions_that_do_not_hold_do_not_retry() {
    run(async {
        let upstream = flaky(1).await;
        let proxy = with_retries(&upstream, RetryOn::CONNECT_FAILURE).await;
        assert_eq!(proxy.get("/").await.status, 503);
        assert_eq!(upstream.seen(), 1);
    });
}

#[test]
fn connect_failures_go_to_another_endpoint() {
    run(async {
        let good = Upstream::named("good").await;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = closed.local_addr().unwrap();
        drop(closed);
        let manager = forward_with(|f| f.retry = Some(Arc::new(retry(RetryOn::CONNECT_FAILURE))));
        let both = Cluster {
            endpoints: Arc::new(endpoints(vec![endpoint(dead), endpoint(good.address)])),
            ..Arc::into_inner(cluster(cluster_config("b"), &[])).unwrap()
        };
        let proxy = Proxy::start(manager, vec![Arc::new(both)]).await;
        let mut client = proxy.connect().await;
        for _ in 0..6 {
            assert_eq!(client.get("/").await.body, "good");
        }
    });
}

#[test]
fn failures_are_told_in_envoys_words() {
    run(async {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = closed.local_addr().unwrap();
        drop(closed);
        let with = |endpoints: EndpointSet| {
            Arc::new(Cluster {
                endpoints: Arc::new(endpoints),
                ..Arc::into_inner(cluster(cluster_config("b"), &[])).unwrap()
            })
        };
        let table = routes(vec![
            route(PathMatch::Prefix("/dead".into()), to(0)),
            route(PathMatch::Prefix("/empty".into()), to(1)),
        ]);
        let clusters = vec![
            with(endpoints(vec![endpoint(dead)])),
            with(endpoints(vec![])),
        ];
        let proxy = Proxy::start(manager(table), clusters).await;
        let mut client = proxy.connect().await;
        let answer = client.get("/dead").await;
        assert_eq!(answer.status, 503);
        assert!(
            answer.body.starts_with("upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"),
            "{}",
            answer.body
        );
        let answer = client.get("/empty").await;
        assert_eq!((answer.status, &*answer.body), (503, "no healthy upstream"));
    });
}

async fn silent() -> Upstream {
    Upstream::http1(|_| async {
        std::future::pending::<()>().await;
        text(200, "never")
    })
    .await
}

#[test]
fn timeouts_of_the_route_and_of_a_try() {
    run(async {
        let upstream = silent().await;
        let clusters = || vec![cluster(cluster_config("b"), &[&upstream])];
        let manager = forward_with(|f| f.timeout = Some(Duration::from_millis(30)));
        let answer = Proxy::start(manager, clusters()).await.get("/").await;
        assert_eq!(
            (answer.status, &*answer.body),
            (504, "upstream request timeout")
        );
        assert_eq!(upstream.seen(), 1);

        let manager = forward_with(|f| {
            f.retry = Some(Arc::new(RetryPolicy {
                per_try_timeout: Some(Duration::from_millis(20)),
                ..retry(RetryOn::FIVE_XX)
            }));
        });
        let answer = Proxy::start(manager, clusters()).await.get("/").await;
        assert_eq!(answer.status, 504);
        assert_eq!(upstream.seen(), 4);

        let mut manager = forward_with(|_| {});
        manager.timeouts.stream_idle = Some(Duration::from_millis(30));
        let answer = Proxy::start(manager, clusters()).await.get("/").await;
        assert_eq!((answer.status, &*answer.body), (504, "stream timeout"));
    });
}

#[test]
fn faults_delay_and_abort_whom_they_should() {
    run(async {
        let upstream = Upstream::named("up").await;
        let only_jason = || -> Box<[HeaderMatch]> {
            Box::new([HeaderMatch {
                name: MatchName::Header("end-user".parse().unwrap()),
                test: HeaderTest::Value(StringMatch::Exact("jason".into(), false)),
                invert: false,
                treat_missing_as_empty: false,
            }])
        };
        let mut faulty = any(to(0));
        let fault = RouteFilter::Fault(Fault {
            delay: Some(FaultDelay {
                fixed: Some(Duration::from_millis(60)),
                fraction: (100, 100),
            }),
            abort: Some(FaultAbort {
                kind: AbortKind::Http(418),
                fraction: (1_000_000, 1_000_000),
            }),
            headers: only_jason(),
            ..Fault::default()
        });
        let (chain, overrides) = one_filter(HttpFilter::Fault(Fault::default()), fault);
        faulty.filters = overrides;
        let mut manager = manager(routes(vec![faulty]));
        manager.filters = chain;
        let proxy = Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        let started = std::time::Instant::now();
        let jason = request("GET", "/").header("end-user", "jason");
        let answer = client.send(jason.body(full("")).unwrap()).await;
        assert_eq!((answer.status, &*answer.body), (418, "fault filter abort"));
        assert!(started.elapsed() >= Duration::from_millis(60));
        assert_eq!(upstream.seen(), 1);
    });
}

#[test]
fn mirrors_get_a_copy_and_nobody_waits() {
    run(async {
        let (main, shadow) = (flaky(0).await, flaky(0).await);
        let manager = forward_with(|f| {
            f.mirrors = Box::new([Mirror {
                cluster: ClusterId(1),
                fraction: (100, 100),
                shadow_suffix: true,
                sampled: None,
            }]);
        });
        let clusters = vec![
            cluster(cluster_config("main"), &[&main]),
            cluster(cluster_config("shadow"), &[&shadow]),
        ];
        let proxy = Proxy::start(manager, clusters).await;
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/get").await.status, 200);
        until(|| shadow.seen() == 1).await;
        assert_eq!(shadow.last("host").unwrap(), "service.example-shadow");
        let post = request("POST", "/post").body(full("payload")).unwrap();
        assert_eq!(client.send(post).await.body, "payload");
        until(|| shadow.seen() == 2).await;
        assert_eq!(shadow.last("content-length").unwrap(), "7");
    });
}

#[test]
fn limits_overflow_with_503() {
    run(async {
        let upstream = silent().await;
        let mut config = cluster_config("b");
        config.circuit_breakers[0].max_connections = 1;
        config.circuit_breakers[0].max_pending_requests = 1;
        let limited = cluster(config, &[&upstream]);
        let shared = limited.shared.clone();
        let proxy = Proxy::start(manager(routes(vec![any(to(0))])), vec![limited]).await;
        let mut hold = Vec::new();
        for wanted in 1..=2u32 {
            let mut client = proxy.connect().await;
            hold.push(tokio::task::spawn_local(async move {
                client.get("/").await.status
            }));
            until(|| {
                shared.connections.load(Relaxed) == 1 && shared.pending.load(Relaxed) == wanted - 1
            })
            .await;
            until(|| upstream.seen() == 1).await;
        }
        let answer = proxy.get("/").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("x-envoy-overloaded"), Some("true"));
        assert!(
            answer.body.ends_with("reset reason: overflow"),
            "{}",
            answer.body
        );
        hold.iter().for_each(|task| task.abort());
        // What a client gave up gives its places back.
        until(|| shared.pending.load(Relaxed) == 0 && shared.requests.load(Relaxed) == 0).await;
    });
}

#[test]
fn an_endpoint_that_fails_is_left_out_and_comes_back() {
    run(async {
        let (good, bad) = (Upstream::named("good").await, flaky(3).await);
        let mut config = cluster_config("b");
        config.outlier = Some(OutlierDetection {
            consecutive_5xx: Consecutive {
                threshold: 3,
                enforcing: 100,
            },
            interval: Duration::from_millis(100),
            base_ejection_time: Duration::from_millis(300),
            max_ejection_time: Duration::from_secs(10),
            max_ejection_percent: 50,
            ..no_outliers()
        });
        let both = cluster(config, &[&good, &bad]);
        let shared = both.shared.clone();
        let proxy = Proxy::start(manager(routes(vec![any(to(0))])), vec![both]).await;
        let mut client = proxy.connect().await;
        while shared.ejected.load(Relaxed) == 0 {
            client.get("/").await;
        }
        assert_eq!(bad.seen(), 3);
        for _ in 0..10 {
            assert_eq!(client.get("/").await.body, "good");
        }
        assert_eq!(bad.seen(), 3);
        while shared.ejected.load(Relaxed) == 1 {
            client.get("/").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..4 {
            assert_eq!(client.get("/").await.status, StatusCode::OK);
        }
        assert!(bad.seen() > 3);
    });
}

#[test]
fn a_client_that_leaves_cancels_the_upstream_request() {
    run(async {
        let upstream = silent().await;
        let backend = cluster(cluster_config("b"), &[&upstream]);
        let shared = backend.shared.clone();
        let proxy = Proxy::start(manager(routes(vec![any(to(0))])), vec![backend]).await;
        for http2 in [false, true] {
            let mut client = match http2 {
                false => proxy.connect().await,
                true => Client::http2(proxy.address).await,
            };
            let task = tokio::task::spawn_local(async move {
                client.get("/").await;
            });
            until(|| shared.requests.load(Relaxed) == 1).await;
            task.abort();
            until(|| shared.requests.load(Relaxed) == 0 && shared.connections.load(Relaxed) == 0)
                .await;
        }
    });
}

#[test]
fn timers_that_run_are_shortened_when_resources_run_short() {
    run(async {
        let hour = Some(Duration::from_secs(3600));
        let start = async |timer, upstream: &Upstream| {
            let mut manager = manager(routes(vec![any(to(0))]));
            manager.timeouts.stream_idle = hour;
            manager.timeouts.connection_idle = hour;
            manager.timeouts.max_connection_duration = hour;
            let backend = cluster(cluster_config("b"), &[upstream]);
            let levels = Arc::new(Levels::reducing(timer, Duration::from_millis(50)));
            let proxy = Proxy::under(manager, vec![backend], None, levels.clone()).await;
            (proxy, levels)
        };
        let named = Upstream::named("b").await;
        for (timer, asks) in [
            (Timer::ConnectionIdle, false),
            (Timer::ConnectionIdle, true),
            (Timer::ConnectionMax, true),
        ] {
            let (proxy, levels) = start(timer, &named).await;
            let mut client = proxy.connect().await;
            if asks {
                assert_eq!(client.get("/").await.status, 200);
            }
            until(|| proxy.open.get() == 1).await;
            levels.reduce_fully();
            until(|| proxy.open.get() == 0).await;
        }
        let silent = silent().await;
        let (proxy, levels) = start(Timer::StreamIdle, &silent).await;
        let mut client = proxy.connect().await;
        let answering = tokio::task::spawn_local(async move { client.get("/").await });
        until(|| silent.seen() == 1).await;
        levels.reduce_fully();
        let answer = answering.await.unwrap();
        assert_eq!((answer.status, &*answer.body), (504, "stream timeout"));
    });
}
