//! The stack of whoever called us, on which secrets stay behind.

use std::mem::MaybeUninit;

use zeroize::Zeroize;

/// How far down the stack is overwritten, in bytes: twice what reading a secret file and judging were seen to take.
const DEPTH: usize = 8 * 1024;

/// Does what has secrets in its hands, and overwrites the stack that it did it on.
///
/// Types that wipe themselves do so where they are last. Where they were moved from, and where the compiler kept parts of
/// them, is known to nobody. What `work` returns is the caller's to wipe.
pub(crate) fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let result = below(work);
    overwrite();
    result
}

/// Not inlined: what `work` uses of the stack must begin where [`overwrite`] does.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn overwrite() {
    let mut stack = [const { MaybeUninit::<u64>::uninit() }; DEPTH / size_of::<u64>()];
    stack.zeroize();
}
