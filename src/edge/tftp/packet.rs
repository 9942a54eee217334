//! TFTP packets (RFC 1350 section 5, RFC 2347).

/// What came to the well-known port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// RRQ.
    Read(ReadRequest),
    /// WRQ.
    Write,
}

/// A read request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The name, as the reader wrote it.
    pub file: Vec<u8>,
    /// How the content is to be carried.
    pub mode: Mode,
    /// The options asked for.
    pub options: Options,
}

/// The transfer modes of RFC 1350, section 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Octets as they are.
    Octet,
    /// Text with CR LF line ends.
    Netascii,
    /// `mail`, or a name that no RFC knows.
    Other,
}

/// Options that a reader asked for. One whose value its RFC does not allow is left out, as if it had not been asked (RFC 2347: ignored).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// RFC 2348 `blksize`: octets in a block, at least 8; a number above the RFC's 65464 stands as 65464, as the server may answer with less.
    pub block_size: Option<u16>,
    /// RFC 2349 `tsize`: the size of the file is wanted.
    pub transfer_size: bool,
    /// RFC 2349 `timeout`: seconds before a retransmission, 1 to 255.
    pub timeout: Option<u8>,
    /// RFC 7440 `windowsize`: blocks before an ACK, at least 1.
    pub window_size: Option<u16>,
}

/// The largest block of RFC 2348.
pub const BLOCK_SIZE_LIMIT: u16 = 65464;

/// A datagram that is no request that this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than an opcode, or an opcode that does not belong to this port.
    #[error("not a TFTP request")]
    NotARequest,
    /// The name or the mode has no end.
    #[error("a request without the zero octet after its file name or mode")]
    Unterminated,
}

impl Request {
    /// Reads a datagram that came to the well-known port.
    ///
    /// # Errors
    /// [`Malformed`]. Options that make no sense are no error: RFC 2347 has them ignored.
    pub fn parse(datagram: &[u8]) -> Result<Self, Malformed> {
        let (opcode, rest) = datagram.split_first_chunk::<2>().ok_or(Malformed::NotARequest)?;
        match u16::from_be_bytes(*opcode) {
            RRQ => {}
            WRQ => return Ok(Self::Write),
            _ => return Err(Malformed::NotARequest),
        }
        let mut strings = Strings(rest);
        let file = strings.next().ok_or(Malformed::Unterminated)?;
        let mode = strings.next().ok_or(Malformed::Unterminated)?;
        let mode = if mode.eq_ignore_ascii_case(b"octet") {
            Mode::Octet
        } else if mode.eq_ignore_ascii_case(b"netascii") {
            Mode::Netascii
        } else {
            Mode::Other
        };
        Ok(Self::Read(ReadRequest { file: file.to_vec(), mode, options: Options::parse(strings) }))
    }
}

impl Options {
    fn parse(mut strings: Strings<'_>) -> Self {
        let mut options = Self::default();
        while let (Some(name), Some(value)) = (strings.next(), strings.next()) {
            // An option may be asked once (RFC 2347); of a repeated one the first counts.
            if name.eq_ignore_ascii_case(b"blksize") {
                let asked = number(value).filter(|size| *size >= 8).map(|size| saturate(size).min(BLOCK_SIZE_LIMIT));
                options.block_size = options.block_size.or(asked);
            } else if name.eq_ignore_ascii_case(b"tsize") {
                options.transfer_size = true;
            } else if name.eq_ignore_ascii_case(b"timeout") {
                let asked = number(value).and_then(|seconds| u8::try_from(seconds).ok()).filter(|seconds| *seconds >= 1);
                options.timeout = options.timeout.or(asked);
            } else if name.eq_ignore_ascii_case(b"windowsize") {
                let asked = number(value).filter(|blocks| *blocks >= 1).map(saturate);
                options.window_size = options.window_size.or(asked);
            }
        }
        options
    }
}

fn saturate(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// A decimal number as RFC 2347 writes them: ASCII digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))))
}

/// The zero-terminated strings of a request.
struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (string, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..).unwrap_or_default();
        Some(string)
    }
}

/// What a reader says during its transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// ACK of the block with this number, modulo 65536.
    Ack(u16),
    /// ERROR: the reader ends the transfer.
    Error(ReaderError),
}

