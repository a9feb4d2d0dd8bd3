//! A header field as the decoder hands it out, and the static table (RFC 7541 appendix A).

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};

/// Bytes that a field counts beside its name and value (RFC 7541 4.1).
pub(crate) const OVERHEAD: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    Status,
    /// Of extended CONNECT (RFC 8441).
    Protocol,
}

impl Pseudo {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Authority => ":authority",
            Self::Path => ":path",
            Self::Status => ":status",
            Self::Protocol => ":protocol",
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        [
            Self::Method,
            Self::Scheme,
            Self::Authority,
            Self::Path,
            Self::Status,
            Self::Protocol,
        ]
        .into_iter()
        .find(|pseudo| pseudo.name().as_bytes() == name)
    }
}

/// A field's name; what may not stand in a message is kept as long as it was, because it
/// takes its place in the dynamic table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Name {
    Pseudo(Pseudo),
    Header(HeaderName),
    Invalid(usize),
}

impl Name {
    /// HTTP/2 names are lower-case (RFC 9113 8.2).
    pub fn parse(bytes: &[u8]) -> Self {
        let known = match bytes.first() {
            Some(b':') => Pseudo::of(bytes).map(Self::Pseudo),
            _ => HeaderName::from_lowercase(bytes).ok().map(Self::Header),
        };
        known.unwrap_or(Self::Invalid(bytes.len()))
    }

    fn len(&self) -> usize {
        match self {
            Self::Pseudo(pseudo) => pseudo.name().len(),
            Self::Header(name) => name.as_str().len(),
            Self::Invalid(length) => *length,
        }
    }

