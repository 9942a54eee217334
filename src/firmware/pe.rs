//! As much of the PE/COFF format as it takes to change bytes of a UEFI program and leave it a valid one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The processor that a UEFI program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Machine {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        })
    }
}

/// Why bytes are not a UEFI program that may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeError {
    /// The signatures that every such file begins with are not there.
    #[error("it is not a PE file")]
    NotPe,
    /// A header names bytes that are behind the end of the file.
    #[error("it is cut short: {what} reaches to byte {needed}, and the file has {length}")]
    Truncated {
        /// The part that is not all there.
        what: &'static str,
        /// Where that part ends.
        needed: usize,
        /// The length of the file.
        length: usize,
    },
    /// A processor that no file here is for.
    #[error("it is for processor type 0x{0:04x}, which is neither x86_64 nor aarch64")]
    UnknownMachine(u16),
    /// A 32-bit or otherwise odd image.
    #[error("it is not a 64-bit PE image (optional header 0x{0:04x})")]
    NotPe32Plus(u16),
    /// Not an EFI application: a driver, or a program for another system.
    #[error("it is not an EFI application (subsystem {0})")]
    NotEfiApplication(u16),
    /// Any change would break the signature, and a machine with Secure Boot would then refuse the file without a word.
    #[error("it is signed, and a change would break its signature; take the unsigned file and sign the sealed one")]
    Signed,
}

/// The parts of a PE file's headers that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pe {
    /// What it runs on.
    pub(super) machine: Machine,
    /// The checksum that the header holds; 0 where the linker left it out, as Debian's iPXE does.
    pub(super) checksum: u32,
    checksum_at: usize,
}

const DOS_SIGNATURE: &[u8] = b"MZ";
const PE_SIGNATURE: &[u8] = b"PE\0\0";
const PE_OFFSET_AT: usize = 0x3c;
const COFF_HEADER: usize = 20;
const SECTION_HEADER: usize = 40;
const MAGIC_PE32_PLUS: u16 = 0x20b;
const SUBSYSTEM_EFI_APPLICATION: u16 = 10;
/// Where in a PE32+ optional header: the checksum, the subsystem, the number of data directories, and the directory of signatures.
const CHECKSUM: usize = 64;
const SUBSYSTEM: usize = 68;
const DIRECTORY_COUNT: usize = 108;
const CERTIFICATE_DIRECTORY: usize = 144;
const CERTIFICATE_INDEX: u32 = 4;

impl Pe {
    /// Reads the headers and checks that every section they name is in the file.
    ///
    /// # Errors
    /// What makes the file something else than an unsigned 64-bit EFI application for a known processor.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, PeError> {
        if !bytes.starts_with(DOS_SIGNATURE) {
            return Err(PeError::NotPe);
        }
        let pe = index(u32_at(bytes, PE_OFFSET_AT, "the DOS header")?);
        if bytes.get(pe..).is_none_or(|rest| !rest.starts_with(PE_SIGNATURE)) {
            return Err(PeError::NotPe);
        }
        let coff = pe.saturating_add(PE_SIGNATURE.len());
        let machine = match u16_at(bytes, coff, "the COFF header")? {
            0x8664 => Machine::X86_64,
            0xaa64 => Machine::Aarch64,
            other => return Err(PeError::UnknownMachine(other)),
        };
        let section_count = usize::from(u16_at(bytes, coff.saturating_add(2), "the COFF header")?);
        let optional_size = usize::from(u16_at(bytes, coff.saturating_add(16), "the COFF header")?);
        let optional = coff.saturating_add(COFF_HEADER);
        let in_optional = |offset: usize| optional.saturating_add(offset);
        let magic = u16_at(bytes, optional, "the optional header")?;
        if magic != MAGIC_PE32_PLUS {
            return Err(PeError::NotPe32Plus(magic));
        }
        let subsystem = u16_at(bytes, in_optional(SUBSYSTEM), "the optional header")?;
        if subsystem != SUBSYSTEM_EFI_APPLICATION {
            return Err(PeError::NotEfiApplication(subsystem));
        }
        if u32_at(bytes, in_optional(DIRECTORY_COUNT), "the optional header")? > CERTIFICATE_INDEX
            && u32_at(bytes, in_optional(CERTIFICATE_DIRECTORY.saturating_add(4)), "the optional header")? != 0
        {
            return Err(PeError::Signed);
        }
        let sections = in_optional(optional_size);
        for number in 0..section_count {
            let section = sections.saturating_add(number.saturating_mul(SECTION_HEADER));
            let size = index(u32_at(bytes, section.saturating_add(16), "the section table")?);
            let start = index(u32_at(bytes, section.saturating_add(20), "the section table")?);
            let end = start.saturating_add(size);
            // A section of size 0 exists in memory only, and its offset says nothing.
            if size != 0 && end > bytes.len() {
                return Err(PeError::Truncated { what: "a section", needed: end, length: bytes.len() });
            }
        }
        let checksum_at = in_optional(CHECKSUM);
        Ok(Self { machine, checksum: u32_at(bytes, checksum_at, "the optional header")?, checksum_at })
    }

    /// Computes the checksum of `bytes`, the file that these headers were read from, and writes it into its header.
    pub(super) fn write_checksum(&self, bytes: &mut [u8]) -> u32 {
        self.put_checksum(bytes, 0);
        let sum = checksum(bytes);
        self.put_checksum(bytes, sum);
        sum
    }

    fn put_checksum(&self, bytes: &mut [u8], value: u32) {
        // `parse` has read these four bytes, so they are there in a file of the same length.
        if let Some(field) = bytes.get_mut(self.checksum_at..self.checksum_at.saturating_add(4)) {
            field.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// The sum of all 16-bit words with end-around carry, plus the length: Microsoft's algorithm, computed with the field itself as zero.
fn checksum(bytes: &[u8]) -> u32 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let word = u32::from(pair.first().copied().unwrap_or(0)) | (u32::from(pair.get(1).copied().unwrap_or(0)) << 8);
        sum = sum.wrapping_add(word);
        sum = (sum & 0xffff).wrapping_add(sum >> 16);
    }
    // A PE file is shorter than 4 GiB: every offset in it has 32 bits.
    sum.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}

