//! Workers inside a workload's namespace, with real capture rules.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod wire_support;

use meltemi_capture::{Fabric, MeshNetwork, Netns, RuleSet};
use meltemi_proxy::model::*;
use meltemi_proxy::worker::{Group, Workers};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wire_support::{always, chain, cluster, listener, snapshot};

const SIDECAR: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 21);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 22);

/// Says its name to each client, then closes.
fn serve(namespace: &Netns, address: SocketAddr, name: &'static [u8]) {
    let listener = namespace
        .run(|| TcpListener::bind(address))
        .unwrap()
        .unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(name);
        }
    });
}

/// What a plain program in the namespace gets from an address.
fn ask(namespace: &Netns, address: SocketAddr) -> String {
    let connected = namespace.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(10)));
    let mut stream = match connected.unwrap() {
        // It may come before the connection is seen to be there.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return String::new(),
        connected => connected.unwrap(),
    };
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut text = String::new();
    // A reset is an answer, too: an empty one.
    let _ = stream.read_to_string(&mut text);
    text
}

fn edit(listener: Arc<Listener>, change: impl FnOnce(&mut Listener)) -> Arc<Listener> {
    let mut listener = Arc::into_inner(listener).unwrap();
    change(&mut listener);
    Arc::new(listener)
}

#[test]
fn redirected_connections_reach_the_listener_of_their_original_destination() {
    let fabric = match Fabric::create(MeshNetwork::standard()) {
        Ok(fabric) => fabric,
        Err(error) => {
            println!("skipped: no network namespace can be made here: {error}");
            return;
        }
    };
    let (sidecar, server) = (
        fabric.attach(SIDECAR).unwrap(),
        fabric.attach(SERVER).unwrap(),
    );
    RuleSet::standard(MeshNetwork::standard().ranges())
        .apply(&sidecar)
        .unwrap();
    serve(&server, (SERVER, 9080).into(), b"reviews");
    serve(&server, (SERVER, 9090).into(), b"passthrough");

    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let vip = SocketAddr::from(([10, 99, 0, 1], 9080));
    let black_hole = ChainMatch {
        destination_port: Some(15001),
        ..ChainMatch::default()
    };
    let outbound = ChainTable {
        chains: vec![(black_hole, chain(9))],
        default: Some(chain(1)),
    };
    let listeners = vec![
        edit(listener("virtualOutbound", any(15001), outbound), |l| {
            l.hand_off = true
        }),
        edit(listener("vip", vip, always(0)), |l| l.bind = false),
        edit(listener("any", any(9999), always(0)), |l| l.bind = false),
    ];
    let clusters = vec![
        cluster(0, Some((SERVER, 9080).into())),
        cluster(1, Some((SERVER, 9090).into())),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (_snapshots, receiver) = watch::channel(snapshot(1, listeners, clusters));
        let namespace = OwnedFd::from(sidecar.try_clone().unwrap());
        let group = Group {
            sockets: Default::default(),
            count: 2,
            namespace: Some(namespace),
            mesh: vec![IpPrefix {
                address: [10, 98, 0, 0].into(),
                length: 15,
            }],
            publish: None,
            max_connections: 100,
            overload: Default::default(),
            listener_drain: Duration::from_millis(100),
        };
        let workers = Workers::start(group, receiver).unwrap();
        let mut applied = workers.handle().applied();
        applied
            .wait_for(|generation| *generation == 1)
            .await
            .unwrap();
        for (address, wanted) in [
            (vip, "reviews"),
            // by the port alone
            (SocketAddr::from(([10, 99, 0, 2], 9999)), "reviews"),
            // no listener of its own: the redirecting one's
            (SocketAddr::from(([10, 99, 0, 3], 80)), "passthrough"),
            // the redirecting port itself is no way in, and no loop
            (SocketAddr::from((SIDECAR, 15001)), ""),
        ] {
            let sidecar = sidecar.try_clone().unwrap();
            let answer = tokio::task::spawn_blocking(move || ask(&sidecar, address))
                .await
                .unwrap();
            assert_eq!(answer, wanted, "{address}");
        }
        workers.stop();
    });
}
