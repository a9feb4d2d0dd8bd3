//! The routes of a virtual host, in order, and by what most of them are passed over.

use super::{PathMatch, Route, RouteMatch};
use std::ops::Deref;
use std::sync::Arc;

/// A virtual host's routes. The first that matches is taken.
pub struct Routes {
    all: Box<[Arc<Route>]>,
    /// Of each route.
    keys: Box<[Key]>,
}

impl Routes {
    /// The routes that this path (without its query) does not rule out at once. Of a hundred
    /// routes those are one or two: the others cost one comparison each, side by side in memory.
    pub fn candidates(&self, path: &str) -> impl Iterator<Item = &Arc<Route>> {
        let path = path.as_bytes();
        let begins = eight(&path[..path.len().min(8)]);
        let routes = self.keys.iter().zip(&self.all);
        routes.filter_map(move |(key, route)| key.admits(path, begins).then_some(route))
    }
}

impl FromIterator<Arc<Route>> for Routes {
    fn from_iter<T: IntoIterator<Item = Arc<Route>>>(routes: T) -> Self {
        let all: Box<[_]> = routes.into_iter().collect();
        Self {
            keys: all.iter().map(|route| Key::of(&route.matches)).collect(),
            all,
        }
    }
}

impl Deref for Routes {
    type Target = [Arc<Route>];

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

/// What a matching path must have: bytes at its beginning, of which the last eight are compared.
struct Key {
    length: usize,
    last: u64,
}

impl Key {
    fn of(wanted: &RouteMatch) -> Self {
        let text = match &wanted.path {
            PathMatch::Exact(text) | PathMatch::Prefix(text) | PathMatch::SeparatedPrefix(text)
                if wanted.case_sensitive =>
            {
                text.as_bytes()
            }
            _ => b"",
        };
        Self {
            length: text.len(),
            last: eight(&text[text.len().saturating_sub(8)..]),
        }
    }

    /// `begins`: the path's first eight bytes.
    fn admits(&self, path: &[u8], begins: u64) -> bool {
        if path.len() < self.length {
            return false;
        }
        match self.length.checked_sub(8) {
            Some(from) => eight(&path[from..self.length]) == self.last,
            None => begins & ((1 << (8 * self.length)) - 1) == self.last,
        }
    }
}

/// At most eight bytes as a number.
fn eight(bytes: &[u8]) -> u64 {
    if let Ok(bytes) = bytes.try_into() {
        return u64::from_le_bytes(bytes);
    }
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testkit::route;
    use crate::model::{Action, DirectResponse};
    use proptest::prelude::*;

    fn direct() -> Action {
        Action::Direct(DirectResponse {
            status: http::StatusCode::OK,
            body: bytes::Bytes::new(),
        })
    }

    proptest! {
        /// A route that matches is always among the candidates, and in its place.
        #[test]
        fn no_route_that_matches_is_passed_over(
            patterns in prop::collection::vec(("[ab/]{0,12}", 0..3u8), 1..8),
            path in "/[ab/]{0,14}",
        ) {
            let routes: Routes = patterns
                .iter()
                .map(|(text, kind)| {
                    let text = text.as_str().into();
                    let path = match kind {
                        0 => PathMatch::Exact(text),
                        1 => PathMatch::Prefix(text),
                        _ => PathMatch::SeparatedPrefix(text),
                    };
                    Arc::new(route(path, direct()))
                })
                .collect();
            let matches = |route: &Arc<Route>| match &route.matches.path {
                PathMatch::Exact(text) => path == **text,
                PathMatch::Prefix(text) => path.starts_with(&**text),
                PathMatch::SeparatedPrefix(text) => path
                    .strip_prefix(&**text)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
                _ => true,
            };
            let found = routes.candidates(&path).find(|route| matches(route));
            let expected = routes.iter().find(|route| matches(route));
            prop_assert_eq!(found.map(Arc::as_ptr), expected.map(Arc::as_ptr));
        }
    }
}
