//! What each number of a scenario may be: one that can't be run is refused by its name, before
//! anything starts.

use std::fmt::Display;
use std::ops::RangeInclusive;

use anyhow::{Result, ensure};

use super::{Day, Expect, Scenario};
use crate::limits::{
    DAYS_S_MAX, EVENTS_MAX, RATE_MAX, SOCKETS_MAX, TEAMS_MAX, TIME_FACTOR_MAX, TIME_FACTOR_MIN,
    WINDOWS_MAX,
};

/// What is longer than nothing is this long at least.
const SECONDS_MIN: f64 = 1e-3;

/// Refuses what lies outside (and what is no number), by its key.
pub(super) fn within<T: PartialOrd + Display + Copy>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<()> {
    let (least, most) = (range.start(), range.end());
    ensure!(range.contains(&value), "{key} is {value}: it may be {least} to {most}");
    Ok(())
}

/// `--time`.
pub fn time_factor(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().map_err(|error| error.to_string())?;
    let range = TIME_FACTOR_MIN..=TIME_FACTOR_MAX;
    within("--time", factor, range).map_err(|error| error.to_string())?;
    Ok(factor)
}

/// One of `--sockets`.
pub fn sockets(text: &str) -> Result<usize, String> {
    let count = text.parse::<usize>().map_err(|error| error.to_string())?;
    within("--sockets", count, 1..=SOCKETS_MAX).map_err(|error| error.to_string())?;
    Ok(count)
}

impl Scenario {
    /// Each number on its own.
    pub(super) fn check_ranges(&self) -> Result<()> {
        within("sockets", self.sockets, 0..=SOCKETS_MAX)?;
        within("teams", self.teams, 0..=TEAMS_MAX)?;
        within("sockets_per_team", self.sockets_per_team, 0..=SOCKETS_MAX)?;
        within("timed_team_first", self.timed_team_first, 0..=TEAMS_MAX)?;
        within("stalled_percent", self.stalled_percent, 0.0..=100.0)?;
        within("slow_percent", self.slow_percent, 0.0..=100.0)?;
        within("drain_s_max", self.drain_s_max, 0.0..=DAYS_S_MAX)?;
        for phase in &self.phases {
            within("phase.seconds", phase.seconds, SECONDS_MIN..=DAYS_S_MAX)?;
            within("phase.rate", phase.rate, 0.0..=RATE_MAX)?;
            within("phase.rate_per_team", phase.rate_per_team, 0.0..=RATE_MAX)?;
            within("phase.repeat", phase.repeat, 1..=WINDOWS_MAX as u32)?;
            for beside in &phase.tracks {
                within("phase.beside.rate", beside.rate, 0.0..=RATE_MAX)?;
                within("phase.beside.burst", beside.burst, 1..=EVENTS_MAX as u32)?;
                within("phase.beside.team_first", beside.team_first, 0..=TEAMS_MAX)?;
                within("phase.beside.team_count", beside.team_count, 1..=TEAMS_MAX)?;
            }
        }
        let crowd = self.sources.crowd_posts_per_s;
        within("sources.crowd_posts_per_s", crowd, 0.0..=RATE_MAX)?;
        self.day.as_ref().map_or(Ok(()), Day::check_ranges)?;
        self.expect.check_ranges()
    }
}

impl Expect {
    fn check_ranges(&self) -> Result<()> {
        for (key, bound) in [
            ("expect.closed_percent_max", self.closed_percent_max),
            ("expect.p99_ms_max", self.p99_ms_max),
            ("expect.away_s_max", self.away_s_max),
            ("expect.calm_ms_max", self.calm_ms_max),
            ("expect.back_within_s", self.back_within_s),
            ("expect.drain_s_max", self.drain_s_max),
            ("expect.growth_mib_per_hour_max", self.growth_mib_per_hour_max),
            ("expect.p99_ratio_max", self.p99_ratio_max),
        ] {
            bound.map_or(Ok(()), |bound| within(key, bound, 0.0..=RATE_MAX))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a scenario is refused that says this.
    fn refused(top: &str, phase: &str, expect: &str) -> String {
        let text = format!(
            "name = \"x\"\nquestion = \"?\"\n{top}\n[[phase]]\nname = \"a\"\n{phase}\n\
             [[phase]]\nname = \"b\"\nrate = 1.0\nseconds = 1.0\n[expect]\n{expect}\n"
        );
        let scenario: Scenario = toml::from_str(&text).unwrap();
        scenario.check().unwrap_err().to_string()
    }

    #[test]
    fn each_number_is_refused_by_its_key_and_range() {
        let (top, phase) = ("sockets = 9\nteams = 1", "rate = 1.0\nseconds = 1.0");
        for (key, error) in [
            ("sockets", refused("sockets = 99_999_999_999\nteams = 1", phase, "")),
            ("teams", refused("sockets = 9\nteams = 1_000_000_001", phase, "")),
            ("drain_s_max", refused(&format!("{top}\ndrain_s_max = -1.0"), phase, "")),
            ("drain_s_max", refused(&format!("{top}\ndrain_s_max = nan"), phase, "")),
            ("stalled_percent", refused(&format!("{top}\nstalled_percent = 150.0"), phase, "")),
            ("phase.repeat", refused(top, &format!("{phase}\nrepeat = 100_000_000"), "")),
            ("expect.p99_ms_max", refused(top, phase, "p99_ms_max = -1.0")),
        ] {
            assert!(error.starts_with(&format!("{key} is ")), "{key}: {error}");
        }
        for value in ["inf", "1e300", "nan", "0.0", "-1.0"] {
            let error = refused(top, &format!("rate = 1.0\nseconds = {value}"), "");
            assert!(error.starts_with("phase.seconds is "), "{value}: {error}");
        }
        for value in ["nan", "-5.0", "1e12"] {
            let error = refused(top, &format!("seconds = 1.0\nrate = {value}"), "");
            assert!(error.starts_with("phase.rate is "), "{value}: {error}");
        }
    }

    #[test]
    fn factors_and_counts_of_the_command_line_have_ranges_too() {
        for text in ["0", "-1", "nan", "inf", "1e300", "x"] {
            assert!(time_factor(text).is_err(), "{text}");
        }
        assert_eq!(time_factor("0.1"), Ok(0.1));
        assert!(sockets("0").unwrap_err().contains("1 to"));
        assert!(sockets("99999999999").is_err());
        assert_eq!(sockets("10000"), Ok(10_000));
    }
}
