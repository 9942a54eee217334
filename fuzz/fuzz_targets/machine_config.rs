//! Machine configs and patches of any content: what is read and written again says the same, and a patch that is taken leaves a config
//! that is taken.
//!
//! Input: an octet that chooses the Talos release, then YAML files with a line `%%` between them: a base config and patches.
#![no_main]

use fairlead::cloud::machine_config::patch::{Patch, check_config};
use fairlead::cloud::machine_config::schema::Contract;
use fairlead::cloud::machine_config::yaml::{Budget, Node, read, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, text)) = input.split_first() else { return };
    let schema = Contract::known()[usize::from(*choice) % Contract::known().len()].schema();
    let budget = Budget { octets: 1 << 16, nodes: 5_000, depth: 32 };
    let mut files = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(4).position(|window| window == b"\n%%\n") {
        files.push(&rest[..=at]);
        rest = &rest[at + 4..];
    }
    files.push(rest);

    let mut config: Option<Vec<Node>> = None;
    for (number, file) in (0_u16..).zip(files) {
        let lines = file.iter().filter(|octet| matches!(octet, b'\n' | b'\r')).count() + 1;
        let documents = match read(file, number, budget) {
            Ok(documents) => documents,
            Err(error) => {
                assert!(usize::try_from(error.place.line).unwrap() <= lines + 1, "line {} of {lines}", error.place.line);
                continue;
            }
        };
        says_the_same(&documents);
        match &mut config {
            None => {
                if check_config(&documents, schema).is_ok() {
                    config = Some(documents);
                }
            }
            Some(config) => {
                let Ok(patch) = Patch::of(documents, schema) else { continue };
                let mut patched = config.clone();
                if patch.apply(&mut patched, schema).is_ok() {
                    says_the_same(&patched);
                    // RFC 6902 knows no types: what it leaves is checked by whoever renders.
                    if matches!(patch, Patch::Strategic(_)) {
                        check_config(&patched, schema).unwrap_or_else(|error| panic!("a patch left {error}"));
                        *config = patched;
                    }
                }
            }
        }
    }
});

fn says_the_same(documents: &[Node]) {
    let written = write(documents);
    assert_eq!(written.lines.len(), written.text.lines().count());
    let budget = Budget { octets: 16 << 20, nodes: 1 << 20, depth: 64 };
    let again = read(written.text.as_bytes(), 0, budget).unwrap_or_else(|error| panic!("what we write we can't read: {error} on line {}\n{}", error.place.line, *written.text));
    assert!(again == documents, "it says something else:\n{}", *written.text);
}
