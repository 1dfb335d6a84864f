//! Times as they are shown: RFC 3339 in UTC.

use prost_types::Timestamp;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// To the second, for people.
pub(super) fn seconds(time: Option<&Timestamp>) -> String {
    let time = time
        .and_then(parsed)
        .and_then(|time| time.replace_nanosecond(0).ok());
    shown(time).unwrap_or_else(|| "-".to_owned())
}

/// To the millisecond and always as wide, for people who compare.
pub(super) fn milliseconds(time: Option<&Timestamp>) -> String {
    let Some(parsed) = time.and_then(parsed) else {
        return "-".to_owned();
    };
    let whole = seconds(time);
    format!(
        "{}.{:03}Z",
        whole.trim_end_matches('Z'),
        parsed.millisecond()
    )
}

/// As exact as it came, for machines. Absent where it is absent or no time at all.
pub(super) fn exact(time: Option<&Timestamp>) -> Option<String> {
    shown(time.and_then(parsed))
}

fn parsed(time: &Timestamp) -> Option<OffsetDateTime> {
    let whole = OffsetDateTime::from_unix_timestamp(time.seconds).ok()?;
    whole
        .replace_nanosecond(u32::try_from(time.nanos).ok()?)
        .ok()
}

fn shown(time: Option<OffsetDateTime>) -> Option<String> {
    time?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_utc_as_exactly_as_it_is_wanted() {
        let at = |nanos| Timestamp {
            seconds: 1_767_225_600,
            nanos,
        };
        let time = at(120_000_000);

        assert_eq!(seconds(Some(&time)), "2026-01-01T00:00:00Z");
        assert_eq!(milliseconds(Some(&time)), "2026-01-01T00:00:00.120Z");
        assert_eq!(milliseconds(Some(&at(0))), "2026-01-01T00:00:00.000Z");
        assert_eq!(
            exact(Some(&time)).as_deref(),
            Some("2026-01-01T00:00:00.12Z")
        );
    }

    #[test]
    fn what_is_no_time_is_a_dash_for_people_and_absent_for_machines() {
        let beyond = Timestamp {
            seconds: i64::MAX,
            nanos: -1,
        };

        assert_eq!(seconds(None), "-");
        assert_eq!(milliseconds(Some(&beyond)), "-");
        assert_eq!(exact(Some(&beyond)), None);
    }
}
