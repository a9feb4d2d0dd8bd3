//! Label selectors.

use std::collections::BTreeMap;

use meltemi_api::k8s::LabelSelector;

/// Labels.
pub type Labels = BTreeMap<String, String>;

/// Whether all labels of `selector` are among `labels`. An empty selector selects everything.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// `app=reviews,version=v1`.
pub fn show(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// Whether a Kubernetes selector selects `labels`. An absent one selects everything, one with
/// an operator that does not exist selects nothing.
pub fn matches(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let expressions = selector.match_expressions.iter().flatten();
    selector
        .match_labels
        .as_ref()
        .is_none_or(|wanted| selects(wanted, labels))
        && expressions.into_iter().all(|expression| {
            let value = labels.get(&expression.key);
            let listed = value.is_some_and(|value| {
                let mut values = expression.values.iter().flatten();
                values.any(|listed| listed == value)
            });
            match expression.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn expressions_select_as_kubernetes_does() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"a": "1"},
            "matchExpressions": [
                {"key": "b", "operator": "In", "values": ["x", "y"]},
                {"key": "c", "operator": "DoesNotExist"},
                {"key": "d", "operator": "NotIn", "values": ["no"]},
            ],
        }))
        .expect("a selector");
        assert!(matches(Some(&selector), &labels("a=1,b=y")));
        assert!(!matches(Some(&selector), &labels("a=1,b=z")));
        assert!(!matches(Some(&selector), &labels("a=1,b=x,c=1")));
        assert!(!matches(Some(&selector), &labels("a=1,b=x,d=no")));
        assert!(matches(None, &labels("")));
        assert_eq!(show(&labels("b=2,a=1")), "a=1,b=2");
    }
}
