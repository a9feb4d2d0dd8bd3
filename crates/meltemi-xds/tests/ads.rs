//! Server and client, over a Unix socket.

mod common;

use common::{DISCOVERED, Event, Server, added, connected, next, pairs, within};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use meltemi_xds::client::{Mode, Status};
use meltemi_xds::type_url::{CLUSTER, ENDPOINT, LISTENER, ROUTE};

const MODES: [Mode; 2] = [Mode::Delta, Mode::StateOfTheWorld];

fn push(type_url: &str, resources: usize, removed: usize) -> Event {
    Event::Push {
        type_url: type_url.to_owned(),
        resources,
        removed,
    }
}

#[tokio::test]
async fn changes_reach_the_client_and_answers_reach_the_server() {
    for mode in MODES {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(home.path());
        server.source.set(CLUSTER, &[("a", "1"), ("b", "1")]);
        let (client, mut updates) = server.client(mode);
        client.subscribe_all(CLUSTER);

        let update = next(&mut updates).await;
        assert_eq!(&*update.type_url, CLUSTER);
        assert_eq!(added(&update), pairs(&[("a", "1"), ("b", "1")]));
        update.answer.ack();
        assert_eq!(server.event().await, push(CLUSTER, 2, 0));
        assert_eq!(server.event().await, Event::Ack(CLUSTER.to_owned()));

        server.source.set(CLUSTER, &[("b", "2"), ("c", "1")]);
        let update = next(&mut updates).await;
        assert_eq!(added(&update), pairs(&[("b", "2"), ("c", "1")]));
        assert_eq!(update.removed, ["a"]);
        update.answer.nack("c: no good", ["c"]);
        let removed = usize::from(mode == Mode::Delta);
        assert_eq!(server.event().await, push(CLUSTER, 2, removed));
        let Event::Nack { message, names, .. } = server.event().await else {
            panic!("no NACK");
        };
        assert_eq!(message, "c: no good");
        assert_eq!(names, ["b", "c"]);

        // What was rejected is not sent again: the next update is of the next change.
        server.source.set(CLUSTER, &[("b", "3"), ("c", "2")]);
        let update = next(&mut updates).await;
        assert_eq!(added(&update), pairs(&[("b", "3"), ("c", "2")]));
    }
}

#[tokio::test]
async fn after_a_restart_of_the_server_only_the_difference_comes() {
    for mode in MODES {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(home.path());
        server
            .source
            .set(CLUSTER, &[("a", "1"), ("b", "1"), ("c", "1")]);
        let (client, mut updates) = server.client(mode);
        client.subscribe_all(CLUSTER);
        next(&mut updates).await.answer.ack();
        server.event().await;
        server.event().await;

        server.stop().await;
        let mut status = client.status();
        within(status.wait_for(|status| matches!(status, Status::Disconnected { .. })))
            .await
            .unwrap();
        server.source.set(CLUSTER, &[("a", "1"), ("b", "2")]);
        server.restart();
        connected(&client).await;
        let update = next(&mut updates).await;
        assert_eq!(added(&update), pairs(&[("b", "2")]), "{mode:?}");
        assert_eq!(update.removed, ["c"]);
        update.answer.ack();
        if mode == Mode::Delta {
            assert_eq!(server.event().await, push(CLUSTER, 1, 1));
        }
    }
}

#[tokio::test]
async fn a_slow_client_has_one_response_of_a_type_and_then_gets_the_newest() {
    for mode in MODES {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(home.path());
        server.source.set(CLUSTER, &[("a", "0")]);
        server.source.set(LISTENER, &[("l", "0")]);
        let (client, mut updates) = server.client(mode);
        client.subscribe_all(CLUSTER);
        let unanswered = next(&mut updates).await;
        assert_eq!(server.event().await, push(CLUSTER, 1, 0));
        for round in 1..=200 {
            server.source.set(CLUSTER, &[("a", &round.to_string())]);
            tokio::task::yield_now().await;
        }
        // Another type is not held up; its push comes after any the clusters
        // could have had.
        client.subscribe_all(LISTENER);
        next(&mut updates).await.answer.ack();
        assert_eq!(server.event().await, push(LISTENER, 1, 0));
        assert_eq!(server.event().await, Event::Ack(LISTENER.to_owned()));

        unanswered.answer.ack();
        assert_eq!(server.event().await, Event::Ack(CLUSTER.to_owned()));
        let update = next(&mut updates).await;
        assert_eq!(added(&update), pairs(&[("a", "200")]));
    }
}

