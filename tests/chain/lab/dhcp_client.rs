//! A DHCP client that poses as iPXE with HTTPS, to get boot tickets without a machine behind them.
//!
//! It runs in a station's namespace as a program of its own, since a socket belongs to the namespace its program is in.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};
use fairlead::wire::{MacAddr, SystemUuid, private_option};
use socket2::{Domain, Protocol, Socket, Type};

use super::namespace::Namespace;
use super::process::run;

/// The word with which this test program is told to be the client.
pub(crate) const SUBCOMMAND: &str = "pose-as-ipxe";

/// What iPXE would have been given.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The boot ticket.
    pub(crate) ticket: String,
    /// The URL of the boot plane.
    pub(crate) boot_url: String,
    /// The boot file.
    pub(crate) boot_file: String,
}

/// A machine at the site that is none: an interface with an address, and whatever it claims to be.
#[derive(Debug)]
pub(crate) struct Impostor {
    station: Namespace,
    mac: MacAddr,
    uuid: SystemUuid,
}

impl Impostor {
    /// Plugs it in.
    pub(crate) fn plug_in(network: &super::network::Network, name: &str, mac: MacAddr, uuid: SystemUuid) -> Result<Self> {
        let station = network.station(name)?;
        station.configure(&format!("link set eth0 address {mac}"))?;
        Ok(Self { station, mac, uuid })
    }

    /// What it says its UUID is.
    pub(crate) fn uuid(&self) -> SystemUuid {
        self.uuid
    }

    /// Asks for an address as iPXE does, takes it, and returns what came with it.
    pub(crate) fn ask(&self) -> Result<Answer> {
        let program = std::env::current_exe().map_err(|error| Failure::new("cannot find this program").cause(&error))?;
        let text = run(self.station.command(program).args([SUBCOMMAND, &self.mac.to_string(), &self.uuid.to_string()]))?;
        let mut lines = text.lines().map(str::to_owned);
        let mut next = || lines.next().ok_or_else(|| Failure::new(format!("the DHCP client said only: {text}")));
        let address: Ipv4Addr = next()?.parse().map_err(|error| Failure::new("the DHCP client named no address").cause(&error))?;
        let answer = Answer { ticket: next()?, boot_url: next()?, boot_file: next()? };
        self.station.configure(&format!("addr replace {address}/24 dev eth0"))?;
        self.station.configure(&format!("route replace default via {} dev eth0", super::network::EDGE_ADDRESS))?;
        Ok(answer)
    }

    /// Runs curl at the site and returns the status and the body.
    pub(crate) fn curl(&self, arguments: &[&str]) -> Result<(u16, String)> {
        let mut command = self.station.command("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"]).args(arguments);
        let text = run(&mut command)?;
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", text.as_str()));
        let status = status.parse().map_err(|error| Failure::new(format!("curl named no status: {text}")).cause(&error))?;
        Ok((status, body.to_owned()))
    }
}

/// The client itself: an exchange of four messages; its result goes to standard output, one value a line.
pub(crate) fn run_client(mac: &str, uuid: &str) -> Result<String> {
    let mac: MacAddr = mac.parse().map_err(|error| Failure::new("not a hardware address").cause(&error))?;
    let uuid: SystemUuid = uuid.parse().map_err(|error| Failure::new("not a UUID").cause(&error))?;
    let failed = |error: std::io::Error| Failure::new("the DHCP client's socket failed").cause(&error);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
    socket.set_broadcast(true).map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?;
    socket.bind_device(Some(b"eth0")).map_err(failed)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into()).map_err(failed)?;
    let socket: std::net::UdpSocket = socket.into();
    socket.set_read_timeout(Some(Duration::from_millis(500))).map_err(failed)?;

    let transaction = std::process::id().to_be_bytes();
    let client = Client { socket, mac, uuid, transaction };
    let offer = client.exchange(DISCOVER, &[])?;
    let server = offer.option(SERVER_IDENTIFIER).ok_or_else(|| Failure::new("the offer names no server"))?;
    let address = offer.address();
    let request = [option(SERVER_IDENTIFIER, &server), option(REQUESTED_ADDRESS, &address.octets())].concat();
    let acknowledgement = client.exchange(REQUEST, &request)?;
    let text = |code: u8| acknowledgement.option(code).map(|value| String::from_utf8_lossy(&value).into_owned()).unwrap_or_default();
    Ok(format!(
        "{}\n{}\n{}\n{}",
        acknowledgement.address(),
        text(private_option::TICKET),
        text(private_option::BOOT_URL),
        acknowledgement.boot_file()
    ))
}

// RFC 2132, 9.6.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

