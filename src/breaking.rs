//! Breaking on purpose: what tests have a process do that no process should, to show that it costs
//! nothing but time, or that it is noticed.
//!
//! Every place between two things that are persisted or sent is a [`Point`], at which a process can be
//! told to die as by a power cut. A [`Fault`] breaks one promise at one place. Both are in builds for
//! tests alone (`debug_assertions`); in a release the calls here are empty, and orders are refused.
//!
//! `docs/reliability.md` lists them all.

/// An enum whose values have names.
macro_rules! named {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

named! {
    /// A place between two things that are persisted or sent.
    pub enum Point {
        /// What a caller asks for is written, and not committed.
        RequestWritten = "request-written",
        /// It is committed, and nobody is told.
        RequestCommitted = "request-committed",
        /// The bell has rung; the caller is not answered.
        RequestAnswering = "request-answering",
        /// Permits are taken, and not used.
        PermitsTaken = "permits-taken",
        /// A round is claimed, with its intent to register where it has one.
        Claimed = "claimed",
        /// A call is about to be sent, within its slot and its lease.
        Sending = "sending",
        /// Its answer is read, and nothing of it is kept.
        Answered = "answered",
        /// A lane is slowed down after a throttled call, which is not recorded.
        SlowedDown = "slowed-down",
        /// What a step learnt is written, and not committed.
        StepWritten = "step-written",
        /// It is committed, and nobody is told.
        StepCommitted = "step-committed",
        /// A call beside the steps of rounds is recorded, and what it told is not used.
        BesideRecorded = "beside-recorded",
        /// How a product's devices authenticate is stored, and not used.
        ProductLearnt = "product-learnt",
        /// Other processes are about to be told that something is new.
        RingPassing = "ring-passing",
        /// They are told.
        RingPassed = "ring-passed",
        /// Retention has written that an apply is cancelled, and not committed it.
        ExpiryWritten = "expiry-written",
        /// It is committed, and nobody is told.
        ExpiryCommitted = "expiry-committed",
        /// Retention has removed applies.
        Removed = "removed",
        /// Retention has removed entries of the audit, and not committed it.
        AuditForgetting = "audit-forgetting",
        /// It is committed.
        AuditForgotten = "audit-forgotten",
        /// Data keys are sealed anew, and not stored.
        Rewrapping = "rewrapping",
        /// They are stored.
        Rewrapped = "rewrapped",
        /// The audit says that a caller is about to see secrets, or was refused; it is not answered.
        Audited = "audited",
        /// The rows of a restored database are marked, and not committed.
        RestoredWritten = "restored-written",
        /// They are, and nothing is done with them.
        RestoredCommitted = "restored-committed",
    }
}

named! {
    /// A promise that is broken at one place.
    pub enum Fault {
        /// A submission is answered and not stored.
        PromisedUnstored = "promised-unstored",
        /// The answer to a request id is not remembered.
        RequestForgotten = "request-forgotten",
        /// The names of earlier chunks of an upload are not looked at.
        DuplicatesKept = "duplicates-kept",
        /// An upload goes on to be registered before it is sealed.
        SealNotAwaited = "seal-not-awaited",
        /// Cancelling ends no round.
        CancelUnfenced = "cancel-unfenced",
        /// A claim does not write that the round is about to be registered or imported.
        IntentUnwritten = "intent-unwritten",
        /// A step goes on for an hour after its lease.
        DeadlineIgnored = "deadline-ignored",
        /// A step records although its lease has passed on.
        FenceIgnored = "fence-ignored",
        /// Permits are not counted: whoever asks gets them from now on.
        PermitUncounted = "permit-uncounted",
        /// An import is sent again under another nonce.
        ResendDiffers = "resend-differs",
        /// No answer to a request to register or to import is taken for a refusal.
        LostIsRefused = "lost-is-refused",
        /// A result that falls short is taken for whole.
        CountUnproven = "count-unproven",
        /// A change takes the place of the one before it: the same revision, again.
        RevisionRepeated = "revision-repeated",
        /// A change leaves a revision out.
        RevisionSkipped = "revision-skipped",
        /// The bell does not ring within the process.
        BellSilent = "bell-silent",
        /// The bell is not passed on to other processes.
        RingKept = "ring-kept",
    }
}

#[cfg(debug_assertions)]
pub use self::orders::{obey, on, point, point_of};

#[cfg(debug_assertions)]
mod orders {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    use super::{Fault, Point};

    /// What this process was told to break; nothing unless [`obey`] was called.
    static ORDERS: OnceLock<Orders> = OnceLock::new();

    #[derive(Debug)]
    struct Orders {
        death: Option<Death>,
        faults: Vec<Fault>,
    }

    #[derive(Debug)]
    struct Death {
        at: Point,
        /// Of which request or lane; of any if there is none.
        of: Option<String>,
        /// How often that is passed before.
        spared: AtomicU32,
    }

    /// Takes orders: to die at `POINT`, `POINT/OF` or, when it is passed for the third time,
    /// `POINT/OF#3`; and to have the faults of a list between commas. Empty texts order nothing.
    ///
    /// # Errors
    ///
    /// Names that there are not, with those that there are.
    pub fn obey(die_at: &str, faults: &str) -> Result<(), String> {
        if die_at.is_empty() && faults.is_empty() {
            return Ok(());
        }
        let death = Some(die_at).filter(|text| !text.is_empty());
        let faults = faults.split(',').filter(|name| !name.is_empty());
        let orders = Orders {
            death: death.map(parse).transpose()?,
            faults: faults.map(fault).collect::<Result<_, _>>()?,
        };
        ORDERS
            .set(orders)
            .map_err(|_| "this process has its orders already".to_owned())
    }

    fn parse(text: &str) -> Result<Death, String> {
        let (place, time) = text.split_once('#').unwrap_or((text, "1"));
        let (name, of) = match place.split_once('/') {
            Some((name, of)) => (name, Some(of.to_owned())),
            None => (place, None),
        };
        let at = Point::ALL.iter().find(|point| point.name() == name);
        let at = at.ok_or_else(|| unknown("point", name, Point::ALL.iter().map(|it| it.name())))?;
        let time: Option<u32> = time.parse().ok().filter(|time| *time > 0);
        let time = time.ok_or_else(|| format!("`{text}` does not end in a number from 1"))?;
        Ok(Death {
            at: *at,
            of,
            spared: AtomicU32::new(time - 1),
        })
    }

    fn fault(name: &str) -> Result<Fault, String> {
        let known = Fault::ALL.iter().find(|fault| fault.name() == name);
        let known = known.copied();
        known.ok_or_else(|| unknown("fault", name, Fault::ALL.iter().map(|it| it.name())))
    }

    fn unknown(what: &str, name: &str, known: impl Iterator<Item = &'static str>) -> String {
        let known: Vec<_> = known.collect();
        format!(
            "there is no {what} `{name}` to break at; there are {}",
            known.join(", ")
        )
    }

    /// Passes a point, or dies there.
    pub fn point(point: Point) {
        point_of(point, "");
    }

    /// The same for a point that there is one of for each request or lane.
    pub fn point_of(point: Point, of: &str) {
        let death = ORDERS.get().and_then(|orders| orders.death.as_ref());
        let here = death.filter(|death| {
            death.at == point && death.of.as_deref().is_none_or(|wanted| wanted == of)
        });
        let Some(death) = here else { return };
        let less = |left: u32| left.checked_sub(1);
        let spared = death
            .spared
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        if spared.is_err() {
            die();
        }
    }

    /// Ends this process as a power cut would: nothing is dropped, flushed or answered.
    fn die() -> ! {
        loop {
            // SAFETY: it has no argument that could be wrong; the process is this one.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }

    /// Whether a promise is to be broken.
    pub fn on(fault: Fault) -> bool {
        let orders = ORDERS.get();
        orders.is_some_and(|orders| orders.faults.contains(&fault))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_place_to_die_at_is_a_point_of_something_for_the_nth_time() {
            let death = parse("claimed/BatchCheckDeviceNames#3").unwrap();
            assert_eq!(death.at, Point::Claimed);
            assert_eq!(death.of.as_deref(), Some("BatchCheckDeviceNames"));
            assert_eq!(death.spared.into_inner(), 2);

            let death = parse("ring-passed").unwrap();
            assert_eq!((death.at, death.of), (Point::RingPassed, None));
            assert_eq!(death.spared.into_inner(), 0);
        }

        #[test]
        fn what_there_is_not_to_break_is_refused_with_what_there_is() {
            let refusal = obey("claimd", "").unwrap_err();
            assert!(
                Point::ALL.iter().all(|it| refusal.contains(it.name())),
                "{refusal}"
            );
            let refusal = obey("", "bell-silent,bell").unwrap_err();
            assert!(
                Fault::ALL.iter().all(|it| refusal.contains(it.name())),
                "{refusal}"
            );
            assert!(obey("claimed#0", "").is_err());
            assert_eq!(obey("", ""), Ok(()));
            assert!(!Fault::ALL.iter().any(|it| on(*it)));
        }
    }
}

#[cfg(not(debug_assertions))]
pub use self::nothing::{obey, on, point, point_of};

/// A release: what is said here is known when it is built, so that nothing is left of it.
#[cfg(not(debug_assertions))]
mod nothing {
    use super::{Fault, Point};

    /// Refuses any order.
    ///
    /// # Errors
    ///
    /// That this build takes none.
    pub fn obey(die_at: &str, faults: &str) -> Result<(), String> {
        match die_at.is_empty() && faults.is_empty() {
            true => Ok(()),
            false => Err("this is a release, in which nothing can be broken on purpose".to_owned()),
        }
    }

    /// Nothing.
    #[inline(always)]
    pub const fn point(_: Point) {}

    /// Nothing.
    #[inline(always)]
    pub const fn point_of(_: Point, _: &str) {}

    /// No.
    #[inline(always)]
    pub const fn on(_: Fault) -> bool {
        false
    }

    const _: () = {
        let mut at = 0;
        while at < Fault::ALL.len() {
            assert!(!on(Fault::ALL[at]));
            at += 1;
        }
        point(Point::Claimed);
        point_of(Point::Claimed, "");
    };
}
