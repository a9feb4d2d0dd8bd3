//! Classes: `[...]`.

use crate::Error;
use crate::escape::Escape;
use crate::translate::Translation;

/// Those in `[:...:]`, which hold ASCII in both syntaxes.
const NAMED: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

impl Translation<'_> {
    /// Behind `[`. Brackets, operators and a `-` that makes no range stand for themselves.
    pub fn class(&mut self) -> Result<(), Error> {
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.eat("]") {
            first = false;
            if !self.named()? {
                self.item()?;
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// `[:alpha:]` and the like.
    fn named(&mut self) -> Result<bool, Error> {
        let Some((name, rest)) = self
            .rest
            .strip_prefix("[:")
            .and_then(|rest| rest.split_once(":]"))
        else {
            return Ok(false);
        };
        if !NAMED.contains(&name.trim_start_matches('^')) {
            return Err(Error(format!("`[:{name}:]` is no class of RE2's")));
        }
        self.out.push_str(&format!("[:{name}:]"));
        self.rest = rest;
        Ok(true)
    }

    /// A character, a range of them, or a set.
    fn item(&mut self) -> Result<(), Error> {
        let low = match self.member()? {
            Escape::Character(low) => low,
            Escape::Property(property) => {
                self.out.push_str(&property);
                return Ok(());
            }
            Escape::Set { items, negated } => {
                match negated {
                    true => self.out.push_str(&format!("[^{items}]")),
                    false => self.out.push_str(items),
                }
                return Ok(());
            }
        };
        self.literal(low);
        let ranges = self
            .rest
            .strip_prefix('-')
            .is_some_and(|rest| !rest.starts_with(']'));
        if ranges {
            self.eat("-");
            let high = match self.member()? {
                Escape::Character(high) if high >= low => high,
                _ => return Err(Error(format!("the range from {low:?} has no end"))),
            };
            self.out.push('-');
            self.literal(high);
        }
        Ok(())
    }

    fn member(&mut self) -> Result<Escape, Error> {
        match self.next() {
            Some('\\') => self.escape(),
            Some(character) => Ok(Escape::Character(character)),
            None => Err(Error::new("`[` without its `]`")),
        }
    }
}
