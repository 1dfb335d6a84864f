//! Which command comes next, where an apply waits for a person.

use std::io::Write;

use super::printer::Printer;
use crate::proto::{Apply, ApplyStatus};

/// Ends a text with the command that comes next, if there is one.
pub(super) fn tell<W: Write>(printer: &mut Printer<'_, W>, apply: &Apply) -> anyhow::Result<()> {
    match next(apply) {
        Some(next) if !printer.is_json() => {
            printer.print(|| format!("next: {next}\n"), Default::default)
        }
        _ => Ok(()),
    }
}

fn next(apply: &Apply) -> Option<String> {
    use ApplyStatus as S;
    let (id, counts) = (apply.apply_id, apply.counts.unwrap_or_default());
    if !apply.settled {
        return None;
    }
    match apply.status() {
        S::CheckSuccess => Some(format!("`registrar register {id}` has them registered")),
        S::CheckFailed if counts.valid > 0 => Some(format!(
            "`registrar register {id} --skip-invalid` has the {} valid registered without the \
             others",
            counts.valid
        )),
        S::CheckFailed => Some("mend the devices and check them again; none is valid".into()),
        S::CreateFailed if counts.failed > 0 => Some(format!(
            "`registrar register {id} --retry-failed` has the {} failed registered again",
            counts.failed
        )),
        S::CreateFailed if counts.unknown > 0 => {
            Some("check the unknown devices again; those that exist are told".into())
        }
        S::Unspecified
        | S::Check
        | S::Create
        | S::CreateSuccess
        | S::CreateFailed
        | S::Cancelled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::testing::apply_at, proto::DeviceCounts};

    #[test]
    fn an_apply_that_waits_for_a_person_tells_the_command() {
        use ApplyStatus as S;
        let with = |status, valid, failed| {
            let counts = DeviceCounts {
                valid,
                failed,
                ..DeviceCounts::default()
            };
            next(&Apply {
                counts: Some(counts),
                ..apply_at(3, status, [0; 3])
            })
        };
        let begins = |told: Option<String>, how: &str| told.unwrap().starts_with(how);

        assert!(begins(
            with(S::CheckSuccess, 7, 0),
            "`registrar register 17` "
        ));
        let told = with(S::CheckFailed, 7, 0);
        assert!(begins(
            told,
            "`registrar register 17 --skip-invalid` has the 7 valid "
        ));
        assert!(begins(with(S::CheckFailed, 0, 0), "mend the devices"));
        let told = with(S::CreateFailed, 0, 2);
        assert!(begins(
            told,
            "`registrar register 17 --retry-failed` has the 2 failed "
        ));
        assert_eq!(with(S::CreateFailed, 0, 0), None);
        assert_eq!(with(S::CreateSuccess, 0, 0), None);
        assert_eq!(with(S::Cancelled, 7, 0), None);
        assert_eq!(with(S::Check, 7, 0), None);
    }
}
