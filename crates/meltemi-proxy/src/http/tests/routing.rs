//! Hosts, routes, rewrites, redirects, direct answers, weights.

use crate::http::testkit::*;
use crate::model::*;
use http::StatusCode;
use std::collections::HashMap;
use std::sync::Arc;

fn direct(text: &'static str) -> Action {
    Action::Direct(DirectResponse {
        status: StatusCode::OK,
        body: text.into(),
    })
}

fn header_match(name: &'static str, value: &str) -> HeaderMatch {
    HeaderMatch {
        name: MatchName::Header(name.parse().unwrap()),
        test: HeaderTest::Value(StringMatch::Exact(value.into(), false)),
        invert: false,
        treat_missing_as_empty: false,
    }
}

#[test]
fn hosts_match_exactly_then_by_longest_wildcard() {
    run(async {
        let mut table = table(
            ["any", "exact", "suffix", "longer", "prefix"]
                .map(|name| virtual_host(name, vec![any(direct(name))]))
                .into(),
        );
        table.domains = Arc::new(Domains {
            exact: HashMap::from([("a.example".into(), 1)]),
            suffix: vec![(".very.example".into(), 3), (".example".into(), 2)],
            prefix: vec![("web.".into(), 4)],
            any: Some(0),
        });
        table.ignore_port = true;
        let proxy = Proxy::start(manager(table), vec![]).await;
        for (host, expected) in [
            ("a.example", "exact"),
            ("A.Example:8080", "exact"),
            ("b.example", "suffix"),
            ("b.very.example", "longer"),
            ("web.other", "prefix"),
            ("other", "any"),
            (".example", "any"),
        ] {
            let answer = proxy
                .raw(
                    format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
                        .as_bytes(),
                )
                .await;
            assert!(answer.ends_with(expected), "{host}: {answer}");
        }
    });
}

#[test]
fn paths_headers_methods_and_queries_choose_the_route() {
    run(async {
        let regex = meltemi_re2::partial(r"\A(?:/r/[0-9]+)\z").unwrap();
        let mut by_header = any(direct("jason"));
        by_header.matches.headers = Box::new([header_match("end-user", "jason")]);
        let mut without = route(PathMatch::Exact("/w".into()), direct("without"));
        without.matches.headers = Box::new([HeaderMatch {
            invert: true,
            treat_missing_as_empty: true,
            ..header_match("x-no", "1")
        }]);
        let mut by_query = any(direct("query"));
        by_query.matches.query = Box::new([QueryMatch {
            name: "v".into(),
            value: Some(StringMatch::Prefix("b".into(), false)),
        }]);
        let mut by_method = any(direct("delete"));
        by_method.matches.headers = Box::new([HeaderMatch {
            name: MatchName::Method,
            ..header_match("x", "DELETE")
        }]);
        let mut folded = route(PathMatch::Exact("/fold".into()), direct("folded"));
        folded.matches.case_sensitive = false;
        let mut never = any(direct("never"));
        never.matches.fraction = Some((0, 100));
        let proxy = Proxy::start(
            manager(routes(vec![
                never,
                by_header,
                without,
                by_query,
                by_method,
                folded,
                route(PathMatch::Exact("/e".into()), direct("exact")),
                route(PathMatch::SeparatedPrefix("/s".into()), direct("separated")),
                route(PathMatch::Regex(regex), direct("regex")),
                route(PathMatch::Prefix("/p".into()), direct("prefix")),
            ])),
            vec![],
        )
        .await;
        let mut client = proxy.connect().await;
        for (method, path, header, expected) in [
            ("GET", "/e", None, "exact"),
            ("GET", "/e?x=1", None, "exact"),
            ("GET", "/s", None, "separated"),
            ("GET", "/s/t", None, "separated"),
            ("GET", "/st", None, ""),
            ("GET", "/r/42", None, "regex"),
            ("GET", "/r/x", None, ""),
            ("GET", "/prefixed", None, "prefix"),
            ("GET", "/FOLD", None, "folded"),
            ("GET", "/E", None, ""),
            ("GET", "/z?v=bee", None, "query"),
            ("GET", "/z?v=ant", None, ""),
            ("DELETE", "/z", None, "delete"),
            ("GET", "/z", Some(("end-user", "jason")), "jason"),
            ("GET", "/w", None, "without"),
            ("GET", "/w", Some(("x-no", "1")), ""),
            ("GET", "/p/../e", None, "exact"),
            ("GET", "//p", None, "prefix"),
        ] {
            let mut request = request(method, path);
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let answer = client.send(request.body(full("")).unwrap()).await;
            assert_eq!(answer.body, expected, "{method} {path} {header:?}");
            assert_eq!(answer.status, if expected.is_empty() { 404 } else { 200 });
        }
    });
}

