//! The installation: a GPT, a boot partition for UEFI and BIOS, and `STATE` with the config.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use crate::Result;
use crate::console::say;
use crate::documents::MachineConfig;
use crate::state;

const SECTOR: u64 = 512;
/// Where the boot partition begins; the lab made its FAT for this place.
const BOOT_FIRST: u64 = 2048;
const STATE_SECTORS: u64 = 8192;
const ENTRIES: u32 = 128;
const ENTRY_SIZE: u32 = 128;
const ENTRY_SECTORS: u64 = 32;

/// A FAT with boot loaders for UEFI and BIOS, kernel and initramfs.
const BOOT_IMAGE: &str = "/install/boot.fat.zst";
/// Its length in octets, in decimal.
const BOOT_IMAGE_SIZE: &str = "/install/boot.fat.size";
/// The first 440 octets of the disk: finds the partition that is marked for a BIOS.
const BOOT_CODE: &str = "/install/gptmbr.bin";

/// The type of an EFI system partition, C12A7328-F81F-11D2-BA4B-00A0C93EC93B, as it stands on disk.
const EFI_SYSTEM: [u8; 16] = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
/// The type of Linux data, 0FC63DAF-8483-4772-8E79-3D69D8477DE4, as it stands on disk.
const LINUX_DATA: [u8; 16] = [0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4];
/// Attribute bit 2: "legacy BIOS bootable".
const LEGACY_BOOT: u64 = 1 << 2;

struct Partition {
    kind: [u8; 16],
    first: u64,
    sectors: u64,
    attributes: u64,
    name: &'static str,
}

/// Wipes the disk and makes it boot into what the config says.
pub(crate) fn to_disk(target: &str, config: &MachineConfig) -> Result<()> {
    let fail = |error: io::Error| format!("cannot install to {target}: {error}");
    let mut disk = OpenOptions::new().read(true).write(true).open(target).map_err(fail)?;
    let sectors = disk.seek(SeekFrom::End(0)).map_err(fail)? / SECTOR;
    let boot_size: u64 =
        fs::read_to_string(BOOT_IMAGE_SIZE).map_err(fail)?.trim().parse().map_err(|_| format!("{BOOT_IMAGE_SIZE} is not a number"))?;
    let boot_sectors = boot_size.div_ceil(SECTOR);
    let state_first = BOOT_FIRST.saturating_add(boot_sectors).next_multiple_of(BOOT_FIRST);
    if state_first.saturating_add(STATE_SECTORS).saturating_add(ENTRY_SECTORS).saturating_add(1) > sectors {
        return Err(format!("{target} is too small: {sectors} sectors"));
    }
    say(&format!("installing to {target}, {sectors} sectors"));
    let partitions = [
        Partition { kind: EFI_SYSTEM, first: BOOT_FIRST, sectors: boot_sectors, attributes: LEGACY_BOOT, name: "EFI" },
        Partition { kind: LINUX_DATA, first: state_first, sectors: STATE_SECTORS, attributes: 0, name: state::PARTITION_NAME },
    ];
    copy_boot_partition(&mut disk).map_err(fail)?;
    disk.seek(SeekFrom::Start(state_first.saturating_mul(SECTOR))).map_err(fail)?;
    state::write(&mut disk, config.bytes()).map_err(fail)?;
    write_partition_table(&mut disk, sectors, &partitions).map_err(fail)?;
    disk.sync_all().map_err(fail)
}

fn copy_boot_partition(disk: &mut File) -> io::Result<()> {
    let mut image = zstd::Decoder::new(File::open(BOOT_IMAGE)?)?;
    disk.seek(SeekFrom::Start(BOOT_FIRST.saturating_mul(SECTOR)))?;
    let mut piece = vec![0; 1 << 20];
    loop {
        let count = image.read(&mut piece)?;
        match piece.get(..count) {
            None | Some([]) => return Ok(()),
            Some(bytes) => disk.write_all(bytes)?,
        }
    }
}

fn write_partition_table(disk: &mut File, sectors: u64, partitions: &[Partition]) -> io::Result<()> {
    let mut entries = Vec::new();
    for (number, partition) in (1_u8..).zip(partitions) {
        let last = partition.first.saturating_add(partition.sectors).saturating_sub(1);
        entries.extend_from_slice(&partition.kind);
        entries.extend_from_slice(&[number; 16]);
        entries.extend_from_slice(&partition.first.to_le_bytes());
        entries.extend_from_slice(&last.to_le_bytes());
        entries.extend_from_slice(&partition.attributes.to_le_bytes());
        let mut name: Vec<u8> = partition.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        name.resize(72, 0);
        entries.extend_from_slice(&name);
    }
    entries.resize(usize::try_from(ENTRY_SECTORS.saturating_mul(SECTOR)).unwrap_or_default(), 0);

    let last = sectors.saturating_sub(1);
    let backup_entries = last.saturating_sub(ENTRY_SECTORS);
    write_at(disk, 0, &protective_mbr(sectors)?)?;
    write_at(disk, 1, &header(1, last, 2, backup_entries, &entries))?;
    write_at(disk, 2, &entries)?;
    write_at(disk, backup_entries, &entries)?;
    write_at(disk, last, &header(last, 1, backup_entries, backup_entries, &entries))
}

fn write_at(disk: &mut File, sector: u64, bytes: &[u8]) -> io::Result<()> {
    disk.seek(SeekFrom::Start(sector.saturating_mul(SECTOR)))?;
    disk.write_all(bytes)
}

/// A GPT header (UEFI 2.10, 5.3.2) that stands at `here`, with its other copy at `other`.
fn header(here: u64, other: u64, entries_at: u64, backup_entries: u64, entries: &[u8]) -> Vec<u8> {
    let with_checksum = |checksum: u32| {
        let mut bytes = Vec::from(*b"EFI PART\x00\x00\x01\x00");
        bytes.extend_from_slice(&92_u32.to_le_bytes());
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for place in [here, other, ENTRY_SECTORS.saturating_add(2), backup_entries.saturating_sub(1)] {
            bytes.extend_from_slice(&place.to_le_bytes());
        }
        bytes.extend_from_slice(b"fairlead stand-i");
        bytes.extend_from_slice(&entries_at.to_le_bytes());
        bytes.extend_from_slice(&ENTRIES.to_le_bytes());
        bytes.extend_from_slice(&ENTRY_SIZE.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(entries).to_le_bytes());
        bytes
    };
    let mut bytes = with_checksum(crc32fast::hash(&with_checksum(0)));
    bytes.resize(512, 0);
    bytes
}

/// Boot code for a BIOS, and one entry that covers the disk, so that old tools leave it alone (UEFI 2.10, 5.2.3).
fn protective_mbr(sectors: u64) -> io::Result<Vec<u8>> {
    let mut bytes = fs::read(BOOT_CODE)?;
    bytes.resize(446, 0);
    let covered = u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&[0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&covered.to_le_bytes());
    bytes.resize(510, 0);
    bytes.extend_from_slice(&[0x55, 0xaa]);
    Ok(bytes)
}
