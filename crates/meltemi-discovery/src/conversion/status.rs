//! Conditions of the Gateway API.

use serde_json::{Value, json};

use super::issue::Problem;

/// The controller that the conditions are of; Istio's name, since clients look for it.
pub const CONTROLLER: &str = "istio.io/gateway-controller";

/// A condition that holds unless there is a problem.
pub fn condition(kind: &str, good: &str, problem: Option<&Problem>) -> Value {
    match problem {
        None => json!({"type": kind, "status": "True", "reason": good, "message": ""}),
        Some(problem) => json!({
            "type": kind,
            "status": "False",
            "reason": problem.reason,
            "message": format!("{}: {}", problem.field, problem.message),
        }),
    }
}

/// A condition that says that something is wrong: true with a problem.
pub fn negative(kind: &str, good: &str, problem: Option<&Problem>) -> Value {
    let mut condition = condition(kind, good, problem);
    condition["status"] = json!(if problem.is_some() { "True" } else { "False" });
    condition
}
