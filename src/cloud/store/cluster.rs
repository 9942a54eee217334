use super::sql::{Row, values};
use super::{StoreError, Tx, read_back};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::wire::{Digest, Name};

/// A blob that a cluster names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its digest.
    pub digest: Digest,
    /// Its length in octets.
    pub size: u64,
}

/// A cluster to add.
#[derive(Debug)]
pub struct NewCluster {
    /// Its name.
    pub name: Name,
    /// The operator's machine config, byte for byte.
    pub machine_config: Secret,
    /// The Tailscale key that its nodes log in with, if they join over a tailnet.
    pub tailscale_key: Option<Secret>,
    /// Kernel arguments of its release.
    pub kernel_args: String,
    /// Kernel.
    pub kernel: Asset,
    /// Initramfs.
    pub initramfs: Asset,
}

/// A cluster, without its secrets.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: Name,
    /// Kernel arguments of its release.
    pub kernel_args: String,
    /// Kernel.
    pub kernel: Asset,
    /// Initramfs.
    pub initramfs: Asset,
    /// Whether it has a Tailscale key.
    pub has_tailscale_key: bool,
}

const COLUMNS: &str = "id, name, kernel_args, kernel, kernel_size, initramfs, initramfs_size, tailscale_key IS NOT NULL";

impl Tx<'_> {
    /// Adds a cluster and returns its number.
    ///
    /// # Errors
    /// When there is one of that name, or the database's own.
    pub fn add_cluster(&self, cluster: &NewCluster, now: Timestamp) -> Result<i64, StoreError> {
        let name = cluster.name.as_str();
        let sealed_config = self.seal(&machine_config_place(name), &cluster.machine_config)?;
        let sealed_key = cluster.tailscale_key.as_ref().map(|key| self.seal(&tailscale_place(name), key)).transpose()?;
        let id = self
            .one(
                "INSERT INTO cluster (name, machine_config, tailscale_key, kernel_args, kernel, kernel_size, initramfs, initramfs_size, \
                 created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
                values![
                    name,
                    sealed_config,
                    sealed_key,
                    &cluster.kernel_args,
                    cluster.kernel.digest.to_string(),
                    cluster.kernel.size,
                    cluster.initramfs.digest.to_string(),
                    cluster.initramfs.size,
                    now
                ],
            )
            .map_err(|error| error.exists_already("cluster", name))?;
        Ok(id.unwrap_or_default())
    }

    /// All clusters, by name.
    ///
    /// # Errors
    /// The database's own.
    pub fn clusters(&self) -> Result<Vec<Cluster>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM cluster ORDER BY name"), &[])?.iter().map(read).collect()
    }

    /// The cluster of that name.
    ///
    /// # Errors
    /// The database's own.
    pub fn cluster_named(&self, name: &Name) -> Result<Option<Cluster>, StoreError> {
        let row = self.row(&format!("SELECT {COLUMNS} FROM cluster WHERE name = ?1"), values![name.as_str()])?;
        row.as_ref().map(read).transpose()
    }

    /// The cluster of that number.
    ///
    /// # Errors
    /// The database's own.
    pub fn cluster(&self, id: i64) -> Result<Option<Cluster>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM cluster WHERE id = ?1"), values![id])?.as_ref().map(read).transpose()
    }

    /// The operator's machine config, and the Tailscale key if the cluster has one.
    ///
    /// # Errors
    /// When there is no such cluster, the seal does not open, or the database's own.
    pub fn cluster_secrets(&self, cluster: &Cluster) -> Result<(Secret, Option<Secret>), StoreError> {
        let name = cluster.name.as_str();
        let row = self
            .row("SELECT machine_config, tailscale_key FROM cluster WHERE id = ?1", values![cluster.id])?
            .ok_or_else(|| StoreError::Unreadable { what: "cluster", value: name.to_owned() })?;
        let config = self.unseal(&machine_config_place(name), &row.get::<Vec<u8>>(0)?)?;
        let key = row.get::<Option<Vec<u8>>>(1)?.map(|key| self.unseal(&tailscale_place(name), &key)).transpose()?;
        Ok((config, key))
    }
}

fn machine_config_place(name: &str) -> String {
    format!("cluster/{name}/machine_config")
}

fn tailscale_place(name: &str) -> String {
    format!("cluster/{name}/tailscale_key")
}

fn read(row: &Row) -> Result<Cluster, StoreError> {
    let asset = |digest: usize, size: usize| -> Result<Asset, StoreError> {
        Ok(Asset { digest: read_back("digest", row.get(digest)?)?, size: row.get(size)? })
    };
    Ok(Cluster {
        id: row.get(0)?,
        name: read_back("cluster name", row.get(1)?)?,
        kernel_args: row.get(2)?,
        kernel: asset(3, 4)?,
        initramfs: asset(5, 6)?,
        has_tailscale_key: row.get(7)?,
    })
}
