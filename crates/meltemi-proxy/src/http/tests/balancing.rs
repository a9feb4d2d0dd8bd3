//! Endpoints and pooled connections.

use crate::http::testkit::*;
use crate::model::*;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[test]
fn round_robin_takes_turns_over_one_connection_each() {
    run(async {
        let (a, b) = (Upstream::named("a").await, Upstream::named("b").await);
        let proxy = Proxy::simple(&[&a, &b]).await;
        let mut client = proxy.connect().await;
        for _ in 0..20 {
            client.get("/").await;
        }
        assert_eq!((a.seen(), b.seen()), (10, 10));
        assert_eq!((a.connections.get(), b.connections.get()), (1, 1));
    });
}

#[test]
fn weights_and_priorities_decide() {
    run(async {
        let (a, b, c) = (
            Upstream::named("a").await,
            Upstream::named("b").await,
            Upstream::named("c").await,
        );
        let heavy = Endpoint {
            weight: 3,
            ..endpoint(a.address)
        };
        let mut set = endpoints(vec![heavy, endpoint(b.address)]);
        set.priorities
            .extend(endpoints(vec![endpoint(c.address)]).priorities);
        let weighted = Cluster {
            endpoints: Arc::new(set),
            ..Arc::into_inner(cluster(cluster_config("b"), &[])).unwrap()
        };
        let proxy = Proxy::start(manager(routes(vec![any(to(0))])), vec![Arc::new(weighted)]).await;
        let mut client = proxy.connect().await;
        for _ in 0..40 {
            client.get("/").await;
        }
        assert!((29..=31).contains(&a.seen()), "{}", a.seen());
        assert_eq!(c.seen(), 0);
    });
}

#[test]
fn a_hash_keeps_a_client_at_its_endpoint() {
    run(async {
        let (a, b) = (Upstream::named("a").await, Upstream::named("b").await);
        let mut config = cluster_config("b");
        config.balancer = Balancer::Maglev {
            table_size: 5,
            hashing: Hashing::default(),
        };
        let mut set = endpoints(vec![endpoint(a.address), endpoint(b.address)]);
        set.priorities[0].hash_table = Some(HashTable {
            places: HashPlaces::Maglev(Arc::new([0, 1, 0, 1, 0])),
            shares: Box::new([0.5, 0.5]),
        });
        let hashed = Cluster {
            endpoints: Arc::new(set),
            ..Arc::into_inner(cluster(config, &[])).unwrap()
        };
        let by_header = Action::Forward(Box::new(Forward {
            hash_policy: Box::new([
                HashPolicy::Header {
                    name: "x-user".parse().unwrap(),
                    rewrite: None,
                    terminal: true,
                },
                HashPolicy::Cookie {
                    name: "session".into(),
                    ttl: Some(Duration::from_secs(60)),
                    path: "/".into(),
                    attributes: "".into(),
                    terminal: false,
                },
            ]),
            ..forward()
        }));
        let proxy = Proxy::start(
            manager(routes(vec![any(by_header)])),
            vec![Arc::new(hashed)],
        )
        .await;
        let mut client = proxy.connect().await;
        let mut seen = std::collections::HashSet::new();
        for user in 0..8 {
            let mut chosen = std::collections::HashSet::new();
            for _ in 0..4 {
                let request = request("GET", "/").header("x-user", user);
                let answer = client.send(request.body(full("")).unwrap()).await;
                assert_eq!(answer.header("set-cookie"), None);
                chosen.insert(answer.body);
            }
            assert_eq!(chosen.len(), 1);
            seen.extend(chosen);
        }
        assert_eq!(seen.len(), 2);
        let cookie = client
            .get("/")
            .await
            .header("set-cookie")
            .unwrap()
            .to_owned();
        assert!(
            cookie.starts_with("session=\"") && cookie.ends_with("; Max-Age=60; Path=/; HttpOnly"),
            "{cookie}"
        );
    });
}

