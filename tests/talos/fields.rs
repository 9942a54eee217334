//! The tables of fields are what Talos' packages have.

use std::fs;
use std::path::Path;

use super::oracle::{self, RELEASES};

/// With `FAIRLEAD_WRITE=1` it writes them.
#[test]
fn the_tables_of_fields_are_what_talos_has() {
    for release in RELEASES {
        let program = oracle::program(release);
        let output = oracle::go_folder_command(release, &program).arg("fields").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let head = format!(
            "# What Talos {release} knows, as tests/talos found it in the packages of that release. Written by: FAIRLEAD_WRITE=1 cargo test --test talos fields\n"
        );
        let table = head + std::str::from_utf8(&output.stdout).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/cloud/machine_config/schema/talos-{release}.fields"));
        if std::env::var_os("FAIRLEAD_WRITE").is_some() {
            fs::write(&path, table).unwrap();
        } else {
            assert!(
                fs::read_to_string(&path).unwrap() == table,
                "{} is not what Talos has; write it with FAIRLEAD_WRITE=1",
                path.display()
            );
        }
    }
}
