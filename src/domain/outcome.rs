//! A device's one result, and the counts that an apply keeps of them.

use super::Corrupt;

/// Declares an enum whose variants are stored as words, with the way there and back.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident ($what:literal) {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word it is stored as.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = Corrupt;

            fn from_str(word: &str) -> Result<Self, Corrupt> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Corrupt { what: $what, value: word.to_owned() }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use words;

/// The one result of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Not known yet.
    Pending = b'P',
    /// Passed the check.
    Valid = b'V',
    /// Did not pass the check.
    Invalid = b'I',
    /// Exists upstream, created by this apply.
    Created = b'C',
    /// Was sent and refused.
    Failed = b'F',
    /// Was sent, and what became of it is not known.
    Unknown = b'U',
    /// Was not sent, because the apply was cancelled.
    Cancelled = b'X',
}

impl Outcome {
    /// Every one of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Valid,
        Self::Invalid,
        Self::Created,
        Self::Failed,
        Self::Unknown,
        Self::Cancelled,
    ];

    /// Whether the device still has a way to go: what a round is about is its open devices. One that
    /// is UNKNOWN is asked after.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Valid | Self::Unknown)
    }

    /// The letter it is stored as.
    pub fn letter(self) -> u8 {
        self as u8
    }

    /// The word that callers see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Valid => "VALID",
            Self::Invalid => "INVALID",
            Self::Created => "CREATED",
            Self::Failed => "FAILED",
            Self::Unknown => "UNKNOWN",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The outcome that a letter stands for.
    pub fn from_letter(letter: u8) -> Result<Self, Corrupt> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.letter() == letter)
            .ok_or_else(|| Corrupt {
                what: "an outcome",
                value: char::from(letter).to_string(),
            })
    }
}

/// Devices by outcome. The seven add up to the size of the apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By outcome, in the order of [`Outcome::ALL`].
    by: [i32; 7],
}

impl Counts {
    /// So many devices, all of them pending.
    pub fn pending(total: i32) -> Self {
        let mut counts = Self::default();
        counts.by[place(Outcome::Pending)] = total;
        counts
    }

    /// So many of each, in the order of [`Outcome::ALL`].
    pub fn from_array(by: [i32; 7]) -> Self {
        Self { by }
    }

    /// How many have this outcome.
    pub fn of(&self, outcome: Outcome) -> i32 {
        self.by[place(outcome)]
    }

    /// How many there are.
    pub fn total(&self) -> i32 {
        self.by.iter().sum()
    }

    /// All devices of one outcome go to another.
    pub fn shift_all(&mut self, from: Outcome, to: Outcome) {
        self.by[place(to)] += std::mem::take(&mut self.by[place(from)]);
    }

    /// So many more of each, in the order of [`Outcome::ALL`].
    pub fn add(&mut self, more: [i32; 7]) {
        for (count, more) in self.by.iter_mut().zip(more) {
            *count += more;
        }
    }

    /// One device goes from one outcome to another.
    pub fn shift(&mut self, from: Outcome, to: Outcome) {
        self.by[place(from)] -= 1;
        self.by[place(to)] += 1;
    }
}

fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Pending => 0,
        Outcome::Valid => 1,
        Outcome::Invalid => 2,
        Outcome::Created => 3,
        Outcome::Failed => 4,
        Outcome::Unknown => 5,
        Outcome::Cancelled => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_comes_back_from_its_letter() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_letter(outcome.letter()).unwrap(), outcome);
        }
        assert!(Outcome::from_letter(b'?').is_err());
    }

    #[test]
    fn counts_add_up_whatever_shifts() {
        let mut counts = Counts::pending(3);
        counts.shift(Outcome::Pending, Outcome::Valid);
        counts.shift(Outcome::Valid, Outcome::Created);
        counts.shift(Outcome::Pending, Outcome::Invalid);

        assert_eq!(counts.total(), 3);
        assert_eq!(counts.of(Outcome::Created), 1);
        assert_eq!(counts, Counts::from_array([1, 0, 1, 1, 0, 0, 0]));
    }
}
