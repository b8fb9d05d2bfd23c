//! The file system that a folder is on.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::fstatvfs;

/// What a file system does to files that are written in place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Writes them somewhere else each time, unless told not to: a full disk refuses.
    CopyOnWrite,
    /// Is on another machine, or made up by a program: locks and syncs are not what they are on a disk.
    Network,
    /// Overwrites them.
    Ordinary,
}

/// What is known of a folder's file system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Volume {
    /// What it does to files that are written in place.
    pub kind: Kind,
    /// Bytes that this process may still write.
    pub free: u64,
    /// Files that may still be made; `None` where they aren't counted.
    pub free_files: Option<u64>,
    /// Whether it is mounted to be read only.
    pub is_read_only: bool,
}

impl Volume {
    /// That of a folder or file.
    ///
    /// # Errors
    /// Where it can't be opened or asked.
    #[allow(
        clippy::useless_conversion,
        reason = "the numbers are narrower where a word has 32 bits"
    )]
    pub fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let about = fstatvfs(&file)?;
        let size = u64::from(about.fragment_size());
        Ok(Self {
            kind: kind(&file)?,
            free: u64::from(about.blocks_available()).saturating_mul(size),
            free_files: (about.files() != 0).then(|| u64::from(about.files_available())),
            is_read_only: about
                .flags()
                .contains(nix::sys::statvfs::FsFlags::ST_RDONLY),
        })
    }
}

/// What kind of file system an opened file is on.
pub(crate) fn kind(file: impl AsFd) -> Result<Kind, Errno> {
    // linux/magic.h: NFS, SMB, CIFS, SMB2, FUSE, 9P, AFS, Ceph; and those that share disks: OCFS2, GFS2, Lustre, GPFS, BeeGFS.
    const NETWORK: [u32; 13] = [
        0x6969,
        0x517B,
        0xFF53_4D42,
        0xFE53_4D42,
        0x6573_5546,
        0x0102_1997,
        0x5346_414F,
        0x00C3_6400,
        0x7461_636F,
        0x0116_1970,
        0x0BD0_0BD0,
        0x4750_4653,
        0x1983_0326,
    ];
    // btrfs, ZFS, bcachefs, F2FS, NILFS.
    const COPY_ON_WRITE: [u32; 5] = [0x9123_683E, 0x2FC1_2FC1, 0xCA45_1A4E, 0xF2F5_2010, 0x3434];
    let status = fstatfs(file)?;
    // The numbers have 32 bits; the type that holds them is as wide as the processor's words.
    let number = (status.filesystem_type().0 as u64 & 0xFFFF_FFFF) as u32;
    Ok(if NETWORK.contains(&number) {
        Kind::Network
    } else if COPY_ON_WRITE.contains(&number) {
        Kind::CopyOnWrite
    } else {
        Kind::Ordinary
    })
}

/// Whether a file is marked to be overwritten in place (chattr +C).
///
/// # Errors
/// Where the file can't be opened.
pub fn is_overwritten_in_place(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut flags: libc::c_int = 0;
    // SAFETY: FS_IOC_GETFLAGS writes an int to where `flags` is; the descriptor is open for the call.
    let known = unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) };
    Ok(known == 0 && flags & FS_NOCOW_FL != 0)
}

/// linux/fs.h
pub(crate) const FS_NOCOW_FL: libc::c_int = 0x0080_0000;
