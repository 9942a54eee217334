//! The iPXE scripts that nodes are told what to do with.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL_NOPAD};

use super::decision::{Decision, Fresh, Verdict, decide};
use super::shown::{self, Platform, Shown};
use super::{BootService, Channel, Refusal, unavailable};
use crate::clock;
use crate::cloud::machine_config::trusted_roots;
use crate::cloud::state::random;
use crate::cloud::store::{Cluster, LocalBoot};
use crate::secret::Secret;
use crate::wire::{Capability, Digest};

pub(super) async fn serve(
    State(service): State<Arc<BootService>>,
    Extension(channel): Extension<Channel>,
    headers: HeaderMap,
    query: Result<Query<shown::Query>, QueryRejection>,
) -> Response {
    let shown = match query.map_err(|_| Refusal::bad_request("the query is malformed")).and_then(|query| Shown::read(query.0, &headers)) {
        Ok(shown) => shown,
        Err(refusal) => {
            tracing::warn!(peer = %channel.peer, reason = refusal.line, "refused a request for a boot script");
            return refusal.into_response();
        }
    };
    let (Ok(code), Ok(token)) = (random::<5>(), random::<24>()) else {
        return Refusal { status: StatusCode::SERVICE_UNAVAILABLE, line: "the cloud cannot answer now" }.into_response();
    };
    let fresh = Fresh { code: node_code(code), token: Secret::from(BASE64URL_NOPAD.encode(&token)) };
    let (settings, seen, now) = (service.settings.clone(), channel.clone(), clock::now());
    let (mac, platform) = (shown.mac, shown.platform);
    let outcome = service.state.store.call(move |tx| decide(tx, now, &settings, &shown, &seen, &fresh)).await;
    let decision = match outcome {
        Ok(Ok(decision)) => decision,
        Ok(Err(refusal)) => {
            tracing::warn!(peer = %channel.peer, %mac, reason = refusal.line, "refused a request for a boot script");
            return refusal.into_response();
        }
        Err(error) => return unavailable(&error),
    };
    log(&decision, &channel);
    let text = service.script(&decision, platform);
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

fn log(decision: &Decision, channel: &Channel) {
    let verdict = match &decision.verdict {
        Verdict::Wait { .. } if !decision.first => return,
        Verdict::Wait { .. } => "waits for approval",
        Verdict::Refuse => "is rejected",
        Verdict::LocalBoot => "is sent to its disk",
        Verdict::Boot { .. } => "may boot",
    };
    let node = &decision.node;
    tracing::info!(
        site = %decision.site.name, node = node.id, mac = %node.key.mac, hostname = %node.hostname, code = node.code,
        session = decision.session.id, peer = %channel.peer, tls = channel.tls, "node {verdict}"
    );
}

impl BootService {
    /// `${indent}` comes from our `autoexec.ipxe`: iPXE's `echo` drops spaces at the start of a line.
    fn script(&self, decision: &Decision, platform: Platform) -> String {
        let mut script = String::from("#!ipxe\n");
        // Writing to a string can't fail.
        let _ = match &decision.verdict {
            Verdict::Wait { continuation } => self.write_wait(&mut script, decision, platform, continuation),
            Verdict::Refuse => writeln!(
                script,
                "echo Fairlead: this machine was refused by its operator, or retired (code {}).\n\
                 echo ${{indent:string}}to let it in: fairlead-cloud node approve {}\nset retry_after 60\nset next retry",
                decision.node.code, decision.node.code
            ),
            Verdict::LocalBoot => writeln!(
                script,
                "echo Fairlead: {} was set up before and boots its disk.\n\
                 echo ${{indent:string}}to set it up anew: fairlead-cloud node rearm {}\nset next {}",
                decision.node.hostname,
                decision.node.id,
                local_boot(decision.node.local_boot, platform)
            ),
            Verdict::Boot { cluster, config_token } => self.write_boot(&mut script, decision, cluster, config_token),
        };
        script
    }

    fn write_wait(&self, script: &mut String, decision: &Decision, platform: Platform, continuation: &Secret) -> std::fmt::Result {
        let node = &decision.node;
        if decision.first {
            writeln!(script, "echo")?;
            writeln!(script, "echo Fairlead: this machine waits for approval.")?;
            writeln!(script, "echo ${{indent:string}}code {}   site {}   address {}", node.code, decision.site.name, node.key.mac)?;
            writeln!(script, "echo ${{indent:string}}approve it with: fairlead-cloud node approve {}", node.code)?;
        } else {
            writeln!(script, "echo Fairlead: code {} still waits for approval.", node.code)?;
        }
        writeln!(script, "sleep {}", self.settings.poll_interval.as_secs().max(1))?;
        let (mac, uuid) = (node.key.mac, node.key.uuid.map(|uuid| uuid.to_string()).unwrap_or_default());
        let continuation = continuation.expose_str().unwrap_or_default();
        let url = self.settings.url.as_str();
        // `--replace`: a node that waits for days must not pile up scripts.
        match platform {
            Platform::Efi => {
                writeln!(script, "params\nparam --header Authorization Bearer {continuation}")?;
                writeln!(
                    script,
                    "chain --replace --autofree --timeout 30000 {url}/boot/v1/script?mac={mac}&uuid={uuid}&platform=efi##params"
                )
            }
            Platform::Bios => writeln!(
                script,
                "chain --replace --autofree --timeout 30000 {url}/boot/v1/script?mac={mac}&uuid={uuid}&platform=pcbios&ticket={continuation}"
            ),
        }
    }

    fn write_boot(&self, script: &mut String, decision: &Decision, cluster: &Cluster, config_token: &Secret) -> std::fmt::Result {
        let url = self.settings.url.as_str();
        let expires_at = clock::now().after(self.settings.capability_lifetime);
        let session = u64::try_from(decision.session.id).unwrap_or_default();
        let blob = |digest: Digest, name: &str| {
            let capability = Capability { digest, session, expires_at }.sign(&self.state.capability_key);
            format!("{url}/boot/v1/blob/{digest}/{capability}/{name}")
        };
        let arguments = kernel_command_line(&cluster.kernel_args, url, &self.root_pem, config_token);
        let arguments = arguments.expose_str().unwrap_or_default();
        writeln!(script, "echo Fairlead: {} may boot; fetching its kernel and initramfs from {url}", decision.node.hostname)?;
        writeln!(script, "imgfree")?;
        // No `initrd=`: kernels since 5.8 take the initramfs from iPXE by LoadFile2 on EFI, by the boot protocol on BIOS.
        writeln!(script, "kernel --timeout 60000 {} {arguments} || goto failed", blob(cluster.kernel.digest, "kernel"))?;
        writeln!(script, "initrd --timeout 60000 {} || goto failed", blob(cluster.initramfs.digest, "initramfs"))?;
        writeln!(script, "boot || goto failed")?;
        writeln!(script, ":failed\nimgfree")?;
        writeln!(script, "echo Fairlead: kernel or initramfs did not arrive whole and unchanged from {url}, or did not start.")?;
        writeln!(script, "echo ${{indent:string}}what happened: fairlead-cloud session show {}", decision.session.id)?;
        writeln!(script, "exit 1")
    }
}

/// The kernel's command line: the release's own arguments, then where the machine config is and how to believe that place.
///
/// It holds the one-time token.
#[must_use]
pub fn kernel_command_line(release: &str, url: &str, root_pem: &str, config_token: &Secret) -> Secret {
    // Talos knows no argument that names a CA: a TrustedRootsConfig in the early config is the way.
    let early = zstd::bulk::compress(trusted_roots(root_pem).as_bytes(), 19).unwrap_or_default();
    Secret::from(format!(
        "{} talos.config={url}/boot/v1/config?token={} talos.config.early={}",
        release.trim(),
        config_token.expose_str().unwrap_or_default(),
        BASE64.encode(&early)
    ))
}

/// How this firmware goes on to its disk.
const fn local_boot(way: LocalBoot, platform: Platform) -> &'static str {
    match (way, platform) {
        // After `exit` EDK II shows its menu; after `exit1` it first tries what else there is of network boot, and asks us again.
        (LocalBoot::Auto, Platform::Efi) | (LocalBoot::Sanboot, _) => "sanboot",
        // A BIOS goes on to its next boot entry, whichever disk that is; 0x80 may be a stick that somebody left in.
        (LocalBoot::Auto, Platform::Bios) | (LocalBoot::Exit1, _) => "exit1",
        (LocalBoot::Exit, _) => "exit",
    }
}

