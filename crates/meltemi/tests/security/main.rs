//! Bytes that mean harm, sent to our proxy, to Envoy and to haproxy; what became of them is
//! kept in docs/security-cases.md. `UPDATE=1` writes that document, an ordinary run holds the
//! proxies to it: ours always, the others when they are there in the version it tells of.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod advisories;
mod case;
mod cases;
mod document;
mod frames;
mod memory;
mod proxies;
mod service;
mod talk;

use case::Case;
use cases::Group;
use common::runner::{Arguments, Report};
use std::collections::BTreeMap;
use std::time::Instant;
use talk::Verdict;

/// What a case became, by proxy.
pub type Row = BTreeMap<String, String>;

fn main() {
    let arguments = Arguments::of_process();
    let groups = cases::groups();
    if arguments.list {
        for (group, case) in all(&groups) {
            println!("{}::{}: test", group.name, case.name);
        }
        return;
    }
    let mut report = Report::new();
    let dir = tempfile::tempdir().unwrap();
    let (proxies, mut processes): (Vec<_>, Vec<_>) = match proxies::start(dir.path()) {
        Ok(started) => started.into_iter().unzip(),
        Err(reason) => {
            println!("{reason}");
            report.fail("setting up");
            std::process::exit(report.finish());
        }
    };
    let wanted: Vec<(&Group, &Case)> = all(&groups)
        .filter(|(group, case)| arguments.wants(group.name, case.name))
        .collect();
    let update = std::env::var_os("UPDATE").is_some();
    let known = document::read();
    // Each proxy is asked one thing after the other, all of them at the same time.
    let rows: Vec<(String, Vec<Result<Verdict, String>>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = proxies
            .iter()
            .map(|proxy| {
                let wanted = &wanted;
                scope.spawn(move || {
                    let ask = |(_, case): &(&Group, &Case)| {
                        talk::talk(proxy, case).map_err(|error| error.to_string())
                    };
                    (proxy.name.clone(), wanted.iter().map(ask).collect())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut table = BTreeMap::new();
    for (index, (group, case)) in wanted.iter().enumerate() {
        let begun = Instant::now();
        let full = format!("{}::{}", group.name, case.name);
        let mut wrong = Vec::new();
        let mut row = Row::new();
        for (proxy, verdicts) in &rows {
            match &verdicts[index] {
                Ok(verdict) => {
                    wrong.extend((proxy == proxies::OURS).then(|| harm(verdict)).flatten());
                    row.insert(proxy.clone(), verdict.words.clone());
                }
                Err(reason) => wrong.push(format!("{proxy}: {reason}")),
            }
        }
        for (proxy, words) in &row {
            let before = known.get(&full).and_then(|row| row.get(proxy));
            // Where a flood of others ends depends on who is faster.
            let told = before.is_some() && case.counted || proxy == proxies::OURS;
            let same = before.is_some_and(|before| match proxy == proxies::OURS {
                true => before == words,
                false => without_end(before) == without_end(words),
            });
            if !update && told && !same {
                wrong.push(format!("{proxy}: {words}; the document says {before:?}"));
            }
        }
        if wrong.is_empty() {
            report.pass(&full, begun);
        } else {
            println!("{full}:\n  {}", wrong.join("\n  "));
            report.fail(&full);
        }
        table.insert(full, row);
    }
    for (proxy, process) in proxies.iter().zip(&mut processes) {
        if let Some(status) = process.status() {
            println!("{} ended: {status}", proxy.name);
            report.fail("the proxies live");
        }
    }
    if arguments.wants("memory", memory::NAME) {
        memory::stalled_peers(&proxies[0], &mut report);
    }
    advisories::check(&groups, &mut report);
    if update && wanted.len() == all(&groups).count() {
        document::write(
            &groups,
            &table,
            proxies.iter().map(|proxy| proxy.name.as_str()),
        );
    }
    std::process::exit(report.finish());
}

fn all(groups: &[Group]) -> impl Iterator<Item = (&Group, &Case)> {
    groups
        .iter()
        .flat_map(|group| group.cases.iter().map(move |case| (group, case)))
}

/// Envoy takes its time to close.
fn without_end(words: &str) -> Vec<&str> {
    let words = words.split(", ");
    words
        .filter(|word| !["open", "closed"].contains(word))
        .collect()
}

/// What must not happen in any case: that a hidden request is forwarded, or one that leads to
/// what is refused.
fn harm(verdict: &Verdict) -> Option<String> {
    let bad = |line: &&String| {
        let target = line.split(' ').nth(1).unwrap_or_default();
        line.contains("smuggled") || line.starts_with("garbage") || leads_to_admin(target)
    };
    let line = verdict.forwarded.iter().find(bad)?;
    Some(format!("{} forwarded {line:?}", proxies::OURS))
}

/// As a careless service would read it: unescaped, every slash a slash.
fn leads_to_admin(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .replace('\\', "/");
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    segments.first() == Some(&"admin")
}
