//! Addresses and variables of a mesh without namespaces: every pod has loopback addresses of
//! its own, and is told where it finds the services. Linux answers all of 127.0.0.0/8.
//!
//! | addresses | who listens there |
//! |---|---|
//! | 127.77.0.N | the pod: its sidecar, a gateway, or the application where there is no proxy |
//! | 127.78.0.N | the application, behind its sidecar |
//! | 127.(127+N).C.D | the sidecar, for calls of its own application to the service at A.B.C.D |

use meltemi_capture::Cidr;
use meltemi_config::Objects;
use meltemi_registry::{Port, Protocol, Provider, Range16, Registry, Settings};
use serde_json::{Value, json};
use socket2::{Domain, Protocol as Transport, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The variable that tells an application its address.
pub(crate) const BIND_ADDRESS: &str = "BIND_ADDRESS";
/// Pods of all meshes on a machine: their call ranges end with 127.254.0.0/16.
const SEATS: u8 = 127;
/// A seat is taken by whoever holds this port at its application address: no application
/// wants it, it is the admin API's elsewhere.
const CLAIM_PORT: u16 = 15000;

/// A pod's number N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seat(u8);

impl Seat {
    pub(crate) fn pod(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 77, 0, self.0)
    }

    pub(crate) fn application(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 78, 0, self.0)
    }

    fn calls(self) -> [u8; 2] {
        [127, 127 + self.0]
    }

    /// Where the pod calls the service of that cluster IP.
    pub(crate) fn call(self, cluster_ip: Ipv4Addr) -> Ipv4Addr {
        let [.., third, fourth] = cluster_ip.octets();
        let [first, second] = self.calls();
        Ipv4Addr::new(first, second, third, fourth)
    }

    /// The proxy's node metadata `LOOPBACK`: what the control plane needs to know.
    /// Listeners are bound from `lowest_port` on.
    pub(crate) fn metadata(self, services: Cidr, lowest_port: u16) -> Value {
        let [first, second] = self.calls();
        json!({
            "application": self.application(),
            "services": services.to_string(),
            "clients": format!("{first}.{second}.0.0/16"),
            "lowestPort": lowest_port.to_string(),
        })
    }
}

/// The lowest port that our processes may bind on this machine.
pub(crate) fn lowest_port(rootless: bool) -> u16 {
    if !rootless {
        return 1;
    }
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        // The kernel's default.
        .unwrap_or(1024)
}

/// The seats of a mesh, claimed against other meshes of the machine by sockets, which end with
/// the supervisor however it ends.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    claims: HashMap<Seat, Socket>,
}

impl Seats {
    /// A seat for `key`, the same after a restart unless another has it; `None` when all are
    /// taken.
    pub(crate) fn allocate(&mut self, start: u32) -> Option<Seat> {
        let first = (start % u32::from(SEATS)) as u8;
        (0..SEATS)
            .map(|step| Seat((u16::from(first) + u16::from(step)) as u8 % SEATS + 1))
            .filter(|seat| !self.claims.contains_key(seat))
            .find_map(|seat| Some((seat, claim(seat).ok()?)))
            .map(|(seat, socket)| {
                self.claims.insert(seat, socket);
                seat
            })
    }

    pub(crate) fn release(&mut self, seat: Seat) {
        self.claims.remove(&seat);
    }
}

/// Bound, not listening: enough to keep others away.
fn claim(seat: Seat) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Transport::TCP))?;
    socket.bind(&SocketAddr::from((seat.application(), CLAIM_PORT)).into())?;
    Ok(socket)
}

/// What a pod's applications are told: Kubernetes' variables of the services in its namespace
/// (`REVIEWS_SERVICE_HOST`, `REVIEWS_SERVICE_PORT`, `REVIEWS_SERVICE_PORT_HTTP`), bookinfo's
/// `REVIEWS_HOSTNAME`, the same for other namespaces as `NAME_NAMESPACE`, and where to listen.
pub(crate) fn variables(
    seat: Seat,
    namespace: &str,
    objects: &Objects,
    services: Cidr,
) -> Vec<(String, String)> {
    let mut found = vec![(BIND_ADDRESS.to_owned(), seat.application().to_string())];
    let Ok(range) = services.to_string().parse::<Range16>() else {
        // The settings' check refuses other ranges before a loopback mesh starts.
        return found;
    };
    let settings = Settings {
        service_range: range,
        ..Settings::default()
    };
    // The control plane allocates by the same function of the same objects.
    let registry = Registry::build(objects.iter().map(AsRef::as_ref), &settings);
    let (own, others): (Vec<_>, Vec<_>) = registry
        .services()
        .iter()
        .filter(|service| service.provider == Provider::Kubernetes)
        .partition(|service| service.namespace == namespace);
    let others = others
        .into_iter()
        .map(|service| (service, format!("{}-{}", service.name, service.namespace)));
    // Later ones win.
    let own = own
        .into_iter()
        .map(|service| (service, service.name.clone()));
    for (service, name) in others.chain(own) {
        let cluster_ip = service.ips(false).into_iter().find_map(|ip| match ip {
            IpAddr::V4(ip) if range.contains(ip) => Some(ip),
            _ => None,
        });
        if let Some(ip) = cluster_ip {
            found.extend(of_service(&name, seat.call(ip), &service.ports));
        }
    }
    found
}