#[test]
fn rewrites_keep_the_original_path_and_host() {
    run(async {
        let upstream = Upstream::named("up").await;
        let action = |path_rewrite, host_rewrite| {
            Action::Forward(Box::new(Forward {
                path_rewrite,
                host_rewrite,
                append_x_forwarded_host: true,
                ..forward()
            }))
        };
        let regex = meltemi_re2::partial("^/api/v([0-9])/(.*)$").unwrap();
        let table = routes(vec![
            route(
                PathMatch::Prefix("/old".into()),
                action(
                    PathRewrite::Prefix("/new".into()),
                    HostRewrite::Literal("other.example".into()),
                ),
            ),
            any(action(
                PathRewrite::Regex(regex, "/${2}/v${1}".into()),
                HostRewrite::Auto,
            )),
        ]);
        let cluster = cluster(cluster_config("backend"), &[&upstream]);
        let proxy = Proxy::start(manager(table), vec![cluster]).await;
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/old/x?q=1").await.body, "up");
        assert_eq!(upstream.last_path(), "/new/x?q=1");
        assert_eq!(upstream.last("host").unwrap(), "other.example");
        assert_eq!(
            upstream.last("x-forwarded-host").unwrap(),
            "service.example"
        );
        assert_eq!(
            upstream.last("x-envoy-original-path").unwrap(),
            "/old/x?q=1"
        );
        client.get("/api/v2/books").await;
        assert_eq!(upstream.last_path(), "/books/v2");
        assert_eq!(upstream.last("host").unwrap(), "endpoint.example");
    });
}

#[test]
fn redirects_change_only_what_they_name() {
    run(async {
        let redirect = Redirect {
            status: StatusCode::MOVED_PERMANENTLY,
            https: true,
            scheme: None,
            host: None,
            port: None,
            path: PathRewrite::Prefix("/b".into()),
            full_path: None,
            strip_query: false,
        };
        let full = Redirect {
            status: StatusCode::FOUND,
            https: false,
            scheme: None,
            host: Some("h.example".into()),
            port: Some(8443),
            path: PathRewrite::None,
            full_path: Some("/c".into()),
            strip_query: true,
        };
        let mut tls_only = virtual_host("tls", vec![any(direct("no"))]);
        tls_only.require_tls = RequireTls::All;
        let mut table = table(vec![
            virtual_host(
                "all",
                vec![
                    route(
                        PathMatch::Prefix("/a".into()),
                        Action::Redirect(Box::new(redirect)),
                    ),
                    route(
                        PathMatch::Prefix("/f".into()),
                        Action::Redirect(Box::new(full)),
                    ),
                    route(PathMatch::Prefix("/n".into()), Action::NonForwarding),
                ],
            ),
            tls_only,
        ]);
        table.domains = Arc::new(Domains {
            exact: HashMap::from([("tls.example".into(), 1)]),
            any: Some(0),
            ..Domains::default()
        });
        table.ignore_port = true;
        let proxy = Proxy::start(manager(table), vec![]).await;
        let mut client = proxy.connect().await;
        let answer = client.get("/a/x?q=1").await;
        assert_eq!(answer.status, 301);
        assert_eq!(
            answer.header("location"),
            Some("https://service.example/b/x?q=1")
        );
        let answer = client.get("/f?q=1").await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (302, Some("http://h.example:8443/c"))
        );
        assert_eq!(client.get("/n").await.status, 404);
        let raw = proxy
            .raw(b"GET /x HTTP/1.1\r\nHost: tls.example:80\r\nConnection: close\r\n\r\n")
            .await;
        assert!(
            raw.starts_with("HTTP/1.1 301") && raw.contains("location: https://tls.example/x\r\n"),
            "{raw}"
        );
    });
}

#[test]
fn weights_split_requests_and_an_unknown_cluster_is_503() {
    run(async {
        let (one, two) = (Upstream::named("one").await, Upstream::named("two").await);
        let part = |cluster, weight| WeightedCluster {
            criteria: Vec::new(),
            cluster: ClusterId(cluster),
            weight,
            host_rewrite: None,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
            filters: Overrides::default(),
        };
        let split = Action::Forward(Box::new(Forward {
            cluster: ClusterChoice::Weighted {
                clusters: Box::new([part(0, 80), part(1, 20)]),
                total: 100,
            },
            ..forward()
        }));
        let table = routes(vec![
            route(PathMatch::Prefix("/no".into()), to(7)),
            any(split),
        ]);
        let proxy = Proxy::start(
            manager(table),
            vec![
                cluster(cluster_config("one"), &[&one]),
                cluster(cluster_config("two"), &[&two]),
            ],
        )
        .await;
        let mut client = proxy.connect().await;
        for _ in 0..500 {
            assert_eq!(client.get("/").await.status, 200);
        }
        // Six standard deviations around 400.
        assert!((346..=454).contains(&one.seen()), "{}", one.seen());
        assert_eq!(one.seen() + two.seen(), 500);
        assert_eq!(client.get("/no").await.status, 503);
    });
}
