//! From bytes to trees of values.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag, options};

use super::scalar::plain;
use super::split::{Piece, split};
use super::{Content, Entry, MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, Node, Position};

/// A document of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its value.
    pub root: Node,
    /// Its bytes in the stream, without the `---` line before it.
    pub range: Range<usize>,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// The document's bytes in the stream.
    pub range: Range<usize>,
}

/// Reads a stream: its documents in order, each of them or why not. Empty documents are left
/// out. Returns for any bytes.
pub fn parse(bytes: &[u8]) -> Vec<Result<Document, SyntaxError>> {
    let whole = 0..bytes.len();
    let refuse = |at, message: String, remedy: &str| {
        vec![Err(SyntaxError {
            at,
            message,
            remedy: remedy.into(),
            range: whole.clone(),
        })]
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!(
            "the file has {} bytes, more than {MAX_FILE_BYTES}",
            bytes.len()
        );
        return refuse(Position { line: 1, column: 1 }, message, "split it");
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|b| **b == b'\n').count() as u32;
            let message = "the file is not UTF-8 text".to_owned();
            return refuse(Position { line, column: 1 }, message, "save it as UTF-8");
        }
    };
    // A byte order mark is no content; positions stay right because it has no width.
    let bom = if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    split(&text[bom..])
        .into_iter()
        .filter_map(|piece| {
            let range = piece.range.start + bom..piece.range.end + bom;
            match Builder::default().read(&piece) {
                Ok(None) => None,
                Ok(Some(root)) => Some(Ok(Document { root, range })),
                Err(Fault {
                    at,
                    message,
                    remedy,
                }) => Some(Err(SyntaxError {
                    at,
                    message,
                    remedy: remedy.into(),
                    range,
                })),
            }
        })
        .collect()
}

struct Fault {
    at: Position,
    message: String,
    remedy: &'static str,
}

/// A collection that is being read.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
    /// A map's key that waits for its value.
    key: Option<(String, Position)>,
    /// The lines of a map's keys so far.
    seen: HashMap<String, u32>,
}

#[derive(Default)]
struct Builder {
    lines_before: u32,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn read(mut self, piece: &Piece<'_>) -> Result<Option<Node>, Fault> {
        self.lines_before = piece.lines_before;
        let options = options! {
            emit_comments: false,
            block_nesting_limit: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
        };
        for next in Parser::new_from_str_with_options(piece.text, options) {
            let (event, span) = next.map_err(|error| Fault {
                at: self.position(error.marker()),
                message: format!("not valid YAML: {}", error.info()),
                remedy: "check indentation, quotes and brackets here and in the line before",
            })?;
            self.event(event, span)?;
        }
        // `---` followed by nothing, or comments only.
        Ok(self.root.filter(|root| root.content != Content::Null))
    }

