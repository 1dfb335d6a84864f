//! Sending a call within its slot, and heeding what the answer says of quota and clock.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};

use super::{Lanes, Slot};
use crate::{
    breaking::{self, Fault, Point},
    domain::Lane,
    store,
    upstream::{Answer, Call, Scope},
};

/// The pause after a throttled call that names none.
pub const THROTTLED: Duration = Duration::from_secs(1);

/// A call that is late for its slot, and a deadline too near to wait for another. Nothing was sent.
#[derive(Clone, Copy, Debug)]
pub struct TooLate;

impl Lanes {
    /// Sends a call within its slot. One that is late waits for the next slot, if `deadline` allows.
    /// `date` is the one that is signed; none means now.
    pub async fn send<T>(
        &self,
        lane: Lane,
        mut slot: Slot,
        deadline: Instant,
        call: &Call<T>,
        date: Option<OffsetDateTime>,
    ) -> Result<Result<Answer<T>, TooLate>, store::Error> {
        let deadline = match breaking::on(Fault::DeadlineIgnored) {
            true => deadline + Duration::from_secs(3600),
            false => deadline,
        };
        loop {
            sleep_until(slot.open).await;
            let now = Instant::now();
            if now >= deadline {
                return Ok(Err(TooLate));
            }
            if now < slot.close {
                breaking::point_of(Point::Sending, lane.as_str());
                let answer = call.send(deadline, date).await;
                breaking::point_of(Point::Answered, lane.as_str());
                self.heed(lane, &answer).await?;
                return Ok(Ok(answer));
            }
            self.missed(lane, slot);
            match self.slots(lane, 1, Duration::ZERO).await?.next() {
                Some(next) if next.open < deadline => slot = next,
                _ => return Ok(Err(TooLate)),
            }
        }
    }

    /// Learns what an answer says of the clock, and slows the lane down if it asks for it.
    async fn heed<T>(&self, lane: Lane, answer: &Answer<T>) -> Result<(), store::Error> {
        match &answer.outcome {
            // Corrected by the answer: the next call shows whether that was enough.
            Err(error) if error.clock_corrected => {}
            Err(error) if error.scope == Scope::Clock => self.clock.heed(true, Instant::now()),
            Err(error) if error.code.is_none() => {}
            Ok(_) | Err(_) => self.clock.heed(false, Instant::now()),
        }
        match &answer.outcome {
            Err(error) if error.throttled() => self.store.slow_down(lane, error.retry_after).await,
            _ => Ok(()),
        }
    }
}
