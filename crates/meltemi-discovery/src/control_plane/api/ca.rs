//! The certificate authority: its roots, and their replacement.

use super::Context;
use super::answer::{Answer, Refusal};
use hyper::StatusCode;
use meltemi_identity::RotateError;

pub(super) fn state(context: &Context<'_>) -> Answer {
    Answer::json(&context.authority.state())
}

pub(super) fn rotate(context: &Context<'_>) -> Result<Answer, Refusal> {
    match context.authority.rotate() {
        Ok(()) => Ok(state(context)),
        Err(error @ (RotateError::PluggedIn | RotateError::UnderWay)) => {
            Err(Refusal::new(StatusCode::CONFLICT, error.to_string()))
        }
        Err(error @ (RotateError::Store(_) | RotateError::Generate(_))) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )),
    }
}
