//! Turns "a file went to an address" into "this machine, in this boot, has the file".

use super::boot_files::{FileServed, ServedFiles};
use super::dhcp::server::Handle;
use super::uplink::reports::Reports;
use crate::wire::uplink::{SiteEvent, SiteEventKind};

/// Reports each served file under the boot of the machine that took it.
pub(super) struct ServedReports {
    dhcp: Handle,
    reports: Reports,
}

impl ServedReports {
    pub(super) const fn new(dhcp: Handle, reports: Reports) -> Self {
        Self { dhcp, reports }
    }
}

impl ServedFiles for ServedReports {
    fn file_served(&self, served: FileServed) {
        let FileServed { at, peer, protocol, file, size, sha256 } = served;
        let Some((boot, mac)) = self.dhcp.boot_at(peer) else {
            // A person with curl, as a rule: there is no boot to which it belongs.
            tracing::info!(%peer, file, size, "served over {protocol} to a machine that is in no boot");
            return;
        };
        let what = SiteEventKind::FileServed { protocol: protocol.to_string(), file, size, sha256 };
        tracing::info!(%mac, %boot, %peer, "{what}");
        self.reports.report(SiteEvent { at, boot: Some(boot), mac: Some(mac), what });
    }
}
