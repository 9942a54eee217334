//! Makes a stock iPXE trust one root certificate and nothing else.
//!
//! iPXE checks servers against roots that it knows by the SHA-256 of their certificate. A stock build holds the fingerprint of iPXE's own
//! root, and takes others from wherever they come. Sealing closes each of those ways by overwriting bytes, without a compiler:
//!
//! - the built-in **fingerprint** becomes that of our root;
//! - the setting **trust** (DHCP option 175.90) would let any DHCP answer replace it. A setting without a tag is found in no DHCP packet,
//!   so its tag is zeroed. It can still be set by name, but iPXE reads it once, before any script runs;
//! - **cert** and **privkey** (175.91, 175.92) would let a DHCP answer choose the client certificate with which this machine shows itself
//!   to a server that asks for one: the machine would then speak in somebody else's name;
//! - **crosscert** (175.93) would let a DHCP answer choose where iPXE goes, in clear, to complete a chain: it cannot add trust, but it can
//!   be used to hold up every boot. Our server sends its whole chain, so nothing is lost;
//! - a build without `TRUST=` also trusts every certificate in the firmware's variable **`TlsCaCertificate`**, which UEFI HTTPS boot uses.
//!   That is the firmware's own trust, for the boot file; ours is for the cloud. The variable's GUID is zeroed, so iPXE finds none.
//!
//! Each pattern must be in the file exactly once. Anything else is a file that we don't know well enough to change.

use std::fmt;

use serde::Serialize;

use super::pe::{Machine, Pe, PeError};
use crate::wire::Digest;

/// The SHA-256 of iPXE's own root certificate, as every stock build holds it (upstream's `src/crypto/rootcert.c`).
const STOCK_FINGERPRINT: [u8; 32] = [
    0x9f, 0xaf, 0x71, 0x7b, 0x7f, 0x8c, 0xa2, 0xf9, 0x3c, 0x25, 0x6c, 0x79, 0xf8, 0xac, 0x55, 0x91, 0x89, 0x5d, 0x66, 0xd1, 0xff, 0x3b,
    0xee, 0x63, 0x97, 0xa7, 0x0d, 0x29, 0xc6, 0x5e, 0xed, 0x1a,
];

/// The GUID of the variable `TlsCaCertificate` as it stands in memory: fd2340d0-3dab-4349-a6c7-3b4f12b48eae.
const TLS_CA_CERTIFICATE_GUID: [u8; 16] = [0xd0, 0x40, 0x23, 0xfd, 0xab, 0x3d, 0x49, 0x43, 0xa6, 0xc7, 0x3b, 0x4f, 0x12, 0xb4, 0x8e, 0xae];

/// A place in iPXE that decides whom it trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pattern {
    /// The built-in fingerprint of the root.
    Fingerprint,
    /// The tag of the setting `trust`, DHCP option 175.90.
    Trust,
    /// The tag of the setting `cert`, DHCP option 175.91.
    Cert,
    /// The tag of the setting `privkey`, DHCP option 175.92.
    Privkey,
    /// The tag of the setting `crosscert`, DHCP option 175.93.
    Crosscert,
    /// The GUID of the firmware's variable with additional roots.
    TlsCaCertificate,
}

impl Pattern {
    const ALL: [Self; 6] = [Self::Fingerprint, Self::Trust, Self::Cert, Self::Privkey, Self::Crosscert, Self::TlsCaCertificate];

    /// The bytes as a stock build has them.
    fn stock(self) -> Vec<u8> {
        // A setting's tag is a 64-bit number: the encapsulating option 175 above the option inside it.
        let tag = |option: u8| vec![option, 175, 0, 0, 0, 0, 0, 0];
        match self {
            Self::Fingerprint => STOCK_FINGERPRINT.to_vec(),
            Self::Trust => tag(90),
            Self::Cert => tag(91),
            Self::Privkey => tag(92),
            Self::Crosscert => tag(93),
            Self::TlsCaCertificate => TLS_CA_CERTIFICATE_GUID.to_vec(),
        }
    }