const REQUESTED_ADDRESS: u8 = 50;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const PARAMETER_LIST: u8 = 55;
const VENDOR_CLASS: u8 = 60;
const BOOT_FILE_NAME: u8 = 67;
const USER_CLASS: u8 = 77;
const ARCHITECTURE: u8 = 93;
const UUID: u8 = 97;
const IPXE_FEATURES: u8 = 175;
const END: u8 = 255;

struct Client {
    socket: std::net::UdpSocket,
    mac: MacAddr,
    uuid: SystemUuid,
    transaction: [u8; 4],
}

impl Client {
    /// Sends a message until there is an answer to it.
    fn exchange(&self, kind: u8, more: &[u8]) -> Result<Message> {
        let message = self.message(kind, more);
        let wanted = if kind == DISCOVER { OFFER } else { ACK };
        let deadline = Instant::now() + Duration::from_secs(15);
        let mut buffer = [0; 2048];
        while Instant::now() < deadline {
            self.socket
                .send_to(&message, (Ipv4Addr::BROADCAST, 67))
                .map_err(|error| Failure::new("cannot send a DHCP message").cause(&error))?;
            while let Ok(length) = self.socket.recv(&mut buffer) {
                let answer = Message(buffer.get(..length).unwrap_or_default().to_vec());
                if answer.is_answer_to(self.transaction, wanted) {
                    return Ok(answer);
                }
            }
        }
        Err(Failure::new("nobody answered the DHCP client").hint("read the edge's log"))
    }

    fn message(&self, kind: u8, more: &[u8]) -> Vec<u8> {
        // RFC 2131, figure 1: BOOTREQUEST over Ethernet, answers to be broadcast.
        let mut bytes = vec![1, 1, 6, 0];
        bytes.extend_from_slice(&self.transaction);
        bytes.extend_from_slice(&[0, 0, 0x80, 0]);
        bytes.resize(28, 0);
        bytes.extend_from_slice(&self.mac.0);
        bytes.resize(236, 0);
        bytes.extend_from_slice(&[99, 130, 83, 99]);
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.uuid.0;
        // SMBIOS order: the first three fields of the UUID are little-endian.
        let uuid = [&[0, d, c, b, a, f, e, h, g][..], &rest].concat();
        let options = [
            option(MESSAGE_TYPE, &[kind]),
            option(PARAMETER_LIST, &[1, 3, 6, 66, 67, private_option::TICKET, private_option::BOOT_URL]),
            option(VENDOR_CLASS, b"PXEClient:Arch:00007:UNDI:003010"),
            option(USER_CLASS, b"iPXE"),
            option(ARCHITECTURE, &[0, 7]),
            option(94, &[1, 3, 10]),
            option(UUID, &uuid),
            // Version 2.0.0, HTTP, HTTPS.
            option(IPXE_FEATURES, &[0xeb, 3, 2, 0, 0, 0x13, 1, 1, 0x14, 1, 1]),
            more.to_vec(),
            vec![END],
        ];
        bytes.extend_from_slice(&options.concat());
        bytes.resize(bytes.len().max(300), 0);
        bytes
    }
}

fn option(code: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![code, u8::try_from(value.len()).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(value);
    bytes
}

/// A message from a server.
struct Message(Vec<u8>);

impl Message {
    fn is_answer_to(&self, transaction: [u8; 4], kind: u8) -> bool {
        self.0.first() == Some(&2) && self.0.get(4..8) == Some(&transaction) && self.option(MESSAGE_TYPE).as_deref() == Some(&[kind])
    }

    fn address(&self) -> Ipv4Addr {
        let octets: [u8; 4] = self.0.get(16..20).and_then(|octets| octets.try_into().ok()).unwrap_or_default();
        Ipv4Addr::from(octets)
    }

    fn boot_file(&self) -> String {
        let from_option = self.option(BOOT_FILE_NAME);
        let field = self.0.get(108..236).unwrap_or_default();
        let bytes = from_option.as_deref().unwrap_or(field);
        String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
    }

    /// The value of an option, its parts joined (RFC 3396).
    fn option(&self, wanted: u8) -> Option<Vec<u8>> {
        let mut rest = self.0.get(240..)?;
        let mut value: Option<Vec<u8>> = None;
        while let Some((&code, after)) = rest.split_first() {
            match code {
                0 => rest = after,
                END => break,
                _ => {
                    let (&length, after) = after.split_first()?;
                    let (part, after) = after.split_at_checked(usize::from(length))?;
                    if code == wanted {
                        value.get_or_insert_default().extend_from_slice(part);
                    }
                    rest = after;
                }
            }
        }
        value
    }
}
