//! What is said beside the answer, on stderr: that the server is away, and that it is back.

use std::{
    io::{self, Write as _},
    time::Duration,
};

/// Says a line on stderr. Nobody reads it where stderr is closed, and the work goes on all the same.
pub(super) fn say(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

/// The time in which a server does not answer, told once when it begins and once when it is over.
#[derive(Debug)]
pub(super) struct Outage<'a, S> {
    server: &'a str,
    is_told: bool,
    say: S,
}

impl<'a, S: FnMut(&str)> Outage<'a, S> {
    pub(super) fn new(server: &'a str, say: S) -> Self {
        Self {
            server,
            is_told: false,
            say,
        }
    }

    /// The server has not answered, which it is given `up_to` longer to do.
    pub(super) fn goes_on(&mut self, why: &str, up_to: Duration) {
        if !self.is_told {
            self.is_told = true;
            (self.say)(&format!(
                "the server at {} does not answer yet ({why}); trying again for up to {} s",
                self.server,
                up_to.as_secs()
            ));
        }
    }

    /// The server has answered.
    pub(super) fn is_over(&mut self) {
        if self.is_told {
            self.is_told = false;
            (self.say)(&format!("the server at {} answers again", self.server));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let mut told = Vec::new();
        let mut outage = Outage::new("http://host:1", |line: &str| told.push(line.to_owned()));

        outage.is_over();
        outage.goes_on("refused", Duration::from_secs(10));
        outage.goes_on("refused", Duration::from_secs(10));
        outage.is_over();
        outage.is_over();

        assert_eq!(
            told,
            [
                "the server at http://host:1 does not answer yet (refused); trying again for up \
                 to 10 s",
                "the server at http://host:1 answers again",
            ]
        );
    }
}
