//! Kea's memfile: comma-separated, a header that names the columns, a line for each change of a lease. Columns were added over the
//! years, so they are found by their names.

use std::borrow::Cow;
use std::time::Duration;

use super::{Entry, Located, QUARANTINE, Unreadable, Why, address, client, lines, nobody};
use crate::clock::Timestamp;
use crate::edge::lease::entry::{client_id, hardware, shortened};
use crate::edge::lease::{LeaseRecord, LeaseState, host_name};

/// The columns that are looked at.
struct Columns {
    count: usize,
    address: usize,
    hardware: usize,
    client: usize,
    lifetime: usize,
    expire: usize,
    host_name: Option<usize>,
    state: Option<usize>,
}

impl Columns {
    fn of(header: &str) -> Result<Self, Unreadable> {
        let names: Vec<&str> = header.split(',').collect();
        let place = |name: &str| names.iter().position(|column| *column == name);
        let must = |name: &str| {
            place(name).ok_or_else(|| Unreadable::new(1, format!("this is no lease file of Kea for IPv4: it has no column `{name}`")))
        };
        Ok(Self {
            count: names.len(),
            address: must("address")?,
            hardware: must("hwaddr")?,
            client: must("client_id")?,
            lifetime: must("valid_lifetime")?,
            expire: must("expire")?,
            host_name: place("hostname"),
            state: place("state"),
        })
    }
}

pub(super) fn read(text: &str, now: Timestamp) -> Result<Vec<Located<Entry>>, Unreadable> {
    let mut columns = None;
    let mut entries = Vec::new();
    for (line, content) in lines(text) {
        match &columns {
            None => columns = Some(Columns::of(content)?),
            // Clean-up files that were put together have a header each.
            Some(_) if content.starts_with("address,") => columns = Some(Columns::of(content)?),
            Some(columns) => entries.push(Located { line, value: entry(columns, line, content, now)? }),
        }
    }
    match columns {
        Some(_) => Ok(entries),
        None => Err(Unreadable::new(1, "this is no lease file of Kea: it is empty, without even the line that names the columns")),
    }
}

fn entry(columns: &Columns, line: usize, content: &str, now: Timestamp) -> Result<Entry, Unreadable> {
    let fields: Vec<&str> = content.split(',').collect();
    if fields.len() != columns.count {
        return Err(Unreadable::new(line, format!("{} fields where the header names {}", fields.len(), columns.count)));
    }
    let field = |place: usize| fields.get(place).copied().unwrap_or_default();
    let seconds = |name: &str, place: usize| {
        let text = field(place);
        text.parse::<u64>().map_err(|_| Unreadable::new(line, format!("`{}` is no number of seconds for `{name}`", shortened(text))))
    };
    let address = address(line, field(columns.address))?;
    let (lifetime, expire) = (seconds("valid_lifetime", columns.lifetime)?, seconds("expire", columns.expire)?);
    // Kea takes a lease away by a line without a lifetime.
    if lifetime == 0 {
        return Ok(Entry { address, record: Err(Why::Over) });
    }
    let hardware = hardware(1, field(columns.hardware)).map_err(Unreadable::at(line))?;
    let identifier = match field(columns.client) {
        "" => None,
        text => Some(client_id(text).map_err(Unreadable::at(line))?),
    };
    let expires_at = Timestamp::from_secs(expire);
    let (state, client, expires_at) = match columns.state.map_or("0", field) {
        "0" => (LeaseState::Bound, client(identifier, &hardware), expires_at),
        // Who declined it is not told.
        "1" => (LeaseState::Declined, nobody(), expires_at.min(now.after(QUARANTINE))),
        // Expired and reclaimed, or, since 2.5, released.
        "2" | "3" => return Ok(Entry { address, record: Err(Why::Over) }),
        other => return Err(Unreadable::new(line, format!("`{}` is no state of a lease of IPv4", shortened(other)))),
    };
    let name = columns.host_name.map(field).map(unescaped);
    let starts_at = Timestamp::from_secs(expire.saturating_sub(lifetime));
    // The number stands for no end at all.
    let expires_at = if lifetime == u64::from(u32::MAX) { starts_at.after(Duration::from_secs(lifetime)) } else { expires_at };
    let host_name = name.and_then(|name| host_name(name.as_bytes()));
    let record = client.map(|client| LeaseRecord { address, client, hardware, state, starts_at, expires_at, host_name });
    Ok(Entry { address, record })
}

/// Kea writes a comma inside a field as `&#x2c`, without a semicolon, and `&#x` itself likewise.
fn unescaped(field: &str) -> Cow<'_, str> {
    if !field.contains("&#x") {
        return field.into();
    }
    let mut parts = field.split("&#x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (code, part.get(2..)) {
            (Some(code), Some(rest)) => {
                text.push(char::from(code));
                text.push_str(rest);
            }
            _ => {
                text.push_str("&#x");
                text.push_str(part);
            }
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn what_kea_escapes_is_what_it_was() {
        for (field, text) in
            [("a", "a"), ("a&#x2cb&#x2c", "a,b,"), ("&#x26#x41", "&#x41"), ("&#x", "&#x"), ("&#xzz", "&#xzz"), ("&#x2\u{e9}", "&#x2\u{e9}")]
        {
            assert_eq!(unescaped(field), text);
        }
    }
}
