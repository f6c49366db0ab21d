//! Windows in which changes are allowed or denied: is it open now, until when, and when does it open again? Pure; the
//! zones come from the time zone database that is compiled in or installed.
//!
//! No window: no restriction. Any allow window: only inside one. Deny wins. A window holds whenever the clock on the
//! wall shows a time inside it: where the clocks go back it lasts from the first `from` to the last `to`, and where
//! they go forward a time that does not exist is the moment of the change. A window that passes midnight belongs to
//! the day on which it starts.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::desired::{Weekday, Window, WindowKind};

/// How far ahead an opening or a closing is looked for: every weekly window comes twice in it.
const HORIZON_DAYS: i64 = 14;

/// Whether changes are allowed at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowState {
    /// `until`: the first instant at which it is closed; `None` where that is more than 14 days away, or never.
    Open { until: Option<Timestamp> },
    /// `opens`: the first instant at which it is open; `None` where that is more than 14 days away, or never.
    Closed { reason: String, opens: Option<Timestamp> },
}

/// The state at `now`. A zone that is unknown closes: nothing is changed at a time that nobody can vouch for.
pub fn windows_state(windows: &[Window], now: Timestamp) -> WindowState {
    let mut spans = Vec::new();
    for window in windows {
        match TimeZone::get(&window.zone) {
            Ok(zone) => spans.extend(occurrences(window, &zone, now)),
            Err(_) => {
                let reason = format!("the time zone `{}` of a window is unknown here", window.zone);
                return WindowState::Closed { reason, opens: None };
            }
        }
    }
    let only_inside = windows.iter().any(|window| window.kind == WindowKind::Allow);
    let closed_by = |at: Timestamp| {
        let inside =
            |kind| spans.iter().find(move |s: &&Occurrence| s.window.kind == kind && s.from <= at && at < s.to);
        match (inside(WindowKind::Deny), inside(WindowKind::Allow)) {
            (Some(deny), _) => Some(Some(deny.window)),
            (None, None) if only_inside => Some(None),
            _ => None,
        }
    };
    // The state changes only where a window begins or ends.
    let mut edges: Vec<Timestamp> = spans.iter().flat_map(|s| [s.from, s.to]).filter(|edge| *edge > now).collect();
    edges.sort_unstable();
    let limit = now.checked_add(SignedDuration::from_hours(24 * HORIZON_DAYS)).unwrap_or(Timestamp::MAX);
    let next = |open: bool| edges.iter().copied().find(|edge| *edge <= limit && closed_by(*edge).is_none() == open);
    match closed_by(now) {
        None => WindowState::Open { until: next(false) },
        Some(by) => WindowState::Closed { reason: reason(by, windows), opens: next(true) },
    }
}

/// One window on one day.
struct Occurrence<'a> {
    window: &'a Window,
    from: Timestamp,
    /// Exclusive.
    to: Timestamp,
}

/// From the day before yesterday, whose window may still last, to the end of the horizon.
fn occurrences<'a>(window: &'a Window, zone: &TimeZone, now: Timestamp) -> impl Iterator<Item = Occurrence<'a>> {
    let today = zone.to_datetime(now).date();
    let zone = zone.clone();
    (-2..=HORIZON_DAYS + 2).filter_map(move |days| {
        let date = today.checked_add(Span::new().days(days)).ok()?;
        if !window.days.is_empty() && !window.days.contains(&weekday(date)) {
            return None;
        }
        let last = if window.to > window.from { date } else { date.tomorrow().ok()? };
        let from = instant(wall(date, window.from)?, &zone, Edge::From)?;
        let to = instant(wall(last, window.to)?, &zone, Edge::To)?;
        Some(Occurrence { window, from, to })
    })
}

/// `minutes` after midnight on the clock of that day; 1440 is the next midnight.
fn wall(date: Date, minutes: u16) -> Option<DateTime> {
    date.to_datetime(Time::midnight()).checked_add(Span::new().minutes(i64::from(minutes))).ok()
}

