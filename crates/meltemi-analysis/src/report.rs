//! Where analyzers put what they find.

use meltemi_api::FieldPath;

use crate::message::Place;
use crate::{Code, Message, Resource};

/// The messages of one analyzer.
#[derive(Debug)]
pub struct Report {
    analyzer: &'static str,
    pub(crate) messages: Vec<Message>,
}

impl Report {
    pub(crate) fn new(analyzer: &'static str) -> Self {
        Self {
            analyzer,
            messages: Vec::new(),
        }
    }

    /// Says `text` of a field of `resource`, and what to do.
    pub(crate) fn add(
        &mut self,
        code: &'static Code,
        resource: &Resource,
        field: FieldPath,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let at = resource.position(&field);
        self.messages.push(Message {
            code,
            resource: Some(resource.name.clone()),
            cluster: resource.cluster.clone(),
            place: resource.file.as_ref().map(|file| Place {
                file: file.clone(),
                line: at.line,
                column: at.column,
            }),
            field,
            text: text.into(),
            remedy: remedy.into(),
            analyzer: self.analyzer,
        });
    }

    /// Says something of a document that is no object yet.
    pub(crate) fn of_document(
        &mut self,
        code: &'static Code,
        place: Place,
        field: FieldPath,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.messages.push(Message {
            code,
            resource: None,
            cluster: None,
            place: Some(place),
            field,
            text: text.into(),
            remedy: remedy.into(),
            analyzer: self.analyzer,
        });
    }
}

/// A path in the notation in which it is printed: `at!(spec.servers[i].tls)`.
macro_rules! at {
    ($first:ident $($rest:tt)*) => {
        at!(@ meltemi_api::FieldPath::root().field(stringify!($first)); $($rest)*)
    };
    (@ $path:expr;) => { $path };
    (@ $path:expr; . $name:ident $($rest:tt)*) => {
        at!(@ $path.field(stringify!($name)); $($rest)*)
    };
    (@ $path:expr; [$index:expr] $($rest:tt)*) => {
        at!(@ $path.index($index); $($rest)*)
    };
}

pub(crate) use at;