/// A reader's reason to end a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderError {
    /// The code (RFC 1350, appendix).
    pub code: u16,
    /// The text, up to 100 characters, with what is not printable escaped.
    pub text: String,
}

impl Reply {
    /// Reads a datagram that came to a transfer's port; `None` when it is neither ACK nor ERROR.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (opcode, rest) = datagram.split_first_chunk::<2>()?;
        let (number, text) = rest.split_first_chunk::<2>()?;
        let number = u16::from_be_bytes(*number);
        match u16::from_be_bytes(*opcode) {
            // Some firmware pads its ACK: what follows the number is not looked at.
            ACK => Some(Self::Ack(number)),
            ERROR => {
                let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
                Some(Self::Error(ReaderError { code: number, text: printable(text) }))
            }
            _ => None,
        }
    }
}

/// Bytes from outside, for a log: escaped and not at any length.
#[must_use]
pub fn printable(text: &[u8]) -> String {
    text.get(..100).unwrap_or(text).escape_ascii().to_string()
}

/// Why a request is refused (RFC 1350, appendix). The texts are fixed: nothing of this box shows in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such file for nodes.
    FileNotFound,
    /// Nothing can be written here.
    ReadOnly,
    /// The mode is not `octet`.
    ModeNotServed,
    /// The server stops.
    ShuttingDown,
}

impl Refusal {
    /// The ERROR packet.
    #[must_use]
    pub fn packet(self) -> Vec<u8> {
        let (code, text) = match self {
            Self::FileNotFound => (1u16, "File not found"),
            Self::ReadOnly => (2, "This server is read only"),
            Self::ModeNotServed => (0, "Only octet mode is served"),
            Self::ShuttingDown => (0, "The server is shutting down"),
        };
        let mut packet = Vec::with_capacity(text.len().saturating_add(5));
        packet.extend(ERROR.to_be_bytes());
        packet.extend(code.to_be_bytes());
        packet.extend(text.as_bytes());
        packet.push(0);
        packet
    }
}

/// Options as they were agreed to; what an OACK says (RFC 2347).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Octets in a block.
    pub block_size: Option<u16>,
    /// Size of the file.
    pub transfer_size: Option<u64>,
    /// Seconds before a retransmission.
    pub timeout: Option<u8>,
    /// Blocks before an ACK.
    pub window_size: Option<u16>,
}

impl Agreed {
    /// The OACK packet; `None` when nothing was agreed to, as then the first block is the answer.
    #[must_use]
    pub fn packet(&self) -> Option<Vec<u8>> {
        if *self == Self::default() {
            return None;
        }
        let mut packet = OACK.to_be_bytes().to_vec();
        let mut option = |name: &str, value: Option<u64>| {
            if let Some(value) = value {
                packet.extend(name.as_bytes());
                packet.push(0);
                packet.extend(value.to_string().as_bytes());
                packet.push(0);
            }
        };
        option("tsize", self.transfer_size);
        option("blksize", self.block_size.map(u64::from));
        option("timeout", self.timeout.map(u64::from));
        option("windowsize", self.window_size.map(u64::from));
        Some(packet)
    }
}

/// Adds a DATA packet to the end of `datagram`.
pub fn write_data(datagram: &mut Vec<u8>, number: u16, content: &[u8]) {
    datagram.extend_from_slice(&DATA.to_be_bytes());
    datagram.extend_from_slice(&number.to_be_bytes());
    datagram.extend_from_slice(content);
}

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

#[cfg(test)]
mod tests {
    use super::{Agreed, BLOCK_SIZE_LIMIT, Malformed, Mode, Options, Reply, Request};