#[tokio::test]
async fn names_come_and_go() {
    for mode in MODES {
        let home = tempfile::tempdir().unwrap();
        let server = Server::start(home.path());
        server
            .source
            .set(ENDPOINT, &[("a", "1"), ("b", "1"), ("c", "1")]);
        let (client, mut updates) = server.client(mode);
        client.subscribe(ENDPOINT, ["a"]);
        let update = next(&mut updates).await;
        assert_eq!(added(&update), pairs(&[("a", "1")]));
        // Before the answer: it must not get lost.
        client.subscribe(ENDPOINT, ["b"]);
        update.answer.ack();
        let update = next(&mut updates).await;
        assert_eq!(added(&update), pairs(&[("b", "1")]), "{mode:?} {update:?}");
        update.answer.ack();
        client.set_names(ENDPOINT, ["b", "c"]);
        let update = next(&mut updates).await;
        assert_eq!(added(&update), pairs(&[("c", "1")]));
        update.answer.ack();
        server
            .source
            .set(ENDPOINT, &[("a", "2"), ("b", "1"), ("c", "2")]);
        let update = next(&mut updates).await;
        assert_eq!(
            added(&update),
            pairs(&[("c", "2")]),
            "a is not wanted any more"
        );
    }
}

#[tokio::test]
async fn clusters_are_removed_after_the_routes_to_them() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(home.path());
    server.source.set(CLUSTER, &[("old", "1")]);
    server.source.set(ROUTE, &[("r", "to old")]);
    let (client, mut updates) = server.client(Mode::Delta);
    client.subscribe_all(CLUSTER);
    client.subscribe(ROUTE, ["r"]);
    for _ in 0..2 {
        next(&mut updates).await.answer.ack();
        server.event().await;
        server.event().await;
    }
    // One after the other, yet one change: the removal alone must not overtake.
    server.stop().await;
    server.source.set(ROUTE, &[("r", "to new")]);
    server.source.set(CLUSTER, &[("new", "1")]);
    server.restart();
    let clusters = next(&mut updates).await;
    assert_eq!(added(&clusters), pairs(&[("new", "1")]));
    let kept_back = clusters.removed.is_empty();
    clusters.answer.ack();
    let routes = next(&mut updates).await;
    assert_eq!(&*routes.type_url, ROUTE);
    routes.answer.ack();
    // On a fresh stream the clusters may be answered before the routes are asked for.
    if kept_back {
        let clusters = next(&mut updates).await;
        assert_eq!(clusters.removed, ["old"]);
        clusters.answer.ack();
    }

    // On a stream that has both, always: routes first, then the removal.
    server.source.set(CLUSTER, &[("new", "1"), ("spare", "1")]);
    next(&mut updates).await.answer.ack();
    let mut order = Vec::new();
    server.source.set(ROUTE, &[("r", "to spare")]);
    server.source.set(CLUSTER, &[("spare", "1")]);
    while order.len() < 2 {
        let update = next(&mut updates).await;
        if &*update.type_url == ROUTE {
            order.push("route");
        } else if update.removed == ["new"] {
            order.push("removal");
        }
        update.answer.ack();
    }
    assert_eq!(order, ["route", "removal"]);
}

