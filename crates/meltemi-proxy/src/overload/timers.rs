//! Timers that are shortened while resources run short (`reduce_timeouts`).

use crate::compile::any::{Typed, open};
use crate::compile::basic::duration;
use crate::compile::{At, Cx, Error, Result};
use envoy_types::pb::envoy::config::overload::v3 as proto;
use envoy_types::pb::google::protobuf::Any;
use prost::Name;
use proto::ScaleTimersOverloadActionConfig as Config;
use proto::scale_timers_overload_action_config::scale_timer::OverloadAdjust;
use proto::scale_timers_overload_action_config::{ScaleTimer, TimerType};
use std::time::Duration;

/// Of a client's connection. Envoy's `TimerType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// An HTTP connection without requests.
    ConnectionIdle,
    /// A request or an answer of which nothing moves.
    StreamIdle,
    /// The TLS handshake; as it stands when it begins.
    Handshake,
    /// An HTTP connection's life.
    ConnectionMax,
}

/// What is left of a limit at full pressure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Minimum {
    Time(Duration),
    /// Of the limit, up to 1.
    Part(f64),
}

impl Minimum {
    /// Never more than the limit.
    pub fn of(self, limit: Duration) -> Duration {
        match self {
            Self::Time(time) => time.min(limit),
            Self::Part(part) => limit.mul_f64(part),
        }
    }
}

/// Of the timers that are reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Minimums([Option<Minimum>; Timer::ConnectionMax as usize + 1]);

impl Minimums {
    pub fn of(&self, timer: Timer) -> Option<Minimum> {
        self.0[timer as usize]
    }

    #[cfg(test)]
    pub fn only(timer: Timer, minimum: Duration) -> Self {
        let mut minimums = Self::default();
        minimums.0[timer as usize] = Some(Minimum::Time(minimum));
        minimums
    }

    pub fn any(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// Compiles the configuration of the action `reduce_timeouts`.
    ///
    /// # Errors
    /// When it is missing or of another kind, or names a timer twice or none.
    pub fn compile(value: Option<Any>, cx: &mut Cx<'_>) -> Result<Self> {
        let typed: Typed = open(value)?;
        if typed.type_name() != Config::full_name() {
            return Err(Error::new(format!("must be {}", Config::full_name())));
        }
        let Config {
            timer_scale_factors,
        } = typed.decode()?;
        if timer_scale_factors.is_empty() {
            return Err(Error::missing("timer_scale_factors"));
        }
        let mut minimums = Self::default();
        for (index, value) in timer_scale_factors.into_iter().enumerate() {
            minimums.add(value, cx).nth("timer_scale_factors", index)?;
        }
        Ok(minimums)
    }

    fn add(&mut self, value: ScaleTimer, cx: &mut Cx<'_>) -> Result<()> {
        let timer = match value.timer() {
            TimerType::HttpDownstreamConnectionIdle => Timer::ConnectionIdle,
            TimerType::HttpDownstreamStreamIdle => Timer::StreamIdle,
            TimerType::TransportSocketConnect => Timer::Handshake,
            TimerType::HttpDownstreamConnectionMax => Timer::ConnectionMax,
            TimerType::HttpDownstreamStreamFlush => {
                cx.notice(
                    "ScaleTimersOverloadActionConfig.timer_scale_factors",
                    "HTTP_DOWNSTREAM_STREAM_FLUSH is not taken: there is no timer of its own",
                );
                return Ok(());
            }
            TimerType::Unspecified => return Err(Error::missing("timer")),
        };
        let ScaleTimer {
            timer: _,
            overload_adjust,
        } = value;
        let minimum = match overload_adjust {
            Some(OverloadAdjust::MinTimeout(time)) => {
                Minimum::Time(duration(time).at("min_timeout")?)
            }
            Some(OverloadAdjust::MinScale(part)) => match (0.0..=100.0).contains(&part.value) {
                true => Minimum::Part(part.value / 100.0),
                false => return Err(Error::new("must be from 0 to 100").at_field("min_scale")),
            },
            None => return Err(Error::missing("min_timeout")),
        };
        match self.0[timer as usize].replace(minimum) {
            None => Ok(()),
            Some(_) => Err(Error::new("is there twice").at_field("timer")),
        }
    }
}