    fn options(text: &[u8]) -> Options {
        let mut datagram = b"\0\x01snponly.efi\0octet\0".to_vec();
        datagram.extend(text);
        match Request::parse(&datagram) {
            Ok(Request::Read(request)) => request.options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rfc1350_5_reads_a_request_with_its_mode_in_any_case() {
        let Ok(Request::Read(request)) = Request::parse(b"\0\x01/snponly.efi\0OcTeT\0") else { panic!() };
        assert_eq!((request.file.as_slice(), request.mode), (b"/snponly.efi".as_slice(), Mode::Octet));
        assert_eq!(request.options, Options::default());
        assert_eq!(Request::parse(b"\0\x02a\0octet\0"), Ok(Request::Write));
        for (mode, expected) in [("netascii", Mode::Netascii), ("mail", Mode::Other), ("", Mode::Other)] {
            let Ok(Request::Read(request)) = Request::parse(format!("\0\x01a\0{mode}\0").as_bytes()) else { panic!() };
            assert_eq!(request.mode, expected);
        }
    }

    #[test]
    fn rfc1350_5_a_request_needs_its_zero_octets() {
        for datagram in [b"\0\x01".as_slice(), b"\0\x01a", b"\0\x01a\0", b"\0\x01a\0octet"] {
            assert_eq!(Request::parse(datagram), Err(Malformed::Unterminated));
        }
        for datagram in [b"".as_slice(), b"\0", b"\0\x03\0\x01data", b"\0\x04\0\0", b"\0\x05\0\0\0", b"\x01\0a\0octet\0"] {
            assert_eq!(Request::parse(datagram), Err(Malformed::NotARequest));
        }
    }

    #[test]
    fn rfc2347_option_names_have_no_case_and_unknown_ones_are_ignored() {
        let asked = options(b"BLKSIZE\x001468\0multicast\0\0TSize\x000\0windowSIZE\x004\0timeout\x003\0");
        let expected = Options { block_size: Some(1468), transfer_size: true, timeout: Some(3), window_size: Some(4) };
        assert_eq!(asked, expected);
    }

    #[test]
    fn rfc2347_the_first_of_a_repeated_option_counts_and_a_cut_one_is_ignored() {
        assert_eq!(options(b"blksize\x001000\0blksize\x002000\0windowsize\x004").block_size, Some(1000));
        assert_eq!(options(b"blksize\x001000\0windowsize\x004").window_size, None);
        assert_eq!(options(b"blksize"), Options::default());
    }

    #[test]
    fn rfc2348_a_block_size_out_of_range_is_held_or_ignored() {
        for (value, expected) in [
            ("7", None),
            ("8", Some(8)),
            ("65464", Some(65464)),
            ("65465", Some(BLOCK_SIZE_LIMIT)),
            ("99999999999999999999", Some(BLOCK_SIZE_LIMIT)),
            ("999999999999999999999", None),
            ("-1", None),
            ("+8", None),
            ("", None),
            ("0x200", None),
        ] {
            assert_eq!(options(format!("blksize\0{value}\0").as_bytes()).block_size, expected, "{value}");
        }
    }

    #[test]
    fn rfc2349_and_7440_values_out_of_range_are_ignored() {
        for value in ["0", "256", "x"] {
            assert_eq!(options(format!("timeout\0{value}\0").as_bytes()).timeout, None);
        }
        assert_eq!(options(b"windowsize\x000\0").window_size, None);
        assert_eq!(options(b"windowsize\x0070000\0").window_size, Some(u16::MAX));
    }

    #[test]
    fn rfc1350_5_reads_acks_and_errors_and_nothing_else_during_a_transfer() {
        assert_eq!(Reply::parse(b"\0\x04\x01\x02"), Some(Reply::Ack(0x0102)));
        assert_eq!(Reply::parse(b"\0\x04\x01\x02padding"), Some(Reply::Ack(0x0102)));
        let Some(Reply::Error(error)) = Reply::parse(b"\0\x05\0\x08User \x1b[2Jaborted") else { panic!() };
        assert_eq!((error.code, error.text.as_str()), (8, "User \\x1b[2Jaborted"));
        for datagram in [b"".as_slice(), b"\0\x04", b"\0\x04\0", b"\0\x03\0\x01x", b"\0\x06blksize\0"] {
            assert_eq!(Reply::parse(datagram), None);
        }
    }

    #[test]
    fn rfc2347_an_oack_names_what_was_agreed_and_only_that() {
        assert_eq!(Agreed::default().packet(), None);
        let agreed = Agreed { block_size: Some(1468), transfer_size: Some(296_448), ..Agreed::default() };
        assert_eq!(agreed.packet().as_deref(), Some(b"\0\x06tsize\x00296448\0blksize\x001468\0".as_slice()));
    }
}
