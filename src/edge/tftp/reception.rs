use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::packet::{Malformed, Mode, Options, Refusal, Request, printable};
use super::{Counters, Ending, Limits};
use crate::edge::boot_files::{BootFile, BootFiles};

/// The well-known port: decides which request begins a transfer.
///
/// A request is known by the reader's address and port (its TID, RFC 1350 section 4) and the address it asked. Firmware repeats a request whose
/// answer was lost, and firmware with a fixed port asks again from it after it ended a transfer; the two are told apart by whether anything of the
/// first one was acknowledged.
#[derive(Debug)]
pub struct Reception {
    files: BootFiles,
    limits: Limits,
    active: HashMap<TransferId, Active>,
    /// The newest transfer of each reader.
    newest: HashMap<Reader, TransferId>,
    per_address: HashMap<Ipv4Addr, usize>,
    next_id: u64,
    counters: Counters,
}

/// Names a transfer within one [`Reception`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(u64);

impl TransferId {
    /// A number for it, from zero up.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The transfer with that number.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

type Reader = (Ipv4Addr, SocketAddrV4);

#[derive(Debug)]
struct Active {
    reader: Reader,
    request: Box<[u8]>,
    acknowledged: bool,
}

/// What to do about a datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Begin a transfer on a new port of the asked address. [`Reception::ended`] must be told when it is over, or could not begin.
    Begin {
        /// Its name.
        id: TransferId,
        /// What to send.
        file: BootFile,
        /// What the reader asked for.
        options: Options,
    },
    /// The request of a transfer that has just begun came again: it is to repeat its first answer.
    Again(TransferId),
    /// Send this ERROR from the asked address.
    Refuse(Refusal),
    /// Do nothing.
    Silence(Silence),
}

/// Why a datagram gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// It can't be read.
    #[error(transparent)]
    Malformed(Malformed),
    /// It comes from an address or port that nothing can be sent to.
    #[error("a sender that can't be answered")]
    Unanswerable,
    /// One address has as many transfers as it may.
    #[error("too many transfers to this address")]
    TooManyToAddress,
    /// The box has as many transfers as it may.
    #[error("too many transfers")]
    TooMany,
}

impl Reception {
    /// A server of `files`.
    #[must_use]
    pub fn new(files: BootFiles, limits: Limits) -> Self {
        Self {
            files,
            limits,
            active: HashMap::new(),
            newest: HashMap::new(),
            per_address: HashMap::new(),
            next_id: 0,
            counters: Counters::default(),
        }
    }

    /// Takes a datagram that `peer` sent to the well-known port of `local`.
    pub fn handle(&mut self, local: Ipv4Addr, peer: SocketAddrV4, datagram: &[u8]) -> Answer {
        let from = peer.ip();
        if peer.port() == 0 || from.is_unspecified() || from.is_broadcast() || from.is_multicast() {
            self.counters.malformed = self.counters.malformed.saturating_add(1);
            return Answer::Silence(Silence::Unanswerable);
        }
        let request = match Request::parse(datagram) {
            Ok(Request::Read(request)) => request,
            Ok(Request::Write) => {
                tracing::info!(%peer, "refused a write request: this server is read only");
                self.counters.writes_refused = self.counters.writes_refused.saturating_add(1);
                return Answer::Refuse(Refusal::ReadOnly);
            }
            Err(malformed) => {
                self.counters.malformed = self.counters.malformed.saturating_add(1);
                return Answer::Silence(Silence::Malformed(malformed));
            }
        };
        let reader = (local, peer);
        if let Some(id) = self.repeated(reader, datagram) {
            self.counters.repeated = self.counters.repeated.saturating_add(1);
            return Answer::Again(id);
        }
        let name = printable(&request.file);
        match request.mode {
            Mode::Octet => {}
            // Boot files are not text with line ends to convert; firmware that says netascii means octets.
            Mode::Netascii => tracing::info!(%peer, file = %name, "asked in netascii mode, served as octets"),
            Mode::Other => {
                tracing::info!(%peer, file = %name, "refused: neither octet nor netascii mode");
                self.counters.modes_refused = self.counters.modes_refused.saturating_add(1);
                return Answer::Refuse(Refusal::ModeNotServed);
            }
        }
        let Some(file) = self.files.look_up(&request.file) else {
            tracing::info!(%peer, file = %name, "asked for a file that is not among the boot files");
            self.counters.not_found = self.counters.not_found.saturating_add(1);
            return Answer::Refuse(Refusal::FileNotFound);
        };
        let over = if self.active.len() >= self.limits.transfers {
            Some(Silence::TooMany)
        } else if self.per_address.get(from).is_some_and(|count| *count >= self.limits.transfers_per_address) {
            Some(Silence::TooManyToAddress)
        } else {
            None
        };
        if let Some(silence) = over {
            self.counters.over_limit = self.counters.over_limit.saturating_add(1);
            return Answer::Silence(silence);
        }
        Answer::Begin { id: self.begin(reader, datagram), file, options: request.options }
    }

