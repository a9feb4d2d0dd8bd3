//! Namespaces by their labels.

use std::collections::BTreeMap;

use meltemi_api::gateway_api::NamespaceSelector;

/// The label that Kubernetes gives every namespace: its name.
const NAME: &str = "kubernetes.io/metadata.name";

/// Whether a namespace has what a selector asks for.
pub fn selects(
    selector: &NamespaceSelector,
    name: &str,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    let label = |key: &str| match key {
        NAME => Some(name),
        _ => labels
            .and_then(|labels| labels.get(key))
            .map(String::as_str),
    };
    let has_all = selector
        .match_labels
        .iter()
        .all(|(key, value)| label(key) == Some(value));
    has_all
        && selector.match_expressions.iter().all(|requirement| {
            let value = label(&requirement.key);
            let is_one = value.is_some_and(|value| requirement.values.iter().any(|v| v == value));
            match requirement.operator.as_str() {
                "In" => is_one,
                "NotIn" => !is_one,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_api::gateway_api::LabelRequirement;

    #[test]
    fn labels_and_expressions() {
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let by = |operator: &str, key: &str, values: &[&str]| NamespaceSelector {
            match_expressions: vec![LabelRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: values.iter().map(|&value| value.to_owned()).collect(),
            }],
            ..NamespaceSelector::default()
        };
        let check = |selector: NamespaceSelector| selects(&selector, "ns", Some(&labels));
        assert!(check(by("In", "team", &["a", "b"])));
        assert!(!check(by("NotIn", "team", &["a", "b"])));
        assert!(check(by("Exists", "team", &[])));
        assert!(check(by("DoesNotExist", "other", &[])));
        assert!(check(by("In", NAME, &["ns"])));
        assert!(!check(by("Sometimes", "team", &[])));
        assert!(selects(&NamespaceSelector::default(), "ns", None));
    }
}