#[test]
fn a_connection_that_the_upstream_closed_is_not_used() {
    run(async {
        let upstream = Upstream::http1(|_| async {
            let mut answer = text(200, "bye");
            answer
                .headers_mut()
                .insert("connection", "close".parse().unwrap());
            answer
        })
        .await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let mut client = proxy.connect().await;
        for _ in 0..5 {
            assert_eq!(client.get("/").await.status, 200);
        }
        assert_eq!(upstream.connections.get(), 5);
    });
}

#[test]
fn connections_end_after_their_requests_their_idle_time_and_with_their_endpoint() {
    run(async {
        let upstream = Upstream::named("up").await;
        let mut config = cluster_config("b");
        config.max_requests_per_connection = Some(2);
        config.idle_timeout = Some(Duration::from_millis(50));
        let backend = cluster(config, &[&upstream]);
        let shared = backend.shared.clone();
        let proxy = Proxy::start(manager(routes(vec![any(to(0))])), vec![backend.clone()]).await;
        let mut client = proxy.connect().await;
        for _ in 0..4 {
            client.get("/").await;
        }
        assert_eq!(upstream.connections.get(), 2);
        client.get("/").await;
        assert_eq!(shared.connections.load(Relaxed), 1);
        until(|| shared.connections.load(Relaxed) == 0).await;

        client.get("/").await;
        let other = Upstream::named("other").await;
        let mut snapshot = (*proxy.worker.snapshot()).clone();
        snapshot.clusters = vec![Some(Arc::new(Cluster {
            id: ClusterId(0),
            config: backend.config.clone(),
            endpoints: Arc::new(endpoints(vec![endpoint(other.address)])),
            shared: shared.clone(),
        }))]
        .into();
        proxy.worker.set_snapshot(snapshot);
        assert_eq!(client.get("/").await.body, "other");
        assert_eq!(shared.connections.load(Relaxed), 1);
    });
}

#[test]
fn original_destination_clusters_connect_where_the_client_was_going() {
    run(async {
        let upstream = Upstream::named("there").await;
        let mut config = cluster_config("PassthroughCluster");
        config.discovery = Discovery::OriginalDst {
            header: Some("x-envoy-original-dst-host".into()),
            port_override: None,
        };
        config.balancer = Balancer::ClusterProvided;
        let proxy = Proxy::start(
            manager(routes(vec![any(to(0))])),
            vec![cluster(config, &[])],
        )
        .await;
        let request =
            request("GET", "/").header("x-envoy-original-dst-host", upstream.address.to_string());
        let answer = proxy
            .connect()
            .await
            .send(request.body(full("")).unwrap())
            .await;
        assert_eq!(answer.body, "there");
    });
}

#[test]
fn connections_are_made_ahead_of_requests_within_the_limits() {
    run(async {
        let upstream = Upstream::http1(|_| std::future::pending()).await;
        let mut config = cluster_config("b");
        config.preconnect_ratio = 2.0;
        config.circuit_breakers[0].max_connections = 5;
        let backend = cluster(config, &[&upstream]);
        let open = backend.shared.clone();
        let proxy = Proxy::start(manager(routes(vec![any(to(0))])), vec![backend]).await;
        let mut hold = Vec::new();
        for connections in [2, 4, 5] {
            let mut client = proxy.connect().await;
            hold.push(tokio::task::spawn_local(async move {
                client.get("/").await;
            }));
            until(|| upstream.seen() == hold.len()).await;
            until(|| open.connections.load(Relaxed) == connections).await;
            until(|| upstream.connections.get() == connections).await;
        }
    });
}

#[test]
fn what_was_connected_ahead_serves_the_next_request() {
    run(async {
        let upstream = Upstream::named("b").await;
        let mut config = cluster_config("b");
        config.preconnect_ratio = 1.5;
        let proxy = Proxy::start(
            manager(routes(vec![any(to(0))])),
            vec![cluster(config, &[&upstream])],
        )
        .await;
        let mut client = proxy.connect().await;
        for _ in 0..5 {
            assert_eq!(client.get("/").await.status, 200);
            until(|| upstream.connections.get() == 2).await;
        }
    });
}
