//! Access logs as Istio's format writes them.

use super::question::Question;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The parts of a line, in order.
const PARTS: &[&str] = &[
    "start",
    "request",
    "code",
    "flags",
    "details",
    "termination",
    "failure",
    "received",
    "sent",
    "duration",
    "service-time",
    "forwarded-for",
    "agent",
    "request-id",
    "authority",
    "upstream",
    "cluster",
    "upstream-local",
    "local",
    "remote",
    "server-name",
    "route",
];

/// What Istio binds the connections to a workload's own application to.
const BOUND: &str = "127.0.0.6";
/// The services send less, in bytes, but for a certificate.
const HANDSHAKE: u64 = 1000;

pub type Line = BTreeMap<&'static str, String>;

/// The lines of each question, by its number; lines that belong to none are not of it.
pub fn by_question(text: &str) -> BTreeMap<usize, Vec<Line>> {
    let mut all: BTreeMap<usize, Vec<Line>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('[')) {
        let line = parse(line);
        if let Some(index) = question(&line) {
            all.entry(index).or_default().push(masked(line));
        }
    }
    all
}

fn parse(text: &str) -> Line {
    let mut words = Vec::new();
    let mut rest = text.trim_end();
    while !rest.is_empty() {
        let end = match rest.as_bytes()[0] {
            b'"' => rest[1..].find("\" ").map(|at| at + 2),
            b'[' => rest.find("] ").map(|at| at + 1),
            _ => rest.find(' '),
        };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word.to_owned());
        rest = after.trim_start_matches(' ');
    }
    match words.len() == PARTS.len() {
        true => PARTS.iter().copied().zip(words).collect(),
        false => Line::from([("line", text.to_owned())]),
    }
}

fn question(line: &Line) -> Option<usize> {
    let agent = line.get("agent").or(line.get("line"))?;
    if let Some((_, rest)) = agent.split_once("captured/") {
        return rest.split('.').next()?.parse().ok();
    }
    let address: Ipv4Addr = line.get("remote")?.split(':').next()?.parse().ok()?;
    let index = u32::from(address).checked_sub(u32::from(Question::source(0)))?;
    usize::try_from(index).ok()
}

/// Without what is never the same twice.
fn masked(mut line: Line) -> Line {
    for name in ["start", "duration", "service-time"] {
        if let Some(value) = line.get_mut(name).filter(|value| *value != "-") {
            *value = "<time>".into();
        }
    }
    if let Some(id) = line.get_mut("request-id").filter(|id| id.len() == 38) {
        *id = "<uuid>".into();
    }
    for name in ["upstream-local", "remote"] {
        if let Some(address) = line.get_mut(name)
            && let Some((ip, _)) = address.rsplit_once(':')
        {
            // Routed over loopback, a connection comes from the address that it goes to.
            *address = match name == "upstream-local" && !ip.starts_with(BOUND) {
                true => "<any>".into(),
                false => format!("{ip}:<port>"),
            };
        }
    }
    // A service's handshake, whose signatures differ in length.
    let handshake = |sent: &&mut String| sent.parse().is_ok_and(|sent: u64| sent > HANDSHAKE);
    if let Some(sent) = line.get_mut("sent").filter(handshake) {
        *sent = "<handshake>".into();
    }
    line
}
