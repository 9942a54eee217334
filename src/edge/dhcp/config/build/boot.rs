use std::ops::Range;

use super::sourced;
use crate::config_file::Source;
use crate::edge::dhcp::config::policy::{ArchFiles, GeneralBootFiles};
use crate::edge::dhcp::config::section::{BootFileTable, BootSection};
use crate::failure::Failure;
use crate::wire::ClientArch;

/// `[boot.files]`.
pub(super) fn general_files(source: &Source, boot: &BootSection) -> Result<GeneralBootFiles, Failure> {
    let mut files = GeneralBootFiles::default();
    for (key, file) in &boot.files {
        let arch = arch(source, &key.span(), key.get_ref())?;
        check_file(source, &file.span(), file.get_ref())?;
        let line = source.line(&key.span());
        if let Some((_, other)) = files.lines.iter().find(|(known, _)| *known == arch) {
            return Err(twice(source, &key.span(), arch, *other));
        }
        files.files.set(arch, file.get_ref());
        files.lines.push((arch, line));
    }
    Ok(files)
}

/// `boot_files` of a subnet, class or reservation.
pub(super) fn level_files(source: &Source, table: &BootFileTable) -> Result<ArchFiles, Failure> {
    let mut files = ArchFiles::new();
    for (key, file) in table {
        let arch = arch(source, &key.span(), key.get_ref())?;
        check_file(source, &file.span(), file.get_ref())?;
        if files.iter().any(|(known, _)| *known == arch) {
            return Err(twice(source, &key.span(), arch, source.line(&key.span())));
        }
        let value = (!file.get_ref().is_empty()).then(|| file.get_ref().clone());
        files.push((arch, sourced(source, &key.span(), value)));
    }
    Ok(files)
}

fn twice(source: &Source, span: &Range<usize>, arch: ClientArch, other: u32) -> Failure {
    source.error(span, &format!("architecture {arch} has a boot file already (line {other})"), "keep one of the two, by name or by number")
}

/// An architecture by its name or its number in IANA's list.
pub(super) fn arch(source: &Source, span: &Range<usize>, text: &str) -> Result<ClientArch, Failure> {
    parse_arch(text).ok_or_else(|| {
        source.error(
            span,
            &format!("`{text}` is not an architecture"),
            "name it as in `x86-bios`, `x64-uefi`, `arm64-uefi`, `x64-uefi-http`, or by its number in IANA's list, such as `7`",
        )
    })
}

pub(in crate::edge) fn parse_arch(text: &str) -> Option<ClientArch> {
    let numbered = text.strip_prefix("arch-").unwrap_or(text).parse().ok().map(ClientArch);
    numbered.or_else(|| (0..=u16::from(u8::MAX)).map(ClientArch).find(|arch| arch.name() == Some(text)))
}

fn check_file(source: &Source, span: &Range<usize>, file: &str) -> Result<(), Failure> {
    if file.len() > 255 || !file.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(source.error(
            span,
            &format!("`{file}` can't be a boot file"),
            "a boot file is a name or a URL of up to 255 characters without spaces, or empty for none",
        ));
    }
    Ok(())
}
