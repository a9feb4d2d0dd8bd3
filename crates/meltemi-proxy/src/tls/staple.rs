//! OCSP responses that go with a certificate (RFC 6960), and when they go: Envoy's rules. What
//! is signed in them is the client's to verify.

use crate::model::StaplePolicy;
use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Tag, oid};
use x509_parser::prelude::X509Certificate;
use x509_parser::time::ASN1Time;

const BASIC: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1.1);
const TLS_FEATURE: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);
/// The TLS feature "status request" (RFC 7633).
const STATUS_REQUEST: u8 = 5;

/// An OCSP response about one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    /// DER.
    pub response: Vec<u8>,
    serial: Vec<u8>,
    /// Seconds since 1970; `None` counts as over, as in Envoy.
    next_update: Option<i64>,
}

impl Staple {
    /// # Errors
    /// When this is no successful OCSP response about exactly one certificate.
    pub fn parse(response: Vec<u8>) -> Result<Self, String> {
        let mut reader = Reader(&response);
        let mut outer = reader.sequence("the response")?;
        let status = outer.next("its status")?;
        if !reader.0.is_empty() {
            return Err("bytes follow the response".into());
        }
        if status.tag() != Tag::Enumerated || status.data != [0] {
            return Err("the responder did not answer: its status is no success".into());
        }
        let mut bytes = outer.tagged(0).ok_or("there is no answer in it")?;
        let mut bytes = bytes.sequence("its answer")?;
        let kind = bytes.next("its answer's type")?;
        if kind.oid().as_ref() != Ok(&BASIC) {
            return Err("its answer is of another type than id-pkix-ocsp-basic".into());
        }
        let basic = bytes.next("its answer")?;
        let mut data = Reader(basic.data)
            .sequence("the basic response")?
            .sequence("the response's data")?;
        let _version = data.tagged(0);
        data.next("the responder")?;
        data.next("the time of production")?;
        let mut answers = data.sequence("the answers")?;
        let mut answer = answers.sequence("the answer")?;
        if !answers.0.is_empty() {
            return Err("answers for several certificates: one is expected".into());
        }
        let mut certificate = answer.sequence("the certificate's id")?;
        certificate.next("the hash")?;
        certificate.next("the issuer's name")?;
        certificate.next("the issuer's key")?;
        let serial = certificate.next("the serial number")?.data.to_vec();
        answer.next("the certificate's status")?;
        answer.next("the time of the update")?;
        let next_update = answer
            .tagged(0)
            .map(|next| {
                ASN1Time::from_der(next.0)
                    .map(|(_, time)| time.timestamp())
                    .map_err(|_| malformed("the time of the next update"))
            })
            .transpose()?;
        Ok(Self {
            response,
            serial,
            next_update,
        })
    }

    /// Whether it is about this certificate: by serial number, as in Envoy.
    pub(super) fn is_for(&self, certificate: &X509Certificate<'_>) -> bool {
        self.serial == certificate.raw_serial()
    }

    /// When it ends, in seconds since 1970.
    pub fn next_update(&self) -> Option<i64> {
        self.next_update
    }

    fn is_valid(&self) -> bool {
        let now = crate::clock::unix_seconds();
        self.next_update.is_some_and(|next| next >= now)
    }
}

/// Whether clients are told by the certificate to expect a response with it (RFC 7633).
pub(super) fn is_must_staple(certificate: &X509Certificate<'_>) -> bool {
    let feature = certificate
        .extensions()
        .iter()
        .find(|extension| extension.oid == TLS_FEATURE);
    feature.is_some_and(|feature| {
        let Ok(mut features) = Reader(feature.value).sequence("the features") else {
            return false;
        };
        while let Ok(feature) = features.next("a feature") {
            if feature.data == [STATUS_REQUEST] {
                return true;
            }
        }
        false
    })
}

/// What is done about a certificate's response for a client that asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is sent.
    Staple,
    /// The certificate is shown without one.
    Without,
    /// The certificate is not shown.
    Refuse,
}

pub(super) fn action(policy: StaplePolicy, staple: Option<&Staple>) -> Action {
    match (staple, policy) {
        (Some(staple), _) if staple.is_valid() => Action::Staple,
        (_, StaplePolicy::Lenient) | (None, StaplePolicy::Strict) => Action::Without,
        (Some(_), StaplePolicy::Strict) | (_, StaplePolicy::Must) => Action::Refuse,
    }
}

fn malformed(what: &str) -> String {
    format!("{what} is not well-formed DER")
}

/// The elements within one.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self, what: &str) -> Result<Any<'a>, String> {
        let (rest, element) = Any::from_der(self.0).map_err(|_| malformed(what))?;
        self.0 = rest;
        Ok(element)
    }

    fn sequence(&mut self, what: &str) -> Result<Reader<'a>, String> {
        let element = self.next(what)?;
        match element.tag() {
            Tag::Sequence => Ok(Reader(element.data)),
            _ => Err(malformed(what)),
        }
    }

    /// The content of the next element when it has this tag of its context.
    fn tagged(&mut self, number: u32) -> Option<Reader<'a>> {
        let (rest, element) = Any::from_der(self.0).ok()?;
        let fits = element.class() == Class::ContextSpecific && element.tag() == Tag(number);
        fits.then(|| {
            self.0 = rest;
            Reader(element.data)
        })
    }
}

#[cfg(test)]
#[path = "staple_tests.rs"]
mod tests;
