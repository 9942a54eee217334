use std::time::Duration;

use super::Limits;
use super::packet::{Agreed, Options, ReaderError, Reply, write_data};
use crate::clock::Timestamp;
use crate::edge::boot_files::BootFile;

/// One file on its way to one reader.
///
/// Feed it what the reader sends ([`handle`](Self::handle)) and the time ([`on_timeout`](Self::on_timeout)); after each, send all that
/// [`poll_transmit`](Self::poll_transmit) gives, until [`ending`](Self::ending) is there. Datagrams from anyone but the reader must not reach it
/// (RFC 1350, section 4): its socket is connected, so the kernel sees to that.
///
/// Times must not run backwards.
#[derive(Debug)]
pub struct Transfer {
    file: BootFile,
    block_size: usize,
    window: u64,
    /// Blocks in the file; the last one is shorter than `block_size` and may be empty (RFC 1350, section 6).
    blocks: u64,
    /// All up to this block are acknowledged. Blocks are counted in full; their number in a packet is this modulo 65536 and so rolls over to 0.
    acked: u64,
    /// The next block to send.
    next: u64,
    /// The highest block sent so far.
    highest: u64,
    /// The OACK, until the reader acknowledges it.
    oack: Option<Vec<u8>>,
    oack_due: bool,
    /// The highest block sent when the engine last went back; see [`Self::may_go_back`].
    recover: Option<u64>,
    /// Retransmissions since the last progress.
    retries: u32,
    /// How often the request may still be repeated.
    repeats: u32,
    retransmissions: u32,
    wait: Wait,
    /// When the oldest datagram that is not acknowledged was sent for the first time; `None` after a retransmission (Karn's rule, RFC 6298 section 3).
    sent_at: Option<Timestamp>,
    deadline: Timestamp,
    ending: Option<Ending>,
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The last block is acknowledged: the reader has it all.
    Whole,
    /// The reader sent an ERROR.
    ByReader(ReaderError),
    /// The reader was silent through all retransmissions.
    Silent,
    /// The reader's host says that nobody has the port (ICMP).
    PortClosed,
    /// The reader follows a newer transfer to the same port.
    Superseded,
    /// The server stops.
    Shutdown,
}

/// Octets before the block in a datagram: IPv4 without options, UDP, and TFTP's opcode and block number.
const HEADERS: u32 = 20 + 8 + 4;
/// The block size without RFC 2348.
const DEFAULT_BLOCK_SIZE: u16 = 512;
/// The largest window that is agreed to: more only fills buffers on the way.
const WINDOW_LIMIT: u16 = 64;
/// A longer `timeout` is not agreed to: it would hold the place of a reader that is gone for long.
const TIMEOUT_LIMIT: u8 = 30;

impl Transfer {
    /// A transfer of `file` over a path whose largest packet is `path_mtu` octets; its first answer is due at once.
    #[must_use]
    pub fn new(now: Timestamp, file: BootFile, options: Options, path_mtu: u32, limits: &Limits) -> Self {
        // A fragment that is lost costs the whole datagram, and much firmware can't put fragments together.
        let fitting = u16::try_from(path_mtu.saturating_sub(HEADERS)).unwrap_or(u16::MAX).max(8);
        let agreed = Agreed {
            block_size: options.block_size.map(|size| size.min(fitting)),
            transfer_size: options.transfer_size.then(|| file.size()),
            timeout: options.timeout.filter(|seconds| *seconds <= TIMEOUT_LIMIT),
            window_size: options.window_size.map(|blocks| blocks.min(WINDOW_LIMIT)),
        };
        let block_size = usize::from(agreed.block_size.unwrap_or(DEFAULT_BLOCK_SIZE));
        let blocks = file.bytes().len().checked_div(block_size).unwrap_or_default().saturating_add(1);
        let oack = agreed.packet();
        let mut transfer = Self {
            block_size,
            window: u64::from(agreed.window_size.unwrap_or(1)),
            blocks: u64::try_from(blocks).unwrap_or(u64::MAX),
            acked: 0,
            next: 1,
            highest: 0,
            oack_due: oack.is_some(),
            oack,
            recover: None,
            retries: 0,
            repeats: limits.retransmissions,
            retransmissions: limits.retransmissions,
            wait: agreed.timeout.map_or(Wait::new(), |seconds| Wait::Agreed(Duration::from_secs(u64::from(seconds)))),
            sent_at: None,
            deadline: now,
            ending: None,
            file,
        };
        transfer.deadline = now.after(transfer.wait.before_retry(0));
        transfer
    }