#[derive(Clone, Copy)]
enum Edge {
    From,
    To,
}

fn instant(at: DateTime, zone: &TimeZone, edge: Edge) -> Option<Timestamp> {
    let found = zone.to_ambiguous_timestamp(at);
    match (found.offset(), edge) {
        (AmbiguousOffset::Unambiguous { offset }, _) => offset.to_timestamp(at).ok(),
        // The earlier reading of a skipped time lies before the change of the clocks.
        (AmbiguousOffset::Gap { .. }, _) => Some(zone.following(found.earlier().ok()?).next()?.timestamp()),
        (AmbiguousOffset::Fold { .. }, Edge::From) => found.earlier().ok(),
        (AmbiguousOffset::Fold { .. }, Edge::To) => found.later().ok(),
    }
}

fn weekday(date: Date) -> Weekday {
    use jiff::civil::Weekday as Day;
    match date.weekday() {
        Day::Monday => Weekday::Mon,
        Day::Tuesday => Weekday::Tue,
        Day::Wednesday => Weekday::Wed,
        Day::Thursday => Weekday::Thu,
        Day::Friday => Weekday::Fri,
        Day::Saturday => Weekday::Sat,
        Day::Sunday => Weekday::Sun,
    }
}

fn reason(by: Option<&Window>, windows: &[Window]) -> String {
    let with = |window: &Window| match &window.reason {
        Some(reason) => format!("{} ({reason})", describe(window)),
        None => describe(window),
    };
    match by {
        Some(deny) => format!("no changes {}", with(deny)),
        None => {
            let allowed = windows.iter().filter(|window| window.kind == WindowKind::Allow);
            format!("changes only {}", allowed.map(with).collect::<Vec<_>>().join(", or "))
        }
    }
}

