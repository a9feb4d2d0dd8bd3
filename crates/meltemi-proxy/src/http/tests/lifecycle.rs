//! Draining, idle connections, connection limits, what is reported.

use crate::http::testkit::*;
use crate::model::*;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn draining_serves_the_next_request_and_then_closes() {
    run(async {
        let upstream = Upstream::named("up").await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.timeouts.drain = Duration::from_secs(5);
        let proxy = Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.header("connection"), None);
        proxy.drain.start();
        tokio::task::yield_now().await;
        let answer = client.get("/").await;
        assert_eq!(
            (answer.status, answer.header("connection")),
            (200, Some("close"))
        );
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn draining_closes_idle_connections_when_its_time_is_over() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let (mut one, mut two) = (proxy.connect().await, Client::http2(proxy.address).await);
        one.get("/").await;
        two.get("/").await;
        proxy.drain.start();
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn http2_drains_with_goaway_after_its_streams() {
    run(async {
        let (release, wait) = tokio::sync::watch::channel(false);
        let upstream = Upstream::http1(move |_| {
            let mut wait = wait.clone();
            async move {
                wait.wait_for(|go| *go).await.unwrap();
                text(200, "late")
            }
        })
        .await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let mut client = Client::http2(proxy.address).await;
        let task = tokio::task::spawn_local(async move { client.get("/").await.body });
        until(|| upstream.seen() == 1).await;
        proxy.drain.start();
        tokio::time::sleep(Duration::from_millis(20)).await;
        release.send(true).unwrap();
        assert_eq!(task.await.unwrap(), "late");
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn connections_that_come_while_draining_are_served_once() {
    run(async {
        let upstream = Upstream::named("up").await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.timeouts.drain = Duration::from_secs(5);
        let proxy = Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
        proxy.drain.start();
        let mut one = proxy.connect().await;
        assert_eq!(one.get("/").await.header("connection"), Some("close"));
        let mut two = Client::http2(proxy.address).await;
        assert_eq!(two.get("/").await.status, 200);
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn idle_connections_and_used_up_ones_close() {
    run(async {
        let upstream = Upstream::named("up").await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.timeouts.connection_idle = Some(Duration::from_millis(50));
        manager.max_requests_per_connection = Some(2);
        let proxy = Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.header("connection"), None);
        until(|| proxy.open.get() == 0).await;
        let mut client = proxy.connect().await;
        client.get("/").await;
        assert_eq!(client.get("/").await.header("connection"), Some("close"));
        until(|| proxy.open.get() == 0).await;
    });
}

#[test]
fn the_log_tells_every_exchange_once() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let upstream = Upstream::named("up").await;
        let mut manager = manager(routes(vec![
            route(PathMatch::Exact("/no".into()), to(9)),
            route(PathMatch::Prefix("/up".into()), to(0)),
        ]));
        let format = crate::telemetry::log::parse_text(
            "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER%\n",
        )
        .unwrap();
        manager.access_logs = Box::new([AccessLog {
            output: LogOutput::Lines(LogSink::File(file.path().to_owned()), Arc::new(format)),
            filter: None,
        }]);
        let proxy = Proxy::start(
            manager,
            vec![cluster(cluster_config("backend"), &[&upstream])],
        )
        .await;
        let mut client = proxy.connect().await;
        client.get("/up").await;
        client
            .send(request("HEAD", "/up").body(full("")).unwrap())
            .await;
        client
            .send(request("POST", "/none").body(full("abc")).unwrap())
            .await;
        let mut client = proxy.connect().await;
        client.get("/no").await;
        proxy.raw(b"bad request\r\n\r\n").await;
        let expected = [
            "GET /up 200 - via_upstream 0 2 backend",
            "HEAD /up 200 - via_upstream 0 0 backend",
            "POST /none 404 NR route_not_found 0 0 -",
            "GET /no 503 NC cluster_not_found 0 0 -",
            "- - 400 DPE http1.invalid_framing 0 0 -",
        ];
        let read = || {
            crate::telemetry::log::flush();
            std::fs::read_to_string(file.path()).unwrap()
        };
        until(|| read().lines().count() >= expected.len()).await;
        assert_eq!(read().lines().collect::<Vec<_>>(), expected);
    });
}
