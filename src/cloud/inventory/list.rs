//! The list of machines that a site lets in, from a file: CSV with a heading, or JSON.

use serde::Deserialize;

use crate::cloud::store::AllowedMachine;
use crate::wire::{MacAddr, Name, SystemUuid};

/// Why a list can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ListError {
    line: usize,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    uuid: Option<SystemUuid>,
    serial: Option<String>,
    mac: Option<MacAddr>,
    hostname: Option<Name>,
}

/// Reads a list: a JSON array of objects with `uuid`, `serial`, `mac` and `hostname`, or CSV whose first line names some of these.
///
/// # Errors
/// The first line that does not fit, and why. A machine that is known by nothing would be any machine.
pub fn read_list(text: &str) -> Result<Vec<AllowedMachine>, ListError> {
    if text.trim_start().starts_with('[') {
        let entries: Vec<Entry> = serde_json::from_str(text).map_err(|error| ListError { line: error.line(), why: error.to_string() })?;
        let machine = |(index, entry): (usize, Entry)| {
            let Entry { uuid, serial, mac, hostname } = entry;
            let serial = serial.map(|serial| serial.trim().to_owned()).filter(|serial| !serial.is_empty());
            known(AllowedMachine { uuid, serial, mac, hostname })
                .map_err(|why| ListError { line: 1, why: format!("entry {}: {why}", index.saturating_add(1)) })
        };
        return entries.into_iter().enumerate().map(machine).collect();
    }
    let mut lines =
        text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim())).filter(|(_, line)| !line.is_empty());
    let (number, heading) = lines.next().ok_or_else(|| ListError { line: 1, why: "the list is empty".to_owned() })?;
    let columns: Vec<String> = heading.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    if let Some(unknown) = columns.iter().find(|name| !matches!(name.as_str(), "uuid" | "serial" | "mac" | "hostname")) {
        let why = format!("`{unknown}` is no column: the first line names some of uuid, serial, mac and hostname");
        return Err(ListError { line: number, why });
    }
    lines.map(|(line, text)| row(&columns, text).map_err(|why| ListError { line, why })).collect()
}

fn row(columns: &[String], text: &str) -> Result<AllowedMachine, String> {
    if text.contains('"') {
        return Err("quotes are not known here; none of the values needs them".to_owned());
    }
    let cells: Vec<&str> = text.split(',').map(str::trim).collect();
    if cells.len() != columns.len() {
        return Err(format!("it has {} values, and the first line names {} columns", cells.len(), columns.len()));
    }
    let mut machine = AllowedMachine::default();
    for (column, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        match column.as_str() {
            "uuid" => machine.uuid = Some(cell.parse().map_err(|error| format!("{error}"))?),
            "serial" => machine.serial = Some(cell.to_owned()),
            "mac" => machine.mac = Some(cell.parse().map_err(|error| format!("{error}"))?),
            _ => machine.hostname = Some(cell.parse().map_err(|error| format!("{error}"))?),
        }
    }
    known(machine)
}

fn known(machine: AllowedMachine) -> Result<AllowedMachine, String> {
    if machine.uuid.is_some_and(|uuid| !uuid.is_identity()) {
        return Err("the UUID is a placeholder that many machines have".to_owned());
    }
    if machine.uuid.is_none() && machine.serial.is_none() && machine.mac.is_none() {
        return Err("it has neither UUID nor serial number nor hardware address".to_owned());
    }
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_json_say_the_same() {
        let csv = "MAC, serial,uuid ,hostname\n52:54:00:00:00:01,S1,,worker-1\n\n,,4c4c4544-0042-3510-8052-b4c04f564231,\n";
        let json =
            r#"[{"mac": "52-54-00-00-00-01", "serial": " S1 ", "hostname": "worker-1"}, {"uuid": "4c4c4544-0042-3510-8052-b4c04f564231"}]"#;
        let list = read_list(csv).unwrap();
        assert_eq!(list, read_list(json).unwrap());
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_line() {
        let error = |text: &str| read_list(text).unwrap_err().to_string();
        assert!(error("").contains("empty"));
        assert!(error("mac,name\n").starts_with("line 1: `name`"));
        assert!(error("mac,serial\n52:54:00:00:00:01\n").starts_with("line 2: it has 1 values"));
        assert!(error("mac\nx\n").starts_with("line 2: `x` is not"));
        assert!(error("mac,serial\n , \n").starts_with("line 2: it has neither"));
        assert!(error("uuid\n03000200-0400-0500-0006-000700080009\n").contains("placeholder"));
        assert!(error("serial\n\"S1\"\n").contains("quotes"));
        assert!(error("[{\"mac\": 1}]").starts_with("line 1:"));
        assert!(error("[{}]").contains("entry 1"));
    }
}
