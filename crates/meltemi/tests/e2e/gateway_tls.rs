//! TLS that a gateway ends, by certificates from Secrets, as `openssl s_client` sees it from outside
//! the mesh.

use crate::common::certificates::{Authority, Certificate};
use crate::common::runner::Test;
use crate::common::tools::from_debian;
use crate::common::wait::until;
use crate::tests;
use crate::world::{EFFECT, World};
use std::path::PathBuf;

pub const TESTS: &[Test<World>] = tests![
    a_gateway_ends_tls_as_its_servers_say,
    tls_is_passed_through_by_its_sni,
    sidecars_originate_tls,
];

const PORT: u16 = 8443;

/// What the servers have beside host and port.
const SERVERS: [(&str, &str); 8] = [
    ("simple", "{mode: SIMPLE, credentialName: simple}"),
    ("mutual", "{mode: MUTUAL, credentialName: mutual}"),
    (
        "optional",
        "{mode: OPTIONAL_MUTUAL, credentialName: optional}",
    ),
    (
        "pinned",
        "{mode: MUTUAL, credentialName: mutual, verifyCertificateHash: [HASH], verifyCertificateSpki: ['KEY']}",
    ),
    // Names to have make a certificate a duty, as in Envoy.
    (
        "named",
        "{mode: OPTIONAL_MUTUAL, credentialName: mutual, subjectAltNames: [one.test]}",
    ),
    (
        "new",
        "{mode: SIMPLE, credentialName: simple, minProtocolVersion: TLSV1_3}",
    ),
    (
        "old",
        "{mode: SIMPLE, credentialName: simple, maxProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]}",
    ),
    (
        "curve",
        "{mode: SIMPLE, credentialName: simple, ecdhCurves: [P-384]}",
    ),
];

fn gateway_of(servers: &[(&str, &str)]) -> String {
    let hosts: Vec<_> = servers
        .iter()
        .map(|(name, _)| format!("{name}.test"))
        .collect();
    let servers: Vec<_> = servers.iter().map(|(name, tls)| {
        format!("  - port: {{number: {PORT}, name: https-{name}, protocol: HTTPS}}\n    hosts: [{name}.test]\n    tls: {tls}\n")
    }).collect();
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: tls}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
{}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: tls}}
spec:
  hosts: [{}]
  gateways: [tls]
  http: [{{route: [{{destination: {{host: httpbin, port: {{number: 8000}}}}}}]}}]
",
        servers.concat(),
        hosts.join(", ")
    )
}

/// What openssl says of a connection, and the answer to a request through it.
fn ask(world: &World, server: &str, more: &str) -> String {
    ask_at(world, PORT, server, more)
}

fn ask_at(world: &World, port: u16, server: &str, more: &str) -> String {
    let gateway = world.mesh.ip("istio-ingressgateway");
    let script = format!(
        "printf 'GET /headers HTTP/1.1\\r\\nHost: {server}.test\\r\\nConnection: close\\r\\n\\r\\n' \
         | openssl s_client -ign_eof -connect {gateway}:{port} -servername {server}.test {more} 2>&1"
    );
    world.mesh.exec("outsider", &["sh", "-c", &script]).stdout
}

fn let_in(said: &str) -> bool {
    said.contains("HTTP/1.1 200 OK")
}

/// The handshake failed, or the connection ended before it.
fn kept_out(said: &str) -> bool {
    let told = [
        "alert number",
        "no peer certificate available",
        "reset by peer",
        "errno=104",
    ];
    !let_in(said) && told.iter().any(|told| said.contains(told))
}

/// A client's certificate in a file of the mesh's.
fn client(world: &World, name: &str, certificate: &Certificate) -> String {
    let path: PathBuf = world.mesh.home.join(format!("client-{name}.pem"));
    certificate.write(&path);
    format!("-cert {}", path.display())
}

fn without_openssl() -> bool {
    let found = from_debian("openssl", "openssl");
    if let Err(reason) = &found {
        println!("skipped: {reason}");
    }
    found.is_err()
}

