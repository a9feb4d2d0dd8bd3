//! What a proxy made of a case, as named values; and where two of them differ.

use super::case::Case;
use super::client::{Answer, Received};
use super::known::{KNOWN, Known};
use super::upstream::Seen;
use std::collections::{BTreeMap, BTreeSet};

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
        let value = masked(&name, value);
        view.entry(format!("{prefix}.{name}"))
            .and_modify(|all| {
                all.push_str(" | ");
                all.push_str(&value);
            })
            .or_insert(value);
    }
}

/// Values that are never the same twice.
fn masked(name: &str, value: &str) -> String {
    let is_uuid = value.len() == 36 && value.bytes().filter(|b| *b == b'-').count() == 4;
    match name {
        "x-request-id" if is_uuid => "<uuid>".into(),
        "x-envoy-upstream-service-time" if value.parse::<u32>().is_ok() => "<milliseconds>".into(),
        // What is left of the route's time when a request is sent again.
        "x-envoy-expected-rq-timeout-ms" => match value.parse::<u32>() {
            Ok(left) => left.next_multiple_of(50).to_string(),
            Err(_) => value.to_owned(),
        },
        _ => value.to_owned(),
    }
}

/// What differs, and which of the known differences were met.
#[derive(Default)]
pub struct Verdict {
    pub unexpected: Vec<String>,
    pub met: BTreeSet<usize>,
}

/// `loose`: aspects that depend on who comes first, in Envoy itself.
pub fn compare(group: &str, case: &Case, envoy: &View, meltemi: &View) -> Verdict {
    let mut verdict = Verdict::default();
    let names: BTreeSet<&String> = envoy.keys().chain(meltemi.keys()).collect();
    for name in names {
        let value = |view: &View| view.get(name).cloned().unwrap_or_else(|| "(none)".into());
        let (theirs, ours) = (value(envoy), value(meltemi));
        if theirs == ours || case.loose.contains(&name.as_str()) {
            continue;
        }
        let known = |known: &Known| {
            known.case == format!("{group}::{}", case.name)
                && known.aspect == name
                && known.envoy == theirs
                && known.meltemi == ours
        };
        match KNOWN.iter().position(known) {
            Some(index) => {
                verdict.met.insert(index);
            }
            None => verdict
                .unexpected
                .push(format!("{name}: Envoy {theirs:?}, Meltemi {ours:?}")),
        }
    }
    verdict
}
