//! Messages that somebody does not want to hear again.

use std::str::FromStr;

use crate::{Index, Message, Resource, ResourceName};

/// Annotation with a comma-separated list of codes, or `*` (Istio's).
pub(crate) const ANNOTATION: &str = "galley.istio.io/analyze-suppress";

/// One code of some resources, `IST0103=Pod *.default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Code.
    pub code: String,
    /// `KIND NAME.NAMESPACE` or `KIND NAMESPACE/NAME`; `*` stands for any text.
    pub resource: String,
}

impl FromStr for Suppression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((code, resource)) if !code.is_empty() && !resource.is_empty() => Ok(Self {
                code: code.to_owned(),
                resource: resource.to_owned(),
            }),
            _ => Err(format!(
                "\"{text}\": write CODE=RESOURCE, such as \"IST0103=Pod *.default\""
            )),
        }
    }
}

impl Suppression {
    fn covers(&self, message: &Message) -> bool {
        let Some(ResourceName {
            kind,
            namespace,
            name,
        }) = &message.resource
        else {
            return false;
        };
        let forms = if namespace.is_empty() {
            vec![format!("{kind} {name}")]
        } else {
            vec![
                format!("{kind} {name}.{namespace}"),
                format!("{kind} {namespace}/{name}"),
            ]
        };
        self.code == message.code.id && forms.iter().any(|form| glob(&self.resource, form))
    }
}

/// What is not to be said.
#[derive(Debug, Default)]
pub struct Suppressions(pub Vec<Suppression>);

impl Suppressions {
    /// Drops messages that are suppressed here or by an annotation of their object.
    pub fn filter(&self, index: &Index, messages: Vec<Message>) -> Vec<Message> {
        let annotated: Vec<(&Resource, &String)> = index
            .resources
            .iter()
            .filter_map(|resource| Some((resource, resource.annotations.get(ANNOTATION)?)))
            .collect();
        messages
            .into_iter()
            .filter(|message| !self.0.iter().any(|one| one.covers(message)))
            .filter(|message| {
                !annotated
                    .iter()
                    .any(|(resource, codes)| declines(resource, codes, message))
            })
            .collect()
    }
}

/// Whether an object's annotation lists the code of a message about it.
fn declines(resource: &Resource, codes: &str, message: &Message) -> bool {
    message.resource.as_ref() == Some(&resource.name)
        && message.cluster == resource.cluster
        && codes
            .split(',')
            .any(|code| code.trim() == "*" || code.trim() == message.code.id)
}

/// Whether `text` is what `pattern` describes; `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        assert!(glob("Pod *.default", "Pod a.default"));
        assert!(glob("*", "Pod a"));
        assert!(glob("Pod a*c*", "Pod abcd"));
        assert!(!glob("Pod *.default", "Pod a.other"));
        assert!(!glob("Pod a", "Pod ab"));
        assert!(!glob("aa*aa", "aaa"));
    }
}
