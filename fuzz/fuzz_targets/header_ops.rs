//! Operations on headers, beside a list of lines on which each is carried out by its words: of a
//! level, removals come first, then additions in their order, each by its action.
//!
//! An input is lines: `t` or `r` begins a level (a table's operations on a request or an answer),
//! `-NAME` removes, `+ACTION NAME VALUE` adds, where the action is `a` (append), `n` (when there is
//! none), `o` (overwrite or add) or `e` (overwrite what there is), in upper case with values that
//! are empty kept; `<NAME VALUE` is a line of the request, `>NAME VALUE` one of the answer.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use meltemi_fuzz::{Words, exchange};
use meltemi_proxy::compile::{self, Cx, Names, pb};
use meltemi_proxy::http::fuzzing::{edit_request, edit_response};
use pb::core::header_value_option::HeaderAppendAction as Action;
use pb::core::{HeaderValue as Pair, HeaderValueOption};
use pb::route::RouteConfiguration;

const MAX_LEVELS: usize = 4;
const MAX_OPERATIONS: usize = 32;
const AUTHORITY: &str = "authority";

#[derive(Default)]
struct Level<'a> {
    answer: bool,
    remove: Vec<&'a str>,
    add: Vec<Addition<'a>>,
}

struct Addition<'a> {
    name: &'a str,
    value: &'a str,
    action: Action,
    keep_empty: bool,
}

fuzz_target!(|input: &[u8]| {
    let mut levels: Vec<Level<'_>> = Vec::new();
    let (mut request, mut answer) = (HeaderMap::new(), HeaderMap::new());
    for words in Words::lines(input) {
        match words.kind {
            't' | 'r' if levels.len() < MAX_LEVELS => levels.push(Level {
                answer: words.kind == 'r',
                ..Level::default()
            }),
            '-' => open(&mut levels)
                .into_iter()
                .for_each(|level| level.remove.push(words.text())),
            '+' => open(&mut levels)
                .into_iter()
                .for_each(|level| level.add.extend(addition(words.text()))),
            '<' => line(&mut request, words.text()),
            '>' => line(&mut answer, words.text()),
            _ => {}
        }
    }
    let mut names = Names::default();
    let mut tables = Vec::new();
    for level in &levels {
        match compile::route_table(level.message(), &mut Cx::new(&mut names)) {
            Ok(table) => tables.push(table),
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    }
    let of = |answer: bool| {
        let levels = levels.iter().zip(&tables);
        levels.filter(move |(level, _)| level.answer == answer)
    };
    let ops: Vec<_> = of(false).map(|(_, table)| &table.request_headers).collect();
    let (authority, headers) = edit_request(
        &ops,
        HeaderValue::from_static(AUTHORITY),
        request.clone(),
        exchange(),
    );
    let mut wanted = Lines::of(&request);
    of(false).for_each(|(level, _)| wanted.apply(level, &None));
    wanted.assert_same(&headers);
    assert_eq!(authority.as_bytes(), wanted.authority.as_bytes());

    let ops: Vec<_> = of(true).map(|(_, table)| &table.response_headers).collect();
    let mut info = exchange();
    info.request.headers = request.clone();
    let headers = edit_response(&ops, answer.clone(), info);
    let mut wanted = Lines::of(&answer);
    let request = Some(Lines::of(&request));
    of(true).for_each(|(level, _)| wanted.apply(level, &request));
    wanted.assert_same(&headers);
});

/// The last level, while it has room.
fn open<'a, 'b>(levels: &'b mut [Level<'a>]) -> Option<&'b mut Level<'a>> {
    let last = levels.last_mut();
    last.filter(|level| level.remove.len() + level.add.len() < MAX_OPERATIONS)
}

fn addition(text: &str) -> Option<Addition<'_>> {
    let mut parts = text.splitn(3, ' ');
    let letter = parts.next()?.chars().next()?;
    Some(Addition {
        action: match letter.to_ascii_lowercase() {
            'a' => Action::AppendIfExistsOrAdd,
            'n' => Action::AddIfAbsent,
            'o' => Action::OverwriteIfExistsOrAdd,
            'e' => Action::OverwriteIfExists,
            _ => return None,
        },
        keep_empty: letter.is_ascii_uppercase(),
        name: parts.next()?,
        value: parts
            .next()
            .filter(|value| plain(value))
            .unwrap_or_default(),
    })
}

