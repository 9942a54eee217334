use rusqlite::{OptionalExtension as _, Row};

use super::{StoreError, Tx, exists_already, read_back, stored, unsigned};
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
        let sealed_config = self.key.seal(&machine_config_place(name), &cluster.machine_config)?;
        let sealed_key = cluster.tailscale_key.as_ref().map(|key| self.key.seal(&tailscale_place(name), key)).transpose()?;
        self.sql
            .execute(
                "INSERT INTO cluster (name, machine_config, tailscale_key, kernel_args, kernel, kernel_size, initramfs, initramfs_size, \
                 created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                rusqlite::params![
                    name,
                    sealed_config,
                    sealed_key,
                    cluster.kernel_args,
                    cluster.kernel.digest.to_string(),
                    i64::try_from(cluster.kernel.size).unwrap_or(i64::MAX),
                    cluster.initramfs.digest.to_string(),
                    i64::try_from(cluster.initramfs.size).unwrap_or(i64::MAX),
                    stored(now)
                ],
            )
            .map_err(|error| exists_already(error, "cluster", name))?;
        Ok(self.sql.last_insert_rowid())
    }

    /// All clusters, by name.
    ///
    /// # Errors
    /// The database's own.
    pub fn clusters(&self) -> Result<Vec<Cluster>, StoreError> {
        let mut statement = self.sql.prepare(&format!("SELECT {COLUMNS} FROM cluster ORDER BY name"))?;
        let mut rows = statement.query([])?;
        let mut clusters = Vec::new();
        while let Some(row) = rows.next()? {
            clusters.push(read(row)?);
        }
        Ok(clusters)
    }

    /// The cluster of that name.
    ///
    /// # Errors
    /// The database's own.
    pub fn cluster_named(&self, name: &Name) -> Result<Option<Cluster>, StoreError> {
        Ok(self.clusters()?.into_iter().find(|cluster| cluster.name == *name))
    }

    /// The cluster of that number.
    ///
    /// # Errors
    /// The database's own.
    pub fn cluster(&self, id: i64) -> Result<Option<Cluster>, StoreError> {
        let mut statement = self.sql.prepare_cached(&format!("SELECT {COLUMNS} FROM cluster WHERE id = ?1"))?;
        let mut rows = statement.query([id])?;
        rows.next()?.map(read).transpose()
    }

    /// The operator's machine config, and the Tailscale key if the cluster has one.
    ///
    /// # Errors
    /// When there is no such cluster, the seal does not open, or the database's own.
    pub fn cluster_secrets(&self, cluster: &Cluster) -> Result<(Secret, Option<Secret>), StoreError> {
        let name = cluster.name.as_str();
        let (config, key): (Vec<u8>, Option<Vec<u8>>) = self
            .sql
            .prepare_cached("SELECT machine_config, tailscale_key FROM cluster WHERE id = ?1")?
            .query_row([cluster.id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?
            .ok_or_else(|| StoreError::Unreadable { what: "cluster", value: name.to_owned() })?;
        let config = self.key.open(&machine_config_place(name), &config)?;
        let key = key.map(|key| self.key.open(&tailscale_place(name), &key)).transpose()?;
        Ok((config, key))
    }
}

fn machine_config_place(name: &str) -> String {
    format!("cluster/{name}/machine_config")
}

fn tailscale_place(name: &str) -> String {
    format!("cluster/{name}/tailscale_key")
}

fn read(row: &Row<'_>) -> Result<Cluster, StoreError> {
    let asset = |digest: usize, size: usize| -> Result<Asset, StoreError> {
        Ok(Asset { digest: read_back("digest", row.get(digest)?)?, size: unsigned(row.get(size)?) })
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
