//! ISC dhcpd's `dhcpd.leases` (dhcpd.leases(5)): declarations such as `lease 192.0.2.5 { ...; }`, appended with each change.

use time::PrimitiveDateTime;
use time::macros::format_description;

use super::{Entry, Located, QUARANTINE, Unreadable, WITHOUT_END, Why, address, client, nobody};
use crate::clock::Timestamp;
use crate::edge::lease::entry::{client_id, hardware, shortened};
use crate::edge::lease::{ClientId, EntryError, HardwareAddress, LeaseRecord, LeaseState, host_name};

/// A piece of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// A quoted string with its escapes read: any octets.
    Text(Vec<u8>),
    Open,
    Close,
    End,
}

/// Pieces and the lines that they stand on.
struct Tokens<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text.chars().peekable(), line: 1 }
    }

    fn next_char(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        if next == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(next)
    }

    /// The next piece, or `None` at the end of the file.
    fn next(&mut self) -> Result<Option<Token>, Unreadable> {
        loop {
            let Some(next) = self.next_char() else { return Ok(None) };
            return Ok(Some(match next {
                '#' => {
                    while self.next_char().is_some_and(|next| next != '\n') {}
                    continue;
                }
                next if next.is_whitespace() => continue,
                '{' => Token::Open,
                '}' => Token::Close,
                ';' => Token::End,
                '"' => Token::Text(self.quoted()?),
                next => {
                    let mut word = String::from(next);
                    while let Some(next) = self.rest.next_if(|next| !next.is_whitespace() && !matches!(next, '{' | '}' | ';' | '"' | '#')) {
                        word.push(next);
                    }
                    Token::Word(word)
                }
            }));
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Unreadable> {
        let begun = self.line;
        let unfinished = || Unreadable::new(begun, "a quoted text does not end");
        let mut octets = Vec::new();
        loop {
            match self.next_char().ok_or_else(unfinished)? {
                '"' => return Ok(octets),
                '\\' => {
                    let escaped = self.next_char().ok_or_else(unfinished)?;
                    match escaped {
                        '0'..='7' => octets.push(self.number(8, escaped, 2)?),
                        'x' => octets.push(self.number(16, '0', 2)?),
                        't' => octets.push(b'\t'),
                        'r' => octets.push(b'\r'),
                        'n' => octets.push(b'\n'),
                        'b' => octets.push(8),
                        other => push(&mut octets, other),
                    }
                }
                other => push(&mut octets, other),
            }
        }
    }

    /// A number that begins with `first` and goes on for at most `more` digits.
    fn number(&mut self, radix: u32, first: char, more: usize) -> Result<u8, Unreadable> {
        let mut number = first.to_digit(radix).unwrap_or_default();
        for _ in 0..more {
            let Some(digit) = self.rest.next_if(|next| next.is_digit(radix)).and_then(|next| next.to_digit(radix)) else { break };
            number = number.saturating_mul(radix).saturating_add(digit);
        }
        u8::try_from(number).map_err(|_| Unreadable::new(self.line, "an escaped octet is over 255"))
    }

    /// A statement up to its `;`, or up to the block that it opens, which is passed over. `None` at the end of the block around it.
    fn statement(&mut self) -> Result<Option<Vec<Token>>, Unreadable> {
        let mut tokens = Vec::new();
        loop {
            match self.next()? {
                None => {
                    return Err(Unreadable::new(self.line, "the file ends within a lease; it was cut off, or the server was writing it"));
                }
                Some(Token::End) if tokens.is_empty() => {}
                Some(Token::End) => return Ok(Some(tokens)),
                Some(Token::Close) if tokens.is_empty() => return Ok(None),
                Some(Token::Close) => return Err(Unreadable::new(self.line, "a statement has no `;` at its end")),
                Some(Token::Open) => {
                    self.pass_block()?;
                    return Ok(Some(Vec::new()));
                }
                Some(token) => tokens.push(token),
            }
        }
    }

    /// Goes behind the end of a block whose beginning was read.
    fn pass_block(&mut self) -> Result<(), Unreadable> {
        let begun = self.line;
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next()? {
                None => return Err(Unreadable::new(begun, "a block that begins here does not end")),
                Some(Token::Open) => depth = depth.saturating_add(1),
                Some(Token::Close) => depth = depth.saturating_sub(1),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

fn push(octets: &mut Vec<u8>, character: char) {
    octets.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

pub(super) fn read(text: &str, now: Timestamp) -> Result<Vec<Located<Entry>>, Unreadable> {
    let mut tokens = Tokens::of(text);
    let mut entries = Vec::new();
    while let Some(first) = tokens.next()? {
        let line = tokens.line;
        let Token::Word(word) = &first else {
            return Err(Unreadable::new(line, "a declaration should begin here, such as `lease 192.0.2.5 {`"));
        };
        if word == "lease" {
            entries.push(Located { line, value: lease(&mut tokens, now)? });
            continue;
        }
        // Hosts, failover states, the server's identifier and the like. Leases of IPv6 are in a file of their own.
        loop {
            match tokens.next()? {
                Some(Token::End) => break,
                Some(Token::Open) => {
                    tokens.pass_block()?;
                    break;
                }
                Some(Token::Word(_) | Token::Text(_)) => {}
                Some(Token::Close) | None => return Err(Unreadable::new(line, format!("`{}` has no end", shortened(word)))),
            }
        }
    }
    Ok(entries)
}

/// What a lease's block says.
#[derive(Default)]
struct Block {
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    state: Option<String>,
    hardware: Option<HardwareAddress>,
    client: Option<ClientId>,
    host_name: Option<Box<str>>,
}

fn lease(tokens: &mut Tokens<'_>, now: Timestamp) -> Result<Entry, Unreadable> {
    let line = tokens.line;
    let (Some(Token::Word(ip)), Some(Token::Open)) = (tokens.next()?, tokens.next()?) else {
        return Err(Unreadable::new(line, "`lease` is not followed by an address and `{`"));
    };
    let address = address(line, &ip)?;
    let mut block = Block::default();
    while let Some(statement) = tokens.statement()? {
        block.take(tokens.line, &statement, now)?;
    }
    let hardware = block.hardware.or_else(|| HardwareAddress::new(0, &[])).ok_or_else(|| Unreadable::new(line, "no hardware address"))?;
    let ends_at = block.ends_at.unwrap_or(now);
    let (state, client, expires_at) = match block.state.as_deref() {
        // Before version 3 there was no state.
        None | Some("active") => (LeaseState::Bound, client(block.client, &hardware), ends_at),
        Some("abandoned") => (LeaseState::Declined, nobody(), now.after(QUARANTINE)),
        Some("free" | "expired" | "released" | "backup" | "reset" | "bootp") => return Ok(Entry { address, record: Err(Why::Over) }),
        Some(other) => return Err(Unreadable::new(line, format!("`{}` is no binding state", shortened(other)))),
    };
    let starts_at = block.starts_at.unwrap_or(now).min(expires_at);
    let record = client.map(|client| LeaseRecord { address, client, hardware, state, starts_at, expires_at, host_name: block.host_name });
    Ok(Entry { address, record })
}

impl Block {
    fn take(&mut self, line: usize, statement: &[Token], now: Timestamp) -> Result<(), Unreadable> {
        let words: Vec<&str> = statement.iter().map(|token| if let Token::Word(word) = token { word } else { "" }).collect();
        match (words.as_slice(), statement) {
            (["starts", rest @ ..], _) => self.starts_at = Some(moment(line, rest, now)?),
            (["ends", rest @ ..], _) => self.ends_at = Some(moment(line, rest, now)?),
            (["binding", "state", state], _) => self.state = Some((*state).to_owned()),
            (["abandoned"], _) => self.state = Some("abandoned".to_owned()),
            (["hardware", kind, octets], _) => {
                let kind = match *kind {
                    "ethernet" => Some(1),
                    "token-ring" => Some(6),
                    "fddi" => Some(8),
                    "infiniband" => Some(32),
                    other => other.strip_prefix("unknown-").and_then(|number| number.parse().ok()),
                };
                let kind =
                    kind.ok_or_else(|| Unreadable::new(line, format!("`{}` is no type of hardware", shortened(words.join(" ").as_str()))))?;
                self.hardware = Some(hardware(kind, octets).map_err(Unreadable::at(line))?);
            }
            (["uid", octets], [_, Token::Word(_)]) => self.client = Some(client_id(octets).map_err(Unreadable::at(line))?),
            (["uid", ..], [_, Token::Text(octets)]) => {
                let error = || Unreadable::at(line)(EntryError::Client(shortened(&String::from_utf8_lossy(octets))));
                self.client = Some(ClientId::from_option(octets).ok_or_else(error)?);
            }
            (["client-hostname", ..], [_, Token::Text(name)]) => self.host_name = host_name(name),
            (["client-hostname", name], _) => self.host_name = host_name(name.as_bytes()),
            // Times of failover, what is done at the end, variables: nothing that we keep.
            _ => {}
        }
        Ok(())
    }
}

/// `never`, `epoch 1700000000`, or `2 2026/11/23 04:05:06` with the day of the week first, in UTC.
fn moment(line: usize, words: &[&str], now: Timestamp) -> Result<Timestamp, Unreadable> {
    let form = format_description!("[year]/[month]/[day] [hour]:[minute]:[second]");
    let seconds = match words {
        ["never"] => return Ok(now.after(WITHOUT_END)),
        ["epoch", seconds] => seconds.parse().ok(),
        [_, date, time] => PrimitiveDateTime::parse(&format!("{date} {time}"), &form)
            .ok()
            .and_then(|moment| u64::try_from(moment.assume_utc().unix_timestamp()).ok()),
        _ => None,
    };
    seconds
        .map(Timestamp::from_secs)
        .ok_or_else(|| Unreadable::new(line, format!("`{}` is no time such as `2 2026/11/23 04:05:06`", shortened(&words.join(" ")))))
}
