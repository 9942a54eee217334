//! dnsmasq's lease file: a line for each lease with expiry, hardware address, address, name and client identifier; `*` for what is not
//! known. Behind a line `duid` come those of IPv6.

use super::{Entry, LeftOut, Located, Unreadable, WITHOUT_END, Why, address, client, lines};
use crate::clock::Timestamp;
use crate::edge::lease::entry::{client_id, hardware, shortened};
use crate::edge::lease::{LeaseRecord, LeaseState, host_name};

pub(super) fn read(text: &str, now: Timestamp, left_out: &mut Vec<Located<LeftOut>>) -> Result<Vec<Located<Entry>>, Unreadable> {
    let mut entries = Vec::new();
    for (line, content) in lines(text) {
        let fields: Vec<&str> = content.split_ascii_whitespace().collect();
        match fields.as_slice() {
            // The server's own identifier, before the leases of IPv6.
            ["duid", _] => {}
            [_, _, v6, ..] if v6.parse::<std::net::Ipv6Addr>().is_ok() => {
                left_out.push(Located { line, value: LeftOut { address: (*v6).to_owned(), why: Why::NotIpv4 } });
            }
            [expiry, mac, v4, name, identifier] => {
                entries.push(Located { line, value: entry(line, [expiry, mac, v4, name, identifier], now)? });
            }
            fields => return Err(Unreadable::new(line, format!("{} fields where a lease of dnsmasq has 5", fields.len()))),
        }
    }
    Ok(entries)
}

fn entry(line: usize, [expiry, mac, v4, name, identifier]: [&str; 5], now: Timestamp) -> Result<Entry, Unreadable> {
    let address = address(line, v4)?;
    let expiry: u64 = expiry.parse().map_err(|_| Unreadable::new(line, format!("`{}` is no time in seconds", shortened(expiry))))?;
    // The hardware type stands in front when it is not Ethernet.
    let (kind, mac) = match mac.split_once('-') {
        Some((kind, mac)) => (u8::from_str_radix(kind, 16).ok(), mac),
        None => (Some(1), mac),
    };
    let kind = kind.ok_or_else(|| Unreadable::new(line, format!("`{}` begins with no hardware type", shortened(mac))))?;
    let hardware = hardware(kind, if mac == "*" { "" } else { mac }).map_err(Unreadable::at(line))?;
    let identifier = match identifier {
        "*" => None,
        text => Some(client_id(text).map_err(Unreadable::at(line))?),
    };
    let expires_at = if expiry == 0 { now.after(WITHOUT_END) } else { Timestamp::from_secs(expiry) };
    let record = client(identifier, &hardware).map(|client| LeaseRecord {
        address,
        client,
        hardware,
        state: LeaseState::Bound,
        // It is not told; a lease that was made later than it ends would be none.
        starts_at: now.min(expires_at),
        expires_at,
        host_name: Some(name).filter(|name| *name != "*").and_then(|name| host_name(name.as_bytes())),
    });
    Ok(Entry { address, record })
}
