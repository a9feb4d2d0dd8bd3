//! What the proxy adds, removes and believes.

use crate::http::testkit::*;
use crate::model::*;
use http::{HeaderName, HeaderValue};

fn add(name: &'static str, value: &'static str, action: AddAction) -> HeaderAdd {
    HeaderAdd {
        name: AddName::Header(HeaderName::from_static(name)),
        value: HeaderText::Literal(HeaderValue::from_static(value)),
        action,
        keep_empty: false,
    }
}

#[test]
fn a_sidecar_adds_what_envoy_adds() {
    run(async {
        let upstream = Upstream::named("up").await;
        let proxy = Proxy::simple(&[&upstream]).await;
        let answer = proxy.get("/").await;
        assert_eq!(answer.header("server"), Some("istio-envoy"));
        assert!(answer.header("date").is_some());
        assert!(answer.header("x-envoy-upstream-service-time").is_some());
        assert_eq!(upstream.last("x-forwarded-proto").unwrap(), "http");
        assert_eq!(upstream.last("x-forwarded-for"), None);
        assert_eq!(upstream.last("x-request-id").unwrap().len(), 36);
        assert_eq!(upstream.last("x-envoy-internal"), None);
    });
}

#[test]
fn an_edge_trusts_nothing_from_outside() {
    run(async {
        let upstream = Upstream::named("up").await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.addresses.use_remote_address = true;
        let proxy = Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
        proxy
            .raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 10.0.0.1\r\nX-Request-Id: forged\r\n\
                  X-Envoy-Internal: true\r\nX-Envoy-Retry-On: 5xx\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1\r\n\
                  X-Envoy-Original-Dst-Host: 10.0.0.1:1\r\nX-Forwarded-Client-Cert: URI=spiffe://forged\r\nX-Forwarded-Proto: https\r\n\r\n")
            .await;
        assert_eq!(
            upstream.last("x-forwarded-for").unwrap(),
            "10.0.0.1,127.0.0.1"
        );
        assert_eq!(
            upstream.last("x-envoy-external-address").unwrap(),
            "127.0.0.1"
        );
        assert_eq!(upstream.last("x-forwarded-proto").unwrap(), "http");
        assert_ne!(upstream.last("x-request-id").unwrap(), "forged");
        for forged in [
            "x-envoy-internal",
            "x-envoy-retry-on",
            "x-envoy-upstream-rq-timeout-ms",
            "x-envoy-original-dst-host",
            "x-forwarded-client-cert",
        ] {
            assert_eq!(upstream.last(forged), None, "{forged}");
        }
    });
}

#[test]
fn an_internal_client_may_set_timeouts() {
    run(async {
        let upstream = Upstream::http1(|_| async {
            std::future::pending::<()>().await;
            text(200, "never")
        })
        .await;
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.addresses.use_remote_address = true;
        manager.addresses.internal = vec![IpPrefix {
            address: [127, 0, 0, 0].into(),
            length: 8,
        }];
        let proxy = Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
        let request = request("GET", "/").header("x-envoy-upstream-rq-timeout-ms", "30");
        let answer = proxy
            .connect()
            .await
            .send(request.body(full("")).unwrap())
            .await;
        assert_eq!(
            (answer.status, &*answer.body),
            (504, "upstream request timeout")
        );
        assert_eq!(upstream.last("x-envoy-internal").unwrap(), "true");
        assert_eq!(
            upstream.last("x-envoy-expected-rq-timeout-ms").unwrap(),
            "30"
        );
    });
}

#[test]
fn header_operations_go_from_the_route_outwards() {
    run(async {
        let upstream = Upstream::http1(|_| async {
            let mut answer = text(200, "up");
            answer
                .headers_mut()
                .insert("x-secret", HeaderValue::from_static("1"));
            answer
        })
        .await;
        let mut inner = any(to(0));
        inner.request_headers.add = Box::new([
            add("x-level", "route", AddAction::OverwriteIfExistsOrAdd),
            add("x-append", "two", AddAction::AppendIfExistsOrAdd),
            add("x-present", "changed", AddAction::AddIfAbsent),
        ]);
        inner.request_headers.remove = Box::new([HeaderName::from_static("x-gone")]);
        inner.response_headers.remove = Box::new([HeaderName::from_static("x-secret")]);
        let format = crate::telemetry::log::parse_text("%REQ(X-PRESENT)%").unwrap();
        inner.response_headers.add = Box::new([HeaderAdd {
            value: HeaderText::Format(std::sync::Arc::new(format)),
            ..add("x-echo", "", AddAction::AppendIfExistsOrAdd)
        }]);
        let mut host = virtual_host("all", vec![inner]);
        host.request_headers.add =
            Box::new([add("x-level", "host", AddAction::OverwriteIfExistsOrAdd)]);
        host.attempt_count_in_request = true;
        let table = table(vec![host]);
        let proxy = Proxy::start(
            manager(table),
            vec![cluster(cluster_config("b"), &[&upstream])],
        )
        .await;
        let request = request("GET", "/")
            .header("x-gone", "1")
            .header("x-append", "one")
            .header("x-present", "kept");
        let answer = proxy
            .connect()
            .await
            .send(request.body(full("")).unwrap())
            .await;
        assert_eq!(upstream.last("x-level").unwrap(), "host");
        assert_eq!(upstream.last("x-gone"), None);
        assert_eq!(upstream.last("x-present").unwrap(), "kept");
        assert_eq!(upstream.last("x-envoy-attempt-count").unwrap(), "1");
        let requests = upstream.requests.borrow();
        let appended: Vec<_> = requests[0].headers.get_all("x-append").iter().collect();
        assert_eq!(appended, ["one", "two"]);
        assert_eq!(answer.header("x-secret"), None);
        assert_eq!(answer.header("x-echo"), Some("kept"));
    });
}

#[test]
fn cors_answers_preflights_and_marks_answers() {
    run(async {
        let upstream = Upstream::named("up").await;
        let mut route = any(to(0));
        let policy = RouteFilter::Cors(CorsPolicy {
            allow_origins: Box::new([StringMatch::Exact("https://a.example".into(), false)]),
            allow_methods: Some("GET,POST".into()),
            allow_headers: None,
            expose_headers: Some("x-a".into()),
            max_age: Some("60".into()),
            allow_credentials: true,
            forward_not_matching_preflights: false,
            enabled: (100, 100),
        });
        let (chain, overrides) = one_filter(HttpFilter::Cors(Cors), policy);
        route.filters = overrides;
        let mut manager = manager(routes(vec![route]));
        manager.filters = chain;
        let proxy = Proxy::start(manager, vec![cluster(cluster_config("b"), &[&upstream])]).await;
        let mut client = proxy.connect().await;
        let preflight = |origin: &str| {
            request("OPTIONS", "/")
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .body(full(""))
                .unwrap()
        };
        let answer = client.send(preflight("https://a.example")).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://a.example")
        );
        assert_eq!(
            answer.header("access-control-allow-methods"),
            Some("GET,POST")
        );
        assert_eq!(upstream.seen(), 0);
        let answer = client.send(preflight("https://evil.example")).await;
        assert_eq!(answer.header("access-control-allow-origin"), None);
        let plain = request("GET", "/").header("origin", "https://a.example");
        let answer = client.send(plain.body(full("")).unwrap()).await;
        assert_eq!(answer.header("access-control-expose-headers"), Some("x-a"));
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(answer.body, "up");
    });
}