    fn position(&self, marker: &Marker) -> Position {
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(marker.col()).unwrap_or(u32::MAX);
        Position {
            line: line.max(1).saturating_add(self.lines_before),
            column: column.saturating_add(1),
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = self.position(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // A key is text as written: `on:` and `0080:` stay what they are.
                let content = match self.awaits_key() {
                    true => Content::Text(text.into_owned()),
                    false => scalar(&text, style, tag.as_deref(), at)?,
                };
                self.leaf(Node { at, content }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.start(at, anchor, Content::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.start(at, anchor, Content::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor) else {
                    return Err(Fault {
                        at,
                        message: "this alias refers to a value that contains it".into(),
                        remedy: "write the value out",
                    });
                };
                let (size, depth) = (size(target), depth(target));
                let mut node = (size <= MAX_NODES - self.nodes).then(|| target.clone());
                self.count(size, at)?;
                if self.open.len() + depth > MAX_DEPTH {
                    return Err(too_deep(at));
                }
                match node.take() {
                    Some(node) => self.place(Node { at, ..node }),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn awaits_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| matches!(open.content, Content::Map(_)) && open.key.is_none())
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(Fault {
                at,
                message: format!("the document has more than {MAX_NODES} values"),
                remedy: "split it, or use fewer aliases",
            });
        }
        Ok(())
    }

    fn leaf(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        self.count(1, node.at)?;
        self.remember(anchor, &node)?;
        self.place(node)
    }

    /// Keeps an anchored value for its aliases; the copy counts, so that nested anchors
    /// cannot multiply.
    fn remember(&mut self, anchor: usize, node: &Node) -> Result<(), Fault> {
        if anchor != 0 {
            self.count(size(node), node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn start(&mut self, at: Position, anchor: usize, content: Content) -> Result<(), Fault> {
        self.count(1, at)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.open.push(Open {
            at,
            anchor,
            content,
            key: None,
            seen: HashMap::new(),
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(mut open) = self.open.pop() else {
            return Ok(());
        };
        if let Content::Map(entries) = &mut open.content {
            merge(entries)?;
        }
        let node = Node {
            at: open.at,
            content: open.content,
        };
        self.remember(open.anchor, &node)?;
        self.place(node)
    }

    /// Puts a complete value where it belongs.
    fn place(&mut self, node: Node) -> Result<(), Fault> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.content, parent.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(entries), Some((key, at))) => entries.push(Entry {
                key,
                at,
                value: node,
            }),
            (Content::Map(_), None) => {
                let key = key_text(&node)?;
                if let Some(first) = parent.seen.insert(key.clone(), node.at.line) {
                    return Err(Fault {
                        at: node.at,
                        message: format!(
                            "the key {key:?} is here for a second time, first in line {first}"
                        ),
                        remedy: "keep one of them",
                    });
                }
                parent.key = Some((key, node.at));
            }
            // Only lists and maps are ever opened.
            _ => {}
        }
        Ok(())
    }
}

const MERGE: &str = "<<";

fn too_deep(at: Position) -> Fault {
    Fault {
        at,
        message: format!("nested deeper than {MAX_DEPTH} levels"),
        remedy: "flatten the document",
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Position,
) -> Result<Content, Fault> {
    match tag {
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None => Ok(Content::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema_tag("str") => Ok(Content::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema() && !tag.is_yaml_core_schema_tag("binary") => {
            Ok(plain(text))
        }
        Some(tag) => Err(Fault {
            at,
            message: format!("the tag {} is not supported", tag.original()),
            remedy: "write the value without a tag",
        }),
    }
}

fn key_text(node: &Node) -> Result<String, Fault> {
    Ok(match &node.content {
        Content::Text(text) => text.clone(),
        Content::Number(number) => number.to_string(),
        Content::Bool(value) => value.to_string(),
        Content::Null => "null".to_owned(),
        Content::List(_) | Content::Map(_) => {
            return Err(Fault {
                at: node.at,
                message: "a key is a list or a map".into(),
                remedy: "keys are text; put braces of templates in quotes",
            });
        }
    })
}

/// `<<: *other`: the entries of the other map, where the key is not there already.
fn merge(entries: &mut Vec<Entry>) -> Result<(), Fault> {
    let Some(index) = entries.iter().position(|e| e.key == MERGE) else {
        return Ok(());
    };
    let merged = entries.remove(index);
    let sources = match merged.value.content {
        Content::List(items) => items,
        _ => vec![merged.value],
    };
    let mut present: HashSet<String> = entries.iter().map(|e| e.key.clone()).collect();
    for source in sources {
        let Content::Map(others) = source.content else {
            return Err(Fault {
                at: merged.at,
                message: "only maps can be merged with <<".into(),
                remedy: "give an alias of a map",
            });
        };
        for other in others {
            if present.insert(other.key.clone()) {
                entries.push(other);
            }
        }
    }
    Ok(())
}

fn size(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(size).sum(),
        Content::Map(entries) => entries.iter().map(|e| size(&e.value)).sum(),
        _ => 0,
    }
}

fn depth(node: &Node) -> usize {
    1 + match &node.content {
        Content::List(items) => items.iter().map(depth).max().unwrap_or(0),
        Content::Map(entries) => entries.iter().map(|e| depth(&e.value)).max().unwrap_or(0),
        _ => 0,
    }
}