    /// The transfer that `datagram` asked for before, if nothing of it was acknowledged yet.
    fn repeated(&self, reader: Reader, datagram: &[u8]) -> Option<TransferId> {
        let id = *self.newest.get(&reader)?;
        let active = self.active.get(&id)?;
        (!active.acknowledged && *active.request == *datagram).then_some(id)
    }

    fn begin(&mut self, reader: Reader, datagram: &[u8]) -> TransferId {
        let id = TransferId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.active.insert(id, Active { reader, request: datagram.into(), acknowledged: false });
        self.newest.insert(reader, id);
        let count = self.per_address.entry(*reader.1.ip()).or_default();
        *count = count.saturating_add(1);
        self.counters.begun = self.counters.begun.saturating_add(1);
        id
    }

    /// Notes that the reader acknowledged something of transfer `id`, and names the transfers that are to end: earlier ones to the same port.
    ///
    /// A reader that asked again has then shown that it follows the new transfer. Until it does, the old one goes on: the second request may
    /// only have been a copy that the network delayed.
    #[must_use]
    pub fn acknowledged(&mut self, id: TransferId) -> Vec<TransferId> {
        let Some(active) = self.active.get_mut(&id) else { return Vec::new() };
        if std::mem::replace(&mut active.acknowledged, true) {
            return Vec::new();
        }
        let reader = active.reader;
        self.active.iter().filter(|(other, active)| **other < id && active.reader == reader).map(|(other, _)| *other).collect()
    }