    /// Takes a datagram from the reader. What is neither ACK nor ERROR is dropped, and so is an ACK of what was never sent.
    pub fn handle(&mut self, now: Timestamp, datagram: &[u8]) {
        if self.ending.is_some() {
            return;
        }
        match Reply::parse(datagram) {
            Some(Reply::Ack(number)) => self.on_ack(now, number),
            Some(Reply::Error(error)) => self.ending = Some(Ending::ByReader(error)),
            None => {}
        }
    }

    fn on_ack(&mut self, now: Timestamp, number: u16) {
        if self.oack.is_some() {
            // RFC 2347: ACK of block 0 accepts the OACK.
            if number == 0 {
                self.oack = None;
                self.oack_due = false;
                self.progress(now);
            }
            return;
        }
        #[expect(clippy::cast_possible_truncation, reason = "numbers in packets are modulo 65536")]
        let ahead = u64::from(number.wrapping_sub(self.acked as u16));
        let block = self.acked.saturating_add(ahead);
        if block > self.highest {
            return;
        }
        if ahead == 0 {
            self.on_duplicate_ack();
            return;
        }
        self.acked = block;
        // An ACK inside the window names the last block before a gap: go back to the one after it (RFC 7440, section 4). While a window is being
        // repeated it can also be the answer to a copy, or come from firmware that counts its windows on from before the gap (EDK II); going back
        // for these would send each block twice to the end of the file.
        if self.may_go_back() && self.highest > block {
            self.recover = Some(self.highest);
            self.next = block.saturating_add(1);
        }
        self.next = self.next.max(block.saturating_add(1));
        self.progress(now);
        if self.acked >= self.blocks {
            self.ending = Some(Ending::Whole);
        }
    }

    /// In lock step a duplicate ACK is never answered with data: the copy of each block would bring the next copy of an ACK, to the end of the
    /// file (RFC 1123, section 4.2.3.1, the sorcerer's apprentice).
    ///
    /// With a window it is how a reader says that the first block of the window is missing (RFC 7440, section 4).
    fn on_duplicate_ack(&mut self) {
        if self.window > 1 && self.may_go_back() && self.highest > self.acked {
            self.recover = Some(self.highest);
            self.next = self.acked.saturating_add(1);
            self.sent_at = None;
        }
    }

    /// Once the engine went back, it does not do so again until all that was out at that time is acknowledged: a copy can then cause one window to be
    /// sent twice and no more. What is lost meanwhile is repaired by the timeout.
    fn may_go_back(&self) -> bool {
        self.recover.is_none_or(|recover| self.acked > recover)
    }

    fn progress(&mut self, now: Timestamp) {
        if let Some(sent_at) = self.sent_at.take() {
            self.wait.measured(now.since(sent_at));
        }
        self.retries = 0;
        self.deadline = now.after(self.wait.before_retry(0));
    }

    /// Sends again what is not acknowledged if its time has come, or gives the reader up.
    pub fn on_timeout(&mut self, now: Timestamp) {
        if self.ending.is_some() || now < self.deadline {
            return;
        }
        if self.retries >= self.retransmissions {
            self.ending = Some(Ending::Silent);
            return;
        }
        self.retries = self.retries.saturating_add(1);
        self.deadline = now.after(self.wait.before_retry(self.retries));
        self.send_again();
    }

    /// The reader repeated its request, as it does when the first answer was lost: sends that again, unless something was acknowledged since.
    pub fn on_repeated_request(&mut self) {
        if self.acked == 0 && self.repeats > 0 && self.ending.is_none() {
            self.repeats = self.repeats.saturating_sub(1);
            self.send_again();
        }
    }

    fn send_again(&mut self) {
        self.sent_at = None;
        if self.oack.is_some() {
            self.oack_due = true;
        } else {
            self.next = self.acked.saturating_add(1);
            // What the reader says about the old copies is not to send these again.
            self.recover = Some(self.highest);
        }
    }