/// Whether the oracle knows all operators: a header's first value, and the authority.
fn plain(value: &str) -> bool {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(after) = after.strip_prefix('%') {
            rest = after;
            continue;
        }
        let named = after.strip_prefix("REQ(").or(after.strip_prefix("RESP("));
        let Some((name, after)) = named.and_then(|named| named.split_once(")%")) else {
            return false;
        };
        let known = !name.starts_with(':') || name.eq_ignore_ascii_case(":authority");
        if !known || name.contains(['?', ')']) {
            return false;
        }
        rest = after;
    }
    true
}

fn line(headers: &mut HeaderMap, text: &str) {
    let (name, value) = text.split_once(' ').unwrap_or((text, ""));
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_str(value),
    ) {
        headers.append(name, value);
    }
}

impl Level<'_> {
    fn message(&self) -> RouteConfiguration {
        let remove = self.remove.iter().map(|name| (*name).to_owned()).collect();
        let add = self.add.iter().map(|add| HeaderValueOption {
            header: Some(Pair {
                key: add.name.into(),
                value: add.value.into(),
                ..Pair::default()
            }),
            append_action: add.action.into(),
            keep_empty_value: add.keep_empty,
            ..HeaderValueOption::default()
        });
        let add = add.collect();
        match self.answer {
            false => RouteConfiguration {
                request_headers_to_add: add,
                request_headers_to_remove: remove,
                ..RouteConfiguration::default()
            },
            true => RouteConfiguration {
                response_headers_to_add: add,
                response_headers_to_remove: remove,
                ..RouteConfiguration::default()
            },
        }
    }
}

/// Names in lower case with their values, as they would stand on the wire.
#[derive(Clone)]
struct Lines {
    lines: Vec<(String, String)>,
    authority: String,
}

impl Lines {
    fn of(headers: &HeaderMap) -> Self {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            lines: headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
            authority: AUTHORITY.into(),
        }
    }

    fn first(&self, name: &str) -> Option<&str> {
        let mut lines = self.lines.iter();
        lines
            .find(|(known, _)| *known == name)
            .map(|(_, value)| &**value)
    }

    /// `request`: of the answer that these lines are of.
    fn apply(&mut self, level: &Level<'_>, request: &Option<Self>) {
        for name in &level.remove {
            self.lines
                .retain(|(known, _)| *known != name.to_ascii_lowercase());
        }
        for add in &level.add {
            let name = add.name.to_ascii_lowercase();
            let to_authority = name == ":authority" || name == "host";
            let Some(value) = self.value(add.value, request) else {
                continue;
            };
            if (value.is_empty() && !add.keep_empty) || (to_authority && request.is_some()) {
                continue;
            }
            if to_authority {
                self.authority = value;
                continue;
            }
            let there = self.first(&name).is_some();
            match add.action {
                Action::AddIfAbsent if there => continue,
                Action::OverwriteIfExists if !there => continue,
                Action::OverwriteIfExists | Action::OverwriteIfExistsOrAdd => {
                    self.lines.retain(|(known, _)| *known != name);
                }
                _ => {}
            }
            self.lines.push((name, value));
        }
    }

    /// The text with what its operators stand for; `None`: it is no header's value.
    fn value(&self, text: &str, request: &Option<Self>) -> Option<String> {
        if !text.contains('%') {
            return Some(text.to_owned());
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            // A name may have a percent sign in it.
            let end = match after.starts_with("RE") {
                true => after.find(")%").map(|at| at + 1)?,
                false => after.find('%')?,
            };
            let operator = &after[..end];
            rest = &after[end + 1..];
            if operator.is_empty() {
                out.push('%');
                continue;
            }
            let named = |kind: &str| {
                Some(
                    operator
                        .strip_prefix(kind)?
                        .strip_suffix(')')?
                        .to_ascii_lowercase(),
                )
            };
            let value = match (named("REQ("), named("RESP("), request) {
                (Some(name), _, request) if name == ":authority" && request.is_none() => {
                    Some(&*self.authority)
                }
                (Some(name), _, request) => request.as_ref().unwrap_or(self).first(&name),
                (_, Some(name), Some(_)) => self.first(&name),
                _ => None,
            };
            out.extend(value.into_iter().flat_map(printable));
        }
        out.push_str(rest);
        let value = out.trim_ascii_end().to_owned();
        HeaderValue::from_str(&value).is_ok().then_some(value)
    }

    fn assert_same(&self, headers: &HeaderMap) {
        let mut wanted = self.lines.clone();
        let mut made = Self::of(headers).lines;
        // Lines of one name keep their order; names have none.
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        made.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(made, wanted);
    }
}

/// Control characters of a peer are written out.
fn printable(text: &str) -> Vec<char> {
    let letters = text.chars().flat_map(|letter| match letter.is_control() {
        true => format!("\\x{:02x}", letter as u32).chars().collect(),
        false => vec![letter],
    });
    letters.collect()
}