    /// The bytes that take their place; as many.
    fn sealed(self, root: Digest) -> Vec<u8> {
        match self {
            Self::Fingerprint => root.0.to_vec(),
            _ => vec![0; self.stock().len()],
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fingerprint => "the fingerprint of iPXE's root certificate",
            Self::Trust => "the setting `trust` (175.90)",
            Self::Cert => "the setting `cert` (175.91)",
            Self::Privkey => "the setting `privkey` (175.92)",
            Self::Crosscert => "the setting `crosscert` (175.93)",
            Self::TlsCaCertificate => "the firmware variable `TlsCaCertificate`",
        })
    }
}

/// Why a file can't be sealed, or is not what sealing made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It is not a UEFI program that may be changed.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// A pattern is not there: another program, a build with trust of its own, or a file that was sealed before.
    #[error("{0} is not in it: it is no stock iPXE 2.0 or later, or it was sealed before")]
    Missing(Pattern),
    /// A pattern is there more than once, and which one counts can't be known.
    #[error("{pattern} is in it {count} times, and only one of them can be the right one")]
    Repeated {
        /// The pattern.
        pattern: Pattern,
        /// How often it was found.
        count: usize,
    },
    /// A file that should be sealed still holds a way in.
    #[error("{0} is as in a stock build: it is not sealed")]
    NotSealed(Pattern),
    /// A sealed file holds another root, or none.
    #[error("it does not trust the root {0}")]
    OtherRoot(Digest),
    /// A sealed file whose PE checksum is wrong.
    #[error("its PE checksum is not right")]
    WrongChecksum,
}

/// A file that trusts one root, and what was done to make it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The file.
    pub bytes: Vec<u8>,
    /// What was done.
    pub report: SealReport,
}

/// What sealing did to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealReport {
    /// The processor the file is for.
    pub machine: Machine,
    /// The digest of the file before.
    pub input: Digest,
    /// The digest of the file after.
    pub sealed: Digest,
    /// Where each pattern was found and replaced.
    pub replaced: Vec<Replaced>,
    /// The PE checksum that was written.
    pub checksum: u32,
}

/// One pattern that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Replaced {
    /// Which.
    pub pattern: Pattern,
    /// Its offset in the file, in bytes.
    pub offset: usize,
}

/// Seals `root`, the SHA-256 of a root certificate's DER, into `input`, a stock iPXE for UEFI.
///
/// # Errors
/// When the input is not a UEFI program, or a pattern is not in it exactly once. The input is refused as a whole; no pattern is optional.
pub fn seal(input: &[u8], root: Digest) -> Result<Sealed, SealError> {
    let pe = Pe::parse(input)?;
    // All are found before any is written: what is written must not be taken for a pattern.
    let replaced = Pattern::ALL.into_iter().map(|pattern| locate(input, pattern)).collect::<Result<Vec<_>, _>>()?;
    let mut bytes = input.to_vec();
    for Replaced { pattern, offset } in &replaced {
        let new = pattern.sealed(root);
        if let Some(place) = bytes.get_mut(*offset..offset.saturating_add(new.len())) {
            place.copy_from_slice(&new);
        }
    }
    let checksum = pe.write_checksum(&mut bytes);
    verify(&bytes, root)?;
    let report = SealReport { machine: pe.machine, input: Digest::of(input), sealed: Digest::of(&bytes), replaced, checksum };
    Ok(Sealed { bytes, report })
}

/// Checks that `bytes` is a UEFI program that trusts `root` and has none of the stock ways to trust another.
///
/// # Errors
/// The first thing that is not so.
pub fn verify(bytes: &[u8], root: Digest) -> Result<(), SealError> {
    let pe = Pe::parse(bytes)?;
    if occurrences(bytes, &root.0).count() != 1 {
        return Err(SealError::OtherRoot(root));
    }
    // An operator whose root is iPXE's own would be a strange one, but the fingerprint is then rightly there.
    let open = |pattern: &Pattern| pattern.stock() != root.0 && occurrences(bytes, &pattern.stock()).next().is_some();
    if let Some(pattern) = Pattern::ALL.into_iter().find(open) {
        return Err(SealError::NotSealed(pattern));
    }
    let mut again = bytes.to_vec();
    if pe.write_checksum(&mut again) != pe.checksum {
        return Err(SealError::WrongChecksum);
    }
    Ok(())
}

