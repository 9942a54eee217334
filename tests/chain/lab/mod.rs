//! The lab: a site, a cloud and nodes on this machine, in network namespaces of their own.

pub(crate) mod cloud;
pub(crate) mod cpio;
pub(crate) mod dhcp_client;
pub(crate) mod dnsmasq;
pub(crate) mod edge;
pub(crate) mod firmware;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod node_image;
pub(crate) mod session;

use std::sync::{Mutex, OnceLock, PoisonError};

use fairlead::failure::Result;
use fairlead_lab::Programs;
pub(crate) use fairlead_lab::{capture, files, interrupt, log_file, namespace, packages, process};

use capture::Capture;
use cloud::Cloud;
use dnsmasq::Dnsmasq;
use edge::{Edge, Mode};
use files::RunDirectory;
use firmware::{Accelerator, Ovmf};
use network::{BRIDGE, Network};
use node::{Hardware, Node};
use node_image::NodeImage;

/// What all labs of this process share, since it is slow to find out or to make.
#[derive(Debug)]
pub(crate) struct Workshop {
    pub(crate) image: NodeImage,
    pub(crate) accelerator: Accelerator,
    /// Why nodes run as they do, for people.
    pub(crate) acceleration: String,
}

impl Workshop {
    /// Looks for what the lab needs and makes the nodes' image.
    pub(crate) fn open(progress: &dyn Fn(&str)) -> Result<Self> {
        namespace::require_privileges()?;
        namespace::remove_left_behind(false);
        interrupt::remove_all_when_interrupted()?;
        let ovmf = Ovmf::find()?;
        let image = NodeImage::obtain(progress)?;
        let mut directory = RunDirectory::create(&namespace::run_name())?;
        directory.discard();
        let (accelerator, acceleration) = Accelerator::probe(&ovmf, &directory);
        Ok(Self { image, accelerator, acceleration })
    }
}

/// The programs under test.
pub(crate) fn programs() -> Programs {
    Programs { edge: env!("CARGO_BIN_EXE_fairlead-edge").into(), cloud: env!("CARGO_BIN_EXE_fairlead-cloud").into() }
}

/// The workshop of this process.
static WORKSHOP: OnceLock<Workshop> = OnceLock::new();
static OPENING: Mutex<()> = Mutex::new(());

/// How a lab differs from the ordinary one.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Who hands out addresses.
    pub(crate) mode: Mode,
    /// `auto` or `approve`.
    pub(crate) admission: &'static str,
    /// Lines for the cloud's `[boot_plane]`.
    pub(crate) boot_plane: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mode: Mode::Server, admission: "auto", boot_plane: "poll_interval = \"1s\"" }
    }
}

/// A site with its edge box joined to a cloud, both running.
#[derive(Debug)]
pub(crate) struct Lab {
    // Dropped in this order: programs, then the network they are in, then their files.
    pub(crate) capture: Option<Capture>,
    pub(crate) edge: Edge,
    pub(crate) dnsmasq: Option<Dnsmasq>,
    pub(crate) cloud: Cloud,
    pub(crate) network: Network,
    pub(crate) directory: RunDirectory,
    workshop: &'static Workshop,
}

impl Lab {
    /// Makes the network, the cloud and the edge, and joins them.
    pub(crate) fn build(workshop: &'static Workshop, settings: &Settings, progress: &dyn Fn(&str)) -> Result<Self> {
        let run_name = namespace::run_name();
        let directory = RunDirectory::create(&run_name)?;
        progress("making the network");
        let network = Network::create(&run_name)?;
        progress("making the cloud");
        let mut cloud = cloud::create(&directory.path().join("cloud"), settings.boot_plane, &workshop.image)?;
        let token = cloud.add_site(cloud::SITE, cloud::CLUSTER, settings.admission)?;
        cloud.start(&network.cloud)?;
        let dnsmasq = match settings.mode {
            Mode::Proxy => Some(Dnsmasq::start(&network, directory.path(), &[])?),
            Mode::Server => None,
        };
        progress("joining the edge box to the cloud");
        let mut edge = Edge::join(&directory.path().join("edge"), &network.edge, settings.mode, &token)?;
        edge.start(&network.edge)?;
        let capture = Capture::start(&network.switch, BRIDGE, directory.path(), "site")?;
        Ok(Self { capture: Some(capture), edge, dnsmasq, cloud, network, directory, workshop })
    }

    /// What its nodes run.
    pub(crate) fn image(&self) -> &NodeImage {
        &self.workshop.image
    }

    /// Starts the site's dnsmasq anew, with further arguments.
    pub(crate) fn restart_dnsmasq(&mut self, more: &[&str]) -> Result<()> {
        self.dnsmasq = None;
        self.dnsmasq = Some(Dnsmasq::start(&self.network, self.directory.path(), more)?);
        Ok(())
    }

    /// Switches on a machine with an empty disk.
    pub(crate) fn switch_on(&self, hardware: Hardware) -> Result<Node> {
        Node::switch_on(&self.network, self.directory.path(), self.workshop.accelerator, hardware)
    }
}

/// The workshop of this process, opened when it is first asked for.
pub(crate) fn workshop(progress: &dyn Fn(&str)) -> Result<&'static Workshop> {
    // Tests run beside each other, and only one of them may make the image.
    let _turn = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(workshop) = WORKSHOP.get() {
        return Ok(workshop);
    }
    let workshop = Workshop::open(progress)?;
    Ok(WORKSHOP.get_or_init(|| workshop))
}
