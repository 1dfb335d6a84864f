//! The clock that dates are signed with: the machine's, corrected by what the upstream says.

use std::sync::atomic::{AtomicI64, Ordering};

use time::{
    OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::BorrowedFormatItem,
    macros::format_description,
};

/// The date of HTTP, as every server writes it today.
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Clocks that differ by less agree, in seconds: a Date header is whole seconds and as old as the
/// answer took, and the upstream's window is 15 minutes.
const AGREE: i64 = 60;

/// What a refused date taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lesson {
    /// The upstream gave no date, or one that agrees with the one it refused.
    Nothing,
    /// The clock has been set right (by this answer or an earlier one); the same call, signed now,
    /// has a new date.
    Corrected,
    /// The clock is right; the date that the caller asked for is too old.
    OldDate,
}

/// Seconds to add to the machine's clock. Zero until the upstream refused a date.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset: AtomicI64,
}

impl Clock {
    pub(super) fn now(&self) -> OffsetDateTime {
        let offset = self.offset.load(Ordering::Relaxed);
        wall_clock().saturating_add(time::Duration::seconds(offset))
    }

    /// Takes the upstream's word for the time, after it refused `signed`. `asked` tells that the
    /// caller had chosen that date.
    pub(super) fn learn(
        &self,
        header: Option<&str>,
        signed: OffsetDateTime,
        asked: bool,
    ) -> Lesson {
        let Some(theirs) = header.and_then(parse) else {
            // Of our own clock nothing is known; that the date was old when it was sent is.
            let age = self.now() - signed;
            return match asked && age.whole_seconds() > AGREE {
                true => Lesson::OldDate,
                false => Lesson::Nothing,
            };
        };
        if (theirs - self.now()).whole_seconds().abs() > AGREE {
            let offset = (theirs - wall_clock()).whole_seconds();
            self.offset.store(offset, Ordering::Relaxed);
        } else if asked {
            return Lesson::OldDate;
        }
        if (theirs - signed).whole_seconds().abs() > AGREE {
            Lesson::Corrected
        } else {
            Lesson::Nothing
        }
    }
}

/// `YYYY-MM-DDThh:mm:ssZ`, as `x-acs-date` wants it.
pub(super) fn format(date: OffsetDateTime) -> String {
    let date = date.to_offset(UtcOffset::UTC);
    let (year, month, day) = date.to_calendar_date();
    let (hour, minute, second) = date.to_hms();
    format!(
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z",
        u8::from(month)
    )
}

/// The date of an HTTP header, if it is one.
pub(super) fn parse(header: &str) -> Option<OffsetDateTime> {
    PrimitiveDateTime::parse(header.trim(), HTTP_DATE)
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}

/// How far the clock of this header is ahead of the machine's, uncorrected.
pub(super) fn skew(header: &str) -> Option<time::Duration> {
    parse(header).map(|theirs| theirs - wall_clock())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a signature is dated by the machine that signs; the database may be elsewhere"
)]
fn wall_clock() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    fn header(date: OffsetDateTime) -> String {
        date.format(HTTP_DATE).unwrap()
    }

    #[test]
    fn dates_are_written_and_read_as_the_wire_has_them() {
        assert_eq!(
            format(datetime!(2026-01-02 11:04:05.9 +8)),
            "2026-01-02T03:04:05Z"
        );
        assert_eq!(
            parse("Sun, 22 Nov 2026 05:37:22 GMT"),
            Some(datetime!(2026-11-22 05:37:22 UTC))
        );
        assert_eq!(parse("soon"), None);
    }

    #[test]
    fn a_refused_clock_is_set_by_the_date_of_the_answer() {
        let clock = Clock::default();
        let signed = clock.now();
        let theirs = signed + Duration::hours(3);

        assert_eq!(
            clock.learn(Some(&header(theirs)), signed, false),
            Lesson::Corrected
        );

        assert!((clock.now() - theirs).whole_seconds().abs() <= AGREE);
    }

    #[test]
    fn a_call_signed_before_the_correction_may_be_made_again() {
        let clock = Clock::default();
        let signed = clock.now();
        let theirs = header(signed - Duration::hours(3));
        clock.learn(Some(&theirs), signed, false);

        assert_eq!(clock.learn(Some(&theirs), signed, false), Lesson::Corrected);
    }

    #[test]
    fn a_right_clock_that_is_refused_learns_nothing() {
        let clock = Clock::default();
        let now = clock.now();

        assert_eq!(clock.learn(Some(&header(now)), now, false), Lesson::Nothing);
        assert_eq!(clock.learn(None, now, false), Lesson::Nothing);
    }

    #[test]
    fn a_date_that_the_caller_chose_does_not_blame_the_clock() {
        let clock = Clock::default();
        let now = clock.now();

        let lesson = clock.learn(Some(&header(now)), now - Duration::minutes(20), true);

        assert_eq!(lesson, Lesson::OldDate);
        let lesson = clock.learn(None, now - Duration::minutes(20), true);
        assert_eq!(lesson, Lesson::OldDate);
        assert_eq!(clock.learn(None, now, true), Lesson::Nothing);
    }
}