fn index(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn u16_at(bytes: &[u8], offset: usize, what: &'static str) -> Result<u16, PeError> {
    array_at(bytes, offset, what).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize, what: &'static str) -> Result<u32, PeError> {
    array_at(bytes, offset, what).map(u32::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], offset: usize, what: &'static str) -> Result<[u8; N], PeError> {
    let end = offset.saturating_add(N);
    bytes.get(offset..end).and_then(|slice| slice.try_into().ok()).ok_or(PeError::Truncated { what, needed: end, length: bytes.len() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest EFI application that has one section, `body`.
    pub(crate) fn efi_application(machine: u16, body: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 0x200];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c..0x40].copy_from_slice(&0x80_u32.to_le_bytes());
        file[0x80..0x84].copy_from_slice(b"PE\0\0");
        file[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        file[0x86..0x88].copy_from_slice(&1_u16.to_le_bytes());
        file[0x94..0x96].copy_from_slice(&240_u16.to_le_bytes());
        let optional = 0x98;
        file[optional..optional + 2].copy_from_slice(&MAGIC_PE32_PLUS.to_le_bytes());
        file[optional + SUBSYSTEM..optional + SUBSYSTEM + 2].copy_from_slice(&SUBSYSTEM_EFI_APPLICATION.to_le_bytes());
        file[optional + DIRECTORY_COUNT..optional + DIRECTORY_COUNT + 4].copy_from_slice(&16_u32.to_le_bytes());
        let section = optional + 240;
        file[section + 16..section + 20].copy_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        file[section + 20..section + 24].copy_from_slice(&0x200_u32.to_le_bytes());
        file.extend_from_slice(body);
        file
    }

    #[test]
    fn reads_the_machine_of_an_efi_application() {
        assert_eq!(Pe::parse(&efi_application(0x8664, b"body")).unwrap().machine, Machine::X86_64);
        assert_eq!(Pe::parse(&efi_application(0xaa64, b"body")).unwrap().machine, Machine::Aarch64);
    }

    #[test]
    fn refuses_what_is_not_an_unsigned_64_bit_efi_application() {
        assert_eq!(Pe::parse(b""), Err(PeError::NotPe));
        assert_eq!(Pe::parse(b"\x7fELF"), Err(PeError::NotPe));
        let good = efi_application(0x8664, b"body");
        let with = |offset: usize, bytes: &[u8]| {
            let mut file = good.clone();
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            Pe::parse(&file)
        };
        assert_eq!(with(0x80, b"NE"), Err(PeError::NotPe));
        assert_eq!(with(0x84, &[0x4c, 0x01]), Err(PeError::UnknownMachine(0x14c)));
        assert_eq!(with(0x98, &[0x0b, 0x01]), Err(PeError::NotPe32Plus(0x10b)));
        assert_eq!(with(0x98 + SUBSYSTEM, &[11]), Err(PeError::NotEfiApplication(11)));
        assert_eq!(with(0x98 + CERTIFICATE_DIRECTORY + 4, &[1]), Err(PeError::Signed));
    }

    #[test]
    fn refuses_a_file_cut_short_at_any_byte() {
        let good = efi_application(0x8664, b"body");
        for length in 0..good.len() {
            assert!(Pe::parse(&good[..length]).is_err(), "{length}");
        }
        assert_eq!(
            Pe::parse(&good[..good.len() - 1]),
            Err(PeError::Truncated { what: "a section", needed: good.len(), length: good.len() - 1 })
        );
    }

    #[test]
    fn header_offsets_near_the_end_of_the_number_range_are_an_error() {
        let mut file = efi_application(0x8664, b"body");
        file[0x3c..0x40].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Pe::parse(&file), Err(PeError::NotPe));
        let mut file = efi_application(0x8664, b"body");
        file[0x98 + 240 + 20..0x98 + 240 + 24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Pe::parse(&file), Err(PeError::Truncated { what: "a section", .. })));
    }

    #[test]
    fn checksum_is_the_folded_sum_of_words_plus_the_length() {
        let mut file = efi_application(0x8664, b"odd");
        let pe = Pe::parse(&file).unwrap();
        let written = pe.write_checksum(&mut file);
        assert_eq!(Pe::parse(&file).unwrap().checksum, written);
        // The same sum, the slow way: all words in 64 bits, folded once at the end.
        let mut blank = file.clone();
        blank[pe.checksum_at..pe.checksum_at + 4].fill(0);
        let words: u64 = blank.chunks(2).map(|pair| u64::from(pair[0]) + 256 * u64::from(pair.get(1).copied().unwrap_or(0))).sum();
        let mut folded = words;
        while folded > 0xffff {
            folded = (folded & 0xffff) + (folded >> 16);
        }
        assert_eq!(u64::from(written), folded + u64::try_from(file.len()).unwrap());
        // Written twice, it stays the same: the old value is no part of the sum.
        assert_eq!(pe.write_checksum(&mut file), written);
    }
}