/// `Mon, Tue 22:00-02:00 Europe/Berlin`.
fn describe(window: &Window) -> String {
    let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let days = match window.days.as_slice() {
        [] => "daily".to_owned(),
        days => days.iter().map(|day| format!("{day:?}")).collect::<Vec<_>>().join(", "),
    };
    let hours = match window.from == window.to {
        true if window.from == 0 => "all day".to_owned(),
        true => format!("{} for 24 hours", clock(window.from)),
        false => format!("{}-{}", clock(window.from), clock(window.to)),
    };
    format!("{days} {hours} {}", window.zone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use WindowKind::{Allow, Deny};
    use proptest::prelude::*;

    fn window(kind: WindowKind, days: &[Weekday], from: u16, to: u16, zone: &str) -> Window {
        Window { kind, days: days.to_vec(), from, to, zone: zone.to_owned(), reason: None }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn open(until: &str) -> WindowState {
        WindowState::Open { until: Some(at(until)) }
    }

    /// `opens` of a closed state.
    fn opens(state: WindowState) -> Option<Timestamp> {
        match state {
            WindowState::Closed { opens, .. } => opens,
            WindowState::Open { .. } => panic!("{state:?} is not closed"),
        }
    }

    const BERLIN: &str = "Europe/Berlin";
    const NIGHT: (u16, u16) = (150, 210); // 02:30-03:30

    #[test]
    fn where_the_clocks_go_forward_a_window_starts_at_the_change() {
        // 2026-03-29: 02:00 CET is 03:00 CEST, at 01:00Z.
        let windows = [window(Allow, &[], NIGHT.0, NIGHT.1, BERLIN)];
        assert_eq!(opens(windows_state(&windows, at("2026-03-29T00:59:59Z"))), Some(at("2026-03-29T01:00:00Z")));
        assert_eq!(windows_state(&windows, at("2026-03-29T01:00:00Z")), open("2026-03-29T01:30:00Z"));
        assert_eq!(opens(windows_state(&windows, at("2026-03-29T01:30:00Z"))), Some(at("2026-03-30T00:30:00Z")));
        // A window wholly inside the gap does not take place that day.
        let inside = [window(Allow, &[], 135, 165, BERLIN)];
        assert_eq!(opens(windows_state(&inside, at("2026-03-29T01:00:00Z"))), Some(at("2026-03-30T00:15:00Z")));
    }

    #[test]
    fn where_the_clocks_go_back_a_window_lasts_from_its_first_start_to_its_last_end() {
        // 2026-10-25: 03:00 CEST is 02:00 CET, at 01:00Z.
        let windows = [window(Allow, &[], NIGHT.0, NIGHT.1, BERLIN)];
        assert_eq!(opens(windows_state(&windows, at("2026-10-25T00:29:59Z"))), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(windows_state(&windows, at("2026-10-25T00:30:00Z")), open("2026-10-25T02:30:00Z"));
        assert_eq!(windows_state(&windows, at("2026-10-25T01:15:00Z")), open("2026-10-25T02:30:00Z"));
        let until_two_thirty = [window(Allow, &[], 60, 150, BERLIN)];
        assert_eq!(windows_state(&until_two_thirty, at("2026-10-25T00:45:00Z")), open("2026-10-25T01:30:00Z"));
    }

    #[test]
    fn on_any_other_day_the_hours_are_those_of_the_zone() {
        let windows = [window(Allow, &[], NIGHT.0, NIGHT.1, BERLIN)];
        assert_eq!(windows_state(&windows, at("2026-01-10T01:30:00Z")), open("2026-01-10T02:30:00Z"));
        assert_eq!(windows_state(&windows, at("2026-07-10T00:30:00Z")), open("2026-07-10T01:30:00Z"));
    }

    #[test]
    fn a_window_that_passes_midnight_belongs_to_its_first_day() {
        // 2026-01-09 is a Friday.
        let windows = [window(Allow, &[Weekday::Fri], 22 * 60, 2 * 60, "UTC")];
        assert_eq!(windows_state(&windows, at("2026-01-10T01:59:00Z")), open("2026-01-10T02:00:00Z"));
        assert_eq!(opens(windows_state(&windows, at("2026-01-10T22:30:00Z"))), Some(at("2026-01-16T22:00:00Z")));
        assert_eq!(opens(windows_state(&windows, at("2026-01-09T01:00:00Z"))), Some(at("2026-01-09T22:00:00Z")));
    }

    #[test]
    fn equal_ends_are_a_whole_day() {
        let weekend = [window(Deny, &[Weekday::Sat, Weekday::Sun], 0, 0, BERLIN)];
        // Saturday 2026-10-24, and a Sunday of 25 hours.
        assert_eq!(opens(windows_state(&weekend, at("2026-10-24T12:00:00Z"))), Some(at("2026-10-25T23:00:00Z")));
        assert_eq!(windows_state(&weekend, at("2026-10-25T23:00:00Z")), open("2026-10-30T23:00:00Z"));
        let always = [window(Allow, &[], 600, 600, BERLIN)];
        assert_eq!(windows_state(&always, at("2026-03-29T01:00:00Z")), WindowState::Open { until: None });
        let never = [window(Deny, &[], 0, 0, "UTC")];
        assert_eq!(opens(windows_state(&never, at("2026-03-29T01:00:00Z"))), None);
    }

    #[test]
    fn deny_wins_and_the_reason_says_which() {
        use Weekday::{Fri, Mon};
        let mut deny = window(Deny, &[Fri], 12 * 60, 24 * 60, "UTC");
        deny.reason = Some("weekend ahead".to_owned());
        let windows = [window(Allow, &[Mon, Fri], 9 * 60, 17 * 60, "UTC"), deny];
        assert_eq!(windows_state(&windows, at("2026-01-09T11:00:00Z")), open("2026-01-09T12:00:00Z"));
        let monday = Some(at("2026-01-12T09:00:00Z"));
        assert_eq!(
            windows_state(&windows, at("2026-01-09T13:00:00Z")),
            WindowState::Closed { reason: "no changes Fri 12:00-24:00 UTC (weekend ahead)".to_owned(), opens: monday }
        );
        assert_eq!(
            windows_state(&windows, at("2026-01-10T00:00:00Z")),
            WindowState::Closed { reason: "changes only Mon, Fri 09:00-17:00 UTC".to_owned(), opens: monday }
        );
    }

    #[test]
    fn no_window_is_open_and_an_unknown_zone_is_closed() {
        let now = at("2026-01-09T11:00:00Z");
        assert_eq!(windows_state(&[], now), WindowState::Open { until: None });
        assert_eq!(opens(windows_state(&[window(Deny, &[], 0, 60, "Mars/Base")], now)), None);
    }

    #[test]
    fn windows_that_touch_are_one() {
        let windows = [window(Allow, &[], 60, 120, "UTC"), window(Allow, &[], 120, 180, "UTC")];
        assert_eq!(windows_state(&windows, at("2026-01-09T01:30:00Z")), open("2026-01-09T03:00:00Z"));
    }

    fn any_window() -> impl Strategy<Value = Window> {
        let zones = prop::sample::select(vec![
            "UTC",
            BERLIN,
            "America/New_York",
            "Asia/Kolkata",
            "Australia/Lord_Howe",
            "America/Nuuk",
        ]);
        let days = prop::sample::subsequence(
            vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun],
            0..=7,
        );
        (prop::bool::ANY, days, 0u16..1440, 0u16..=1440, zones)
            .prop_map(|(allow, days, from, to, zone)| window(if allow { Allow } else { Deny }, &days, from, to, zone))
    }

    /// A second reading of the rules, by the clock on the wall alone. It differs on the days of a change of clocks.
    fn open_by_the_wall(windows: &[Window], now: Timestamp) -> bool {
        let holds = |window: &&Window| {
            let wall = now.to_zoned(TimeZone::get(&window.zone).unwrap()).datetime();
            let minute = wall.hour() as u16 * 60 + wall.minute() as u16;
            let on = |date: Date| window.days.is_empty() || window.days.contains(&weekday(date));
            let today = on(wall.date()) && minute >= window.from && (minute < window.to || window.to <= window.from);
            let since = on(wall.date().yesterday().unwrap()) && window.to <= window.from && minute < window.to;
            today || since
        };
        let (allow, deny): (Vec<&Window>, Vec<&Window>) = windows.iter().partition(|window| window.kind == Allow);
        !deny.iter().any(holds) && (allow.is_empty() || allow.iter().any(holds))
    }

    proptest! {
        #[test]
        fn the_next_edge_is_exact(windows in prop::collection::vec(any_window(), 1..5), second in 1_700_000_000i64..1_900_000_000) {
            let second_before = |edge: Timestamp| edge - SignedDuration::from_secs(1);
            let is_open = |at| matches!(windows_state(&windows, at), WindowState::Open { .. });
            let now = Timestamp::from_second(second).unwrap();
            let (was_open, edge) = match windows_state(&windows, now) {
                WindowState::Open { until } => (true, until),
                WindowState::Closed { opens, .. } => (false, opens),
            };
            match edge {
                Some(edge) => {
                    prop_assert!(edge > now);
                    prop_assert_eq!(is_open(edge), !was_open);
                    prop_assert_eq!(is_open(second_before(edge)), was_open);
                }
                None => for hours in 0..24 * HORIZON_DAYS / 5 {
                    prop_assert_eq!(is_open(now + SignedDuration::from_hours(hours * 5)), was_open);
                }
            }
        }

        #[test]
        fn away_from_a_change_of_clocks_the_wall_decides(windows in prop::collection::vec(any_window(), 0..5), second in 0i64..5_000_000) {
            // From 2026-05-01 on, for 57 days, no clock of these zones changes.
            let now = at("2026-05-01T00:00:00Z") + SignedDuration::from_secs(second);
            let is_open = matches!(windows_state(&windows, now), WindowState::Open { .. });
            prop_assert_eq!(is_open, open_by_the_wall(&windows, now));
        }
    }
}
