//! A generated corpus: configs and patches of every field that Talos knows, laid over one another by Talos and by us.

mod generate;

use fairlead::cloud::machine_config::patch::{Patch, check_config};
use fairlead::cloud::machine_config::schema::{Contract, Schema};
use fairlead::cloud::machine_config::yaml::{Budget, read, write};

use self::generate::{Case, Dice};
use super::oracle::{Oracle, Question, RELEASES};

/// Of each release.
const CASES: u64 = 1500;

/// What we make of a case: the text, or why not.
fn ours(case: &Case, schema: &Schema) -> Result<String, String> {
    let budget = Budget::default();
    let mut documents = read(case.base.as_bytes(), 0, budget).map_err(|error| error.to_string())?;
    // Talos refuses a patch that it can't read before it looks at the config.
    let patches = case.patches.iter().map(|patch| {
        let documents = read(patch.as_bytes(), 1, budget).map_err(|error| error.to_string())?;
        Patch::of(documents, schema).map_err(|error| format!("patch: {error}"))
    });
    let patches = patches.collect::<Result<Vec<_>, String>>()?;
    check_config(&documents, schema).map_err(|error| format!("config: {error}"))?;
    for patch in patches {
        patch.apply(&mut documents, schema).map_err(|error| format!("apply: {error}"))?;
    }
    check_config(&documents, schema).map_err(|error| format!("patched: {error}"))?;
    Ok(write(&documents).text.to_string())
}

#[test]
fn talos_and_we_agree_on_every_patch() {
    let seed: u64 = std::env::var("FAIRLEAD_SEED").ok().map_or(731, |seed| seed.parse().expect("FAIRLEAD_SEED is a number"));
    let only: Option<u64> = std::env::var("FAIRLEAD_CASE").ok().map(|case| case.parse().expect("FAIRLEAD_CASE is a number"));
    let cases: u64 = std::env::var("FAIRLEAD_CASES").ok().map_or(CASES, |cases| cases.parse().expect("FAIRLEAD_CASES is a number"));
    let mut disagreements = Vec::new();
    let mut summary = String::new();
    for release in RELEASES {
        let schema = release.parse::<Contract>().unwrap().schema();
        let mut oracle = Oracle::of(release);
        let (mut merged, mut refused, mut excused) = (0_u32, 0_u32, 0_u32);
        for number in only.map_or(0..cases, |case| case..case + 1) {
            let case = Case::new(&mut Dice::new(seed ^ (number << 20)), schema);
            let theirs = oracle.ask(&Question { config: &case.base, patches: case.patches.clone(), ..Question::default() });
            let ours = ours(&case, schema);
            let wrong = match &ours {
                Err(_) if !theirs.refused.is_empty() => {
                    refused += 1;
                    None
                }
                // Before 1.14 Talos keeps a delete of what is not there as a document, and a second one takes that out again.
                Err(error) if error.contains("`$patch: delete` could take something out of") && release != "1.14" => {
                    excused += 1;
                    None
                }
                Err(error) => Some(format!("we refuse: {error}; Talos made\n{}", theirs.config)),
                Ok(_) if !theirs.refused.is_empty() => Some(format!("Talos refuses: {}", theirs.refused)),
                Ok(text) => {
                    merged += 1;
                    let back = oracle.read(text);
                    if !back.refused.is_empty() {
                        Some(format!("Talos refuses what we wrote: {}\n{text}", back.refused))
                    } else if back.config != theirs.config {
                        Some(format!("Talos made\n{}\nand of ours\n{}\nours:\n{text}", theirs.config, back.config))
                    } else {
                        None
                    }
                }
            };
            if let Some(wrong) = wrong {
                disagreements.push(format!(
                    "release {release} FAIRLEAD_SEED={seed} FAIRLEAD_CASE={number}: {wrong}\nbase:\n{}\npatches:\n{}",
                    case.base,
                    case.patches.join("=====\n")
                ));
            }
        }
        summary.push_str(&format!("Talos {release}: {merged} merged alike, {refused} refused alike\n"));
        if only.is_none() {
            assert!(u64::from(excused) <= 1 + cases / 100, "{excused} deletes of what is not there");
            assert!(merged > u32::try_from(cases / 3).unwrap() && refused > 5, "the corpus is no test any more: {summary}");
        }
    }
    println!("{summary}");
    let shown: Vec<_> = disagreements.iter().take(only.map_or(8, |_| 1)).cloned().collect();
    assert!(disagreements.is_empty(), "{} disagreements\n{summary}\n{}", disagreements.len(), shown.join("\n\n##########\n\n"));
}
