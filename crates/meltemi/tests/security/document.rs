//! docs/security-cases.md.

use super::Row;
use super::advisories;
use super::cases::Group;
use super::proxies::OURS;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const HEAD: &str = "# Security cases

What a proxy makes of bytes that mean harm: ours beside Envoy and haproxy, with the same policy (`/admin` is
refused with 403, every phase may last a second, idleness two). `forwarded` is what the service behind the proxy received; `closed`
and `open` are what became of the connection. `cargo test -p meltemi --test security` sends every case and holds our proxy
to its column, and the others to theirs (but for floods, which end by who is faster) where they are installed in the
versions named; `UPDATE=1` writes this page.

In every case, whatever its row says, our proxy must not forward the request that is hidden in another one, nor one that
leads to `/admin` once it is unescaped and its dots are resolved. Memory held by stalled peers is measured, too.
";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security-cases.md")
}

/// The rows of the document, by `group::case`.
pub fn read() -> BTreeMap<String, Row> {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    let (mut rows, mut columns, mut group) = (BTreeMap::new(), Vec::new(), String::new());
    for line in text.lines() {
        if let Some((_, name)) = line
            .strip_prefix("## ")
            .and_then(|title| title.rsplit_once(" (`"))
        {
            group = name.trim_end_matches("`)").to_owned();
            continue;
        }
        let Some(line) = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_suffix(" |"))
        else {
            continue;
        };
        let cells: Vec<String> = line.split(" | ").map(str::to_owned).collect();
        if cells[0] == "case" {
            columns = cells;
        } else if cells[0] != "---" && !group.is_empty() {
            let row = columns.iter().cloned().zip(cells.clone()).skip(1).collect();
            rows.insert(format!("{group}::{}", cells[0]), row);
        }
    }
    rows
}

pub fn write<'a>(
    groups: &[Group],
    rows: &BTreeMap<String, Row>,
    proxies: impl Iterator<Item = &'a str>,
) {
    let proxies: Vec<&str> = proxies.collect();
    let mut out = HEAD.to_owned();
    for group in groups {
        let _ = write!(out, "\n## {} (`{}`)\n\n| case |", group.title, group.name);
        proxies
            .iter()
            .for_each(|name| out.push_str(&format!(" {name} |")));
        out.push_str("\n| --- |");
        proxies.iter().for_each(|_| out.push_str(" --- |"));
        out.push('\n');
        for case in &group.cases {
            let row = &rows[&format!("{}::{}", group.name, case.name)];
            let _ = write!(out, "| {} |", case.name);
            for name in &proxies {
                let _ = write!(out, " {} |", row.get(*name).map_or("", String::as_str));
            }
            out.push('\n');
        }
    }
    out.push_str(&advisories::table());
    debug_assert!(proxies.contains(&OURS));
    std::fs::write(path(), out).unwrap();
}
