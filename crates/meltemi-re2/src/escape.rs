//! What a backslash stands for in classes and elsewhere alike.

use crate::Error;
use crate::translate::Translation;

pub enum Escape {
    Character(char),
    /// One of Perl's sets, which in RE2 hold ASCII only.
    Set {
        items: &'static str,
        negated: bool,
    },
    /// One of Unicode's, as the `regex` crate writes it too.
    Property(String),
}

impl Translation<'_> {
    /// Behind a backslash.
    pub fn escape(&mut self) -> Result<Escape, Error> {
        let Some(next) = self.next() else {
            return Err(Error::new(r"it ends with `\`"));
        };
        let set = |items| Escape::Set {
            items,
            negated: next.is_ascii_uppercase(),
        };
        Ok(match next {
            'd' | 'D' => set("0-9"),
            'w' | 'W' => set("0-9A-Za-z_"),
            's' | 'S' => set(r"\t\n\f\r\x20"),
            'p' | 'P' => self.property(next)?,
            'x' => Escape::Character(self.hexadecimal()?),
            '0'..='7' => Escape::Character(self.octal(next)?),
            'a' => Escape::Character('\x07'),
            'f' => Escape::Character('\x0C'),
            'n' => Escape::Character('\n'),
            'r' => Escape::Character('\r'),
            't' => Escape::Character('\t'),
            'v' => Escape::Character('\x0B'),
            mark if mark.is_ascii() && !mark.is_ascii_alphanumeric() => Escape::Character(mark),
            other => return Err(Error(format!(r"`\{other}` is no escape of RE2's here"))),
        })
    }

    fn property(&mut self, sign: char) -> Result<Escape, Error> {
        let name = match self.eat("{") {
            true => self.until("}").map(str::to_owned),
            false => self.next().map(String::from),
        };
        let name = name.unwrap_or_default();
        let (negated, name) = match name.strip_prefix('^') {
            Some(name) => (sign == 'p', name),
            None => (sign == 'P', &name[..]),
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(word) {
            return Err(Error(format!(
                r"`\{sign}` has no name of a class behind it"
            )));
        }
        let sign = if negated { 'P' } else { 'p' };
        Ok(Escape::Property(format!(r"\{sign}{{{name}}}")))
    }

    /// `\x7F` or `\x{10FFFF}`.
    fn hexadecimal(&mut self) -> Result<char, Error> {
        let digits = match self.eat("{") {
            true => self.until("}"),
            false => self.rest.get(..2).inspect(|_| self.rest = &self.rest[2..]),
        };
        digits
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?))
            .ok_or_else(|| Error::new(r"behind `\x` come two digits, or a character's in braces"))
    }

    /// Up to three digits. A single one but 0 would refer to a group.
    fn octal(&mut self, first: char) -> Result<char, Error> {
        let digit = |text: &str| text.chars().next().and_then(|c| c.to_digit(8));
        let mut code = first.to_digit(8).unwrap_or_default();
        if code > 0 && digit(self.rest).is_none() {
            return Err(Error(format!(
                r"`\{first}`: RE2 has no references to groups"
            )));
        }
        for _ in 0..2 {
            if let Some(digit) = digit(self.rest) {
                code = code * 8 + digit;
                self.rest = &self.rest[1..];
            }
        }
        char::from_u32(code).ok_or_else(|| Error::new("no character has that number"))
    }
}
