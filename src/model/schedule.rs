//! When something is to happen that happens again and again: a line of cron on the clock of a zone (F2, F4). Pure: the
//! instants are asked for, nobody waits here.
//!
//! What a change of clocks does is decided here and not by the library, because a backup must not be lost for a night:
//! - A time that does not exist (02:30 where the clocks go forward at 02:00) is the moment of the change.
//! - A time that comes twice counts once, the first time. Where the hour is a `*`, it counts both times: what comes every
//!   15 minutes goes on coming every 15 minutes.
//! - Two times that fall on one instant are one.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Longer than any clock is turned by, at once: an hour in Europe, two at Troll, half an hour on Lord Howe.
const TURN: SignedDuration = SignedDuration::from_hours(3);
/// From here on it is looked whether a schedule ever fires. Its next time may be 40 years away (29 February on a Sunday).
const FROM: DateTime = DateTime::constant(2024, 1, 1, 0, 0, 0, 0);
const YEARS: i64 = 60;

/// A line of cron, and the zone whose clocks it means.
#[derive(Clone, PartialEq, Eq)]
pub struct Schedule {
    /// As it was written.
    text: String,
    zone_name: String,
    zone: TimeZone,
    cron: Cron,
}

/// Why a schedule is none. Displays as a sentence that names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    #[error("`{0}` is not a schedule: {1}")]
    Line(String, String),
    #[error("`{0}` never fires: there is no such day in {YEARS} years")]
    Never(String),
    #[error("`{0}` is not a time zone: IANA names such as \"Europe/Berlin\" or \"UTC\" are known")]
    Zone(String),
}

impl Schedule {
    /// Reads five fields of cron (minute, hour, day, month, weekday) or one of `@hourly`, `@daily`, `@weekly`, `@monthly`,
    /// `@yearly`, on the clocks of an IANA zone. Where day and weekday are both given, either is enough, as in every cron;
    /// `+SUN` wants both, `SUN#1` is the first Sunday of a month, `L` its last day.
    ///
    /// # Errors
    /// Says what is wrong with the line or with the zone, or that it never fires.
    pub fn parse(line: &str, zone: &str) -> Result<Schedule, BadSchedule> {
        let text = line.trim().to_owned();
        let bad = |why: &str| BadSchedule::Line(text.clone(), why.trim_end_matches('.').to_owned());
        if !text.starts_with('@') && text.split_whitespace().count() != 5 {
            return Err(bad(
                "five fields are needed, minute, hour, day of the month, month, weekday, as in \"0 2 * * *\"",
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&text).map_err(|error| bad(&error.to_string()))?;
        let known = TimeZoneDatabase::bundled().get(zone).map_err(|_| BadSchedule::Zone(zone.to_owned()))?;
        let schedule = Schedule { text, zone_name: zone.to_owned(), zone: known, cron };
        let limit = FROM.checked_add(YEARS.years()).unwrap_or(DateTime::MAX);
        match schedule.civil_after(FROM) {
            Some(first) if first < limit => Ok(schedule),
            _ => Err(BadSchedule::Never(schedule.text)),
        }
    }

    /// As it was written.
    pub fn line(&self) -> &str {
        &self.text
    }

    /// The zone's name.
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// The zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first instant after this one at which it fires.
    pub fn next_after(&self, after: Timestamp) -> Timestamp {
        let wall = self.zone.to_datetime(after);
        let offset = |at: Timestamp| self.zone.to_offset(at);
        let (before, later) = (after.saturating_sub(TURN), after.saturating_add(TURN));
        let turned = [before, later].into_iter().flatten().any(|near| offset(near) != offset(after));
        // Near a change of clocks the order of the wall is not that of time.
        let mut from = if turned { wall.saturating_sub(TURN) } else { wall };
        let mut best: Option<Timestamp> = None;
        let mut enough: Option<DateTime> = None;
        while let Some(next) = self.civil_after(from) {
            if enough.is_some_and(|enough| next > enough) {
                break;
            }
            from = next;
            let found = self.instants(next).into_iter().flatten().filter(|at| *at > after).min();
            if let Some(found) = found {
                best = Some(best.map_or(found, |best| best.min(found)));
                enough.get_or_insert_with(|| if turned { next.saturating_add(TURN) } else { next });
            }
        }
        best.unwrap_or(Timestamp::MAX)
    }

    fn civil_after(&self, after: DateTime) -> Option<DateTime> {
        self.cron.find_next_occurrence(&after, false).ok()
    }

    /// When the clock on the wall shows this, as far as it counts.
    fn instants(&self, wall: DateTime) -> [Option<Timestamp>; 2] {
        let found = self.zone.to_ambiguous_timestamp(wall);
        match found.offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(wall).ok(), None],
            AmbiguousOffset::Gap { .. } => {
                let change = found.earlier().ok().and_then(|before| self.zone.following(before).next());
                [change.map(|change| change.timestamp()), None]
            }
            AmbiguousOffset::Fold { .. } => [found.earlier().ok(), found.later().ok().filter(|_| self.every_hour())],
        }
    }