/// A code that is read off a screen and typed: eight letters and digits. Base 32 (RFC 4648, section 6) has no 0, 1 or 8 that could be
/// taken for its letters.
fn node_code(random: [u8; 5]) -> String {
    let letters = BASE32_NOPAD.encode(&random);
    let (left, right) = letters.split_at_checked(4).unwrap_or((&letters, ""));
    format!("{left}-{right}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_eight_letters_in_two_groups() {
        let code = node_code([0, 1, 2, 3, 250]);
        assert_eq!(code.len(), 9);
        assert_eq!(code.chars().nth(4), Some('-'));
    }

    #[test]
    fn the_command_line_fits_what_boot_loaders_keep() {
        let made = crate::pki::authority::NewAuthority::generate().unwrap();
        let token = Secret::from("0123456789abcdef0123456789abcdef".to_owned());
        let line =
            kernel_command_line("talos.platform=metal slab_nomerge pti=on", "https://boot.example.com", &made.root.certificate, &token);
        let line = line.expose_str().unwrap();
        assert!(line.len() < crate::cloud::machine_config::kernel_arguments::LIMIT, "{}", line.len());
        let early = line.split("talos.config.early=").nth(1).unwrap();
        let document = zstd::bulk::decompress(&BASE64.decode(early.as_bytes()).unwrap(), 4096).unwrap();
        assert_eq!(document, trusted_roots(&made.root.certificate).as_bytes());
    }
}