    pub fn with(&self, value: Bytes) -> Field {
        let size = self.len() + value.len() + OVERHEAD;
        let content = match self {
            Self::Pseudo(pseudo) => Content::Pseudo(*pseudo, value),
            Self::Header(name) => match HeaderValue::from_maybe_shared(value) {
                Ok(value) => Content::Header(name.clone(), value),
                Err(_) => Content::Invalid(self.clone()),
            },
            Self::Invalid(_) => Content::Invalid(self.clone()),
        };
        Field { content, size }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub content: Content,
    /// As the header list and the dynamic table count it.
    pub size: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Pseudo(Pseudo, Bytes),
    Header(HeaderName, HeaderValue),
    /// A name that no field may have, or one with a value that none may have.
    Invalid(Name),
}

impl Field {
    /// The name, for another value.
    pub fn name(&self) -> Name {
        match &self.content {
            Content::Pseudo(pseudo, _) => Name::Pseudo(*pseudo),
            Content::Header(name, _) => Name::Header(name.clone()),
            Content::Invalid(name) => name.clone(),
        }
    }
}

enum Known {
    P(Pseudo),
    H(HeaderName),
}

use Known::{H, P};

/// Fields of the static table; the first has index 1.
static STATIC: [(Known, &str); 61] = [
    (P(Pseudo::Authority), ""),
    (P(Pseudo::Method), "GET"),
    (P(Pseudo::Method), "POST"),
    (P(Pseudo::Path), "/"),
    (P(Pseudo::Path), "/index.html"),
    (P(Pseudo::Scheme), "http"),
    (P(Pseudo::Scheme), "https"),
    (P(Pseudo::Status), "200"),
    (P(Pseudo::Status), "204"),
    (P(Pseudo::Status), "206"),
    (P(Pseudo::Status), "304"),
    (P(Pseudo::Status), "400"),
    (P(Pseudo::Status), "404"),
    (P(Pseudo::Status), "500"),
    (H(header::ACCEPT_CHARSET), ""),
    (H(header::ACCEPT_ENCODING), "gzip, deflate"),
    (H(header::ACCEPT_LANGUAGE), ""),
    (H(header::ACCEPT_RANGES), ""),
    (H(header::ACCEPT), ""),
    (H(header::ACCESS_CONTROL_ALLOW_ORIGIN), ""),
    (H(header::AGE), ""),
    (H(header::ALLOW), ""),
    (H(header::AUTHORIZATION), ""),
    (H(header::CACHE_CONTROL), ""),
    (H(header::CONTENT_DISPOSITION), ""),
    (H(header::CONTENT_ENCODING), ""),
    (H(header::CONTENT_LANGUAGE), ""),
    (H(header::CONTENT_LENGTH), ""),
    (H(header::CONTENT_LOCATION), ""),
    (H(header::CONTENT_RANGE), ""),
    (H(header::CONTENT_TYPE), ""),
    (H(header::COOKIE), ""),
    (H(header::DATE), ""),
    (H(header::ETAG), ""),
    (H(header::EXPECT), ""),
    (H(header::EXPIRES), ""),
    (H(header::FROM), ""),
    (H(header::HOST), ""),
    (H(header::IF_MATCH), ""),
    (H(header::IF_MODIFIED_SINCE), ""),
    (H(header::IF_NONE_MATCH), ""),
    (H(header::IF_RANGE), ""),
    (H(header::IF_UNMODIFIED_SINCE), ""),
    (H(header::LAST_MODIFIED), ""),
    (H(header::LINK), ""),
    (H(header::LOCATION), ""),
    (H(header::MAX_FORWARDS), ""),
    (H(header::PROXY_AUTHENTICATE), ""),
    (H(header::PROXY_AUTHORIZATION), ""),
    (H(header::RANGE), ""),
    (H(header::REFERER), ""),
    (H(header::REFRESH), ""),
    (H(header::RETRY_AFTER), ""),
    (H(header::SERVER), ""),
    (H(header::SET_COOKIE), ""),
    (H(header::STRICT_TRANSPORT_SECURITY), ""),
    (H(header::TRANSFER_ENCODING), ""),
    (H(header::USER_AGENT), ""),
    (H(header::VARY), ""),
    (H(header::VIA), ""),
    (H(header::WWW_AUTHENTICATE), ""),
];

/// Entries of the static table.
pub(super) const STATICS: usize = STATIC.len();

/// The field with this index, from 1.
pub(super) fn known(index: usize) -> Option<Field> {
    let (name, value) = STATIC.get(index.checked_sub(1)?)?;
    let value_length = value.len();
    let (content, length) = match name {
        P(pseudo) => (
            Content::Pseudo(*pseudo, Bytes::from_static(value.as_bytes())),
            pseudo.name().len(),
        ),
        H(name) => (
            Content::Header(name.clone(), HeaderValue::from_static(value)),
            name.as_str().len(),
        ),
    };
    Some(Field {
        content,
        size: length + value_length + OVERHEAD,
    })
}

/// The name with this index, from 1.
pub(super) fn known_name(index: usize) -> Option<Name> {
    let (name, _) = STATIC.get(index.checked_sub(1)?)?;
    Some(match name {
        P(pseudo) => Name::Pseudo(*pseudo),
        H(name) => Name::Header(name.clone()),
    })
}

/// The first index of a header's name; 0 when the table does not have it.
pub(super) fn index_of(name: &HeaderName) -> usize {
    match *name {
        header::ACCEPT_CHARSET => 15,
        header::ACCEPT_ENCODING => 16,
        header::ACCEPT_LANGUAGE => 17,
        header::ACCEPT_RANGES => 18,
        header::ACCEPT => 19,
        header::ACCESS_CONTROL_ALLOW_ORIGIN => 20,
        header::AGE => 21,
        header::ALLOW => 22,
        header::AUTHORIZATION => 23,
        header::CACHE_CONTROL => 24,
        header::CONTENT_DISPOSITION => 25,
        header::CONTENT_ENCODING => 26,
        header::CONTENT_LANGUAGE => 27,
        header::CONTENT_LENGTH => 28,
        header::CONTENT_LOCATION => 29,
        header::CONTENT_RANGE => 30,
        header::CONTENT_TYPE => 31,
        header::COOKIE => 32,
        header::DATE => 33,
        header::ETAG => 34,
        header::EXPECT => 35,
        header::EXPIRES => 36,
        header::FROM => 37,
        header::HOST => 38,
        header::IF_MATCH => 39,
        header::IF_MODIFIED_SINCE => 40,
        header::IF_NONE_MATCH => 41,
        header::IF_RANGE => 42,
        header::IF_UNMODIFIED_SINCE => 43,
        header::LAST_MODIFIED => 44,
        header::LINK => 45,
        header::LOCATION => 46,
        header::MAX_FORWARDS => 47,
        header::PROXY_AUTHENTICATE => 48,
        header::PROXY_AUTHORIZATION => 49,
        header::RANGE => 50,
        header::REFERER => 51,
        header::REFRESH => 52,
        header::RETRY_AFTER => 53,
        header::SERVER => 54,
        header::SET_COOKIE => 55,
        header::STRICT_TRANSPORT_SECURITY => 56,
        header::TRANSFER_ENCODING => 57,
        header::USER_AGENT => 58,
        header::VARY => 59,
        header::VIA => 60,
        header::WWW_AUTHENTICATE => 61,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_and_the_table_agree() {
        for index in 15..=STATICS {
            let Some(Name::Header(name)) = known_name(index) else {
                panic!("{index} is a header");
            };
            assert_eq!(index_of(&name), index);
        }
        assert!(known(0).is_none() && known(62).is_none());
        assert_eq!(known(2).unwrap().size, 42);
    }

    #[test]
    fn names_that_no_field_may_have() {
        for name in [&b"Upper"[..], b"", b"a b", b":other", b"a:b", b"\0"] {
            assert_eq!(Name::parse(name), Name::Invalid(name.len()));
        }
    }
}
