//! Cutting a stream at its document markers.
//!
//! `---` in column 0 starts a document wherever it stands, also within a block scalar or a
//! quoted text (YAML 1.2, 9.1.2), so lines decide alone.

/// A piece of a stream that holds at most one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The text after the marker's line (or from the marker, when text follows it).
    pub text: &'a str,
    /// Lines before it in the stream.
    pub lines_before: u32,
    /// Byte range in the stream, without the marker's line.
    pub range: std::ops::Range<usize>,
}

/// Cuts `text`; the pieces cover it apart from bare marker lines.
pub(super) fn split(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut start_line = 0;
    let mut at = 0;
    let mut push = |range: std::ops::Range<usize>, lines_before: u32| {
        pieces.push(Piece {
            text: &text[range.clone()],
            lines_before,
            range,
        });
    };
    for (line, content) in (0u32..).zip(text.split_inclusive('\n')) {
        let next = at + content.len();
        if let Some(rest) = marker(content) {
            push(start..at, start_line);
            let bare = rest.is_empty() || rest.starts_with('#');
            (start, start_line) = if bare { (next, line + 1) } else { (at, line) };
        }
        at = next;
    }
    push(start..at, start_line);
    pieces
}

/// What follows `---` or `...` on a marker line.
fn marker(line: &str) -> Option<&str> {
    let line = line.trim_end_matches(['\n', '\r']);
    let rest = line
        .strip_prefix("---")
        .or_else(|| line.strip_prefix("..."))?;
    if rest.is_empty() || rest.starts_with([' ', '\t']) {
        Some(rest.trim())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_marker_lines_only() {
        let text = "# head\na: 1\n---\nb: |\n  ---\n  x\n--- # tail\nc: ---\n---\n";
        let pieces = split(text);
        let texts: Vec<_> = pieces.iter().map(|p| (p.text, p.lines_before)).collect();
        assert_eq!(
            texts,
            [
                ("# head\na: 1\n", 0),
                ("b: |\n  ---\n  x\n", 3),
                ("c: ---\n", 7),
                ("", 9)
            ]
        );
        for piece in &pieces {
            assert_eq!(&text[piece.range.clone()], piece.text);
        }
    }

    #[test]
    fn keeps_content_on_the_marker_line() {
        let pieces = split("a: 1\n--- {b: 2}\n");
        assert_eq!(pieces[1].text, "--- {b: 2}\n");
    }
}
