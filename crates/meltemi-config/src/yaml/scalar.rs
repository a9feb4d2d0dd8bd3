//! What a plain scalar means, as go-yaml (and so Kubernetes) has it.

use serde_json::Number;

use super::Content;

/// Reads an unquoted scalar.
pub(super) fn plain(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Content::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Content::Bool(false);
        }
        _ => {}
    }
    let starts_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    match starts_number.then(|| number(text)).flatten() {
        Some(value) => Content::Number(value),
        None => Content::Text(text.to_owned()),
    }
}

fn number(text: &str) -> Option<Number> {
    let joined: String;
    let digits = if text.contains('_') && !text.starts_with('_') {
        joined = text.replace('_', "");
        joined.as_str()
    } else {
        text
    };
    let (negative, body) = match digits.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let radix = |prefix: &[&str], radix: u32| {
        prefix
            .iter()
            .find_map(|p| body.strip_prefix(p))
            .map(|rest| u64::from_str_radix(rest, radix))
    };
    let whole = radix(&["0x", "0X"], 16)
        .or_else(|| radix(&["0b", "0B"], 2))
        .or_else(|| radix(&["0o", "0O"], 8))
        .or_else(|| {
            (body.len() > 1 && body.bytes().all(|b| b.is_ascii_digit()))
                .then(|| {
                    body.strip_prefix('0')
                        .map(|rest| u64::from_str_radix(rest, 8))
                })
                .flatten()
        });
    match whole {
        Some(Ok(value)) => return signed(negative, value),
        // 0129 is no octal number: go-yaml goes on and reads a float, 129.
        Some(Err(_)) if body.starts_with('0') && body.bytes().all(|b| b.is_ascii_digit()) => {}
        Some(Err(_)) => return None,
        None => {}
    }
    if body.bytes().all(|b| b.is_ascii_digit())
        && let Ok(value) = body.parse::<u64>()
    {
        return signed(negative, value);
    }
    let numeric = body
        .bytes()
        .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    let has_digit = body.bytes().any(|b| b.is_ascii_digit());
    if !numeric || !has_digit {
        return None;
    }
    digits
        .parse::<f64>()
        .ok()
        .filter(|v| v.is_finite())
        .and_then(Number::from_f64)
}

fn signed(negative: bool, value: u64) -> Option<Number> {
    if !negative {
        return Some(Number::from(value));
    }
    i64::try_from(-i128::from(value)).ok().map(Number::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::yaml::{Node, Position};

    #[test]
    fn reads_as_go_yaml() {
        for (text, value) in [
            ("9080", json!(9080)),
            ("-1", json!(-1)),
            ("0644", json!(420)),
            ("0x1f", json!(31)),
            ("0", json!(0)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("1.2.3.4", json!("1.2.3.4")),
            ("10s", json!("10s")),
            ("v1", json!("v1")),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("~", json!(null)),
            ("1-2", json!("1-2")),
            ("-", json!("-")),
            ("...", json!("...")),
            (
                "18446744073709551615",
                json!(18_446_744_073_709_551_615_u64),
            ),
            (".inf", json!(".inf")),
        ] {
            let node = Node {
                at: Position::default(),
                content: plain(text),
            };
            assert_eq!(node.to_value(), value, "{text}");
        }
    }
}