    /// Adds the next datagram that is to be sent to the end of `datagrams`; `false` when there is none for now.
    ///
    /// Those that follow each other without a [`handle`](Self::handle) between them are as long as the first, and only the last may be shorter.
    pub fn poll_transmit(&mut self, now: Timestamp, datagrams: &mut Vec<u8>) -> bool {
        if self.ending.is_some() {
            return false;
        }
        if let Some(oack) = &self.oack {
            if !std::mem::take(&mut self.oack_due) {
                return false;
            }
            datagrams.extend_from_slice(oack);
        } else {
            let end_of_window = self.acked.saturating_add(self.window).min(self.blocks);
            if self.next > end_of_window {
                return false;
            }
            #[expect(clippy::cast_possible_truncation, reason = "numbers in packets are modulo 65536")]
            let number = self.next as u16;
            write_data(datagrams, number, self.block(self.next));
            if self.next > self.highest {
                self.highest = self.next;
                if self.next == self.acked.saturating_add(1) && self.retries == 0 {
                    self.sent_at = Some(now);
                }
            }
            self.next = self.next.saturating_add(1);
        }
        self.deadline = now.after(self.wait.before_retry(self.retries));
        true
    }

    fn block(&self, block: u64) -> &[u8] {
        let start = usize::try_from(block.saturating_sub(1)).unwrap_or(usize::MAX).saturating_mul(self.block_size);
        let rest = self.file.bytes().get(start..).unwrap_or_default();
        rest.get(..self.block_size).unwrap_or(rest)
    }

    /// When [`on_timeout`](Self::on_timeout) is due.
    #[must_use]
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Ends the transfer for a reason that its datagrams don't tell.
    pub fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Whether the reader has acknowledged anything yet: it follows this transfer.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.acked > 0
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &BootFile {
        &self.file
    }

    /// The largest datagram that [`poll_transmit`](Self::poll_transmit) writes, in octets.
    #[must_use]
    pub fn largest_datagram(&self) -> usize {
        self.block_size.saturating_add(4).max(self.oack.as_ref().map_or(0, Vec::len))
    }

    /// Octets in a block and blocks in a window, as agreed.
    #[must_use]
    pub fn agreed(&self) -> (usize, u64) {
        (self.block_size, self.window)
    }
}

/// How long to wait for an ACK.
#[derive(Debug)]
enum Wait {
    /// RFC 2349: the reader asked for just this.
    Agreed(Duration),
    /// RFC 6298, with bounds for a LAN: the smoothed round trip and its variation, once measured.
    Measured(Option<(Duration, Duration)>),
}

impl Wait {
    /// Firmware that is busy, or emulated, takes its time: what it is late for is sent twice.
    const LEAST: Duration = Duration::from_millis(250);
    const FIRST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(8);

    const fn new() -> Self {
        Self::Measured(None)
    }

    fn measured(&mut self, round_trip: Duration) {
        let Self::Measured(estimate) = self else { return };
        *estimate = Some(match *estimate {
            None => (round_trip, round_trip / 2),
            Some((smoothed, variation)) => (
                smoothed.saturating_mul(7).saturating_add(round_trip) / 8,
                variation.saturating_mul(3).saturating_add(smoothed.abs_diff(round_trip)) / 4,
            ),
        });
    }

