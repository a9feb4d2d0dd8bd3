//! From the pressure of a resource to the level of an action.

use super::FULL;

/// Of pressures, where 1 is all there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trigger {
    /// All or nothing.
    Threshold(f64),
    /// From nothing to all between two pressures, the first below the second.
    Scaled { from: f64, to: f64 },
}

impl Trigger {
    /// In thousandths.
    pub fn level(self, pressure: f64) -> u32 {
        match self {
            Self::Threshold(value) if pressure >= value => FULL,
            Self::Threshold(_) => 0,
            Self::Scaled { to, .. } if pressure >= to => FULL,
            Self::Scaled { from, .. } if pressure <= from => 0,
            Self::Scaled { from, to } => {
                let part = (pressure - from) / (to - from);
                // Below saturation it is never all.
                ((part * f64::from(FULL)) as u32).min(FULL - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_pressure() {
        let threshold = Trigger::Threshold(0.9);
        assert_eq!(threshold.level(0.89), 0);
        assert_eq!(threshold.level(0.9), FULL);
        let scaled = Trigger::Scaled { from: 0.5, to: 0.9 };
        for (pressure, level) in [(0.4, 0), (0.5, 0), (0.7, 499), (0.9, FULL), (7.0, FULL)] {
            assert!(scaled.level(pressure).abs_diff(level) <= 1, "{pressure}");
        }
    }
}