#[tokio::test]
async fn routes_follow_the_endpoints_of_new_clusters() {
    for mode in MODES {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(home.path());
        server.source.set(CLUSTER, &[("old", DISCOVERED)]);
        server.source.set(ENDPOINT, &[("old", "1"), ("new", "1")]);
        server.source.set(ROUTE, &[("r", "to old")]);
        let (client, mut updates) = server.client(mode);
        client.subscribe_all(CLUSTER);
        client.subscribe(ENDPOINT, ["old"]);
        client.subscribe(ROUTE, ["r"]);
        for _ in 0..3 {
            next(&mut updates).await.answer.ack();
            server.event().await;
            server.event().await;
        }
        server
            .source
            .set(CLUSTER, &[("old", DISCOVERED), ("new", DISCOVERED)]);
        server.source.set(ROUTE, &[("r", "to new")]);
        let clusters = next(&mut updates).await;
        assert_eq!(&*clusters.type_url, CLUSTER);
        clusters.answer.ack();
        client.subscribe(ENDPOINT, ["new"]);
        let endpoints = next(&mut updates).await;
        assert_eq!(&*endpoints.type_url, ENDPOINT, "{mode:?}");
        assert!(added(&endpoints).iter().any(|(name, _)| name == "new"));
        endpoints.answer.ack();
        let routes = next(&mut updates).await;
        assert_eq!(added(&routes), pairs(&[("r", "to new")]));
    }
}

#[tokio::test]
async fn a_stale_nonce_is_ignored() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(home.path());
    server.source.set(CLUSTER, &[("a", "1")]);
    let path = server.path().display();
    let channel = tonic::transport::Endpoint::from_shared(format!("unix:{path}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    let request = |nonce: &str| DiscoveryRequest {
        node: Some(Node::default()),
        type_url: CLUSTER.to_owned(),
        response_nonce: nonce.to_owned(),
        ..Default::default()
    };
    requests.send(request("")).await.unwrap();
    let mut responses = AggregatedDiscoveryServiceClient::new(channel)
        .stream_aggregated_resources(tokio_stream::wrappers::ReceiverStream::new(receiver))
        .await
        .unwrap()
        .into_inner();
    let first = within(responses.message()).await.unwrap().unwrap();
    assert_eq!(first.resources.len(), 1);
    assert!(
        first
            .control_plane
            .unwrap()
            .identifier
            .starts_with("meltemi")
    );
    assert_eq!(server.event().await, push(CLUSTER, 1, 0));
    requests.send(request("stale")).await.unwrap();
    requests.send(request(&first.nonce)).await.unwrap();
    assert_eq!(
        server.event().await,
        Event::Ack(CLUSTER.to_owned()),
        "one ACK only"
    );
    server.source.set(CLUSTER, &[("a", "2")]);
    let second = within(responses.message()).await.unwrap().unwrap();
    assert_ne!(first.nonce, second.nonce);
    assert_ne!(first.version_info, second.version_info);
    assert_eq!(server.event().await, push(CLUSTER, 1, 0));
}

#[tokio::test]
async fn the_server_knows_its_peer_and_the_client_the_reason_of_a_refusal() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(home.path());
    let (client, _updates) = server.client(Mode::Delta);
    client.subscribe_all(CLUSTER);
    let Some(Event::Connected(peer)) = within(server.events.recv()).await else {
        panic!("nobody connected");
    };
    assert_eq!(peer.node, "test");
    assert_eq!(peer.pid, Some(std::process::id() as i32));
    drop(client);
    within(async { while server.events.recv().await != Some(Event::Disconnected) {} }).await;

    let (client, _updates) = server.client_as("forbidden", Mode::Delta);
    client.subscribe_all(CLUSTER);
    let mut status = client.status();
    let refused = within(status.wait_for(|status| match status {
        Status::Disconnected { last_error, .. } => last_error.is_some(),
        Status::Connected { .. } => false,
    }))
    .await
    .unwrap()
    .clone();
    let Status::Disconnected { last_error, .. } = refused else {
        unreachable!();
    };
    assert!(last_error.unwrap().contains("not you"));
}

#[tokio::test]
async fn a_socket_in_use_is_not_taken_away() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("s");
    let listener = meltemi_xds::server::bind_unix(&path).unwrap();
    let error = meltemi_xds::server::bind_unix(&path).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    drop(listener);
    meltemi_xds::server::bind_unix(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(meltemi_xds::server::bind_unix(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
