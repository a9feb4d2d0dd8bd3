//! Real namespaces, real rules: what reaches whom, and what the sidecar sees.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use meltemi_capture::{
    Fabric, MeshNetwork, Netns, PASSTHROUGH_SOURCE, PROXY_MARK, RuleSet, original_destination,
};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use support::everywhere;

const ONE: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 11);
const TWO: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 12);
/// Long enough for a loaded machine; reached only when a packet is lost for good.
const PATIENCE: Duration = Duration::from_secs(10);

fn rules() -> RuleSet {
    RuleSet::standard(MeshNetwork::standard().ranges())
}

fn fabric() -> Fabric {
    Fabric::create(MeshNetwork::standard()).unwrap()
}

fn listen(netns: &Netns, address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    netns.run(|| TcpListener::bind(address)).unwrap().unwrap()
}

/// Connects inside `netns`, from `source` if given, marked as the proxy if asked.
fn connect(netns: &Netns, to: &str, source: Option<IpAddr>, marked: bool) -> io::Result<TcpStream> {
    let to: SocketAddr = to.parse().unwrap();
    let socket = netns
        .run(|| Socket::new(Domain::for_address(to), Type::STREAM, None))
        .unwrap()?;
    if marked {
        socket.set_mark(PROXY_MARK)?;
    }
    if let Some(source) = source {
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
    }
    socket.connect_timeout(&SockAddr::from(to), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Whether `listener` gets the connection to `to`; returns its two ends and checks the way back.
fn arrives(listener: &TcpListener, client: TcpStream) -> (TcpStream, SocketAddr) {
    let (mut server, peer) = listener.accept().unwrap();
    let mut client = client;
    server.write_all(b"pong").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"pong");
    (server, peer)
}

#[test]
fn namespaces_reach_each_other_over_the_fabric() {
    everywhere("namespaces_reach_each_other_over_the_fabric", || {
        let fabric = fabric();
        let (one, two) = (fabric.attach(ONE).unwrap(), fabric.attach(TWO).unwrap());
        let listener = listen(&two, "0.0.0.0:80");
        let (_server, peer) = arrives(
            &listener,
            connect(&one, "10.98.0.12:80", None, false).unwrap(),
        );
        assert_eq!(peer.ip(), IpAddr::V4(ONE));
        if let Some(v6) = fabric.ipv6_of(TWO) {
            let listener = listen(&two, "[::]:81");
            let (_server, peer) = arrives(
                &listener,
                connect(&one, &format!("[{v6}]:81"), None, false).unwrap(),
            );
            assert_eq!(peer.ip(), IpAddr::V6(fabric.ipv6_of(ONE).unwrap()));
        }
        fabric.detach(TWO).unwrap();
        fabric.detach(TWO).expect("it is cut off already");
        fabric
            .attach(TWO)
            .expect("an address is free again after detaching");
    });
}

/// Those who spoke with the former owner know its hardware address.
#[test]
fn an_address_reaches_its_next_owner_at_once() {
    everywhere("an_address_reaches_its_next_owner_at_once", || {
        let fabric = fabric();
        let one = fabric.attach(ONE).unwrap();
        for _ in 0..3 {
            let two = fabric.attach(TWO).unwrap();
            let v6 = fabric.ipv6_of(TWO).map(|v6| format!("[{v6}]:80"));
            let listener = listen(
                &two,
                if v6.is_some() {
                    "[::]:80"
                } else {
                    "0.0.0.0:80"
                },
            );
            for to in v6.into_iter().chain(["10.98.0.12:80".into()]) {
                arrives(&listener, connect(&one, &to, None, false).unwrap());
            }
            drop(listener);
            drop(two);
            fabric.detach(TWO).unwrap();
        }
    });
}

#[test]
fn outbound_tcp_reaches_the_sidecar_with_its_destination() {
    everywhere(
        "outbound_tcp_reaches_the_sidecar_with_its_destination",
        || {
            let fabric = fabric();
            let one = fabric.attach(ONE).unwrap();
            rules().apply(&one).unwrap();
            let sidecar = listen(&one, "127.0.0.1:15001");
            for destination in ["10.99.1.2:9080", "240.240.0.7:443", "203.0.113.9:80"] {
                let (server, _) =
                    arrives(&sidecar, connect(&one, destination, None, false).unwrap());
                assert_eq!(
                    original_destination(&server).unwrap().to_string(),
                    destination
                );
            }
            if fabric.ipv6_of(ONE).is_some() {
                let sidecar = listen(&one, "[::1]:15001");
                let destination = "[2001:db8::7]:8443";
                let (server, _) =
                    arrives(&sidecar, connect(&one, destination, None, false).unwrap());
                assert_eq!(
                    original_destination(&server).unwrap().to_string(),
                    destination
                );
            }
        },
    );
}

#[test]
fn inbound_tcp_reaches_the_sidecar_and_passes_through_to_the_application() {
    everywhere(
        "inbound_tcp_reaches_the_sidecar_and_passes_through_to_the_application",
        || {
            let fabric = fabric();
            let (one, two) = (fabric.attach(ONE).unwrap(), fabric.attach(TWO).unwrap());
            rules().apply(&two).unwrap();
            let sidecar = listen(&two, "0.0.0.0:15006");
            let application = listen(&two, "0.0.0.0:9080");
            let health = listen(&two, "0.0.0.0:15021");
            let (server, peer) = arrives(
                &sidecar,
                connect(&one, "10.98.0.12:9080", None, false).unwrap(),
            );
            assert_eq!(
                original_destination(&server).unwrap().to_string(),
                "10.98.0.12:9080"
            );
            assert_eq!(peer.ip(), IpAddr::V4(ONE));
            arrives(
                &health,
                connect(&one, "10.98.0.12:15021", None, false).unwrap(),
            );

            let source = Some(IpAddr::V4(PASSTHROUGH_SOURCE));
            let (_server, peer) = arrives(
                &application,
                connect(&two, "10.98.0.12:9080", source, true).unwrap(),
            );
            assert_eq!(peer.ip(), IpAddr::V4(PASSTHROUGH_SOURCE));
            // A probe: same source, no mark.
            arrives(
                &application,
                connect(&two, "10.98.0.12:9080", source, false).unwrap(),
            );
            // The application calls itself, by address and by localhost: direct.
            arrives(
                &application,
                connect(&two, "10.98.0.12:9080", None, false).unwrap(),
            );
            arrives(
                &application,
                connect(&two, "127.0.0.1:9080", None, true).unwrap(),
            );
            // The sidecar sends a call to the workload's own service back in: through the inbound side.
            let (server, _) = arrives(
                &sidecar,
                connect(&two, "10.98.0.12:9080", None, true).unwrap(),
            );
            assert_eq!(
                original_destination(&server).unwrap().to_string(),
                "10.98.0.12:9080"
            );
        },
    );
}

#[test]
fn what_is_excluded_or_marked_goes_straight() {
    everywhere("what_is_excluded_or_marked_goes_straight", || {
        let fabric = fabric();
        let (one, two) = (fabric.attach(ONE).unwrap(), fabric.attach(TWO).unwrap());
        let mut set = rules();
        set.exclude_outbound_ports = vec![3306];
        set.exclude_outbound = vec!["10.98.0.12".parse().unwrap()];
        set.exclude_inbound_ports.push(7000);
        set.apply(&one).unwrap();
        let sidecar = listen(&one, "127.0.0.1:15001");
        let server = listen(&two, "0.0.0.0:80");
        let database = listen(&two, "0.0.0.0:3306");
        arrives(
            &server,
            connect(&one, "10.98.0.12:80", None, false).unwrap(),
        );
        arrives(&server, connect(&one, "10.98.0.12:80", None, true).unwrap());
        let open = listen(&one, "0.0.0.0:7000");
        arrives(
            &open,
            connect(&two, "10.98.0.11:7000", None, false).unwrap(),
        );

        // Replaced: the address is no longer excluded, the port still is.
        set.exclude_outbound.clear();
        set.apply(&one).unwrap();
        arrives(
            &sidecar,
            connect(&one, "10.98.0.12:80", None, false).unwrap(),
        );
        arrives(
            &database,
            connect(&one, "10.98.0.12:3306", None, false).unwrap(),
        );

        // Only a list of ranges and ports is captured.
        set.include_outbound = meltemi_capture::Cidrs::Only(vec!["10.99.0.0/16".parse().unwrap()]);
        set.include_outbound_ports = meltemi_capture::Ports::Only(vec![8080]);
        set.apply(&one).unwrap();
        arrives(
            &sidecar,
            connect(&one, "10.99.3.4:80", None, false).unwrap(),
        );
        arrives(
            &sidecar,
            connect(&one, "203.0.113.9:8080", None, false).unwrap(),
        );
        arrives(
            &server,
            connect(&one, "10.98.0.12:80", None, false).unwrap(),
        );
    });
}

#[test]
fn dns_is_captured_whatever_the_resolver() {
    everywhere("dns_is_captured_whatever_the_resolver", || {
        let fabric = fabric();
        let one = fabric.attach(ONE).unwrap();
        rules().apply(&one).unwrap();
        let server = one
            .run(|| UdpSocket::bind("127.0.0.1:15053"))
            .unwrap()
            .unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        for resolver in ["10.98.0.1:53", "127.0.0.1:53", "9.9.9.9:53"] {
            let client = one.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.send_to(b"query", resolver).unwrap();
            let mut buffer = [0; 16];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"query");
            server.send_to(b"answer", from).unwrap();
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(
                (&buffer[..length], from.to_string().as_str()),
                (b"answer".as_slice(), resolver)
            );
        }
        let server = listen(&one, "127.0.0.1:15053");
        arrives(&server, connect(&one, "10.98.0.1:53", None, false).unwrap());
    });
}

