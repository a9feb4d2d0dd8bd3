//! Text to tokens.

use crate::Error;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token<'t> {
    Name(&'t str),
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longest first.
const SIGNS: [&str; 23] = [
    "||", "&&", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{",
];

pub(crate) struct Lexer<'t> {
    text: &'t str,
    /// Byte of the next character.
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Where a byte of the text is, in characters from 1.
    pub(crate) fn error(text: &str, at: usize, message: impl Into<String>) -> Error {
        Error {
            column: text[..at].chars().count() + 1,
            message: message.into(),
        }
    }

    fn fail<T>(&self, message: &str) -> Result<T, Error> {
        Err(Self::error(self.text, self.at, message))
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// The next token, and the byte at which it begins.
    pub(crate) fn next(&mut self) -> Result<(Token<'t>, usize), Error> {
        self.blanks();
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, start));
        };
        if let Some((quote, raw, bytes)) = self.quote() {
            let value = self.quoted(quote, raw, bytes)?;
            let token = match bytes {
                true => Token::Bytes(value),
                // Escapes of text are characters.
                false => Token::Text(String::from_utf8_lossy(&value).into_owned()),
            };
            return Ok((token, start));
        }
        let second = rest[first.len_utf8()..].chars().next();
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        if digit(Some(first)) || first == '.' && digit(second) {
            return Ok((self.number()?, start));
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            self.at += end;
            return Ok((Token::Name(&rest[..end]), start));
        }
        match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            Some(sign) => {
                self.at += sign.len();
                Ok((Token::Sign(sign), start))
            }
            None => self.fail("a character is not of the language"),
        }
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

    /// The opening quote with its prefix: the quote, whether what follows is raw, or bytes.
    fn quote(&mut self) -> Option<(&'static str, bool, bool)> {
        let rest = self.rest();
        let prefix = rest
            .find(|c: char| !"rRbB".contains(c))
            .filter(|length| *length <= 2)?;
        let quote = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| rest[prefix..].starts_with(quote))?;
        self.at += prefix + quote.len();
        let prefix = &rest[..prefix];
        Some((
            quote,
            prefix.contains(['r', 'R']),
            prefix.contains(['b', 'B']),
        ))
    }

    fn quoted(&mut self, quote: &str, raw: bool, bytes: bool) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(quote) {
                self.at += quote.len();
                return Ok(out);
            }
            let Some(next) = rest
                .chars()
                .next()
                .filter(|c| *c != '\n' || quote.len() > 1)
            else {
                return self.fail("the closing quote is expected");
            };
            if next == '\\' && !raw {
                self.escape(&mut out, bytes)?;
            } else {
                self.at += next.len_utf8();
                out.extend(next.encode_utf8(&mut [0; 4]).bytes());
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>, bytes: bool) -> Result<(), Error> {
        const WRONG: &str = "an escape sequence is expected";
        let after = &self.rest()[1..];
        let Some(kind) = after.chars().next() else {
            return self.fail(WRONG);
        };
        let plain = match kind {
            'a' => Some(7),
            'b' => Some(8),
            't' => Some(9),
            'n' => Some(10),
            'v' => Some(11),
            'f' => Some(12),
            'r' => Some(13),
            '\\' | '?' | '"' | '\'' | '`' => Some(kind as u8),
            _ => None,
        };
        if let Some(byte) = plain {
            self.at += 2;
            out.push(byte);
            return Ok(());
        }
        let (skip, length, radix) = match kind {
            'x' | 'X' => (1, 2, 16),
            'u' if !bytes => (1, 4, 16),
            'U' if !bytes => (1, 8, 16),
            '0'..='3' => (0, 3, 8),
            _ => return self.fail(WRONG),
        };
        let digits = after.get(skip..skip + length);
        let code = digits
            .filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, radix).ok());
        let Some(code) = code else {
            return self.fail(WRONG);
        };
        match (bytes, char::from_u32(code)) {
            (true, _) => out.push(code as u8),
            (false, Some(c)) => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            (false, None) => return self.fail(WRONG),
        }
        self.at += 1 + skip + length;
        Ok(())
    }

    fn number(&mut self) -> Result<Token<'t>, Error> {
        let rest = self.rest();
        let hex = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
        let (digits, radix, length) = match hex {
            Some(digits) => {
                let end = digits.find(|c: char| !c.is_ascii_hexdigit());
                let digits = &digits[..end.unwrap_or(digits.len())];
                (digits, 16, digits.len() + 2)
            }
            None => {
                let length = decimal(rest);
                (&rest[..length], 10, length)
            }
        };
        let unsigned = rest[length..].starts_with(['u', 'U']);
        let whole = radix == 16 || digits.bytes().all(|c| c.is_ascii_digit());
        let token = match (whole, unsigned) {
            (true, _) => match u64::from_str_radix(digits, radix) {
                Ok(value) if unsigned => Token::Uint(value),
                Ok(value) => Token::Int(value),
                Err(_) => return self.fail("a number of at most 64 bits is expected"),
            },
            (false, false) => Token::Double(digits.parse().unwrap_or(f64::NAN)),
            (false, true) => return self.fail("a whole number is expected before 'u'"),
        };
        self.at += length + usize::from(unsigned);
        if self
            .rest()
            .starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        {
            return self.fail("the end of the number is expected");
        }
        Ok(token)
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
