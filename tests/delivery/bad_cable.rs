//! A cable between two namespaces that loses, doubles, delays and reorders what crosses it: what `tc netem` does, for kernels without it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlead::failure::Result;
use fairlead_lab::namespace::{self, Namespace};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::bind;
use socket2::{Domain, Protocol, Socket, Type};

/// The server's address.
pub(crate) const SERVER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 0, 2, 1);
const CLIENT: std::net::Ipv4Addr = std::net::Ipv4Addr::new(192, 0, 2, 2);

/// What the cable does to an IPv4 packet, each way. ARP crosses it unharmed: it is not what is tested.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Harm {
    /// Of a thousand packets so many are lost.
    pub(crate) lost: u64,
    /// Of a thousand so many come twice.
    pub(crate) doubled: u64,
    /// Of a thousand so many come 5 ms late, behind those that follow them.
    pub(crate) late: u64,
    /// How long each takes.
    pub(crate) delay: Duration,
}

/// Two namespaces and the cable. What runs in them must be ended first.
pub(crate) struct BadCable {
    pub(crate) server: Namespace,
    pub(crate) clients: Namespace,
    _middle: Namespace,
    cut: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    ways: Vec<JoinHandle<()>>,
}

impl BadCable {
    pub(crate) fn lay(harm: Harm) -> Result<Self> {
        namespace::require_privileges()?;
        let run_name = namespace::run_name();
        let create = |role| {
            let namespace = Namespace::create(&run_name, role)?;
            namespace.set("net.ipv6.conf.default.disable_ipv6=1").map(|()| namespace)
        };
        let (server, clients, middle) = (create("server")?, create("clients")?, create("middle")?);
        for (namespace, interface, end, address) in [(&server, "lan0", "end0", SERVER), (&clients, "lan1", "end1", CLIENT)] {
            namespace.connect(interface, &middle, end)?;
            namespace.configure(&format!("addr add {address}/24 dev {interface}"))?;
            // Packets that the kernel holds together for later segmentation would cross the cable as one.
            namespace.configure(&format!("link set {interface} gso_max_segs 1"))?;
        }
        let (first, second) = middle.within(|| Ok((open("end0"), open("end1"))))?;
        let (cut, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let ways = [(&first, &second, 1), (&second, &first, 2_u64)].map(|(from, to, seed)| {
            let way = Way {
                from: from.try_clone().unwrap(),
                to: to.try_clone().unwrap(),
                harm,
                dice: Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed)),
                cut: Arc::clone(&cut),
                lost: Arc::clone(&lost),
            };
            std::thread::spawn(|| way.carry())
        });
        Ok(Self { server, clients, _middle: middle, cut, lost, ways: ways.into() })
    }

    /// How many packets were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for BadCable {
    fn drop(&mut self) {
        self.cut.store(true, Ordering::Relaxed);
        for way in self.ways.drain(..) {
            drop(way.join());
        }
    }
}

/// All frames that come to the interface; those that it sends itself are not among them.
fn open(interface: &str) -> Socket {
    const ALL: u16 = 3;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ALL.to_be())))).unwrap();
    let address = getifaddrs().unwrap().find_map(|entry| {
        let address = entry.address.filter(|_| entry.interface_name == interface)?;
        address.as_link_addr().copied()
    });
    bind(socket.as_raw_fd(), &address.expect("the interface was just made")).unwrap();
    socket.set_recv_buffer_size(4 << 20).unwrap();
    socket
}

/// Numbers that look random and come from a seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn of_a_thousand(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % 1000
    }
}

struct Way {
    from: Socket,
    to: Socket,
    harm: Harm,
    dice: Dice,
    cut: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
}

impl Way {
    fn carry(mut self) {
        let mut on_the_way: BTreeMap<(Instant, u64), Vec<u8>> = BTreeMap::new();
        let (mut order, mut frame) = (0, [0; 2048]);
        while !self.cut.load(Ordering::Relaxed) {
            while let Some(entry) = on_the_way.first_entry() {
                if entry.key().0 > Instant::now() {
                    break;
                }
                // A buffer that is full is one more way to be lost.
                drop((&self.to).write(&entry.remove()));
            }
            let due = on_the_way.first_key_value().map_or(Duration::from_millis(50), |((at, _), _)| at.duration_since(Instant::now()));
            self.from.set_read_timeout(Some(due.clamp(Duration::from_micros(100), Duration::from_millis(50)))).unwrap();
            let length = match (&self.from).read(&mut frame) {
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => continue,
                // The namespace is going.
                Err(_) => return,
            };
            let mut frame = frame[..length].to_vec();
            let mut delays = vec![Duration::ZERO];
            if frame.get(12..14) == Some(&[8, 0]) {
                without_checksum(&mut frame);
                if self.dice.of_a_thousand() < self.harm.lost {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                delays[0] = self.harm.delay;
                if self.dice.of_a_thousand() < self.harm.late {
                    delays[0] += Duration::from_millis(5);
                }
                if self.dice.of_a_thousand() < self.harm.doubled {
                    delays.push(self.harm.delay + Duration::from_millis(1));
                }
            }
            for delay in delays {
                order += 1;
                on_the_way.insert((Instant::now() + delay, order), frame.clone());
            }
        }
    }
}

/// The sender's kernel leaves the checksum to hardware that is not there. Zero says that there is none (RFC 768).
fn without_checksum(frame: &mut [u8]) {
    const UDP: u8 = 17;
    if frame.get(14) == Some(&0x45)
        && frame.get(23) == Some(&UDP)
        && let Some(checksum) = frame.get_mut(40..42)
    {
        checksum.fill(0);
    }
}
