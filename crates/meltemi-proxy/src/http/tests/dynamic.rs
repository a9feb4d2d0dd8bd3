//! Hosts that requests name: resolved, connected to, refused.

use crate::dns::testkit::NameServer;
use crate::dns::{DnsCache, Lookups, Resolver};
use crate::http::testkit::{Answer, *};
use crate::model::*;
use std::sync::Arc;
use std::time::Duration;

fn cache(server: &NameServer, max_hosts: usize) -> Arc<DnsCache> {
    let long = Duration::from_secs(600);
    let settings = DnsCacheSettings {
        lookup: DnsFamily::V4Only,
        servers: Vec::new(),
        refresh: long,
        min_refresh: long,
        failure_refresh: (long, long),
        forget_failures: false,
        host_ttl: long,
        max_hosts,
        query_timeout: Some(Duration::from_secs(5)),
        max_pending: 16,
        filter: None,
    };
    let resolver = Arc::new(Resolver::new(vec![server.address]));
    Arc::new(DnsCache::new(
        "names",
        settings,
        Some(Lookups::new(resolver)),
    ))
}

async fn proxy(cache: &Arc<DnsCache>, mut route: Route, host: Option<DynamicHost>) -> Proxy {
    let mut config = cluster_config("dynamic");
    config.discovery = Discovery::DynamicForward(cache.clone());
    config.balancer = Balancer::ClusterProvided;
    let filter = DynamicForwardProxy {
        cache: cache.clone(),
    };
    let (chain, overrides) = one_filter(
        HttpFilter::DynamicForwardProxy(filter),
        RouteFilter::DynamicForwardProxy(host),
    );
    route.filters = overrides;
    let mut manager = manager(routes(vec![route]));
    manager.filters = chain;
    Proxy::start(manager, vec![cluster(config, &[])]).await
}

async fn ask(client: &mut Client, host: &str) -> Answer {
    let request = http::Request::get("/").header("host", host);
    client.send(request.body(full("")).unwrap()).await
}

#[test]
fn requests_go_to_the_host_they_name() {
    run(async {
        let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
        let server = NameServer::start(&[
            ("one.test", [127, 0, 0, 1]),
            ("two.test", [127, 0, 0, 1]),
            ("again.test", [127, 0, 0, 1]),
        ])
        .await;
        let proxy = proxy(&cache(&server, 16), any(to(0)), None).await;
        let mut client = proxy.connect().await;
        let hosts = [
            (format!("one.test:{}", one.address.port()), "one"),
            (format!("TWO.test:{}", two.address.port()), "two"),
            (format!("127.0.0.1:{}", two.address.port()), "two"),
            (format!("again.test:{}", one.address.port()), "one"),
        ];
        for _ in 0..2 {
            for (host, name) in &hosts {
                assert_eq!(ask(&mut client, host).await.body, *name);
                let upstream = if *name == "one" { &one } else { &two };
                assert_eq!(upstream.last("host").as_ref(), Some(host));
            }
        }
        // A host's connection serves no other host, and is kept for its own.
        assert_eq!((one.connections.get(), two.connections.get()), (2, 2));
        assert_eq!(server.queries(), 3);
    });
}

#[test]
fn hosts_without_an_address_are_503() {
    run(async {
        let server = NameServer::start(&[("a.test", [127, 0, 0, 1])]).await;
        let proxy = proxy(&cache(&server, 2), any(to(0)), None).await;
        let mut client = proxy.connect().await;
        for _ in 0..2 {
            let answer = ask(&mut client, "gone.test").await;
            assert_eq!(answer.status, 503);
            assert_eq!(answer.body, "DNS resolution failure");
        }
        // Nobody listens there.
        let answer = ask(&mut client, "a.test:1").await;
        assert!(
            answer.body.ends_with("remote connection failure"),
            "{}",
            answer.body
        );
        let answer = ask(&mut client, "b.test").await;
        assert_eq!((answer.status, &*answer.body), (503, "DNS cache overflow"));
        let answer = ask(&mut client, "").await;
        assert_eq!((answer.status, &*answer.body), (400, "Empty host header"));
    });
}

#[test]
fn the_route_decides_what_is_resolved() {
    run(async {
        let upstream = Upstream::named("there").await;
        let there = format!("there.test:{}", upstream.address.port());
        let server =
            NameServer::start(&[("there.test", [127, 0, 0, 1]), ("a.test", [127, 0, 0, 1])]).await;
        let cache = cache(&server, 16);
        let header = DynamicHost::Header("x-host".parse().unwrap());
        let proxy_by_header = proxy(&cache, any(to(0)), Some(header)).await;
        let mut client = proxy_by_header.connect().await;
        let request = http::Request::get("/")
            .header("host", "a.test")
            .header("x-host", &there)
            .header("x-host", "second.test");
        let answer = client.send(request.body(full("")).unwrap()).await;
        assert_eq!(answer.body, "there");
        assert_eq!(upstream.last("host").as_ref(), Some(&there));
        assert_eq!(ask(&mut client, &there).await.body, "there");

        let literal = DynamicHost::Literal(there.parse().unwrap());
        let by_literal = proxy(&cache, any(to(0)), Some(literal)).await;
        assert_eq!(
            ask(&mut by_literal.connect().await, "a.test").await.body,
            "there"
        );

        // A rewrite of the route itself comes later: the cluster resolves what it names.
        let rewriting = |host: &str| {
            any(Action::Forward(Box::new(Forward {
                host_rewrite: HostRewrite::Literal(host.into()),
                ..forward()
            })))
        };
        let rewritten = proxy(&cache, rewriting(&there), None).await;
        let answer = ask(&mut rewritten.connect().await, "a.test").await;
        assert_eq!(answer.body, "there");
        let rewritten = proxy(&cache, rewriting("gone.test"), None).await;
        let answer = ask(&mut rewritten.connect().await, "a.test").await;
        assert_eq!((answer.status, &*answer.body), (503, "no healthy upstream"));
    });
}
