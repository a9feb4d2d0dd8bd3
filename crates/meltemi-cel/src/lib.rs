//! CEL (Common Expression Language) as Envoy evaluates it for access logs and Istio for tags of
//! metrics: compiled once, evaluated without allocation where values are borrowed.
//!
//! Left out, as in Envoy, is what could make an expression expensive: comprehensions
//! (`all`, `exists`, `map`, ...), maps and messages. Attributes are named by constants,
//! `request.headers['x']`, so that it is known beforehand what an expression reads. What is left
//! out is refused by name.

#![forbid(unsafe_code)]

mod attribute;
mod evaluate;
mod function;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod value;

pub use attribute::{Attribute, Certificate, Direction, PeerField};
pub use evaluate::Attributes;
pub use value::Value;

use parser::Expression;

/// What of the language is on (Envoy: `CelExpressionConfig`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `string(1)`.
    pub string_conversion: bool,
    /// `'a' + 'b'`.
    pub string_concatenation: bool,
}

/// Why a text is no expression that can be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {column}, {message}")]
pub struct Error {
    /// From 1.
    pub column: usize,
    pub message: String,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Program {
    root: Expression,
}

impl Program {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Says at which character what is wrong: syntax, a function or attribute that there is
    /// not, or nesting and length beyond the bounds.
    pub fn compile(text: &str, options: Options) -> Result<Self, Error> {
        let root = parser::parse(text, options)?;
        Ok(Self { root })
    }

    /// The attributes that it reads.
    pub fn attributes(&self) -> Vec<&Attribute> {
        let mut all = Vec::new();
        self.root.attributes(&mut all);
        all
    }

    /// The value; `None` where evaluation fails, as it does on an absent attribute.
    pub fn evaluate<'a>(&'a self, attributes: &dyn Attributes<'a>) -> Option<Value<'a>> {
        evaluate::evaluate(&self.root, attributes)
    }

    /// Whether it is true; a failure is not (Envoy's rule).
    pub fn holds<'a>(&'a self, attributes: &dyn Attributes<'a>) -> bool {
        matches!(self.evaluate(attributes), Some(Value::Bool(true)))
    }
}
