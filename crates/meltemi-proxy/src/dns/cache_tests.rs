//! Names as requests ask for them, against a name server of our own.

use super::*;
use crate::dns::testkit::NameServer;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(600);

fn settings() -> DnsCacheSettings {
    DnsCacheSettings {
        lookup: DnsFamily::V4Only,
        servers: Vec::new(),
        refresh: LONG,
        min_refresh: LONG,
        failure_refresh: (LONG, LONG),
        forget_failures: false,
        host_ttl: LONG,
        max_hosts: 1024,
        query_timeout: Some(Duration::from_secs(5)),
        max_pending: 1024,
        filter: None,
    }
}

fn cache(server: &NameServer, settings: DnsCacheSettings) -> Arc<DnsCache> {
    let resolver = Arc::new(Resolver::new(vec![server.address]));
    Arc::new(DnsCache::new(
        "test",
        settings,
        Some(Lookups::new(resolver)),
    ))
}

async fn until(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("the condition never holds");
}

fn failed(reason: &str) -> Result<(), CacheError> {
    Err(CacheError::Failed(reason.into()))
}

#[test]
fn keys_are_names_in_lower_case_with_a_port() {
    for (authority, key) in [
        ("Api.Test", "api.test:80"),
        ("api.test:8080", "api.test:8080"),
        ("api.test:", "api.test::80"),
        ("api.test:99999", "api.test:99999:80"),
        ("10.0.0.1:81", "10.0.0.1:81"),
        ("[2001:DB8::1]:81", "2001:db8::1:81"),
        ("[::1]", "::1:80"),
        ("", ":80"),
    ] {
        assert_eq!(&*host_key(authority, 80), key, "{authority}");
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_for_all_who_wait() {
    let server = NameServer::start(&[("api.test", [127, 0, 0, 7])]).await;
    let cache = cache(&server, settings());
    assert_eq!(cache.address("api.test:80"), None);
    let wait = || cache.resolve("api.test:80");
    let all = futures_util::join!(wait(), wait(), wait(), wait());
    assert_eq!(all, (Ok(()), Ok(()), Ok(()), Ok(())));
    assert_eq!(cache.resolve("api.test:80").await, Ok(()));
    assert_eq!(server.queries(), 1);
    assert_eq!(cache.address("api.test:80"), "127.0.0.7:80".parse().ok());
    // Each port is a host of its own, as in Envoy.
    assert_eq!(cache.address("api.test:81"), None);
}

#[tokio::test]
async fn a_failure_holds_until_it_is_tried_again() {
    let server = NameServer::start(&[]).await;
    let mut settings = settings();
    settings.failure_refresh = (SHORT, SHORT);
    let cache = cache(&server, settings);
    let reason = failed("late.test.:_Non-Existent_Domain");
    assert_eq!(cache.resolve("late.test:80").await, reason);
    let queries = server.queries();
    server.set("late.test", &[[127, 0, 0, 1]]);
    until(async || cache.resolve("late.test:80").await.is_ok()).await;
    assert_eq!(server.queries(), queries + 1);
}

#[tokio::test]
async fn failures_can_be_forgotten() {
    let server = NameServer::start(&[]).await;
    let mut settings = settings();
    settings.forget_failures = true;
    settings.max_hosts = 1;
    let cache = cache(&server, settings);
    assert!(cache.resolve("late.test:80").await.is_err());
    server.set("late.test", &[[127, 0, 0, 1]]);
    until(async || cache.resolve("late.test:80").await.is_ok()).await;
}

#[tokio::test]
async fn addresses_follow_the_name_and_outlive_failures() {
    let server = NameServer::start(&[("api.test", [127, 0, 0, 1])]).await;
    let mut settings = settings();
    settings.min_refresh = SHORT;
    settings.failure_refresh = (SHORT, SHORT);
    let cache = cache(&server, settings);
    assert_eq!(cache.resolve("api.test:80").await, Ok(()));
    server.set("api.test", &[[127, 0, 0, 2], [127, 0, 0, 3]]);
    until(async || cache.address("api.test:80") == "127.0.0.2:80".parse().ok()).await;
    // The same addresses in another order are no change.
    server.set("api.test", &[[127, 0, 0, 3], [127, 0, 0, 2]]);
    let queries = server.queries();
    until(async || server.queries() > queries + 1).await;
    server.forget("api.test");
    let queries = server.queries();
    until(async || server.queries() > queries + 1).await;
    assert_eq!(cache.address("api.test:80"), "127.0.0.2:80".parse().ok());
}

#[tokio::test]
async fn a_full_cache_takes_no_other_name_until_one_is_unused() {
    let server = NameServer::start(&[("a.test", [127, 0, 0, 1]), ("b.test", [127, 0, 0, 2])]).await;
    let mut settings = settings();
    settings.max_hosts = 1;
    // The time to live of the answer is long: what nobody uses goes nevertheless.
    settings.host_ttl = Duration::from_millis(500);
    let cache = cache(&server, settings);
    assert_eq!(cache.resolve("a.test:80").await, Ok(()));
    assert_eq!(cache.resolve("b.test:80").await, Err(CacheError::Full));
    assert_eq!(cache.resolve("a.test:80").await, Ok(()));
    until(async || cache.resolve("b.test:80").await == Ok(())).await;
    assert_eq!(cache.address("a.test:80"), None);
}

#[tokio::test]
async fn no_more_wait_than_may_and_no_longer() {
    let server = NameServer::start(&[("other.test", [127, 0, 0, 1])]).await;
    server.set("slow.test", &[]);
    let mut settings = settings();
    settings.max_pending = 1;
    settings.query_timeout = Some(Duration::from_millis(300));
    let cache = cache(&server, settings);
    let slow = cache.resolve("slow.test:80");
    let other = async {
        until(async || server.queries() == 1).await;
        cache.resolve("other.test:80").await
    };
    let (slow, other) = futures_util::join!(slow, other);
    assert_eq!(other, Err(CacheError::Pending));
    assert_eq!(slow, failed("resolve_timeout"));
    assert_eq!(cache.resolve("other.test:80").await, Ok(()));
}

#[tokio::test]
async fn addresses_are_their_own_names_within_family_and_filter() {
    let server = NameServer::start(&[("inside.test", [10, 0, 0, 1])]).await;
    let mut settings = settings();
    let private = crate::model::IpPrefix {
        address: [10, 0, 0, 0].into(),
        length: 8,
    };
    settings.filter = Some(crate::model::AddressFilter {
        ranges: vec![private],
        invert: false,
    });
    let cache = cache(&server, settings);
    assert_eq!(cache.resolve("127.0.0.1:81").await, Ok(()));
    assert_eq!(cache.address("127.0.0.1:81"), "127.0.0.1:81".parse().ok());
    assert_eq!(cache.resolve("::1:81").await, failed("not_an_IPv4_address"));
    assert_eq!(server.queries(), 0);
    let filtered = failed("all_addresses_are_filtered");
    assert_eq!(cache.resolve("10.1.1.1:80").await, filtered);
    assert_eq!(cache.resolve("inside.test:80").await, filtered);
}