    /// Forgets a transfer that is over.
    pub fn ended(&mut self, id: TransferId, ending: Option<&Ending>) {
        let Some(active) = self.active.remove(&id) else { return };
        if self.newest.get(&active.reader) == Some(&id) {
            self.newest.remove(&active.reader);
        }
        let address = active.reader.1.ip();
        if let Some(count) = self.per_address.get_mut(address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_address.remove(address);
            }
        }
        let counter = match ending {
            Some(Ending::Whole) => &mut self.counters.whole,
            Some(Ending::ByReader(_)) => &mut self.counters.ended_by_reader,
            Some(Ending::Silent | Ending::PortClosed) => &mut self.counters.given_up,
            Some(Ending::Superseded | Ending::Shutdown) | None => return,
        };
        *counter = counter.saturating_add(1);
    }

    /// How many transfers run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.active.len()
    }

    /// What came in so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::{Answer, Ending, Limits, Malformed, Reception, Refusal, Silence, TransferId};
    use crate::edge::boot_files::{BootFile, BootFiles};

    const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const RRQ: &[u8] = b"\0\x01snponly.efi\0octet\0tsize\x000\0";

    fn reception() -> Reception {
        let limits = Limits { transfers: 4, transfers_per_address: 2, ..Limits::default() };
        Reception::new(BootFiles::new([BootFile::new("snponly.efi", "content").unwrap()]), limits)
    }

    fn peer(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), port)
    }

    fn begun(answer: Answer) -> TransferId {
        match answer {
            Answer::Begin { id, file, .. } => {
                assert_eq!(file.name(), "snponly.efi");
                id
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rfc1350_4_a_request_repeated_from_the_same_tid_is_the_same_transfer() {
        let mut reception = reception();
        let id = begun(reception.handle(LOCAL, peer(9, 2070), RRQ));
        assert_eq!(reception.handle(LOCAL, peer(9, 2070), RRQ), Answer::Again(id));
        assert_eq!((reception.running(), reception.counters().repeated), (1, 1));
        assert_ne!(begun(reception.handle(LOCAL, peer(9, 2071), RRQ)), id, "another port is another reader");
    }

    #[test]
    fn the_same_port_can_ask_again_at_once_after_its_error() {
        let mut reception = reception();
        let probe = begun(reception.handle(LOCAL, peer(9, 2070), RRQ));
        reception.ended(probe, Some(&Ending::ByReader(crate::edge::tftp::packet::ReaderError { code: 8, text: String::new() })));
        assert_ne!(begun(reception.handle(LOCAL, peer(9, 2070), RRQ)), probe);
        assert_eq!((reception.running(), reception.counters().ended_by_reader), (1, 1));
    }

    #[test]
    fn a_reader_that_starts_over_replaces_its_old_transfer_once_it_acknowledges_the_new_one() {
        let mut reception = reception();
        let old = begun(reception.handle(LOCAL, peer(9, 2070), RRQ));
        assert_eq!(reception.acknowledged(old), []);
        let new = begun(reception.handle(LOCAL, peer(9, 2070), RRQ));
        assert_eq!(reception.running(), 2, "the second request may be a delayed copy: the first transfer goes on");
        assert_eq!(reception.acknowledged(new), [old]);
        assert_eq!(reception.acknowledged(new), [], "said once");
    }

    #[test]
    fn a_delayed_copy_of_the_request_does_not_harm_the_transfer_that_runs() {
        let mut reception = reception();
        let first = begun(reception.handle(LOCAL, peer(9, 2070), RRQ));
        assert_eq!(reception.acknowledged(first), []);
        let copy = begun(reception.handle(LOCAL, peer(9, 2070), RRQ));
        reception.ended(copy, Some(&Ending::Silent));
        assert_eq!(reception.running(), 1);
        reception.ended(first, Some(&Ending::Whole));
        assert_eq!((reception.running(), reception.counters().whole), (0, 1));
    }

    #[test]
    fn limits_leave_requests_unanswered_so_that_firmware_asks_again() {
        let mut reception = reception();
        let first = begun(reception.handle(LOCAL, peer(9, 1), RRQ));
        begun(reception.handle(LOCAL, peer(9, 2), RRQ));
        assert_eq!(reception.handle(LOCAL, peer(9, 3), RRQ), Answer::Silence(Silence::TooManyToAddress));
        begun(reception.handle(LOCAL, peer(10, 1), RRQ));
        begun(reception.handle(LOCAL, peer(11, 1), RRQ));
        assert_eq!(reception.handle(LOCAL, peer(12, 1), RRQ), Answer::Silence(Silence::TooMany));
        reception.ended(first, None);
        begun(reception.handle(LOCAL, peer(12, 1), RRQ));
        assert_eq!(reception.counters().over_limit, 2);
    }

    #[test]
    fn a_write_request_an_unknown_file_and_mail_mode_are_refused() {
        let mut reception = reception();
        assert_eq!(reception.handle(LOCAL, peer(9, 1), b"\0\x02snponly.efi\0octet\0"), Answer::Refuse(Refusal::ReadOnly));
        for name in ["nosuch", "../snponly.efi", "/etc/passwd", "", "snponly.efi/.."] {
            let request = format!("\0\x01{name}\0octet\0");
            assert_eq!(reception.handle(LOCAL, peer(9, 1), request.as_bytes()), Answer::Refuse(Refusal::FileNotFound), "{name}");
        }
        assert_eq!(reception.handle(LOCAL, peer(9, 1), b"\0\x01snponly.efi\0mail\0"), Answer::Refuse(Refusal::ModeNotServed));
        let counters = reception.counters();
        assert_eq!((counters.writes_refused, counters.not_found, counters.modes_refused, counters.begun), (1, 5, 1, 0));
        begun(reception.handle(LOCAL, peer(9, 1), b"\0\x01/snponly.efi\0netascii\0"));
    }

    #[test]
    fn no_answer_goes_to_what_is_no_request_or_to_nobody() {
        let mut reception = reception();
        for datagram in [b"".as_slice(), b"\0\x05\0\x01x\0", b"\0\x04\0\0", b"\0\x03\0\x01"] {
            assert_eq!(reception.handle(LOCAL, peer(9, 1), datagram), Answer::Silence(Silence::Malformed(Malformed::NotARequest)));
        }
        for sender in [peer(9, 0), SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 1), SocketAddrV4::new(Ipv4Addr::BROADCAST, 1)] {
            assert_eq!(reception.handle(LOCAL, sender, RRQ), Answer::Silence(Silence::Unanswerable));
        }
        assert_eq!((reception.running(), reception.counters().malformed), (0, 7));
    }
}
