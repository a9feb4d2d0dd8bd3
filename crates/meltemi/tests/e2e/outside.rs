//! What lies outside of the mesh.

use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::toolbox::answer_one;
use crate::world::{EFFECT, World};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

pub const TESTS: &[Test<World>] = tests![
    loopback_is_the_pods_own,
    an_address_of_the_machine_is_reached_through_the_host,
    registry_only_shuts_the_way_out,
    a_service_entry_opens_it_again,
    unknown_hosts_are_resolved_by_the_proxy,
];

/// A server of the test on the host, and its port.
fn server(address: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_one(stream, "from the host"));
        }
    });
    port
}

/// The address of a server that answers one line.
fn echo_one(address: Ipv4Addr) -> String {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let at = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        let answer = format!("{}, indeed", line.trim());
        (&stream).write_all(answer.as_bytes()).unwrap();
    });
    at
}

/// An address of this machine that is not loopback. Connecting a UDP socket sends nothing.
fn own_address(test: &str) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let routed = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    match routed.map(|address| address.ip()) {
        Ok(std::net::IpAddr::V4(address)) if !address.is_loopback() => Some(address),
        _ => {
            println!("skipped: {test}: this machine has loopback only");
            None
        }
    }
}

const REGISTRY_ONLY: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: istio, namespace: istio-system }\ndata:\n  mesh: |\n    outboundTrafficPolicy: { mode: REGISTRY_ONLY }\n";

fn loopback_is_the_pods_own(world: &World) {
    world.reset();
    let port = server(Ipv4Addr::LOCALHOST);
    let output = world.tool("client", &["http", &format!("http://127.0.0.1:{port}/")]);
    assert!(
        output.code != 0 && !output.stdout.contains("from the host"),
        "{output}"
    );
}

fn an_address_of_the_machine_is_reached_through_the_host(world: &World) {
    world.reset();
    let Some(address) = own_address("outside traffic") else {
        return;
    };
    let url = format!("http://{address}:{}/", server(address));
    let output = world.tool("client", &["http", &url]);
    assert_eq!(output.stdout.trim(), "200 from the host", "{output}");
}

fn registry_only_shuts_the_way_out(world: &World) {
    world.reset();
    let Some(address) = own_address("REGISTRY_ONLY") else {
        return;
    };
    let url = format!("http://{address}:{}/", server(address));
    world.mesh.apply_text(REGISTRY_ONLY);
    until("no way out", EFFECT, || {
        let output = world.tool("client", &["http", &url]);
        let shut = !output.stdout.contains("from the host");
        if shut {
            Ok(())
        } else {
            Err(output.to_string())
        }
    });
    // The mesh's own services are not outside.
    assert_eq!(world.mesh.get("/productpage").status, 200);
}

fn a_service_entry_opens_it_again(world: &World) {
    world.reset();
    let Some(address) = own_address("ServiceEntry") else {
        return;
    };
    let port = server(address);
    world.mesh.apply_text(&format!(
        "{REGISTRY_ONLY}---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{ name: books }}\nspec:\n  hosts: [books.example.com]\n  ports: [{{ number: 80, name: http, protocol: HTTP, targetPort: {port} }}]\n  resolution: STATIC\n  location: MESH_EXTERNAL\n  endpoints: [{{ address: {address} }}]\n"
    ));
    until("the entry", EFFECT, || {
        let output = world.tool("client", &["http", "http://books.example.com/"]);
        match output.stdout.trim() == "200 from the host" {
            true => Ok(()),
            false => Err(output.to_string()),
        }
    });
    let other = world.tool("client", &["http", &format!("http://{address}:{port}/")]);
    assert!(
        !other.stdout.contains("from the host"),
        "the port itself is not registered: {other}"
    );
    world.reset();
}

/// Where the application connects to says nothing then: its requests' hosts do.
fn unknown_hosts_are_resolved_by_the_proxy(world: &World) {
    const NOWHERE: &str = "192.0.2.1:7777";
    world.reset();
    let Some(address) = own_address("ALLOW_ANY_DYNAMIC_DNS") else {
        return;
    };
    world.mesh.apply_text("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: istio, namespace: istio-system }\ndata:\n  mesh: |\n    outboundTrafficPolicy: { mode: ALLOW_ANY_DYNAMIC_DNS }\n");
    let ask = |authority: &str| {
        world.tool(
            "client",
            &["http-at", NOWHERE, &format!("http://{authority}/")],
        )
    };
    let port = server(address);
    until("the host is connected to", EFFECT, || {
        let output = ask(&format!("{address}:{port}"));
        match output.stdout.trim() == "200 from the host" {
            true => Ok(()),
            false => Err(output.to_string()),
        }
    });
    let unknown = ask("no-such-host.invalid");
    assert!(unknown.stdout.starts_with("503 "), "{unknown}");
    // Loopback is the pod's own under all of its names.
    let port = server(Ipv4Addr::LOCALHOST);
    for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
        let output = ask(&format!("{host}:{port}"));
        assert!(output.stdout.starts_with("503 "), "{host}: {output}");
    }
    // What is not HTTP goes where it was sent.
    let greeted = world.tool("client", &["tcp", &echo_one(address), "not HTTP"]);
    assert_eq!(greeted.stdout.trim(), "not HTTP, indeed", "{greeted}");
    assert_eq!(world.mesh.get("/productpage").status, 200);
    world.reset();
}
