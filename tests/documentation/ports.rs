//! docs/ports.md names every route, and no other.

use std::collections::BTreeSet;

use super::{first_cells, read};

/// The paths in the calls of `.route("…")`.
fn served(file: &str) -> BTreeSet<String> {
    let source = read(file);
    source.split(".route(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

#[test]
fn every_route_is_documented() {
    let document = read("docs/ports.md");
    let documented: BTreeSet<String> =
        first_cells(&document).iter().filter_map(|cell| Some(cell.split_once(" /")?.1)).map(|path| format!("/{path}")).collect();
    let mut known = served("src/cloud/boot/mod.rs");
    known.extend(served("src/cloud/site/mod.rs"));
    assert!(known.len() >= 8, "{known:?}");
    assert_eq!(documented, known);
}