    fn before_retry(&self, retries: u32) -> Duration {
        let first = match self {
            Self::Agreed(seconds) => return *seconds,
            Self::Measured(None) => Self::FIRST,
            Self::Measured(Some((smoothed, variation))) => {
                smoothed.saturating_add(variation.saturating_mul(4)).clamp(Self::LEAST, Self::MOST)
            }
        };
        first.saturating_mul(1u32.checked_shl(retries).unwrap_or(u32::MAX)).min(Self::MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Transfer};
    use crate::clock::Timestamp;
    use crate::edge::boot_files::BootFile;
    use crate::edge::tftp::Limits;
    use crate::edge::tftp::packet::Options;

    const START: Timestamp = Timestamp::from_secs(1_000_000);
    const ETHERNET: u32 = 1500;

    fn transfer(size: usize, options: Options) -> Transfer {
        let content: Vec<u8> = (0..=250).cycle().take(size).collect();
        Transfer::new(START, BootFile::new("file", content).unwrap(), options, ETHERNET, &Limits::default())
    }

    /// What is sent now: OACKs as text, blocks as `number:length`.
    fn sent(transfer: &mut Transfer, now: Timestamp) -> Vec<String> {
        let mut all = Vec::new();
        let mut datagram = Vec::new();
        while transfer.poll_transmit(now, &mut datagram) {
            let datagram = std::mem::take(&mut datagram);
            all.push(match datagram[1] {
                6 => String::from_utf8_lossy(&datagram[2..]).replace('\0', " ").trim().to_owned(),
                3 => format!("{}:{}", u16::from_be_bytes([datagram[2], datagram[3]]), datagram.len() - 4),
                other => panic!("opcode {other}"),
            });
        }
        all
    }

    fn ack(transfer: &mut Transfer, number: u16) {
        let [high, low] = number.to_be_bytes();
        transfer.handle(START, &[0, 4, high, low]);
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn rfc1350_6_a_block_shorter_than_512_octets_ends_the_file_even_if_empty() {
        for (size, last) in [(0, "1:0"), (511, "1:511"), (512, "2:0"), (513, "2:1")] {
            let mut transfer = transfer(size, Options::default());
            let mut seen = sent(&mut transfer, START);
            for number in 1..=2 {
                ack(&mut transfer, number);
                seen.extend(sent(&mut transfer, START));
            }
            assert_eq!((seen.last().unwrap().as_str(), transfer.ending()), (last, Some(&Ending::Whole)), "{size}");
        }
    }

    #[test]
    fn rfc1123_4_2_3_1_a_duplicate_ack_is_never_answered_with_a_block() {
        let mut transfer = transfer(2000, Options::default());
        assert_eq!(sent(&mut transfer, START), ["1:512"]);
        ack(&mut transfer, 1);
        assert_eq!(sent(&mut transfer, START), ["2:512"]);
        for _ in 0..10 {
            ack(&mut transfer, 1);
            assert_eq!(sent(&mut transfer, START), NONE);
        }
    }

    #[test]
    fn rfc1350_5_an_error_ends_the_transfer_at_once() {
        let mut transfer = transfer(2000, Options { transfer_size: true, ..Options::default() });
        assert_eq!(sent(&mut transfer, START), ["tsize 2000"]);
        transfer.handle(START, b"\0\x05\0\x08User aborted the transfer\0");
        assert!(matches!(transfer.ending(), Some(Ending::ByReader(error)) if error.code == 8), "{transfer:?}");
        ack(&mut transfer, 0);
        assert_eq!(sent(&mut transfer, START), NONE);
    }

    #[test]
    fn rfc2347_block_1_waits_for_the_ack_of_the_oack() {
        let mut transfer = transfer(100, Options { block_size: Some(1024), ..Options::default() });
        assert_eq!(sent(&mut transfer, START), ["blksize 1024"]);
        ack(&mut transfer, 1);
        assert_eq!(sent(&mut transfer, START), NONE);
        ack(&mut transfer, 0);
        assert_eq!(sent(&mut transfer, START), ["1:100"]);
    }

    #[test]
    fn rfc2348_the_block_is_held_to_the_path_mtu() {
        for (mtu, asked, agreed) in
            [(1500, 65464, 1468), (1500, 1456, 1456), (1280, 1468, 1248), (9000, 65464, 8968), (65536, 65464, 65464), (0, 512, 8)]
        {
            let options = Options { block_size: Some(asked), ..Options::default() };
            let transfer = Transfer::new(START, BootFile::new("f", "").unwrap(), options, mtu, &Limits::default());
            assert_eq!(transfer.agreed().0, agreed, "{asked} over {mtu}");
        }
    }

    #[test]
    fn rfc2349_a_timeout_that_was_agreed_is_kept_and_a_too_long_one_is_not_agreed() {
        let mut agreed = transfer(100, Options { timeout: Some(3), ..Options::default() });
        assert_eq!(sent(&mut agreed, START), ["timeout 3"]);
        for second in [2u64, 3, 6, 9] {
            let now = START.after(std::time::Duration::from_secs(second));
            agreed.on_timeout(now);
            assert_eq!(sent(&mut agreed, now).len(), usize::from(second != 2), "at {second}");
        }
        let mut longer = transfer(100, Options { timeout: Some(31), ..Options::default() });
        assert_eq!(sent(&mut longer, START), ["1:100"]);
    }

    #[test]
    fn rfc7440_4_a_window_goes_out_and_an_ack_inside_it_goes_back_to_the_gap() {
        let mut transfer = transfer(512 * 20, Options { window_size: Some(4), ..Options::default() });
        assert_eq!(sent(&mut transfer, START), ["windowsize 4"]);
        ack(&mut transfer, 0);
        assert_eq!(sent(&mut transfer, START), ["1:512", "2:512", "3:512", "4:512"]);
        ack(&mut transfer, 4);
        assert_eq!(sent(&mut transfer, START), ["5:512", "6:512", "7:512", "8:512"]);
        ack(&mut transfer, 6);
        assert_eq!(sent(&mut transfer, START), ["7:512", "8:512", "9:512", "10:512"]);
    }

    #[test]
    fn rfc7440_4_a_lost_first_block_is_repaired_at_once_but_copies_of_acks_do_not_multiply() {
        let mut transfer = transfer(512 * 40, Options { window_size: Some(4), ..Options::default() });
        sent(&mut transfer, START);
        ack(&mut transfer, 0);
        sent(&mut transfer, START);
        ack(&mut transfer, 4);
        assert_eq!(sent(&mut transfer, START).first().unwrap(), "5:512");
        ack(&mut transfer, 4);
        assert_eq!(sent(&mut transfer, START).first().unwrap(), "5:512");
        ack(&mut transfer, 4);
        assert_eq!(sent(&mut transfer, START), NONE);
        ack(&mut transfer, 8);
        assert_eq!(sent(&mut transfer, START).first().unwrap(), "9:512");
        // The reader's answer to the second copy of the window.
        ack(&mut transfer, 8);
        assert_eq!(sent(&mut transfer, START), NONE);
    }

    #[test]
    fn rfc7440_a_window_is_held_to_64() {
        let mut transfer = transfer(100_000, Options { window_size: Some(65535), ..Options::default() });
        assert_eq!(sent(&mut transfer, START), ["windowsize 64"]);
    }

    #[test]
    fn an_ack_of_what_was_never_sent_is_dropped() {
        let mut transfer = transfer(512 * 20, Options::default());
        sent(&mut transfer, START);
        for number in [2, 3, 100, 0xffff] {
            ack(&mut transfer, number);
            assert_eq!((sent(&mut transfer, START).len(), transfer.is_acknowledged()), (0, false), "{number}");
        }
    }

    #[test]
    fn block_numbers_roll_over_to_0() {
        let mut transfer = transfer(8 * 65540, Options { block_size: Some(8), window_size: Some(4), ..Options::default() });
        sent(&mut transfer, START);
        ack(&mut transfer, 0);
        for last in (4..=65532).step_by(4) {
            sent(&mut transfer, START);
            ack(&mut transfer, last);
        }
        assert_eq!(sent(&mut transfer, START), ["65533:8", "65534:8", "65535:8", "0:8"]);
        ack(&mut transfer, 65535);
        assert_eq!(sent(&mut transfer, START), ["0:8", "1:8", "2:8", "3:8"]);
        ack(&mut transfer, 3);
        assert_eq!(sent(&mut transfer, START), ["4:8", "5:0"]);
        ack(&mut transfer, 5);
        assert_eq!(transfer.ending(), Some(&Ending::Whole));
    }

    #[test]
    fn a_repeated_request_gets_the_first_answer_again_until_something_is_acknowledged() {
        let mut with_options = transfer(2000, Options { block_size: Some(1024), ..Options::default() });
        let mut without = transfer(2000, Options::default());
        for (transfer, first) in [(&mut with_options, "blksize 1024"), (&mut without, "1:512")] {
            assert_eq!(sent(transfer, START), [first]);
            transfer.on_repeated_request();
            assert_eq!(sent(transfer, START), [first]);
        }
        ack(&mut without, 1);
        sent(&mut without, START);
        without.on_repeated_request();
        assert_eq!(sent(&mut without, START), NONE);
        for _ in 0..100 {
            with_options.on_repeated_request();
        }
        assert_eq!(sent(&mut with_options, START), ["blksize 1024"], "however often it is asked between two answers");
    }

    #[test]
    fn a_silent_reader_is_given_up_after_a_bounded_number_of_datagrams_and_seconds() {
        let mut transfer = transfer(2000, Options::default());
        let mut datagrams = sent(&mut transfer, START).len();
        let mut now = START;
        while transfer.ending().is_none() {
            now = transfer.deadline();
            transfer.on_timeout(now);
            datagrams += sent(&mut transfer, now).len();
        }
        assert_eq!((transfer.ending(), datagrams), (Some(&Ending::Silent), 9));
        assert_eq!(now.since(START).as_secs(), 1 + 2 + 4 + 8 * 6);
    }
}
