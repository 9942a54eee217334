//! The kernel's command line: what the release wants, what class and node add, where the console is.

use crate::wire::ClientArch;

/// Boot loaders cut a longer command line silently.
pub const LIMIT: usize = 2048;

/// Where arguments come from.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Whose they are, for an error: `release`, `class gpu`.
    pub whose: &'a str,
    /// The arguments, with blanks between them. `-NAME` takes away what an earlier part gave: `-console`, or `-console=tty0`.
    pub arguments: &'a str,
}

/// Why there is no command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelArgumentsError {
    /// An argument that Fairlead sets itself.
    #[error("{whose}: `{argument}` can't be set: Fairlead sets it for each node")]
    Ours {
        /// Whose it is.
        whose: String,
        /// Its name.
        argument: String,
    },
    /// An argument that does not come through iPXE.
    #[error("{whose}: `{argument}` can't pass through an iPXE script")]
    Unsafe {
        /// Whose it is.
        whose: String,
        /// The argument.
        argument: String,
    },
    /// Longer than boot loaders keep.
    #[error("the kernel command line would have {sum} octets, and boot loaders cut it silently at {LIMIT}: {parts}")]
    TooLong {
        /// All of it.
        sum: usize,
        /// What each part takes, in words.
        parts: String,
    },
}

/// The serial console's argument of an architecture, beside `console=tty0`.
#[must_use]
pub const fn console(arch: ClientArch) -> &'static str {
    match arch {
        ClientArch::ARM64_UEFI | ClientArch::ARM64_UEFI_HTTP => "console=ttyAMA0",
        _ => "console=ttyS0",
    }
}

/// Puts the parts together; `reserved` octets are kept for what Fairlead adds, with the blank before it.
///
/// A later part replaces what an earlier one says of the same name, but for names that may be there several times.
///
/// # Errors
/// When an argument is not to be set, or all of it is too long.
pub fn assemble(parts: &[Part<'_>], reserved: usize) -> Result<String, KernelArgumentsError> {
    let mut arguments: Vec<(usize, &str)> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let earlier = arguments.len();
        for argument in part.arguments.split_whitespace() {
            check(part.whose, argument)?;
            if let Some(gone) = argument.strip_prefix('-') {
                arguments.retain(|(_, there)| *there != gone && (gone.contains('=') || name(there) != gone));
                continue;
            }
            if !REPEATED.contains(&name(argument)) {
                let mut index = 0_usize;
                arguments.retain(|(_, there)| {
                    index = index.saturating_add(1);
                    index > earlier || name(there) != name(argument)
                });
            }
            if !arguments.iter().any(|(_, there)| *there == argument) {
                arguments.push((number, argument));
            }
        }
    }
    let line = arguments.iter().map(|(_, argument)| *argument).collect::<Vec<_>>().join(" ");
    let sum = line.len().saturating_add(reserved);
    if sum >= LIMIT {
        let of = |number: usize| {
            arguments.iter().filter(|(part, _)| *part == number).map(|(_, argument)| argument.len().saturating_add(1)).sum::<usize>()
        };
        let mut words: Vec<String> =
            parts.iter().enumerate().map(|(number, part)| format!("{} takes {}", part.whose, of(number))).collect();
        words.push(format!("Fairlead takes {reserved}"));
        return Err(KernelArgumentsError::TooLong { sum, parts: words.join(", ") });
    }
    Ok(line)
}

/// Names that the kernel or Talos takes several times.
const REPEATED: [&str; 8] =
    ["console", "talos.environment", "ip", "bond", "vlan", "talos.logging.kernel", "talos.device.settle_time", "modprobe.blacklist"];

fn name(argument: &str) -> &str {
    argument.split('=').next().unwrap_or_default()
}

fn check(whose: &str, argument: &str) -> Result<(), KernelArgumentsError> {
    let plain = argument.strip_prefix('-').unwrap_or(argument);
    let (whose, shown) = (whose.to_owned(), argument.chars().take(80).collect());
    if plain.starts_with("talos.config") {
        return Err(KernelArgumentsError::Ours { whose, argument: name(plain).to_owned() });
    }
    // iPXE would expand `${…}`, and a lone `||`, `&&`, `;` or `#…` means something to it.
    let unsafe_for_ipxe = plain.contains("${") || plain.starts_with('#') || matches!(plain, "||" | "&&" | ";");
    if unsafe_for_ipxe || !plain.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KernelArgumentsError::Unsafe { whose, argument: shown });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(parts: &[(&str, &str)]) -> Result<String, String> {
        let parts: Vec<_> = parts.iter().map(|(whose, arguments)| Part { whose, arguments }).collect();
        assemble(&parts, 900).map_err(|error| error.to_string())
    }

    #[test]
    fn later_parts_replace_and_take_away() {
        let release = ("release", "talos.platform=metal console=tty0 init_on_alloc=1 pti=on\n");
        assert_eq!(
            line(&[release, ("class gpu", "init_on_alloc=0 console=ttyS1,115200")]).unwrap(),
            "talos.platform=metal console=tty0 pti=on init_on_alloc=0 console=ttyS1,115200"
        );
        assert_eq!(line(&[release, ("node", "-console -init_on_alloc=1 quiet")]).unwrap(), "talos.platform=metal pti=on quiet");
        assert_eq!(line(&[("release", "console=tty0 console=ttyS0")]).unwrap(), "console=tty0 console=ttyS0");
    }

    #[test]
    fn what_is_ours_or_not_for_ipxe_is_refused() {
        assert!(line(&[("class a", "talos.config=http://x/y?token=t0ken")]).unwrap_err().contains("class a: `talos.config` can't be set"));
        for argument in ["x=${mac}", "#x", "||", "x=\u{e9}"] {
            assert!(line(&[("node", argument)]).unwrap_err().contains("iPXE"), "{argument}");
        }
    }

    #[test]
    fn a_line_that_would_be_cut_is_refused_with_the_sum() {
        let long = "x".repeat(1200);
        let message = line(&[("release", "pti=on"), ("class a", &long)]).unwrap_err();
        assert_eq!(
            message,
            "the kernel command line would have 2107 octets, and boot loaders cut it silently at 2048: release takes 7, class a takes 1201, Fairlead takes 900"
        );
        assert!(line(&[("release", &"x".repeat(1147))]).is_ok());
        assert!(line(&[("release", &"x".repeat(1148))]).is_err());
    }

    #[test]
    fn the_console_is_that_of_the_architecture() {
        assert_eq!((console(ClientArch::X64_UEFI), console(ClientArch::ARM64_UEFI)), ("console=ttyS0", "console=ttyAMA0"));
    }
}