fn becomes(what: &str, mut look: impl FnMut() -> String, wanted: impl Fn(&str) -> bool) {
    until(what, EFFECT, || {
        let said = look();
        if wanted(&said) { Ok(()) } else { Err(said) }
    });
}

fn a_gateway_ends_tls_as_its_servers_say(world: &World) {
    if without_openssl() {
        return;
    }
    world.reset();
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let [one, other, revoked] =
        ["one.test", "other.test", "revoked.test"].map(|n| clients.issue(n));
    let stranger = Authority::new("strangers").issue("stranger.test");
    let roots = ("ca.crt", clients.pem());
    let list = ("ca.crl", clients.revokes(&revoked));
    let secrets = [
        servers.issue("simple.test").secret("simple", &[]),
        servers
            .issue("mutual.test")
            .secret("mutual", std::slice::from_ref(&roots)),
        servers
            .issue("optional.test")
            .secret("optional", &[roots, list]),
    ];
    let gateway = gateway_of(&SERVERS)
        .replace("HASH", &one.hash)
        .replace("KEY", &other.key_hash);
    world
        .mesh
        .apply_text(&format!("{}{gateway}", secrets.concat()));
    let with_one = client(world, "one", &one);
    let with_other = client(world, "other", &other);
    let with_revoked = client(world, "revoked", &revoked);
    let with_stranger = client(world, "stranger", &stranger);
    becomes("TLS at the gateway", || ask(world, "simple", ""), let_in);

    // Who is let in, and what the answer or the handshake has.
    let shown = format!("Hash={}", one.hash);
    for (server, more, wanted) in [
        ("simple", "", Some("CN = simple.test")),
        ("simple", "-alpn h2,http/1.1", Some("ALPN protocol: h2")),
        ("mutual", "", None),
        ("mutual", &with_one, Some(shown.as_str())),
        ("mutual", &with_one, Some("CN = mutual.test")),
        ("mutual", &with_other, Some("HTTP/1.1 200")),
        ("mutual", &with_revoked, Some("HTTP/1.1 200")),
        ("mutual", &with_stranger, None),
        ("optional", "", Some("CN = optional.test")),
        ("optional", &with_one, Some(shown.as_str())),
        ("optional", &with_revoked, None),
        ("optional", &with_stranger, None),
        ("pinned", &with_one, Some(shown.as_str())),
        ("pinned", &with_other, Some("HTTP/1.1 200")),
        ("pinned", &with_revoked, None),
        ("named", &with_one, Some(shown.as_str())),
        ("named", &with_other, None),
        ("named", "", None),
        ("pinned", "", None),
        ("new", "", Some("TLSv1.3")),
        ("new", "-tls1_2", None),
        (
            "old",
            "",
            Some("TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"),
        ),
        ("old", "-tls1_3", None),
        ("old", "-cipher ECDHE-ECDSA-AES128-GCM-SHA256", None),
        ("curve", "-groups P-256:P-384", Some("secp384r1, 384 bits")),
        ("curve", "-groups P-256", None),
    ] {
        let said = ask(world, server, more);
        match wanted {
            None => assert!(kept_out(&said), "{server} {more}: {said}"),
            Some(part) if part.starts_with("ALPN") => assert!(said.contains(part), "{said}"),
            Some(part) => assert!(
                let_in(&said) && said.contains(part),
                "{server} {more}: {said}"
            ),
        }
    }
    // A name that no server has ends nowhere.
    assert!(kept_out(&ask(world, "nobody", "")));

    // A Secret that changes is shown to the next client.
    let next = servers.issue("renewed.test").secret("simple", &[]);
    world.mesh.apply_text(&next);
    becomes(
        "the new certificate",
        || ask(world, "simple", ""),
        |said| let_in(said) && said.contains("CN = renewed.test"),
    );
    world.reset();
}

/// A server that wants clients' certificates, and one that does not.
fn two_servers(world: &World, clients: &Authority) -> Authority {
    let servers = Authority::new("servers");
    let roots = ("ca.crt", clients.pem());
    let secrets = [
        servers.issue("simple.test").secret("simple", &[]),
        servers.issue("mutual.test").secret("mutual", &[roots]),
    ];
    let gateway = gateway_of(&SERVERS[..2]);
    world
        .mesh
        .apply_text(&format!("{}{gateway}", secrets.concat()));
    servers
}