#[test]
fn what_has_no_way_out_is_refused_at_once() {
    everywhere("what_has_no_way_out_is_refused_at_once", || {
        let fabric = fabric();
        let one = fabric.attach(ONE).unwrap();
        let begin = Instant::now();
        RuleSet::bare(MeshNetwork::standard().ranges())
            .apply(&one)
            .unwrap();
        let error = connect(&one, "203.0.113.9:80", None, false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        let client = one.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.connect("203.0.113.9:123").unwrap();
        let refused = client
            .send(b"time")
            .err()
            .or_else(|| client.recv(&mut [0; 16]).err());
        assert!(refused.is_some_and(|error| error.kind() != io::ErrorKind::WouldBlock));
        assert!(begin.elapsed() < PATIENCE);
    });
}

#[test]
fn a_namespace_without_privilege_over_it_is_refused_with_the_reason() {
    everywhere(
        "a_namespace_without_privilege_over_it_is_refused_with_the_reason",
        || {
            let one = Netns::create().unwrap();
            let error = one
                .run(|| {
                    // The thread gives up its capabilities, as an application has none.
                    let header: [u32; 2] = [0x2008_0522, 0];
                    let nothing = [0u32; 6];
                    // SAFETY: capset(2) with a version 3 header and two zeroed data words.
                    let result = unsafe {
                        libc::syscall(libc::SYS_capset, header.as_ptr(), nothing.as_ptr())
                    };
                    assert_eq!(result, 0);
                    rules().apply(&Netns::current().unwrap()).unwrap_err()
                })
                .unwrap();
            assert!(error.is_permission(), "{error}");
            assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
        },
    );
}
