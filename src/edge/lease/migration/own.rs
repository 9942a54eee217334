//! What `fairlead-edge lease export` writes.

use super::{Entry, Located, Unreadable, address, lines};
use crate::edge::lease::entry::shortened;
use crate::edge::lease::{EntryState, LeaseEntry};

/// The columns of the comma-separated form.
pub(super) const COLUMNS: [&str; 8] =
    ["address", "state", "hardware_type", "hardware", "client_id", "host_name", "starts_at", "expires_at"];

pub(super) fn read_json(text: &str) -> Result<Vec<Located<Entry>>, Unreadable> {
    let entries: Vec<LeaseEntry> = serde_json::from_str(text).map_err(|error| Unreadable::new(error.line(), error.to_string()))?;
    let places = text.match_indices("\"address\"").map(|(place, _)| place);
    let (mut line, mut counted) = (1_usize, 0);
    let mut located = Vec::with_capacity(entries.len());
    for (entry, place) in entries.iter().zip(places) {
        let between = text.get(counted..place).unwrap_or_default();
        line = line.saturating_add(between.matches('\n').count());
        counted = place;
        located.push(located_entry(line, entry)?);
    }
    Ok(located)
}

pub(super) fn read_csv(text: &str) -> Result<Vec<Located<Entry>>, Unreadable> {
    let mut lines = lines(text);
    match lines.next() {
        Some((_, header)) if header.split(',').eq(COLUMNS) => {}
        _ => {
            return Err(Unreadable::new(
                1,
                format!("this is not what `lease export --format csv` writes: the header should be `{}`", COLUMNS.join(",")),
            ));
        }
    }
    lines
        .map(|(line, content)| {
            let fields: Vec<&str> = content.split(',').collect();
            let [ip, state, kind, hardware, client_id, host_name, starts_at, expires_at] = fields.as_slice() else {
                return Err(Unreadable::new(line, format!("{} fields where there should be {}", fields.len(), COLUMNS.len())));
            };
            let state = [EntryState::Active, EntryState::Expired, EntryState::Released, EntryState::Declined]
                .into_iter()
                .find(|known| known.word() == *state)
                .ok_or_else(|| Unreadable::new(line, format!("`{}` is no state of a lease", shortened(state))))?;
            let entry = LeaseEntry {
                address: address(line, ip)?,
                state,
                hardware: (*hardware).to_owned(),
                hardware_type: kind.parse().map_err(|_| Unreadable::new(line, format!("`{}` is no hardware type", shortened(kind))))?,
                client_id: (*client_id).to_owned(),
                host_name: Some((*host_name).to_owned()).filter(|name| !name.is_empty()),
                starts_at: (*starts_at).to_owned(),
                expires_at: (*expires_at).to_owned(),
            };
            located_entry(line, &entry)
        })
        .collect()
}

/// The comma-separated form of an entry, without the end of the line. No field can hold a comma.
pub(super) fn csv_line(entry: &LeaseEntry) -> String {
    let LeaseEntry { address, state, hardware, hardware_type, client_id, host_name, starts_at, expires_at } = entry;
    let (state, host_name) = (state.word(), host_name.as_deref().unwrap_or_default());
    format!("{address},{state},{hardware_type},{hardware},{client_id},{host_name},{starts_at},{expires_at}")
}

fn located_entry(line: usize, entry: &LeaseEntry) -> Result<Located<Entry>, Unreadable> {
    let record = entry.record().map_err(Unreadable::at(line))?;
    Ok(Located { line, value: Entry { address: record.address, record: Ok(record) } })
}