fn of_service(name: &str, address: Ipv4Addr, ports: &[Port]) -> Vec<(String, String)> {
    let upper = |text: &str| text.to_ascii_uppercase().replace(['-', '.'], "_");
    let name = upper(name);
    let ports = || ports.iter().filter(|port| port.protocol != Protocol::Udp);
    let host = ["SERVICE_HOST", "HOSTNAME"]
        .map(|suffix| (format!("{name}_{suffix}"), address.to_string()));
    let first = ports()
        .next()
        .map(|port| (format!("{name}_SERVICE_PORT"), port.number.to_string()));
    let named = ports().filter(|port| !port.name.is_empty()).map(|port| {
        let variable = format!("{name}_SERVICE_PORT_{}", upper(&port.name));
        (variable, port.number.to_string())
    });
    host.into_iter().chain(first).chain(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_api::Object;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[test]
    fn no_two_pods_share_an_address() {
        let services: Cidr = "10.99.0.0/16".parse().unwrap();
        let all: Vec<Seat> = (1..=SEATS).map(Seat).collect();
        let service = Ipv4Addr::new(10, 99, 200, 7);
        let mut addresses: Vec<Ipv4Addr> = all
            .iter()
            .flat_map(|seat| [seat.pod(), seat.application(), seat.call(service)])
            .collect();
        assert!(addresses.iter().all(Ipv4Addr::is_loopback));
        assert_eq!(Seat(127).call(service), Ipv4Addr::new(127, 254, 200, 7));
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 3 * all.len());
        assert_eq!(
            Seat(3).metadata(services, 1024),
            json!({"application": "127.78.0.3", "services": "10.99.0.0/16", "clients": "127.130.0.0/16",
                "lowestPort": "1024",})
        );
    }

    #[test]
    fn a_seat_is_kept_from_other_meshes_and_free_afterwards() {
        let (mut one, mut two) = (Seats::default(), Seats::default());
        let first = one.allocate(100).unwrap();
        let second = two.allocate(100).unwrap();
        assert_ne!(first, second);
        one.release(first);
        assert_eq!(two.allocate(u32::from(first.0) - 1), Some(first));
    }

    fn service(name: &str, namespace: &str, ip: &str, ports: Value) -> Arc<Object> {
        let value = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": ports},
        });
        Arc::new(meltemi_api::decode(&value, "default").unwrap())
    }

    #[test]
    fn applications_are_told_where_services_are() {
        let one = json!([{"port": 5432}]);
        let two = json!([{"name": "http-web", "port": 80}, {"name": "admin", "port": 81}]);
        let objects = Objects::new(
            1,
            [
                service("order-book", "default", "10.99.1.2", two),
                service("db", "data", "10.99.3.4", one.clone()),
                service("peers", "default", "None", one.clone()),
                service("far", "default", "10.1.1.1", one),
            ],
        );
        let variables = variables(
            Seat(4),
            "default",
            &objects,
            "10.99.0.0/16".parse().unwrap(),
        );
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        let expected = [
            ("BIND_ADDRESS", "127.78.0.4"),
            ("DB_DATA_HOSTNAME", "127.131.3.4"),
            ("DB_DATA_SERVICE_HOST", "127.131.3.4"),
            ("DB_DATA_SERVICE_PORT", "5432"),
            ("ORDER_BOOK_HOSTNAME", "127.131.1.2"),
            ("ORDER_BOOK_SERVICE_HOST", "127.131.1.2"),
            ("ORDER_BOOK_SERVICE_PORT", "80"),
            ("ORDER_BOOK_SERVICE_PORT_ADMIN", "81"),
            ("ORDER_BOOK_SERVICE_PORT_HTTP_WEB", "80"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables, expected.into());
    }
}
