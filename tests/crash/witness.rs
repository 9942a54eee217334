//! Reads off the cable what clients were promised.

use std::collections::{BTreeMap, HashMap};
use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable as _, Decoder};
use etherparse::{SlicedPacket, TransportSlice};
use fairlead::edge::lease::{LeaseRecord, LeaseState};
use fairlead::failure::Failure;
use fairlead_lab::namespace::Namespace;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

/// The lease files may keep whole seconds, in milliseconds.
const ROUNDING: u64 = 1000;

/// To whom, and until when in milliseconds since 1970.
#[derive(Clone, Debug)]
struct Promise {
    hardware: Vec<u8>,
    until: u64,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the REQUEST of a transaction was sent: the client counts from there (RFC 2131, section 4.4.1).
    asked: HashMap<u32, u64>,
    promised: BTreeMap<Ipv4Addr, Promise>,
    acknowledged: u64,
    /// An address that two clients were given.
    twice: Option<String>,
}

pub(crate) struct Witness(Arc<Mutex<Seen>>);

impl Witness {
    /// The thread that reads ends with the interface.
    pub(crate) fn watch(namespace: &Namespace, interface: &str) -> Self {
        let open = || {
            let failed = |error: nix::Error| Failure::new("cannot open a raw socket").cause(&error);
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).map_err(failed)?;
            let mut entries = getifaddrs().map_err(failed)?;
            let link =
                entries.find_map(|entry| (entry.interface_name == interface).then(|| entry.address?.as_link_addr().copied()).flatten());
            bind(socket.as_raw_fd(), &link.expect("the interface is there")).map_err(failed)?;
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(failed)?;
            // Loss would make the witness forgetful, not wrong.
            setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20)).map_err(failed)?;
            Ok(socket)
        };
        let socket = namespace.within(open).expect("a raw socket");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let written = Arc::clone(&seen);
        thread::spawn(move || {
            let mut buffer = vec![0; 9216];
            let mut control = nix::cmsg_space!(TimeSpec);
            loop {
                let mut place = [IoSliceMut::new(&mut buffer)];
                let Ok(received) = recvmsg::<()>(socket.as_raw_fd(), &mut place, Some(&mut control), MsgFlags::empty()) else { return };
                let moment = received.cmsgs().ok().and_then(|mut all| {
                    all.find_map(|each| if let ControlMessageOwned::ScmTimestampns(time) = each { Some(milliseconds(time)) } else { None })
                });
                let length = received.bytes;
                if let (Some(moment), Some(message)) = (moment, buffer.get(..length).and_then(read)) {
                    lock(&written).note(moment, &message);
                }
            }
        });
        Self(seen)
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        lock(&self.0).acknowledged
    }

    pub(crate) fn addresses(&self) -> usize {
        lock(&self.0).promised.len()
    }

    /// Every promise is kept by the lease files, and no address was promised twice. What is read must be no older than the question.
    pub(crate) fn hold_against(&self, leases: &[LeaseRecord]) {
        let seen = lock(&self.0);
        assert_eq!(seen.twice, None);
        let by_address: BTreeMap<Ipv4Addr, &LeaseRecord> = leases.iter().map(|lease| (lease.address, lease)).collect();
        assert_eq!(by_address.len(), leases.len(), "an address is there twice");
        for (address, promise) in &seen.promised {
            let kept = by_address.get(address).unwrap_or_else(|| panic!("the lease of {address} is gone, {promise:?}"));
            assert_eq!(kept.hardware.octets(), promise.hardware, "{address} has another client");
            assert_eq!(kept.state, LeaseState::Bound, "{address}");
            assert!(kept.expires_at.0 + ROUNDING >= promise.until, "{address}: {promise:?}, and there is {kept:?}");
        }
    }
}

impl Seen {
    fn note(&mut self, moment: u64, message: &Message) {
        match message.opts().msg_type() {
            Some(MessageType::Request) => {
                self.asked.insert(message.xid(), moment);
            }
            Some(MessageType::Ack) => {
                let Some(DhcpOption::AddressLeaseTime(seconds)) = message.opts().get(OptionCode::AddressLeaseTime) else { return };
                let Some(asked) = self.asked.remove(&message.xid()) else { return };
                self.acknowledged += 1;
                let promise = Promise { hardware: message.chaddr().to_vec(), until: asked + u64::from(*seconds) * 1000 };
                let address = message.yiaddr();
                let older = self.promised.get(&address);
                if older.is_some_and(|older| older.hardware != promise.hardware && older.until > moment) {
                    self.twice = Some(format!("{address}: {older:?}, then {promise:?}"));
                }
                // A renewal while the disk fails is short; what was promised before holds all the same.
                if older.is_none_or(|older| older.until < promise.until) {
                    self.promised.insert(address, promise);
                }
            }
            _ => {}
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(time: TimeSpec) -> u64 {
    u64::try_from(time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000).unwrap()
}

fn read(frame: &[u8]) -> Option<Message> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Udp(udp)) = packet.transport else { return None };
    Message::decode(&mut Decoder::new(udp.payload())).ok()
}
