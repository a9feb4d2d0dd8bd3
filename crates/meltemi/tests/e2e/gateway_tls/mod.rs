//! TLS that a gateway ends, by certificates from Secrets, as `openssl s_client` sees it from outside
//! the mesh.

mod material;

use crate::common::runner::Test;
use crate::common::tools::from_debian;
use crate::common::wait::until;
use crate::tests;
use crate::world::{EFFECT, World};
use material::{Authority, Certificate};
use std::path::PathBuf;

pub const TESTS: &[Test<World>] = tests![a_gateway_ends_tls_as_its_servers_say];

const PORT: u16 = 8443;

/// What the servers have beside host and port.
const SERVERS: [(&str, &str); 7] = [
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

fn gateway() -> String {
    let servers = SERVERS.map(|(name, tls)| {
        format!("  - port: {{number: {PORT}, name: https-{name}, protocol: HTTPS}}\n    hosts: [{name}.test]\n    tls: {tls}\n")
    });
    let hosts = SERVERS.map(|(name, _)| format!("{name}.test"));
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
    let gateway = world.mesh.ip("istio-ingressgateway");
    let script = format!(
        "printf 'GET /headers HTTP/1.1\\r\\nHost: {server}.test\\r\\nConnection: close\\r\\n\\r\\n' \
         | openssl s_client -ign_eof -connect {gateway}:{PORT} -servername {server}.test {more} 2>&1"
    );
    world.mesh.exec("outsider", &["sh", "-c", &script]).stdout
}

fn let_in(said: &str) -> bool {
    said.contains("HTTP/1.1 200 OK")
}

/// A client's certificate in a file of the mesh's.
fn client(world: &World, name: &str, certificate: &Certificate) -> String {
    let path: PathBuf = world.mesh.home.join(format!("client-{name}.pem"));
    certificate.write(&path);
    format!("-cert {}", path.display())
}

fn a_gateway_ends_tls_as_its_servers_say(world: &World) {
    if let Err(reason) = from_debian("openssl", "openssl") {
        println!("skipped: {reason}");
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
            .secret("mutual", &[roots.clone()]),
        servers
            .issue("optional.test")
            .secret("optional", &[roots, list]),
    ];
    let gateway = gateway()
        .replace("HASH", &one.hash)
        .replace("KEY", &one.key_hash);
    world
        .mesh
        .apply_text(&format!("{}{gateway}", secrets.concat()));
    let with_one = client(world, "one", &one);
    let with_other = client(world, "other", &other);
    let with_revoked = client(world, "revoked", &revoked);
    let with_stranger = client(world, "stranger", &stranger);
    until("TLS at the gateway", EFFECT, || {
        match ask(world, "simple", "") {
            said if let_in(&said) => Ok(()),
            said => Err(said),
        }
    });

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
        ("pinned", &with_other, None),
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
            None => assert!(!let_in(&said), "{server} {more}: {said}"),
            Some(part) if part.starts_with("ALPN") => assert!(said.contains(part), "{said}"),
            Some(part) => assert!(
                let_in(&said) && said.contains(part),
                "{server} {more}: {said}"
            ),
        }
    }
    // A name that no server has ends nowhere.
    assert!(!let_in(&ask(world, "nobody", "")));

    // A Secret that changes is shown to the next client.
    let next = servers.issue("renewed.test").secret("simple", &[]);
    world.mesh.apply_text(&next);
    until("the new certificate", EFFECT, || {
        match ask(world, "simple", "") {
            said if let_in(&said) && said.contains("CN = renewed.test") => Ok(()),
            said => Err(said),
        }
    });
    world.reset();
}