    /// Whether it is a rhythm rather than a time of day.
    fn every_hour(&self) -> bool {
        let hours = self.text.split_ascii_whitespace().nth(1);
        hours.is_some_and(|hours| hours.contains('*')) || self.cron.pattern.hours.values().len() == 24
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.zone_name)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BERLIN: &str = "Europe/Berlin";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The next instants after this one.
    fn fires(line: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(line, zone).unwrap();
        let mut last = at(after);
        (0..count)
            .map(|_| {
                last = schedule.next_after(last);
                last.to_string()
            })
            .collect()
    }

    #[test]
    fn where_the_clocks_go_forward_no_night_is_lost() {
        // 2026-03-29: 02:00 CET is 03:00 CEST, at 01:00Z.
        let nights = ["2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"];
        assert_eq!(fires("0 2 * * *", BERLIN, "2026-03-27T12:00:00Z", 3), nights);
        let nights = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        assert_eq!(fires("30 2 * * *", BERLIN, "2026-03-27T12:00:00Z", 3), nights);
        // Two times that do not exist are one instant.
        let nights = ["2026-03-28T01:15:00Z", "2026-03-28T01:45:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"];
        assert_eq!(fires("15,45 2 * * *", BERLIN, "2026-03-27T12:00:00Z", 4), nights);
        // A rhythm has no hole and no double.
        let rhythm = ["2026-03-29T00:40:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z"];
        assert_eq!(fires("*/20 * * * *", BERLIN, "2026-03-29T00:20:00Z", 3), rhythm);
    }

    #[test]
    fn where_the_clocks_go_back_a_time_of_day_counts_once_and_a_rhythm_goes_on() {
        // 2026-10-25: 03:00 CEST is 02:00 CET, at 01:00Z.
        let nights = ["2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z", "2026-10-26T01:00:00Z"];
        assert_eq!(fires("0 2 * * *", BERLIN, "2026-10-23T12:00:00Z", 3), nights);
        let nights = ["2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z", "2026-10-26T01:15:00Z"];
        assert_eq!(fires("15,45 2 * * *", BERLIN, "2026-10-24T12:00:00Z", 3), nights);
        let rhythm = ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(fires("*/30 * * * *", BERLIN, "2026-10-25T00:00:00Z", 4), rhythm);
        assert_eq!(fires("*/30 0-23 * * *", BERLIN, "2026-10-25T00:00:00Z", 4), rhythm);
    }

