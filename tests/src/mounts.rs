//! File systems that only one test sees.

use std::path::Path;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

/// Runs `test` in a thread with a mount namespace of its own. Needs root: without it, says so and runs
/// nothing.
pub fn privately(test: impl FnOnce() + Send) {
    if !nix::unistd::geteuid().is_root() {
        println!("not run: mounting needs root");
        return;
    }
    thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("root may unshare");
            let all = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, all, None::<&str>).expect("a private root");
            test();
        };
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Hides `folder` behind an empty file system of `bytes`.
pub fn hide(folder: &Path, bytes: usize) {
    let options = format!("size={bytes},mode=0755");
    let options = Some(options.as_str());
    mount(
        Some("tmpfs"),
        folder,
        Some("tmpfs"),
        MsFlags::empty(),
        options,
    )
    .expect("a tmpfs");
}

/// Shows the file `with` in the place of the file `path`. To be done within [`privately`].
pub fn cover(path: &Path, with: &Path) {
    mount(
        Some(with),
        path,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .expect("a bind mount");
}

/// A file system of its own in a temporary folder.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// An empty one with room for `bytes`. To be made within [`privately`].
    pub fn new(bytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        hide(folder.path(), bytes);
        Self { folder }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// From now on nothing can be written.
    pub fn make_read_only(&self) {
        self.remount(MsFlags::MS_RDONLY);
    }

    /// Takes that back.
    pub fn make_writable(&self) {
        self.remount(MsFlags::empty());
    }

    fn remount(&self, flags: MsFlags) {
        let flags = MsFlags::MS_REMOUNT | flags;
        mount(None::<&str>, self.path(), None::<&str>, flags, None::<&str>).expect("a remount");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Without it the folder below can't be removed.
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}
