//! The lines of a report, for people and for scripts.

use std::io::Write;

use serde_json::json;

/// What the doctor found.
#[derive(Debug)]
pub struct Report {
    lines: Vec<Line>,
}

/// What was found of one thing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) check: &'static str,
    /// The action that it is about, if it is about one.
    pub(super) action: Option<&'static str>,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    pub(super) todo: Option<String>,
    stops: bool,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// It works, and there is something to know.
    Warn,
    /// It does not work, or not for long.
    Fail,
    /// It was not looked at.
    Skip,
}

impl Report {
    pub(super) fn new(lines: Vec<Line>) -> Self {
        Self { lines }
    }

    /// Whether nothing failed.
    pub fn is_well(&self) -> bool {
        self.count(Verdict::Fail) == 0
    }

    pub(super) fn write(&self, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
        for line in &self.lines {
            if json {
                writeln!(out, "{}", line.json())?;
            } else {
                writeln!(out, "{}", line.text())?;
            }
        }
        if !json {
            let count = |verdict| self.count(verdict);
            writeln!(
                out,
                "{} ok, {} warn, {} fail, {} skip. Nothing was changed upstream.",
                count(Verdict::Ok),
                count(Verdict::Warn),
                count(Verdict::Fail),
                count(Verdict::Skip),
            )?;
        }
        out.flush()?;
        Ok(())
    }

    fn count(&self, verdict: Verdict) -> usize {
        let lines = self.lines.iter();
        lines.filter(|line| line.verdict == verdict).count()
    }
}

impl Line {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            action: None,
            verdict: Verdict::Ok,
            found: found.into(),
            todo: None,
            stops: false,
        }
    }

    pub(super) fn warn(
        check: &'static str,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Warn,
            todo: Some(todo.into()),
            ..Self::ok(check, found)
        }
    }

    pub(super) fn fail(
        check: &'static str,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::warn(check, found, todo)
        }
    }

    /// A failure that leaves nothing to be learnt of what is looked at after it.
    pub(super) fn stop(
        check: &'static str,
        found: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            stops: true,
            ..Self::fail(check, found, todo)
        }
    }

    pub(super) fn skip(check: &'static str, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Skip,
            ..Self::ok(check, why)
        }
    }

    pub(super) fn of(self, action: &'static str) -> Self {
        Self {
            action: Some(action),
            ..self
        }
    }

    pub(super) fn stops(&self) -> bool {
        self.stops
    }

    fn text(&self) -> String {
        let (verdict, check) = (self.verdict.word(), self.check);
        let action = self.action.map(|action| format!("{action}: "));
        let action = action.unwrap_or_default();
        let todo = self.todo.as_ref().map(|todo| format!(" -> {todo}"));
        let todo = todo.unwrap_or_default();
        format!("{verdict:<4}  {check:<10}  {action}{}{todo}", self.found)
    }

    fn json(&self) -> serde_json::Value {
        let mut line = json!({
            "check": self.check,
            "verdict": self.verdict.word(),
            "found": self.found,
        });
        if let Some(action) = self.action {
            line["action"] = action.into();
        }
        if let Some(todo) = &self.todo {
            line["todo"] = todo.as_str().into();
        }
        line
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}