    #[test]
    fn a_change_of_half_an_hour_and_one_of_two_are_the_same_to_it() {
        // Lord Howe: 02:00 +10:30 is 02:30 +11:00 on 2026-10-04, at 15:30Z of the day before.
        assert_eq!(fires("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 1), ["2026-10-03T15:30:00Z"]);
        // Troll: 01:00 +00:00 is 03:00 +02:00 on 2026-03-29, at 01:00Z.
        assert_eq!(fires("30 1 * * *", "Antarctica/Troll", "2026-03-28T12:00:00Z", 1), ["2026-03-29T01:00:00Z"]);
    }

    #[test]
    fn the_first_sunday_of_a_month_and_the_last_day() {
        let sundays = ["2026-12-06T02:00:00Z", "2027-01-03T02:00:00Z", "2027-02-07T02:00:00Z"];
        assert_eq!(fires("0 3 * * SUN#1", BERLIN, "2026-11-30T00:00:00Z", 3), sundays);
        assert_eq!(fires("0 3 1-7 * +SUN", BERLIN, "2026-11-30T00:00:00Z", 3), sundays);
        // Day or weekday: either is enough.
        let either = ["2026-12-01T02:00:00Z", "2026-12-02T02:00:00Z", "2026-12-03T02:00:00Z"];
        assert_eq!(fires("0 3 1-7 * SUN", BERLIN, "2026-11-30T03:00:00Z", 3), either);
        assert_eq!(
            fires("0 3 L 2 *", "UTC", "2027-01-01T00:00:00Z", 2),
            ["2027-02-28T03:00:00Z", "2028-02-29T03:00:00Z"]
        );
        assert_eq!(fires("@daily", BERLIN, "2026-11-30T00:00:00Z", 1), ["2026-11-30T23:00:00Z"]);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_its_words() {
        let refused = |line, zone| Schedule::parse(line, zone).unwrap_err().to_string();
        assert_eq!(refused("0 0 30 2 *", BERLIN), "`0 0 30 2 *` never fires: there is no such day in 60 years");
        assert_eq!(
            refused("0 2 * *", BERLIN),
            "`0 2 * *` is not a schedule: five fields are needed, minute, hour, day of the month, month, weekday, as in \"0 2 * * *\""
        );
        assert!(refused("0 0 2 * * *", BERLIN).contains("five fields"));
        assert!(refused("0 25 * * *", BERLIN).starts_with("`0 25 * * *` is not a schedule: "));
        assert!(refused("@midsummer", BERLIN).starts_with("`@midsummer` is not a schedule: "));
        assert!(refused("", BERLIN).contains("five fields"));
        assert!(refused("0 2 * * *", "Berlin").starts_with("`Berlin` is not a time zone"));
        // Rare is not never: the next 29 February on a Sunday is in 2032.
        assert_eq!(fires("0 0 29 2 +SUN", "UTC", "2026-11-30T00:00:00Z", 1), ["2032-02-29T00:00:00Z"]);
    }

    fn any_schedule() -> impl Strategy<Value = Schedule> {
        let lines = prop::sample::select(vec![
            "0 2 * * *",
            "30 2 * * *",
            "15,45 2 * * *",
            "*/15 * * * *",
            "0 */2 * * *",
            "0 3 * * SUN#1",
            "5 1-3 * * *",
            "59 23 31 12 *",
            "@hourly",
            "0 0 L * *",
            "0 2 1-7 * SUN",
        ]);
        let zones = prop::sample::select(vec![
            BERLIN,
            "UTC",
            "Australia/Lord_Howe",
            "Antarctica/Troll",
            "America/St_Johns",
            "Africa/Casablanca",
        ]);
        (lines, zones).prop_map(|(line, zone)| Schedule::parse(line, zone).unwrap())
    }

    proptest! {
        /// Between two times lies none: whoever asks at any moment in between is told the second one.
        #[test]
        fn the_next_time_is_the_same_from_everywhere_before_it(
            schedule in any_schedule(), second in 1_700_000_000i64..1_900_000_000, part in 0.0..1.0f64,
        ) {
            let now = Timestamp::from_second(second).unwrap();
            let next = schedule.next_after(now);
            prop_assert!(next > now);
            let between = now + SignedDuration::from_secs_f64((next.duration_since(now).as_secs_f64() - 1.0).max(0.0) * part);
            prop_assert_eq!(schedule.next_after(between), next);
            prop_assert_eq!(schedule.next_after(next - SignedDuration::from_nanos(1)), next);
            prop_assert!(schedule.next_after(next) > next);
        }
    }
}
