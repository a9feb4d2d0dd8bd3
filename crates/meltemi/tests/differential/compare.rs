//! What a proxy made of a case, as named values; and where two of them differ.

use super::case::Case;
use super::client::{Answer, Received};
use super::known::{self, Refusal};
use super::upstream::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// Aspect by name: `answer.status`, `answer.header.location`, `log.flags`, `seen.header.x`.
pub type View = BTreeMap<String, String>;

pub fn view(received: &Received, log: &[BTreeMap<&'static str, String>], seen: &[Seen]) -> View {
    let mut view = View::new();
    view.insert("answers".into(), received.answers.len().to_string());
    view.insert("end".into(), received.end.clone());
    for (index, answer) in received.answers.iter().enumerate() {
        show_answer(&mut view, &numbered("answer", index), answer);
    }
    view.insert("log.lines".into(), log.len().to_string());
    for (index, line) in log.iter().enumerate() {
        for (name, value) in line {
            view.insert(format!("{}.{name}", numbered("log", index)), value.clone());
        }
    }
    view.insert("seen".into(), seen.len().to_string());
    for (index, seen) in seen.iter().enumerate() {
        show_seen(&mut view, &numbered("seen", index), seen);
    }
    view
}

/// `answer`, `answer#2`, ...
fn numbered(what: &str, index: usize) -> String {
    match index {
        0 => what.to_owned(),
        _ => format!("{what}#{}", index + 1),
    }
}

fn show_answer(view: &mut View, prefix: &str, answer: &Answer) {
    view.insert(format!("{prefix}.status"), answer.status.to_string());
    view.insert(
        format!("{prefix}.body"),
        String::from_utf8_lossy(&answer.body).into_owned(),
    );
    if !answer.interim.is_empty() {
        view.insert(format!("{prefix}.interim"), format!("{:?}", answer.interim));
    }
    show_headers(view, &format!("{prefix}.header"), &answer.headers);
    show_headers(view, &format!("{prefix}.trailer"), &answer.trailers);
}

fn show_seen(view: &mut View, prefix: &str, seen: &Seen) {
    view.insert(format!("{prefix}.by"), seen.upstream.to_owned());
    view.insert(
        format!("{prefix}.line"),
        format!("{} {}", seen.method, seen.target),
    );
    view.insert(
        format!("{prefix}.body"),
        String::from_utf8_lossy(&seen.body).into_owned(),
    );
    show_headers(view, &format!("{prefix}.header"), &seen.headers);
}

/// Values of one name are kept in order; the order of names means nothing (RFC 9110, 5.3).
fn show_headers(view: &mut View, prefix: &str, headers: &[(String, String)]) {
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name == "date" {
            continue;
        }
        // The whole list, for a client on loopback: Envoy puts the machine's own address in.
        let value = match name == "x-forwarded-for" {
            true => own_address_as_loopback(value),
            false => value.clone(),
        };
        let value = match prefix.starts_with("seen#") && name == "x-envoy-expected-rq-timeout-ms" {
            // Envoy subtracts what earlier attempts took.
            true => "<what is left>".into(),
            false => masked(&name, &value),
        };
        view.entry(format!("{prefix}.{name}"))
            .and_modify(|all| {
                all.push_str(" | ");
                all.push_str(&value);
            })
            .or_insert(value);
    }
}

fn own_address_as_loopback(list: &str) -> String {
    static OWN: LazyLock<Vec<String>> = LazyLock::new(|| {
        let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
        let address = |interface: nix::ifaddrs::InterfaceAddress| {
            Some(interface.address?.as_sockaddr_in()?.ip().to_string())
        };
        interfaces.filter_map(address).collect()
    });
    let one = |address: &str| match OWN.iter().any(|own| own == address.trim()) {
        true => address.replace(address.trim(), "127.0.0.1"),
        false => address.to_owned(),
    };
    list.split(',').map(one).collect::<Vec<_>>().join(",")
}

/// Values that are never the same twice.
fn masked(name: &str, value: &str) -> String {
    let is_uuid = value.len() == 36 && value.bytes().filter(|b| *b == b'-').count() == 4;
    match name {
        // What is known of it is whether the request is traced.
        "x-request-id" if is_uuid => format!("<uuid {}>", &value[14..15]),
        "traceparent" | "b3" | "x-b3-traceid" | "x-b3-spanid" | "x-b3-parentspanid" => {
            let ids = value.split('-').map(trace_id);
            ids.collect::<Vec<_>>().join("-")
        }
        "x-envoy-upstream-service-time" if value.parse::<u32>().is_ok() => "<milliseconds>".into(),
        _ => value.to_owned(),
    }
}

