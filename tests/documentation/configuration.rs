//! The tables of docs/configuration.md have every key that the programs know, and no other.

use std::collections::BTreeSet;
use std::fs;

use fairlead::cloud::config::CloudConfig;
use fairlead::edge::config::EdgeConfig;
use fairlead::edge::dhcp::config::option_table::{KNOWN, Kind, KnownOption};
use fairlead::failure::Failure;
use fairlead::wire::ClientArch;

use super::{first_cells, read, section};

/// Where a key that nobody knows is put, and the prefix of the keys that are known there.
struct Place {
    prefix: &'static str,
    before: &'static str,
}

/// Asks the program's own loader which keys it knows, by way of its error about one that it does not.
fn known_keys<T>(load: impl Fn(&std::path::Path) -> Result<T, Failure>, places: &[Place]) -> BTreeSet<String> {
    let folder = std::env::temp_dir().join(format!("fairlead-documentation-{}-{}", std::process::id(), places.len()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("configuration.toml");
    let mut keys = BTreeSet::new();
    for Place { prefix, before } in places {
        fs::write(&file, format!("{before}\nno_such_key = 1\n")).unwrap();
        let Err(failure) = load(&file) else { panic!("an unknown key was taken behind `{before}`") };
        let text = failure.to_string();
        let (_, expected) = text.split_once("unknown field `no_such_key`, expected ").unwrap_or_else(|| panic!("`{before}`: {text}"));
        let expected = expected.lines().next().unwrap_or_default();
        let names = expected.split('`').skip(1).step_by(2).map(|name| format!("{prefix}{name}"));
        keys.extend(names);
    }
    fs::remove_dir_all(&folder).unwrap();
    keys
}

/// The documented keys, and the tables that they stand in.
fn documented_keys(heading: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let document = read("docs/configuration.md");
    let cells = first_cells(section(&document, heading)).into_iter().filter(|cell| !is_architecture(cell));
    let keys: BTreeSet<String> = cells.flat_map(|cell| at_every_level(&cell)).collect();
    let mut tables = BTreeSet::new();
    for key in &keys {
        let mut rest = key.as_str();
        while let Some((table, _)) = rest.rsplit_once('.') {
            rest = table.strip_suffix("[]").unwrap_or(table);
            tables.insert(rest.to_owned());
        }
    }
    (keys, tables)
}

/// Keys that stand in several sections are documented once, as `LEVEL.key`.
fn at_every_level(cell: &str) -> Vec<String> {
    match cell.strip_prefix("LEVEL.") {
        Some(key) => ["dhcp", "subnet[]", "class[]", "subnet[].reservation[]"].iter().map(|level| format!("{level}.{key}")).collect(),
        None => vec![cell.to_owned()],
    }
}

/// The table of boot files has architectures in its first column.
fn is_architecture(cell: &str) -> bool {
    (0..=u16::from(u8::MAX)).any(|number| ClientArch(number).name() == Some(cell))
}

fn compare(heading: &str, known: &BTreeSet<String>) {
    let (documented, tables) = documented_keys(heading);
    let missing: Vec<_> = known.iter().filter(|key| !documented.contains(*key) && !tables.contains(*key)).collect();
    let invented: Vec<_> = documented.iter().filter(|key| !known.contains(*key)).collect();
    assert!(missing.is_empty() && invented.is_empty(), "{heading}: not documented: {missing:?}; documented, but not known: {invented:?}");
}

#[test]
fn every_key_of_cloud_toml_is_documented() {
    let known = known_keys(
        CloudConfig::load,
        &[
            Place { prefix: "", before: "" },
            Place { prefix: "boot_plane.", before: "[boot_plane]" },
            Place { prefix: "site_plane.", before: "[site_plane]" },
            Place { prefix: "store.", before: "[store]" },
        ],
    );
    compare("## cloud.toml", &known);
}

#[test]
fn every_key_of_edge_toml_is_documented() {
    let known = known_keys(
        EdgeConfig::load,
        &[
            Place { prefix: "", before: "" },
            Place { prefix: "interface[].", before: "[[interface]]" },
            Place { prefix: "dhcp.", before: "[dhcp]" },
            Place { prefix: "dhcp.limits.", before: "[dhcp.limits]" },
            Place { prefix: "class[].", before: "[[class]]" },
            Place { prefix: "subnet[].", before: "[[subnet]]" },
            Place { prefix: "subnet[].reservation[].", before: "[[subnet]]\n[[subnet.reservation]]" },
            Place { prefix: "boot.", before: "[boot]" },
        ],
    );
    compare("## edge.toml", &known);
}

/// The list of options as the program knows it.
fn option_list() -> String {
    let row = |known: &KnownOption| format!("| `{}` | {} | {} | {} |\n", known.name, known.code, known.kind.word(), known.defined_in);
    let mut kinds: Vec<Kind> = Vec::new();
    for known in KNOWN {
        if kinds.iter().all(|kind| kind.word() != known.kind.word()) {
            kinds.push(known.kind);
        }
    }
    kinds.sort_by_key(|kind| kind.word());
    let kind = |kind: &Kind| format!("| {} | {} | `{}` |\n", kind.word(), kind.about(), kind.example());
    format!(
        "| value | what it is | example |\n|---|---|---|\n{}\n| name | number | value | defined in |\n|---|---|---|---|\n{}",
        kinds.iter().map(kind).collect::<String>(),
        KNOWN.iter().map(row).collect::<String>()
    )
}

#[test]
fn every_dhcp_option_is_documented_as_the_program_knows_it() {
    let document = read("docs/configuration.md");
    let list = option_list();
    assert!(section(&document, "## DHCP options").contains(&list), "docs/configuration.md should have this list:\n{list}");
}

#[test]
fn what_the_readme_says_to_write_is_taken() {
    let readme = read("README.md");
    let folder = std::env::temp_dir().join(format!("fairlead-readme-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mut seen = (0, 0);
    for block in readme.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap_or_default();
        let file = folder.join("configuration.toml");
        fs::write(&file, text.replace("HOST", "boot.example")).unwrap();
        if text.contains("[boot_plane]") {
            CloudConfig::load(&file).unwrap();
            seen.0 += 1;
        } else {
            EdgeConfig::load(&file).unwrap();
            seen.1 += 1;
        }
    }
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(seen, (1, 2));
}
