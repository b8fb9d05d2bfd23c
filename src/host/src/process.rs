//! This process, which belongs to somebody else: su and sudo run with their caller's limits and signals.

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Lets no memory of this process, which may hold secrets, reach a core file.
pub fn forbid_core_dumps() {
    // Neither call can fail for a process of ours that does not run under another's rules.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// A stretch in which no signal that can be blocked interrupts, and no limit of the caller's gets in the
/// way of a save, as far as this process may raise it. Dropping it puts all back as it was.
#[derive(Debug)]
pub struct CriticalSection {
    mask: SigSet,
    limits: Vec<(Resource, rlim_t, rlim_t)>,
}

/// What a save may need more of than the caller left.
const LIMITS: [Resource; 3] = [
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_CPU,
    Resource::RLIMIT_AS,
];

impl CriticalSection {
    /// Begins the stretch. `file_bytes` is the size of the largest file that will be written.
    ///
    /// # Errors
    /// [`Errno::EFBIG`] where the caller's limit on files can't be raised enough: a write would fail, and
    /// its signal end the process. Nothing must be judged then.
    pub fn begin(file_bytes: u64) -> Result<Self, Errno> {
        let mut mask = SigSet::empty();
        pthread_sigmask(
            SigmaskHow::SIG_SETMASK,
            Some(&SigSet::all()),
            Some(&mut mask),
        )?;
        let mut section = Self {
            mask,
            limits: Vec::new(),
        };
        for resource in LIMITS {
            section.raise(resource)?;
        }
        let (most, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
        if most < file_bytes {
            Err(Errno::EFBIG)
        } else {
            Ok(section)
        }
    }

    fn raise(&mut self, resource: Resource) -> Result<(), Errno> {
        let (soft, hard) = getrlimit(resource)?;
        if soft == RLIM_INFINITY {
            return Ok(());
        }
        let raised = setrlimit(resource, RLIM_INFINITY, RLIM_INFINITY)
            .or_else(|_| setrlimit(resource, hard, hard));
        if raised.is_ok() {
            self.limits.push((resource, soft, hard));
        }
        Ok(())
    }
}

impl Drop for CriticalSection {
    fn drop(&mut self) {
        for (resource, soft, hard) in self.limits.drain(..) {
            let _ = setrlimit(resource, soft, hard);
        }
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
    }
}
