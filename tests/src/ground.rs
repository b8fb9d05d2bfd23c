//! Where the records lie that a plan disturbs, and how they are put back for each run.

use std::fs;
use std::ops::Deref;

use crate::disturbed::{Call, Ended, Job, Plan};
use crate::kept::Kept;
use crate::mounts::Image;
use crate::product::Scratch;

/// The product in a scratch folder: in memory, or where the power is to be cut on a disk of its own.
pub struct Ground {
    scratch: Scratch,
    image: Option<Image>,
}

impl Deref for Ground {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.scratch
    }
}

impl Ground {
    /// Power is cut within [`mounts::with_images`](crate::mounts::with_images) only.
    pub fn new(plan: Plan, settings: &str) -> Self {
        let image = (plan == Plan::PowerCuts).then(|| Image::new().expect("a loop device"));
        let scratch = match &image {
            Some(image) => Scratch::on(image.path(), settings),
            None => Scratch::new(settings),
        };
        Self { scratch, image }
    }

    /// Carries out a plan as [`Plan::disturb`] does, on the records that are here now.
    pub fn disturb(
        &self,
        plan: Plan,
        job: impl Fn() -> Job,
        of_interest: impl Fn(Vec<Call>) -> Vec<Call>,
        check: impl Fn(&Ended),
    ) {
        match &self.image {
            None => {
                let kept = Kept::of(["secrets", "state", "run"].map(|name| self.path(name)));
                let job = || {
                    kept.restore();
                    job()
                };
                plan.disturb(job, of_interest, check);
            }
            Some(image) => {
                image.keep();
                let job = || {
                    image.restore();
                    job()
                };
                let check = |ended: &Ended| {
                    image.cut_power();
                    // It lies in memory.
                    let _ = fs::remove_dir_all(self.path("run"));
                    check(ended);
                };
                plan.disturb(job, of_interest, check);
            }
        }
    }
}
