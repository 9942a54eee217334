//! What a machine is told to boot.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::boot_settings::BootSettings;
use super::client::{Client, Stage};
use super::config::policy::Origin;
use super::engine::Exchange;
use super::explain::{Level, NoBootReason, Source, Step};
use super::levels::Levels;
use super::message::Request;
use super::option;
use super::reply::{Reply, fits_file_field};
use crate::clock::Timestamp;
use crate::wire::{BootId, ClientArch, MacAddr, Nonce, SystemUuid, private_option};

/// The boot file of each architecture: a name on the box's TFTP and HTTP servers, or a whole URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFiles(BTreeMap<ClientArch, String>);

/// Where iPXE goes next: our script, on the box's HTTP server.
const SCRIPT: &str = "autoexec.ipxe";

impl Default for BootFiles {
    /// The files of Debian's iPXE package, as far as the box has them. All other architectures of IANA's list get an address and no
    /// boot file: nothing that a box serves could run there.
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
pub(super) struct BootAnswer {
    pub(super) file: String,
    /// The `file` with a zero behind it, as option 67 has it.
    terminated: Vec<u8>,
    pub(super) ticket: Option<String>,
    settings: Arc<BootSettings>,
    /// The box's address on the client's interface.
    host: Ipv4Addr,
}

/// A boot file, for which architecture, and where it is configured.
type Found<'a> = (&'a str, Option<ClientArch>, Source);

impl BootAnswer {
    /// The boot file for this client, or why it has none.
    pub(super) fn decide(exchange: &Exchange<'_>, levels: &Levels<'_>, settings: Option<&Arc<BootSettings>>) -> Result<Self, NoBootReason> {
        let client = &exchange.client;
        if client.stage == Stage::System {
            return Err(NoBootReason::NotABootClient);
        }
        if let Some((level, may_boot)) = levels.may_boot()
            && !may_boot.value
        {
            return Err(NoBootReason::NotAllowed(Source::Configured(level, may_boot.origin)));
        }
        let settings = Arc::clone(settings.ok_or(NoBootReason::NoSettings)?);
        let host = exchange.interface.address;
        let (file, arch, source) = find_file(exchange, levels).ok_or(NoBootReason::NoFile)?;
        // An iPXE takes a name as one beside what it was loaded from, and HTTP firmware takes only URLs.
        let by_url = client.stage != Stage::Pxe || arch.is_some_and(ClientArch::boots_from_http);
        let file = match settings.http_port {
            _ if !by_url || file.contains("://") => file.to_owned(),
            80 => format!("http://{host}/{file}"),
            port => format!("http://{host}:{port}/{file}"),
        };
        exchange.tell(|| Step::BootFile { file: file.clone(), arch, source });
        // EDK II ends the name in the answer that it keeps by writing a zero behind it: over the code of the next option, so
        // that iPXE, which reads that answer later, misreads all that follows. With a zero of our own there is room for it.
        let terminated = [file.as_bytes(), &[0]].concat();
        Ok(Self { file, terminated, ticket: None, settings, host })
    }

    /// Signs a ticket for the machine.
    pub(super) fn mint(&self, now: Timestamp, boot: BootId, mac: MacAddr, uuid: Option<SystemUuid>, nonce: Nonce) -> Option<String> {
        self.settings.minter.mint(now, boot, mac, uuid, nonce)
    }

    /// Writes the boot file, and what iPXE needs to go on, into an answer.
    pub(super) fn put<'a>(&'a self, reply: &mut Reply<'a>, request: &Request<'_>, client: &Client) {
        if client.stage == Stage::Http {
            // UEFI specification, section 24.7.3.1: an offer without it is not for HTTP Boot.
            reply.put(option::VENDOR_CLASS, b"HTTPClient".as_slice(), Source::Boot);
        }
        if let Some(ticket) = &self.ticket {
            reply.put(private_option::TICKET, ticket.as_bytes(), Source::Boot);
        }
        if client.stage == Stage::Ipxe {
            reply.put(private_option::BOOT_URL, self.settings.boot_url.as_bytes(), Source::Boot);
        }
        if client.archs.contains(&ClientArch::X86_BIOS) {
            // undionly.kpxe is packed, so our root can't be sealed into it. It takes its settings from the answer that its ROM
            // got as well, hence in every answer to a BIOS.
            let trust = [&[option::IPXE_TRUST, 32], self.settings.root.0.as_slice(), &[255]].concat();
            reply.put(option::IPXE, trust, Source::Boot);
        }
        reply.siaddr = self.host;
        reply.sname = Some(self.host);
        reply.file = &self.file;
        reply.reads_overload = client.reads_overload(request);
        // U-Boot reads only the field, some clients only the options; those that list what they want get them when listed.
        if request.asks_for(option::TFTP_SERVER) {
            reply.put(option::TFTP_SERVER, self.host.to_string().into_bytes(), Source::Boot);
        }
        if request.asks_for(option::BOOT_FILE) || !fits_file_field(&self.file) {
            reply.put(option::BOOT_FILE, self.terminated.as_slice(), Source::Boot);
        }
    }
}

/// The file of the first of the client's architectures that has one. For each, the first level that names it decides, and
/// `[boot.files]` last.
fn find_file<'a>(exchange: &Exchange<'a>, levels: &Levels<'a>) -> Option<Found<'a>> {
    let client = &exchange.client;
    if client.stage == Stage::Ipxe {
        // A class that does not ask for iPXE names what loads it: to name it again would be a loop. Some firmware's own iPXE wants
        // the name of a script to end in `.ipxe`, as ours does.
        let for_ipxe = levels.classes.iter().filter(|class| !class.matcher.user_class.is_empty());
        let named = for_ipxe.flat_map(|class| &class.policy.boot_files).find(|(arch, _)| client.archs.contains(arch));
        return match named {
            Some((arch, said)) => Some((said.value.as_deref()?, Some(*arch), Source::Configured(Level::Class, said.origin))),
            None => Some((SCRIPT, client.arch(), Source::BuiltIn)),
        };
    }
    let general = exchange.config.boot_files();
    client.archs.iter().find_map(|arch| {
        let named = levels.policies().find_map(|(level, policy)| {
            let (_, said) = policy.boot_files.iter().find(|(named, _)| named == arch)?;
            Some((said.value.as_deref(), Source::Configured(level, said.origin)))
        });
        let (file, source) = named.unwrap_or_else(|| {
            let line = general.lines.iter().find(|(named, _)| named == arch).map(|(_, line)| Origin::Line(*line));
            (general.files.file(*arch), line.map_or(Source::BuiltIn, |line| Source::Configured(Level::General, line)))
        });
        Some((file?, Some(*arch), source))
    })
}
