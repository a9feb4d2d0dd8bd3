//! Evaluation. A failure is absorbed by the other side of `&&` and `||` where that decides.

use crate::attribute::Attribute;
use crate::parser::{Arithmetic, Expression};
use crate::value::Value;

/// What an expression is about.
pub trait Attributes<'a> {
    /// `None` for what is absent.
    fn get(&self, attribute: &Attribute) -> Option<Value<'a>>;
}

pub(crate) fn evaluate<'a>(
    expression: &'a Expression,
    of: &dyn Attributes<'a>,
) -> Option<Value<'a>> {
    let value = |part: &'a Expression| evaluate(part, of);
    Some(match expression {
        Expression::Constant(constant) => borrowed(constant),
        Expression::Attribute(attribute) => of.get(attribute)?,
        Expression::Present(attribute) => Value::Bool(of.get(attribute).is_some()),
        Expression::List(all) => Value::List(all.iter().map(value).collect::<Option<_>>()?),
        Expression::At(two) => match (value(&two[0])?, value(&two[1])?) {
            (Value::List(mut list), Value::Int(index)) => {
                let index = usize::try_from(index).ok().filter(|at| *at < list.len())?;
                list.swap_remove(index)
            }
            _ => return None,
        },
        Expression::Not(part) => Value::Bool(!truth(value(part))?),
        Expression::Negative(part) => match value(part)? {
            Value::Int(value) => Value::Int(value.checked_neg()?),
            Value::Double(value) => Value::Double(-value),
            _ => return None,
        },
        Expression::All(parts) => Value::Bool(decided(parts, of, false)?),
        Expression::Any(parts) => Value::Bool(decided(parts, of, true)?),
        Expression::Choice(three) => match truth(value(&three[0]))? {
            true => value(&three[1])?,
            false => value(&three[2])?,
        },
        Expression::Equal(two, wanted) => {
            Value::Bool(value(&two[0])?.equals(&value(&two[1])?) == *wanted)
        }
        Expression::Ordered(two, test) => {
            Value::Bool(test(value(&two[0])?.compare(&value(&two[1])?)?))
        }
        Expression::Within(two) => match (value(&two[0])?, value(&two[1])?) {
            (item, Value::List(list)) => Value::Bool(list.iter().any(|one| one.equals(&item))),
            _ => return None,
        },
        Expression::Sum(two, kind) => arithmetic(*kind, value(&two[0])?, value(&two[1])?)?,
        Expression::Matches(part, pattern) => match value(part)? {
            Value::Text(text) => Value::Bool(pattern.is_match(&text)),
            _ => return None,
        },
        Expression::Call(function, arguments) => {
            function.call(arguments.iter().map(value).collect::<Option<_>>()?)?
        }
    })
}

fn borrowed<'a>(constant: &'a Value<'static>) -> Value<'a> {
    match constant {
        Value::Text(text) => Value::text(text),
        Value::Bytes(bytes) => Value::Bytes((&**bytes).into()),
        other => other.clone(),
    }
}

fn truth(value: Option<Value<'_>>) -> Option<bool> {
    match value? {
        Value::Bool(value) => Some(value),
        _ => None,
    }
}

/// Of a chain that one part which is `decisive` decides, whatever fails beside it.
fn decided<'a>(parts: &'a [Expression], of: &dyn Attributes<'a>, decisive: bool) -> Option<bool> {
    let mut failed = false;
    for part in parts {
        match truth(evaluate(part, of)) {
            Some(value) if value == decisive => return Some(decisive),
            Some(_) => {}
            None => failed = true,
        }
    }
    (!failed).then_some(!decisive)
}

fn arithmetic<'a>(kind: Arithmetic, left: Value<'a>, right: Value<'a>) -> Option<Value<'a>> {
    use Arithmetic as Kind;
    Some(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Int(match kind {
            Kind::Add(_) => a.checked_add(b)?,
            Kind::Subtract => a.checked_sub(b)?,
            Kind::Multiply => a.checked_mul(b)?,
            Kind::Divide => a.checked_div(b)?,
            Kind::Remainder => a.checked_rem(b)?,
        }),
        (Value::Uint(a), Value::Uint(b)) => Value::Uint(match kind {
            Kind::Add(_) => a.checked_add(b)?,
            Kind::Subtract => a.checked_sub(b)?,
            Kind::Multiply => a.checked_mul(b)?,
            Kind::Divide => a.checked_div(b)?,
            Kind::Remainder => a.checked_rem(b)?,
        }),
        (Value::Double(a), Value::Double(b)) => Value::Double(match kind {
            Kind::Add(_) => a + b,
            Kind::Subtract => a - b,
            Kind::Multiply => a * b,
            Kind::Divide => a / b,
            Kind::Remainder => return None,
        }),
        (Value::Duration(a), Value::Duration(b)) => Value::Duration(match kind {
            Kind::Add(_) => a.checked_add(b)?,
            Kind::Subtract => a.checked_sub(b)?,
            _ => return None,
        }),
        (Value::Timestamp(a), Value::Duration(b)) => Value::Timestamp(match kind {
            Kind::Add(_) => a.checked_add(b)?,
            Kind::Subtract => a.checked_sub(b)?,
            _ => return None,
        }),
        (Value::Duration(a), Value::Timestamp(b)) if matches!(kind, Kind::Add(_)) => {
            Value::Timestamp(a.checked_add(b)?)
        }
        (Value::Timestamp(a), Value::Timestamp(b)) if kind == Kind::Subtract => {
            Value::Duration(a.checked_sub(b)?)
        }
        (Value::Text(a), Value::Text(b)) if kind == Kind::Add(true) => {
            Value::Text((a.into_owned() + &b).into())
        }
        _ => return None,
    })
}
