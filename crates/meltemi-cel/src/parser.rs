//! Tokens to an expression that can be evaluated.

use crate::attribute::Attribute;
use crate::function::{self, Function};
use crate::lexer::{Lexer, Token};
use crate::value::Value;
use crate::{Error, Options};
use meltemi_re2::Regex;
use std::cmp::Ordering;

/// Deepest nesting, and the longest chain of one operator; CEL demands 12 and 24 to 32 of an
/// implementation. Evaluation recurs as deep.
const MAX_DEPTH: usize = 100;
/// Bytes of an expression.
const MAX_LENGTH: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Constant(Value<'static>),
    Attribute(Attribute),
    /// `has(a.b)` and `'b' in a`.
    Present(Attribute),
    List(Box<[Expression]>),
    /// A value of a list, by its position.
    At(Box<[Expression; 2]>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    All(Box<[Expression]>),
    Any(Box<[Expression]>),
    Choice(Box<[Expression; 3]>),
    /// Whether equal, as asked for.
    Equal(Box<[Expression; 2]>, bool),
    Ordered(Box<[Expression; 2]>, fn(Ordering) -> bool),
    Within(Box<[Expression; 2]>),
    Sum(Box<[Expression; 2]>, Arithmetic),
    Matches(Box<Expression>, Regex),
    Call(Function, Box<[Expression]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// Whether text may be joined, too.
    Add(bool),
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Expression {
    pub(crate) fn attributes<'e>(&'e self, out: &mut Vec<&'e Attribute>) {
        let parts: &'e [Expression] = match self {
            Self::Constant(_) => &[],
            Self::Attribute(attribute) | Self::Present(attribute) => return out.push(attribute),
            Self::Not(of) | Self::Negative(of) | Self::Matches(of, _) => {
                return of.attributes(out);
            }
            Self::List(all) | Self::All(all) | Self::Any(all) | Self::Call(_, all) => all,
            Self::Choice(three) => &three[..],
            Self::Equal(two, _)
            | Self::Ordered(two, _)
            | Self::Within(two)
            | Self::At(two)
            | Self::Sum(two, _) => &two[..],
        };
        for part in parts {
            part.attributes(out);
        }
    }
}

pub(crate) fn parse(text: &str, options: Options) -> Result<Expression, Error> {
    if text.len() > MAX_LENGTH {
        let message = format!("the expression is longer than {MAX_LENGTH} bytes");
        return Err(Error { column: 1, message });
    }
    let mut lexer = Lexer::new(text);
    let (next, at) = lexer.next()?;
    let mut parser = Parser {
        text,
        lexer,
        next,
        at,
        depth: 0,
        options,
    };
    let root = parser.expression()?;
    match parser.next {
        Token::End => Ok(root),
        _ => parser.expected("an operator or the end"),
    }
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    next: Token<'t>,
    /// Byte at which the next token begins.
    at: usize,
    depth: usize,
    options: Options,
}

type Parsed = Result<Expression, Error>;

/// What stands left of a dot or a bracket.
enum Operand {
    /// Names joined by dots and constant keys, and where they begin.
    Path(Vec<String>, usize),
    Value(Expression),
}

impl<'t> Parser<'t> {
    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Error> {
        Err(Lexer::error(self.text, at, message))
    }

    fn expected<T>(&self, what: &str) -> Result<T, Error> {
        self.fail(self.at, format!("{what} is expected"))
    }

    fn advance(&mut self) -> Result<Token<'t>, Error> {
        let (next, at) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn accept(&mut self, sign: &'static str) -> Result<bool, Error> {
        let found = self.next == Token::Sign(sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn require(&mut self, sign: &'static str) -> Result<(), Error> {
        match self.accept(sign)? {
            true => Ok(()),
            false => self.expected(&format!("'{sign}'")),
        }
    }

    fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => self.expected("an expression that is nested less deeply"),
            false => Ok(()),
        }
    }

    /// `a ? b : c`, and everything that binds closer.
    fn expression(&mut self) -> Parsed {
        self.deeper()?;
        let mut value = self.any()?;
        if self.accept("?")? {
            let yes = self.any()?;
            self.require(":")?;
            value = Expression::Choice(Box::new([value, yes, self.expression()?]));
        }
        self.depth -= 1;
        Ok(value)
    }

    fn any(&mut self) -> Parsed {
        self.chain("||", Self::all, Expression::Any)
    }

    fn all(&mut self) -> Parsed {
        self.chain("&&", Self::relation, Expression::All)
    }

    fn chain(
        &mut self,
        sign: &'static str,
        part: fn(&mut Self) -> Parsed,
        join: fn(Box<[Expression]>) -> Expression,
    ) -> Parsed {
        let first = part(self)?;
        if self.next != Token::Sign(sign) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.accept(sign)? {
            parts.push(part(self)?);
        }
        Ok(join(parts.into()))
    }

    fn relation(&mut self) -> Parsed {
        let mut left = self.sum()?;
        for _ in 0..MAX_DEPTH {
            // `None`: equality.
            let order: Option<fn(Ordering) -> bool> = match self.next {
                Token::Sign("<") => Some(Ordering::is_lt),
                Token::Sign("<=") => Some(Ordering::is_le),
                Token::Sign(">") => Some(Ordering::is_gt),
                Token::Sign(">=") => Some(Ordering::is_ge),
                Token::Sign("==" | "!=") => None,
                Token::Name("in") => {
                    self.advance()?;
                    left = self.within(left)?;
                    continue;
                }
                _ => return Ok(left),
            };
            let sign = self.advance()?;
            let pair = Box::new([left, self.sum()?]);
            left = match order {
                Some(test) => Expression::Ordered(pair, test),
                None => Expression::Equal(pair, sign == Token::Sign("==")),
            };
        }
        self.expected("a shorter chain of operators")
    }

    /// What stands right of `in`: a list, or what attributes have names of their own in.
    fn within(&mut self, left: Expression) -> Parsed {
        self.deeper()?;
        let negative = matches!(self.next, Token::Sign("!" | "-"));
        let right = match negative {
            true => Operand::Value(self.sum()?),
            false => self.postfix()?,
        };
        self.depth -= 1;
        match right {
            Operand::Value(list) => Ok(Expression::Within(Box::new([left, list]))),
            Operand::Path(mut path, at) => match left {
                Expression::Constant(Value::Text(key)) => {
                    path.push(key.into_owned());
                    self.attribute(&path, at).map(Expression::Present)
                }
                _ => self.fail(at, "before 'in' and an attribute, a text is expected"),
            },
        }
    }

    fn sum(&mut self) -> Parsed {
        let add = Arithmetic::Add(self.options.string_concatenation);
        let signs = [("+", add), ("-", Arithmetic::Subtract)];
        self.arithmetic(&signs, Self::product)
    }

    fn product(&mut self) -> Parsed {
        let signs = [
            ("*", Arithmetic::Multiply),
            ("/", Arithmetic::Divide),
            ("%", Arithmetic::Remainder),
        ];
        self.arithmetic(&signs, Self::unary)
    }

    fn arithmetic(
        &mut self,
        signs: &[(&'static str, Arithmetic)],
        part: fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let mut left = part(self)?;
        for _ in 0..MAX_DEPTH {
            let mut signs = signs.iter();
            let Some((_, kind)) = signs.find(|(sign, _)| self.next == Token::Sign(sign)) else {
                return Ok(left);
            };
            self.advance()?;
            left = Expression::Sum(Box::new([left, part(self)?]), *kind);
        }
        self.expected("a shorter chain of operators")
    }

    fn unary(&mut self) -> Parsed {
        self.deeper()?;
        let value = if self.accept("!")? {
            Expression::Not(Box::new(self.unary()?))
        } else if self.next == Token::Sign("-") {
            self.advance()?;
            self.negative()?
        } else {
            match self.postfix()? {
                Operand::Value(value) => value,
                Operand::Path(path, at) => Expression::Attribute(self.attribute(&path, at)?),
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn negative(&mut self) -> Parsed {
        match self.next {
            // The smallest number has no positive counterpart.
            Token::Int(value) if value == i64::MIN.unsigned_abs() => {
                self.advance()?;
                Ok(Expression::Constant(Value::Int(i64::MIN)))
            }
            _ => Ok(Expression::Negative(Box::new(self.unary()?))),
        }
    }

    fn attribute(&self, path: &[String], at: usize) -> Result<Attribute, Error> {
        Attribute::find(path).or_else(|message| self.fail(at, message))
    }

    fn name(&mut self) -> Result<&'t str, Error> {
        match self.next {
            Token::Name(name) if !["in", "true", "false", "null"].contains(&name) => {
                self.advance()?;
                Ok(name)
            }
            _ => self.expected("a name"),
        }
    }

    fn postfix(&mut self) -> Result<Operand, Error> {
        let mut operand = self.primary()?;
        for _ in 0..MAX_DEPTH {
            let at = self.at;
            if self.accept(".")? {
                let at = self.at;
                let name = self.name()?;
                if self.accept("(")? {
                    let value = self.value(operand)?;
                    operand = Operand::Value(self.call(name, at, Some(value))?);
                } else if let Operand::Path(path, _) = &mut operand {
                    path.push(name.to_owned());
                } else {
                    return self.fail(at, "a value of this kind has no fields");
                }
            } else if self.accept("[")? {
                let key = self.expression()?;
                self.require("]")?;
                operand = match (operand, key) {
                    (Operand::Path(mut path, at), Expression::Constant(Value::Text(key))) => {
                        path.push(key.into_owned());
                        Operand::Path(path, at)
                    }
                    (Operand::Path(..), _) => {
                        return self.fail(at, "a constant text is expected in brackets");
                    }
                    (Operand::Value(list), index) => {
                        Operand::Value(Expression::At(Box::new([list, index])))
                    }
                };
            } else if self.next == Token::Sign("{") {
                return self.fail(at, "messages are not supported");
            } else {
                return Ok(operand);
            }
        }
        self.expected("a shorter chain of operators")
    }

    fn value(&self, operand: Operand) -> Parsed {
        match operand {
            Operand::Value(value) => Ok(value),
            Operand::Path(path, at) => self.attribute(&path, at).map(Expression::Attribute),
        }
    }

    fn primary(&mut self) -> Result<Operand, Error> {
        let at = self.at;
        let constant = match self.next.clone() {
            Token::Sign("(") => {
                self.advance()?;
                let value = self.expression()?;
                self.require(")")?;
                return Ok(Operand::Value(value));
            }
            Token::Sign("[") => {
                self.advance()?;
                let all = self.list("]")?;
                return Ok(Operand::Value(Expression::List(all)));
            }
            Token::Sign("{") => return self.fail(at, "maps are not supported"),
            Token::Sign(".") => {
                self.advance()?;
                return Ok(Operand::Path(vec![self.name()?.to_owned()], at));
            }
            Token::Name("true") => Value::Bool(true),
            Token::Name("false") => Value::Bool(false),
            Token::Name("null") => Value::Null,
            Token::Name("in") | Token::End | Token::Sign(_) => return self.expected("a value"),
            Token::Name(name) => {
                self.advance()?;
                if self.accept("(")? {
                    return Ok(Operand::Value(self.call(name, at, None)?));
                }
                return Ok(Operand::Path(vec![name.to_owned()], at));
            }
            Token::Int(value) => match i64::try_from(value) {
                Ok(value) => Value::Int(value),
                Err(_) => return self.fail(at, "a number of at most 63 bits is expected"),
            },
            Token::Uint(value) => Value::Uint(value),
            Token::Double(value) => Value::Double(value),
            Token::Text(text) => Value::Text(text.into()),
            Token::Bytes(bytes) => Value::Bytes(bytes.into()),
        };
        self.advance()?;
        Ok(Operand::Value(Expression::Constant(constant)))
    }

    /// Expressions between commas, up to `end`; a comma may stand after the last one.
    fn list(&mut self, end: &'static str) -> Result<Box<[Expression]>, Error> {
        let mut all = Vec::new();
        while !self.accept(end)? {
            all.push(self.expression()?);
            if !self.accept(",")? {
                self.require(end)?;
                break;
            }
        }
        Ok(all.into())
    }

    /// A call whose opening bracket was read.
    fn call(&mut self, name: &str, at: usize, on: Option<Expression>) -> Parsed {
        if name == "has" && on.is_none() {
            return self.presence();
        }
        if function::is_comprehension(name) && on.is_some() {
            let message = format!("{name}() is not supported: Envoy evaluates no comprehensions");
            return self.fail(at, message);
        }
        let arguments = self.list(")")?.into_vec();
        let arguments: Vec<Expression> = on.into_iter().chain(arguments).collect();
        if name == "matches" {
            return match <[Expression; 2]>::try_from(arguments) {
                Ok([text, Expression::Constant(Value::Text(pattern))]) => {
                    let pattern = meltemi_re2::partial(&pattern).or_else(|error| {
                        self.fail(at, format!("matches() has no regular expression: {error}"))
                    })?;
                    Ok(Expression::Matches(Box::new(text), pattern))
                }
                _ => self.fail(at, "matches() takes a value and a constant text"),
            };
        }
        match Function::find(name, arguments.len(), self.options) {
            Ok(function) => Ok(Expression::Call(function, arguments.into())),
            Err(message) => self.fail(at, message),
        }
    }

    fn presence(&mut self) -> Parsed {
        const FORM: &str =
            "has() takes a field, for example has(request.headers.x) or 'x' in request.headers";
        let at = self.at;
        let mut path = vec![self.name()?.to_owned()];
        while self.accept(".")? {
            path.push(self.name()?.to_owned());
        }
        if path.len() < 2 || !self.accept(")")? {
            return self.fail(at, FORM);
        }
        self.attribute(&path, at).map(Expression::Present)
    }
}
