//! From RE2's syntax to the `regex` crate's.

use crate::Error;
use crate::escape::Escape;

/// RE2's bound on a repetition.
const MAX_COUNT: u32 = 1000;

/// Reads an expression and writes the one that means the same to the `regex` crate. Parentheses
/// are balanced afterwards; what repeats nothing is left to the crate to refuse.
pub fn translate(expression: &str) -> Result<String, Error> {
    let mut translation = Translation {
        rest: expression,
        out: String::with_capacity(expression.len() + 16),
    };
    translation.all()?;
    Ok(translation.out)
}

pub struct Translation<'a> {
    pub rest: &'a str,
    pub out: String,
}

impl<'a> Translation<'a> {
    fn all(&mut self) -> Result<(), Error> {
        let mut depth = 0_usize;
        let mut repeated = false;
        while let Some(next) = self.next() {
            let repeats = match next {
                '*' | '+' | '?' => Some(next.to_string()),
                '{' => self.count()?,
                _ => None,
            };
            if let Some(operator) = repeats {
                if repeated {
                    return Err(Error(format!("`{operator}` repeats a repetition")));
                }
                self.out.push_str(&operator);
                if self.eat("?") {
                    self.out.push('?');
                }
                repeated = true;
                continue;
            }
            repeated = false;
            match next {
                '\\' => self.escaped()?,
                '[' => self.class()?,
                '(' => {
                    let opened = self.group()?;
                    depth += usize::from(opened);
                }
                ')' => {
                    depth = depth
                        .checked_sub(1)
                        .ok_or_else(|| Error::new("`)` without its `(`"))?;
                    self.out.push(')');
                }
                '.' | '^' | '$' | '|' => self.out.push(next),
                literal => self.literal(literal),
            }
        }
        match depth {
            0 => Ok(()),
            _ => Err(Error::new("`(` without its `)`")),
        }
    }

    pub fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        Some(next)
    }

    pub fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// What comes before `end`, which is eaten too.
    pub fn until(&mut self, end: &str) -> Option<&'a str> {
        let (text, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(text)
    }

    /// Writes a character that stands for itself, within a class or not.
    pub fn literal(&mut self, literal: char) {
        if literal.is_ascii_alphanumeric() || !literal.is_ascii() {
            self.out.push(literal);
        } else {
            self.out.push_str(&format!(r"\x{:02X}", literal as u32));
        }
    }

    /// A repetition behind `{`; `None`: the brace stands for itself.
    fn count(&mut self) -> Result<Option<String>, Error> {
        let Some((text, rest)) = self.rest.split_once('}') else {
            return Ok(None);
        };
        let (low, high) = text.split_once(',').unwrap_or((text, text));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if low.is_empty() || !digits(low) || !digits(high) {
            return Ok(None);
        }
        let number = |text: &str| text.parse().ok().filter(|count: &u32| *count <= MAX_COUNT);
        let most = if high.is_empty() { low } else { high };
        match (number(low), number(most)) {
            (Some(low), Some(most)) if low <= most => {
                self.rest = rest;
                Ok(Some(format!("{{{text}}}")))
            }
            _ => Err(Error(format!(
                "`{{{text}}}` is no repetition of at most {MAX_COUNT} times"
            ))),
        }
    }

    /// Behind `(`; whether it opens a group, which flags for the rest of one do not.
    fn group(&mut self) -> Result<bool, Error> {
        if !self.eat("?") {
            self.out.push('(');
            return Ok(true);
        }
        for around in ["=", "!", "<=", "<!"] {
            if self.rest.starts_with(around) {
                return Err(Error(format!("look-around, as `(?{around}`, is not RE2's")));
            }
        }
        if self.eat("P<") || self.eat("<") {
            let name = self.until(">").unwrap_or_default();
            let word = |character: char| character.is_alphanumeric() || character == '_';
            if name.is_empty() || !name.chars().all(word) {
                return Err(Error::new(
                    "a group's name has letters and digits, and ends with `>`",
                ));
            }
            // Groups are referred to by their numbers.
            self.out.push('(');
            return Ok(true);
        }
        let flags = self.rest.trim_start_matches(['i', 'm', 's', 'U', '-']);
        let (known, end) = self.rest.split_at(self.rest.len() - flags.len());
        let Some(end @ (':' | ')')) = end.chars().next() else {
            return Err(Error::new(
                "behind `(?` come flags (i, m, s, U), or a group's name (P<name>)",
            ));
        };
        self.rest = &self.rest[known.len() + 1..];
        // `(?)` has no flags.
        if !known.is_empty() || end == ':' {
            self.out.push_str(&format!("(?{known}{end}"));
        }
        Ok(end == ':')
    }

    /// Behind a backslash that is not in a class.
    fn escaped(&mut self) -> Result<(), Error> {
        if self.eat("Q") {
            let text = self.until(r"\E");
            let text = text.unwrap_or_else(|| std::mem::take(&mut self.rest));
            text.chars().for_each(|literal| self.literal(literal));
            return Ok(());
        }
        for (known, written) in [
            ("A", r"\A"),
            ("z", r"\z"),
            ("b", r"(?-u:\b)"),
            ("B", r"(?-u:\B)"),
        ] {
            if self.eat(known) {
                self.out.push_str(written);
                return Ok(());
            }
        }
        match self.escape()? {
            Escape::Character(literal) => self.literal(literal),
            Escape::Set { items, negated } => {
                let sign = if negated { "^" } else { "" };
                self.out.push_str(&format!("[{sign}{items}]"));
            }
            Escape::Property(property) => self.out.push_str(&property),
        }
        Ok(())
    }
}