/// An identifier that a case gave is one; others are the proxy's.
fn trace_id(part: &str) -> String {
    let is_id = matches!(part.len(), 16 | 32) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let given = super::cases::TRACE_IDS
        .iter()
        .any(|given| part.ends_with(given));
    match is_id && !given {
        true => format!("<{} digits>", part.len()),
        false => part.to_owned(),
    }
}

const STATUS: &str = "answer.status";
const LINES: &str = "log.lines";

/// What differs, and which of the known differences were met.
#[derive(Default)]
pub struct Verdict {
    pub unexpected: Vec<String>,
    /// `case: what was known`.
    pub met: BTreeSet<String>,
}

/// Aspects that differ: their names, Envoy's values, ours.
pub fn differences<'a>(envoy: &'a View, meltemi: &'a View) -> Vec<(&'a str, &'a str, &'a str)> {
    let mut names: BTreeSet<&str> = envoy
        .keys()
        .chain(meltemi.keys())
        .map(String::as_str)
        .collect();
    if value(envoy, STATUS) != value(meltemi, STATUS) {
        // Everything else follows from it.
        names.retain(|name| [STATUS, "log.details", "seen"].contains(name));
    }
    if value(envoy, LINES) != value(meltemi, LINES) {
        names.retain(|name| !name.starts_with("log") || [LINES, "log.details"].contains(name));
    }
    let both = |name| (name, value(envoy, name), value(meltemi, name));
    let all = names.into_iter().map(both);
    all.filter(|(_, theirs, ours)| theirs != ours).collect()
}

/// `loose` aspects depend on who comes first, in Envoy itself.
pub fn compare(group: &str, case: &Case, envoy: &View, meltemi: &View) -> Verdict {
    let full = format!("{group}::{}", case.name);
    if let Some(refusal) = known::REFUSALS
        .iter()
        .find(|known| known.cases.contains(&full.as_str()))
    {
        return refused(&full, refusal, envoy, meltemi);
    }
    let mut verdict = Verdict::default();
    for (name, theirs, ours) in differences(envoy, meltemi) {
        if case.loose.contains(&name) {
            continue;
        }
        let known = known::VALUES.iter().find(|known| {
            known.cases.contains(&full.as_str())
                && known.aspect == name
                && known.envoy == theirs
                && known.meltemi == ours
        });
        match known {
            Some(known) => {
                verdict.met.insert(entry(&full, known.aspect));
            }
            None => verdict
                .unexpected
                .push(format!("{name}: Envoy {theirs:?}, Meltemi {ours:?}")),
        }
    }
    verdict
}

/// Every case of a table's entry, as [`Verdict::met`] has it.
pub fn all_known() -> impl Iterator<Item = String> {
    let refusals = known::REFUSALS
        .iter()
        .flat_map(|known| known.cases.iter().map(|case| entry(case, "refusal")));
    let values = known::VALUES
        .iter()
        .flat_map(|known| known.cases.iter().map(|case| entry(case, known.aspect)));
    refusals.chain(values)
}

fn entry(case: &str, what: &str) -> String {
    format!("{case}: {what}")
}

/// A request that at least we refuse: with these words, and without telling a service of it.
fn refused(case: &str, known: &Refusal, envoy: &View, meltemi: &View) -> Verdict {
    let words = |view: &View| {
        (
            value(view, STATUS).to_owned(),
            value(view, "log.details").to_owned(),
        )
    };
    let wanted = |(status, details): (&str, &str)| (status.to_owned(), details.to_owned());
    let mut verdict = Verdict::default();
    for (who, found, wanted) in [
        ("Envoy", words(envoy), wanted(known.envoy)),
        ("Meltemi", words(meltemi), wanted(known.meltemi)),
    ] {
        if found != wanted {
            verdict
                .unexpected
                .push(format!("{who} refuses with {found:?}, not {wanted:?}"));
        }
    }
    if value(meltemi, "seen") != "0" {
        verdict
            .unexpected
            .push("Meltemi refuses, yet a service was told".into());
    }
    if verdict.unexpected.is_empty() {
        verdict.met.insert(entry(case, "refusal"));
    }
    verdict
}

fn value<'a>(view: &'a View, name: &str) -> &'a str {
    view.get(name).map_or("(none)", String::as_str)
}