/// The servers themselves, as somebody's outside the mesh, at `port` by `protocol`.
fn servers_outside(world: &World, name: &str, port: u16, protocol: &str) -> String {
    let gateway = world.mesh.ip("istio-ingressgateway");
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside-{name}}}
spec:
  hosts: [{name}.test]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: {port}, name: outside, protocol: {protocol}, targetPort: {PORT}}}]
  endpoints: [{{address: {gateway}}}]
"
    )
}

fn tls_is_passed_through_by_its_sni(world: &World) {
    const PASSED: u16 = 9443;
    if without_openssl() {
        return;
    }
    world.reset();
    let clients = Authority::new("clients");
    two_servers(world, &clients);
    let passing = format!(
        "{}---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: passing}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {PASSED}, name: tls, protocol: TLS}}
    hosts: [mutual.test]
    tls: {{mode: PASSTHROUGH}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: passing}}
spec:
  hosts: [mutual.test]
  gateways: [passing]
  tls:
  - match: [{{port: {PASSED}, sniHosts: [mutual.test]}}]
    route: [{{destination: {{host: mutual.test, port: {{number: 443}}}}}}]
",
        servers_outside(world, "mutual", 443, "TLS")
    );
    world.mesh.apply_text(&passing);
    let one = clients.issue("one.test");
    let with_one = client(world, "one", &one);
    let shown = format!("Hash={}", one.hash);
    becomes(
        "TLS through the gateway",
        || ask_at(world, PASSED, "mutual", &with_one),
        |said| let_in(said) && said.contains("CN = mutual.test") && said.contains(&shown),
    );
    assert!(kept_out(&ask_at(world, PASSED, "mutual", "")));
    assert!(kept_out(&ask_at(world, PASSED, "simple", "")));
    world.reset();
}

fn sidecars_originate_tls(world: &World) {
    world.reset();
    let clients = Authority::new("clients");
    let servers = two_servers(world, &clients);
    let (one, home) = (clients.issue("one.test"), &world.mesh.home);
    one.write(&home.join("client-one.pem"));
    std::fs::write(home.join("servers.pem"), servers.pem()).unwrap();
    let home = home.display();
    let rule = |name: &str, tls: &str| {
        let entry = servers_outside(world, name, 80, "HTTP");
        let tls = tls.replace("HOME", &home.to_string());
        format!(
            "{entry}---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: outside-{name}}}
spec: {{host: {name}.test, trafficPolicy: {{tls: {tls}}}}}
"
        )
    };
    let ask = |name: &str| {
        let url = format!("http://{name}.test/headers");
        world.tool("client", &["http", &url]).stdout
    };
    let mutual = "{mode: MUTUAL, caCertificates: HOME/servers.pem, clientCertificate: HOME/client-one.pem, privateKey: HOME/client-one.pem}";
    let simple = "{mode: SIMPLE, caCertificates: HOME/servers.pem, sni: simple.test, subjectAltNames: [NAME]}";
    let (good, bad) = (
        simple.replace("NAME", "simple.test"),
        simple.replace("NAME", "other.test"),
    );
    world
        .mesh
        .apply_text(&(rule("simple", &good) + &rule("mutual", mutual)));
    let shown = format!("Hash={}", one.hash);
    becomes(
        "TLS with a certificate",
        || ask("mutual"),
        |said| said.starts_with("200 ") && said.contains(&shown),
    );
    becomes("TLS", || ask("simple"), |said| said.starts_with("200 "));
    // A server with another name, and one of another authority, get no request.
    let other_roots = simple
        .replace("NAME", "simple.test")
        .replace("servers.pem", "client-one.pem");
    for tls in [bad, other_roots] {
        world.mesh.apply_text(&rule("simple", &tls));
        becomes(
            "a server that is not trusted",
            || ask("simple"),
            |said| said.starts_with("503 ") && said.contains("upstream connect error"),
        );
    }
    world.reset();
}
