//! Trailers, which come when the exchange is over and the body is read.

use super::{Mutations, Step, remove_matching};
use crate::http::header_ops;
use crate::http::record::Record;
use http::HeaderMap;
use std::rc::Rc;
use std::sync::Arc;

/// Whose trailers.
#[derive(Clone, Copy)]
pub(super) enum Of {
    Request,
    Response,
}

impl Of {
    pub fn steps(self, mutations: &Mutations) -> &[Step] {
        match self {
            Self::Request => &mutations.request_trailers,
            Self::Response => &mutations.response_trailers,
        }
    }
}

/// What is to be done with the trailers of one body.
pub(crate) struct Trailing {
    levels: Box<[Arc<Mutations>]>,
    record: Rc<Record>,
    of: Of,
}

impl Trailing {
    /// `None`: nothing.
    pub(super) fn new(levels: Box<[Arc<Mutations>]>, record: &Rc<Record>, of: Of) -> Option<Self> {
        (!levels.is_empty()).then(|| Self {
            levels,
            record: record.clone(),
            of,
        })
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.levels.iter().flat_map(|level| self.of.steps(level))
    }

    pub(super) fn has_formats(&self) -> bool {
        self.steps().any(Step::is_format)
    }

    pub fn change(&self, trailers: &mut HeaderMap) {
        let info = &self.record.info;
        for step in self.steps() {
            match (step, self.of) {
                (Step::Change(ops), Of::Request) => {
                    header_ops::request_trailers(ops, trailers, info);
                }
                (Step::Change(ops), Of::Response) => {
                    header_ops::response_trailers(ops, trailers, info);
                }
                (Step::RemoveMatching(pattern), _) => remove_matching(pattern, trailers),
            }
        }
    }
}