fn locate(bytes: &[u8], pattern: Pattern) -> Result<Replaced, SealError> {
    let stock = pattern.stock();
    let mut found = occurrences(bytes, &stock);
    let offset = found.next().ok_or(SealError::Missing(pattern))?;
    match found.count() {
        0 => Ok(Replaced { pattern, offset }),
        others => Err(SealError::Repeated { pattern, count: others.saturating_add(1) }),
    }
}

/// Every offset at which `pattern` stands, overlapping ones included.
fn occurrences<'a>(bytes: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(pattern.len()).enumerate().filter(move |(_, window)| *window == pattern).map(|(offset, _)| offset)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::pe::tests::efi_application;
    use super::*;

    pub(crate) const ROOT: Digest = Digest([0x11; 32]);

    /// The body of an iPXE: every pattern once, with other bytes between them.
    pub(crate) fn stock_body() -> Vec<u8> {
        let mut body = vec![0xcc; 16];
        for pattern in Pattern::ALL {
            body.extend(pattern.stock());
            body.extend([0xcc; 5]);
        }
        body
    }

    fn stock_with(extra: &[u8]) -> Vec<u8> {
        let mut body = stock_body();
        body.extend_from_slice(extra);
        efi_application(0x8664, &body)
    }

    #[test]
    fn trusts_the_root_alone_and_changes_nothing_else() {
        let input = stock_with(b"rest of the program");
        let sealed = seal(&input, ROOT).unwrap();
        assert_eq!(sealed.bytes.len(), input.len());
        assert_eq!(sealed.report.input, Digest::of(&input));
        assert_eq!(sealed.report.sealed, Digest::of(&sealed.bytes));
        assert_eq!(sealed.report.replaced.len(), Pattern::ALL.len());
        assert_eq!(verify(&sealed.bytes, ROOT), Ok(()));
        let replaced: usize = Pattern::ALL.iter().map(|pattern| pattern.stock().len()).sum();
        let changed = input.iter().zip(&sealed.bytes).filter(|(old, new)| old != new).count();
        assert!(changed <= replaced + 4, "{changed} bytes changed");
    }

    #[test]
    fn a_pattern_that_is_missing_is_named() {
        for pattern in Pattern::ALL {
            let mut input = stock_with(b"");
            let offset = locate(&input, pattern).unwrap().offset;
            input[offset] ^= 0xff;
            assert_eq!(seal(&input, ROOT), Err(SealError::Missing(pattern)));
        }
    }

    #[test]
    fn a_pattern_that_is_there_twice_is_refused() {
        for pattern in Pattern::ALL {
            let input = stock_with(&pattern.stock());
            assert_eq!(seal(&input, ROOT), Err(SealError::Repeated { pattern, count: 2 }));
        }
    }

    #[test]
    fn what_was_sealed_is_not_sealed_again() {
        let sealed = seal(&stock_with(b""), ROOT).unwrap();
        assert_eq!(seal(&sealed.bytes, Digest([0x22; 32])), Err(SealError::Missing(Pattern::Fingerprint)));
    }

    #[test]
    fn verify_tells_another_root_a_stock_build_and_a_changed_byte() {
        let stock = stock_with(b"rest");
        assert_eq!(verify(&stock, ROOT), Err(SealError::OtherRoot(ROOT)));
        let sealed = seal(&stock, ROOT).unwrap().bytes;
        assert_eq!(verify(&sealed, Digest([0x22; 32])), Err(SealError::OtherRoot(Digest([0x22; 32]))));
        let mut reopened = sealed.clone();
        let trust = locate(&stock, Pattern::Trust).unwrap().offset;
        reopened[trust..trust + 2].copy_from_slice(&[90, 175]);
        assert_eq!(verify(&reopened, ROOT), Err(SealError::NotSealed(Pattern::Trust)));
        let mut changed = sealed;
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(verify(&changed, ROOT), Err(SealError::WrongChecksum));
    }

    #[test]
    fn what_is_no_efi_program_is_refused_for_that() {
        assert_eq!(seal(&stock_body(), ROOT), Err(SealError::Pe(PeError::NotPe)));
        let mut cut = stock_with(b"rest");
        cut.pop();
        assert!(matches!(seal(&cut, ROOT), Err(SealError::Pe(PeError::Truncated { .. }))));
        assert_eq!(seal(&efi_application(0x14c, &stock_body()), ROOT), Err(SealError::Pe(PeError::UnknownMachine(0x14c))));
    }
}
