//! What a machine is told to boot.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::boot_settings::BootSettings;
use super::client::{Client, Stage};
use super::message::Request;
use super::option;
use super::reply::{Reply, fits_file_field};
use crate::wire::{ClientArch, private_option};

/// The boot file of each architecture: a name on the box's TFTP and HTTP servers, or a whole URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFiles(BTreeMap<ClientArch, String>);

/// Where iPXE goes next: our script, on the box's HTTP server.
const SCRIPT: &str = "autoexec.ipxe";

impl Default for BootFiles {
    /// The files of Debian's iPXE package. Architectures that are not here get an address and no boot file.
    fn default() -> Self {
        let files = [
            (ClientArch::X86_BIOS, "undionly.kpxe"),
            (ClientArch::X64_UEFI, "snponly.efi"),
            // Much x64 firmware says EBC: RFC 4578 and the PXE specification disagree about 7 and 9.
            (ClientArch::EBC, "snponly.efi"),
            (ClientArch::ARM64_UEFI, "ipxe-arm64.efi"),
            (ClientArch::X64_UEFI_HTTP, "snponly.efi"),
            (ClientArch::ARM64_UEFI_HTTP, "ipxe-arm64.efi"),
        ];
        Self(files.into_iter().map(|(arch, file)| (arch, file.to_owned())).collect())
    }
}

impl BootFiles {
    /// Sets an architecture's file; the empty name means none.
    pub(super) fn set(&mut self, arch: ClientArch, file: &str) {
        if file.is_empty() {
            self.0.remove(&arch);
        } else {
            self.0.insert(arch, file.to_owned());
        }
    }

    /// The file of an architecture.
    #[must_use]
    pub fn file(&self, arch: ClientArch) -> Option<&str> {
        self.0.get(&arch).map(String::as_str)
    }

    /// The architectures that have a file, and their files.
    pub fn iter(&self) -> impl Iterator<Item = (ClientArch, &str)> {
        self.0.iter().map(|(arch, file)| (*arch, file.as_str()))
    }
}

/// What one answer says about booting.
#[derive(Clone, Debug)]
pub(super) struct BootAnswer<'a> {
    pub(super) file: String,
    pub(super) ticket: Option<String>,
    settings: &'a BootSettings,
    /// The box's address on the client's interface.
    host: Ipv4Addr,
}

impl<'a> BootAnswer<'a> {
    /// The boot file for this client, or `None` when it has none.
    pub(super) fn decide(client: &Client, files: &BootFiles, settings: &'a BootSettings, host: Ipv4Addr) -> Option<Self> {
        let on_http = |file: &str| match settings.http_port {
            80 => format!("http://{host}/{file}"),
            port => format!("http://{host}:{port}/{file}"),
        };
        let file = match client.stage {
            Stage::System => return None,
            Stage::Ipxe => on_http(SCRIPT),
            Stage::Pxe | Stage::Http => {
                let (arch, file) = client.archs.iter().find_map(|arch| files.file(*arch).map(|file| (*arch, file)))?;
                let by_url = client.stage == Stage::Http || arch.boots_from_http();
                if by_url && !file.contains("://") { on_http(file) } else { file.to_owned() }
            }
        };
        Some(Self { file, ticket: None, settings, host })
    }

    /// Writes the boot file, and what iPXE needs to go on, into an answer.
    pub(super) fn put(&self, reply: &mut Reply, request: &Request, client: &Client) {
        if client.stage == Stage::Http {
            // UEFI specification, section 24.7.3.1: an offer without it is not for HTTP Boot.
            reply.put(option::VENDOR_CLASS, b"HTTPClient");
        }
        if let Some(ticket) = &self.ticket {
            reply.put(private_option::TICKET, ticket.as_bytes());
        }
        if client.stage == Stage::Ipxe {
            reply.put(private_option::BOOT_URL, self.settings.boot_url.as_bytes());
        }
        if client.archs.contains(&ClientArch::X86_BIOS) {
            // undionly.kpxe is packed, so our root can't be sealed into it. It takes its settings from the answer that its ROM
            // got as well, hence in every answer to a BIOS.
            let trust = [&[option::IPXE_TRUST, 32], self.settings.root.0.as_slice(), &[255]].concat();
            reply.put(option::IPXE, &trust);
        }
        reply.siaddr = self.host;
        reply.sname = self.host.to_string();
        reply.file.clone_from(&self.file);
        // U-Boot reads only the field, some clients only the options; those that list what they want get them when listed.
        if request.asks_for(option::TFTP_SERVER) {
            reply.put(option::TFTP_SERVER, self.host.to_string().as_bytes());
        }
        if request.asks_for(option::BOOT_FILE) || !fits_file_field(&self.file) {
            // EDK II ends the name in the answer that it keeps by writing a zero behind it: over the code of the next option, so
            // that iPXE, which reads that answer later, misreads all that follows. With a zero of our own there is room for it.
            reply.put(option::BOOT_FILE, &[self.file.as_bytes(), &[0]].concat());
        }
    }
}
