//! The kernel command line as Talos reads it.

use std::fs;

use crate::Result;

/// The words of the kernel command line, in order.
pub(crate) struct KernelArguments {
    text: String,
}

impl KernelArguments {
    pub(crate) fn of_this_boot() -> Result<Self> {
        let text = fs::read_to_string("/proc/cmdline").map_err(|error| format!("cannot read /proc/cmdline: {error}"))?;
        Ok(Self { text: text.trim().to_owned() })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether this very word is there.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.text.split_ascii_whitespace().any(|each| each == word)
    }

    /// The value of the first `key=value`: for a URL only the first counts.
    pub(crate) fn first<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.values(key).next()
    }

    /// The values of all `key=value`, concatenated: how long encoded configs are split.
    pub(crate) fn concatenated(&self, key: &str) -> Option<String> {
        let all: String = self.values(key).collect();
        (!all.is_empty()).then_some(all)
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.split_ascii_whitespace().filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Talos stops at boot when one of these is missing.
    pub(crate) fn require_what_talos_requires(&self) -> Result<()> {
        for word in ["talos.platform=metal", "slab_nomerge", "pti=on"] {
            if !self.has(word) {
                return Err(format!("the kernel argument {word} is missing"));
            }
        }
        Ok(())
    }
}
