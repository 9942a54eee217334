use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many answers may be in flight from a port.
///
/// A relay that is a program has the system's receive buffer, 212,992 octets on Linux, which holds 166 answers as the kernel counts
/// them. What a buffer on the way loses costs its client a time-out of seconds, and a site's machines that come on together are answered
/// by this program at several times the rate at which anyone takes it. A quarter of the buffer is left for what is late.
const MOST: usize = 128;

/// How many of them may be first offers: the others have room beside those.
const MOST_OFFERS: usize = 80;

/// How long an answer is in flight: as long as a busy machine may keep a program from running, one tick of a kernel with 250 of them a second.
const FLIGHT: Duration = Duration::from_millis(4);

/// How long a first offer is in flight if nobody takes it. Not longer, since firmware gathers offers for seconds before it takes one.
const OFFER_FLIGHT: Duration = Duration::from_millis(20);

/// The answers that left and have not been heard of: an acknowledgement tells that an offer was taken, everything else is told by time.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// When each left.
    answers: VecDeque<Instant>,
    offers: VecDeque<Instant>,
}

impl InFlight {
    /// How many answers may leave at `now`.
    pub(super) fn room(&mut self, now: Instant) -> usize {
        forget(&mut self.answers, FLIGHT, now);
        forget(&mut self.offers, OFFER_FLIGHT, now);
        MOST.saturating_sub(self.answers.len()).saturating_sub(self.offers.len())
    }

    /// How many first offers may leave at `now`.
    pub(super) fn room_for_offers(&mut self, now: Instant) -> usize {
        self.room(now).min(MOST_OFFERS.saturating_sub(self.offers.len()))
    }

    /// So many answers left at `now`.
    pub(super) fn answered(&mut self, now: Instant, count: usize) {
        self.answers.extend(std::iter::repeat_n(now, count));
    }

    /// So many first offers left at `now`.
    pub(super) fn offered(&mut self, now: Instant, count: usize) {
        self.offers.extend(std::iter::repeat_n(now, count));
    }

    /// A client took an offer; which one does not matter.
    pub(super) fn taken(&mut self) {
        self.offers.pop_front();
    }

    /// When there is room again without anybody's doing, once there was none; what is heard may make some before.
    pub(super) fn room_at(&self) -> Option<Instant> {
        let answer = self.answers.front().and_then(|left| left.checked_add(FLIGHT));
        answer.into_iter().chain(self.offer_lands_at()).min()
    }

    /// The same, of room for first offers.
    pub(super) fn room_for_offers_at(&self) -> Option<Instant> {
        if self.offers.len() < MOST_OFFERS { self.room_at() } else { self.offer_lands_at() }
    }

    fn offer_lands_at(&self) -> Option<Instant> {
        self.offers.front().and_then(|left| left.checked_add(OFFER_FLIGHT))
    }
}

fn forget(flown: &mut VecDeque<Instant>, flight: Duration, now: Instant) {
    while flown.front().is_some_and(|left| now.saturating_duration_since(*left) >= flight) {
        flown.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_land_by_themselves() {
        let (mut flight, start) = (InFlight::default(), Instant::now());
        assert_eq!((flight.room(start), flight.room_at()), (128, None));
        flight.answered(start, 100);
        flight.answered(start + FLIGHT / 2, 28);
        assert_eq!((flight.room(start + FLIGHT / 2), flight.room_at()), (0, Some(start + FLIGHT)));
        assert_eq!(flight.room(start + FLIGHT), 100);
        assert_eq!(flight.room(start + FLIGHT * 2), 128);
    }

    #[test]
    fn offers_are_in_flight_until_they_are_taken_or_forgotten() {
        let (mut flight, start) = (InFlight::default(), Instant::now());
        assert_eq!(flight.room_for_offers(start), 80);
        flight.offered(start, 80);
        assert_eq!((flight.room_for_offers(start + FLIGHT), flight.room(start + FLIGHT)), (0, 48));
        assert_eq!(flight.room_for_offers_at(), Some(start + OFFER_FLIGHT));
        flight.taken();
        assert_eq!((flight.room_for_offers(start + FLIGHT), flight.room_for_offers_at()), (1, Some(start + OFFER_FLIGHT)));
        assert_eq!(flight.room_for_offers(start + OFFER_FLIGHT), 80);
        // One too many, as of a client that had its address already, is nobody's.
        flight.taken();
        assert_eq!(flight.room_for_offers(start), 80);
    }

    #[test]
    fn answers_take_the_room_of_offers_and_not_the_other_way_round() {
        let (mut flight, start) = (InFlight::default(), Instant::now());
        flight.answered(start, 114);
        assert_eq!(flight.room_for_offers(start), 14);
        flight.offered(start, 14);
        assert_eq!((flight.room_for_offers(start), flight.room_for_offers_at()), (0, Some(start + FLIGHT)));
    }
}
