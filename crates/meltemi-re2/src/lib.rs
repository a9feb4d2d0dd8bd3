//! Regular expressions in [RE2's syntax](https://github.com/google/re2/wiki/Syntax), which Istio
//! and Envoy speak, on the `regex` crate.
//!
//! The two differ where it matters: the crate's `\d`, `\w`, `\s` and `\b` know all of Unicode, its
//! `\<` and `\b{start}` are the edges of words, its classes nest and have operators (`[a&&b]`),
//! and it refuses `[\w-.]`, `/{id}` and `\Q...\E`. An expression is therefore read as RE2 reads it
//! and written down in what both mean alike.

#![forbid(unsafe_code)]

mod class;
mod escape;
mod translate;

#[cfg(test)]
mod tests;

pub use regex::Regex;

/// Bytes that one compiled expression may take (Envoy bounds RE2 programs alike).
const SIZE: usize = 1 << 20;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// An expression that may match anywhere in a text (RE2's `PartialMatch`).
///
/// # Errors
/// What RE2 would not read, or what would be too large.
pub fn partial(expression: &str) -> Result<Regex, Error> {
    build(&translate::translate(expression)?)
}

/// An expression that must match a whole text (RE2's `FullMatch`).
///
/// # Errors
/// As [`partial`].
pub fn full(expression: &str) -> Result<Regex, Error> {
    let translated = translate::translate(expression)?;
    build(&format!(r"\A(?:{translated})\z"))
}

fn build(translated: &str) -> Result<Regex, Error> {
    let built = regex::RegexBuilder::new(translated)
        .size_limit(SIZE)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            Error(format!("it takes more than {limit} bytes when compiled"))
        }
        // The last line is the reason; those before show what was translated.
        error => {
            let said = error.to_string();
            let reason = said.lines().last().unwrap_or_default().trim();
            Error::new(reason.strip_prefix("error: ").unwrap_or(reason))
        }
    })
}
