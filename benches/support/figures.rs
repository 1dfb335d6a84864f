//! What a benchmark comes to: rows of one table, each a ratio with its aim.

use std::fmt;

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The benchmark: `P1`.
    pub(crate) id: &'static str,
    /// What was done, and in which of its sizes.
    pub(crate) what: String,
    /// Our figure, with its unit.
    pub(crate) ours: String,
    /// The limit or peer, with its figure and unit.
    pub(crate) peer: String,
    /// Ours to theirs, of each repetition.
    pub(crate) ratio: Spread,
    pub(crate) aim: Aim,
    /// What else there is to say. May be empty.
    pub(crate) note: String,
}

/// The middle of what was measured, and its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// The row is there to be read.
    None,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Self {
            median: (low + high) / 2.0,
            lowest: figures[0],
            highest: figures[figures.len() - 1],
        }
    }

    /// The ratios of each repetition's two figures.
    pub(crate) fn of_ratios(pairs: &[(f64, f64)]) -> Self {
        Self::of(pairs.iter().map(|(ours, theirs)| ours / theirs))
    }
}

impl Aim {
    /// `None` where there is no aim.
    fn is_met(self, ratio: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(ratio <= most),
            Self::AtLeast(least) => Some(ratio >= least),
            Self::None => None,
        }
    }
}

/// Three digits that count, and thousands set apart.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "**{}**", number(self.median))?;
        if self.lowest < self.highest {
            write!(f, " ({}..{})", number(self.lowest), number(self.highest))?;
        }
        Ok(())
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::None => Ok(()),
        }
    }
}

/// The median of what was measured.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    Spread::of(figures).median
}

/// A number with three digits that count: `1,234,000`, `12.3`, `0.0456`.
pub(crate) fn number(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let digits = number.abs().log10().floor() as i32;
    let unit = 10f64.powi(digits - 2);
    let rounded = (number / unit).round() * unit;
    if digits < 3 {
        return format!("{rounded:.*}", (2 - digits).max(0) as usize);
    }
    let digits = format!("{:.0}", rounded.abs());
    let mut text = String::from(if rounded < 0.0 { "-" } else { "" });
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// All rows as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| # | what | ours | limit or peer | ratio | aim | met | note |\n\
         |---|---|---:|---:|---:|---:|---|---|\n",
    );
    for row in rows {
        let met = match row.aim.is_met(row.ratio.median) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let Row {
            id,
            what,
            ours,
            peer,
            ratio,
            aim,
            note,
        } = row;
        text +=
            &format!("| {id} | {what} | {ours} | {peer} | {ratio} | {aim} | {met} | {note} |\n");
    }
    text
}
