//! The syntax of CEL expressions (Common Expression Language): whether a text is one. What its
//! names mean is for those who evaluate it.

use std::fmt;

/// Where an expression stops being one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// Character, from 1.
    column: usize,
    expected: &'static str,
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at character {}, {} is expected",
            self.column, self.expected
        )
    }
}

/// Deepest nesting; CEL demands 12 of an implementation.
const MAX_DEPTH: usize = 100;

/// Binary operators, longest first. Their precedence does not change what is an expression.
const OPERATORS: [&str; 13] = [
    "||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%",
];
/// Names that cannot be identifiers; `in` is an operator, and the others are literals.
const RESERVED: [&str; 4] = ["in", "true", "false", "null"];

/// Whether `text` is an expression.
pub(crate) fn check(text: &str) -> Result<(), Syntax> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    parser.expression()?;
    parser.blanks();
    if parser.rest().is_empty() {
        Ok(())
    } else {
        parser.expected("an operator or the end")
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte of the next character.
    at: usize,
    depth: usize,
}

type Parsed = Result<(), Syntax>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn expected(&self, expected: &'static str) -> Parsed {
        Err(Syntax {
            column: self.text[..self.at].chars().count() + 1,
            expected,
        })
    }

    /// Skips blanks and comments.
    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn accept(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn require(&mut self, token: &str, expected: &'static str) -> Parsed {
        if self.accept(token) {
            Ok(())
        } else {
            self.expected(expected)
        }
    }

    /// The identifier that comes next.
    fn peek_word(&mut self) -> &'a str {
        self.blanks();
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return "";
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    }

    fn identifier(&mut self) -> Parsed {
        let word = self.peek_word();
        if word.is_empty() || RESERVED.contains(&word) {
            return self.expected("a name");
        }
        self.at += word.len();
        Ok(())
    }

    /// `a ? b : c`, and everything that binds closer.
    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.expected("an expression that is nested less deeply");
        }
        self.operands()?;
        if self.accept("?") {
            self.operands()?;
            self.require(":", "':'")?;
            self.expression()?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn operands(&mut self) -> Parsed {
        loop {
            self.operand()?;
            if self.peek_word() == "in" {
                self.at += "in".len();
            } else if !OPERATORS.iter().any(|operator| self.accept(operator)) {
                return Ok(());
            }
        }
    }

    fn operand(&mut self) -> Parsed {
        while self.accept("!") || self.accept("-") {}
        self.primary()?;
        loop {
            if self.accept(".") {
                self.accept("?");
                self.identifier()?;
                if self.accept("(") {
                    self.list(")", "')'")?;
                }
            } else if self.accept("[") {
                self.accept("?");
                self.expression()?;
                self.require("]", "']'")?;
            } else if self.accept("{") {
                self.fields()?;
            } else {
                return Ok(());
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        if self.accept("(") {
            self.expression()?;
            return self.require(")", "')'");
        }
        if self.accept("[") {
            return self.list("]", "']'");
        }
        if self.accept("{") {
            return self.fields();
        }
        if let Some(quote) = self.quote() {
            return self.string(quote);
        }
        if self
            .rest()
            .trim_start_matches('.')
            .starts_with(|c: char| c.is_ascii_digit())
        {
            return self.number();
        }
        if ["true", "false", "null"].contains(&self.peek_word()) {
            self.at += self.peek_word().len();
            return Ok(());
        }
        self.accept(".");
        if self.identifier().is_err() {
            return self.expected("a value");
        }
        if self.accept("(") {
            return self.list(")", "')'");
        }
        Ok(())
    }

    /// Expressions between commas, up to `end`; a comma may stand after the last one.
    fn list(&mut self, end: &str, expected: &'static str) -> Parsed {
        while !self.accept(end) {
            self.accept("?");
            self.expression()?;
            if !self.accept(",") {
                return self.require(end, expected);
            }
        }
        Ok(())
    }

    /// Pairs of a map or fields of a message, up to `}`.
    fn fields(&mut self) -> Parsed {
        while !self.accept("}") {
            self.accept("?");
            self.expression()?;
            self.require(":", "':'")?;
            self.expression()?;
            if !self.accept(",") {
                return self.require("}", "'}'");
            }
        }
        Ok(())
    }

    /// The opening quote of a text or of bytes, with its prefix, and whether it is raw.
    fn quote(&mut self) -> Option<(&'static str, bool)> {
        self.blanks();
        let rest = self.rest();
        let prefix = rest
            .find(|c: char| !"rRbB".contains(c))
            .filter(|length| *length <= 2)?;
        let quote = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| rest[prefix..].starts_with(quote))?;
        let raw = rest[..prefix].contains(['r', 'R']);
        self.at += prefix + quote.len();
        Some((quote, raw))
    }

    fn string(&mut self, (quote, raw): (&'static str, bool)) -> Parsed {
        loop {
            let rest = self.rest();
            if rest.starts_with(quote) {
                self.at += quote.len();
                return Ok(());
            }
            let Some(next) = rest.chars().next() else {
                return self.expected("the closing quote");
            };
            if next == '\n' && quote.len() == 1 {
                return self.expected("the closing quote");
            }
            self.at += next.len_utf8();
            if next == '\\' && !raw {
                let escaped = rest[1..].chars().next();
                if !escaped.is_some_and(|c| "abfnrtv\\?\"'`xXuU01234567".contains(c)) {
                    return self.expected("an escape sequence");
                }
                self.at += 1;
            }
        }
    }

    fn number(&mut self) -> Parsed {
        let rest = self.rest();
        let end = match rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            Some(digits) => {
                let digits = digits
                    .find(|c: char| !c.is_ascii_hexdigit())
                    .unwrap_or(digits.len());
                2 + digits
            }
            None => decimal(rest),
        };
        self.at += end;
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1;
        }
        if self
            .rest()
            .starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        {
            return self.expected("the end of the number");
        }
        Ok(())
    }
}

/// How many bytes of `text` are a number with fraction and exponent.
fn decimal(text: &str) -> usize {
    let digits = |from: usize| {
        text[from..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(text.len(), |length| from + length)
    };
    let mut end = digits(0);
    if text[end..].starts_with('.') && text[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        end = digits(end + 1);
    }
    if let Some(rest) = text[end..].strip_prefix(['e', 'E']) {
        let sign = usize::from(rest.starts_with(['+', '-']));
        if rest[sign..].starts_with(|c: char| c.is_ascii_digit()) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_from_other_text() {
        for good in [
            "response.code >= 400",
            "connection.mtls && request.url_path.contains('v1beta3')",
            "!has(request.headers['x']) || -1 + 2.5e-3 < 0x1Fu",
            "a ? b : c ? d : e",
            r#"[1, 2,].exists(x, x in [3]) && r"\d".matches("a\n") // why"#,
            "google.protobuf.Duration{seconds: 1} == {'a': 1}['a']",
            "'''it's'''",
            ".x.y()",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            ")++++", "", "a +", "a b", "a.", "a[1", "f(1", "'x", "a = b", "1x", "in", "a ? b",
            "'\\q'", "a.in", "\u{e9}", "{1}", "'a\nb'",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(
            check("a + )").map_err(|e| e.to_string()),
            Err("at character 5, a value is expected".to_owned())
        );
        assert!(check(&"(".repeat(100_000)).is_err());
    }
}
