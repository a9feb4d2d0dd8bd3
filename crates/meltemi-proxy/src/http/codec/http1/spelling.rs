//! How header names are written.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

/// The spelling of the names of a received head, kept in its extensions. As in Envoy's
/// `preserve_case`, each name has one: its first.
#[derive(Clone, Debug, Default)]
pub(super) struct Spelling(HeaderMap<Bytes>);

impl Spelling {
    pub fn note(&mut self, name: &HeaderName, spelled: Bytes) {
        if spelled != name.as_str() && !self.0.contains_key(name) {
            // A map that is full leaves names in lower case.
            let _ = self.0.try_insert(name.clone(), spelled);
        }
    }
}

/// How the names of a head to be sent are written: as they came, if that is known, else in
/// lower case or as `Proper-Case-Words`.
#[derive(Clone, Copy, Default)]
pub(super) struct Style<'a> {
    pub kept: Option<&'a Spelling>,
    pub proper: bool,
}

impl Style<'_> {
    pub fn write(&self, name: &HeaderName, out: &mut Vec<u8>) {
        if let Some(spelled) = self.kept.and_then(|kept| kept.0.get(name)) {
            out.extend_from_slice(spelled);
        } else if self.proper {
            let mut starts = true;
            out.extend(name.as_str().bytes().map(|byte| {
                match std::mem::replace(&mut starts, !byte.is_ascii_alphanumeric()) {
                    true => byte.to_ascii_uppercase(),
                    false => byte,
                }
            }));
        } else {
            out.extend_from_slice(name.as_str().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_they_came_or_proper_or_lower() {
        let mut spelling = Spelling::default();
        spelling.note(
            &HeaderName::from_static("x-odd"),
            Bytes::from_static(b"X-oDD"),
        );
        spelling.note(
            &HeaderName::from_static("x-odd"),
            Bytes::from_static(b"X-ODD"),
        );
        let write = |style: Style<'_>, name| {
            let mut out = Vec::new();
            style.write(&HeaderName::from_static(name), &mut out);
            String::from_utf8(out).unwrap()
        };
        let kept = Style {
            kept: Some(&spelling),
            proper: true,
        };
        assert_eq!(write(kept, "x-odd"), "X-oDD");
        assert_eq!(write(kept, "x-other"), "X-Other");
        assert_eq!(write(Style::default(), "x-odd"), "x-odd");
    }
}
