//! What a program did to the files of some folders, as strace saw it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::disk::Change;
use crate::disturbed::Job;

/// Calls that change files. Whatever else there is must not be used, or a recording would lack it.
const CALLS: &str = "trace=open,openat,openat2,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,\
     fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,sendfile,\
     copy_file_range";

/// What a call has changed. A kill comes before it or after it, a power cut at any moment of it.
pub type Call = Vec<Change>;

/// Runs a job, and tells how it ended and which of its calls changed files of `folders`.
pub fn run(job: &Job, folders: &[PathBuf]) -> (ExitStatus, Vec<Call>) {
    // All text in hexadecimal, and the name of each descriptor's file.
    let (status, _, trace) = job.traced(&["-y", "-xx", "-s", "16384", "-e", CALLS]);
    let of_these = |path: &Path| folders.iter().any(|folder| path.starts_with(folder));
    let mut synced = HashSet::new();
    let mut calls = Vec::new();
    for line in trace.lines().filter_map(Line::parse) {
        if line.name == "openat" {
            match line.arguments[2].contains("O_DSYNC") {
                true => synced.insert(line.result),
                false => synced.remove(line.result),
            };
        }
        let Some(change) = line.change(of_these) else {
            continue;
        };
        let mut call = vec![change];
        if let Change::Write(path, ..) = &call[0] {
            let path = path.clone();
            if synced.contains(line.arguments[0]) {
                call.push(Change::Sync(path));
            }
        }
        calls.push(call);
    }
    (status, calls)
}

/// A call that succeeded.
struct Line<'a> {
    name: &'a str,
    arguments: Vec<&'a str>,
    /// Of a call that opens a file its descriptor, as the arguments of others have it.
    result: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, rest) = line.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(") = ")?;
        let arguments = arguments.split(", ").collect();
        let line = Self {
            name,
            arguments,
            result,
        };
        (!result.starts_with('-')).then_some(line)
    }

    /// What it changed, where that is one of the files that are meant.
    fn change(&self, is_meant: impl Fn(&Path) -> bool) -> Option<Change> {
        let arguments = &self.arguments;
        let beneath = |at: usize| path(arguments[at]).join(path(arguments[at + 1]));
        let meant = |path: PathBuf| Some(path).filter(|path| is_meant(path));
        match self.name {
            "openat" if !arguments[2].contains("O_CREAT") => None,
            "openat" => {
                let file = meant(beneath(0))?;
                assert!(
                    arguments[2].contains("O_EXCL"),
                    "{file:?} may be an old one"
                );
                Some(Change::Create(file))
            }
            "write" => {
                let file = meant(path(arguments[0]))?;
                Some(Change::Write(file, None, bytes(arguments[1])))
            }
            "pwrite64" => {
                let file = meant(path(arguments[0]))?;
                let offset = arguments[3].parse().expect("an offset");
                Some(Change::Write(file, Some(offset), bytes(arguments[1])))
            }
            "fsync" | "fdatasync" => Some(Change::Sync(meant(path(arguments[0]))?)),
            "renameat" | "renameat2" => Some(Change::Rename(meant(beneath(0))?, beneath(2))),
            "unlinkat" => Some(Change::Remove(meant(beneath(0))?)),
            name => {
                let touches =
                    |argument: &&&str| argument.contains("\\x") && is_meant(&path(argument));
                let touched = arguments.iter().find(touches);
                assert!(touched.is_none(), "{name} is not known here: {arguments:?}");
                None
            }
        }
    }
}

/// A path, or that of a descriptor, as in `3<\x2f\x74>`.
fn path(argument: &str) -> PathBuf {
    String::from_utf8(bytes(argument))
        .expect("a plain path")
        .into()
}

fn bytes(argument: &str) -> Vec<u8> {
    assert!(!argument.ends_with("..."), "cut");
    let digits = argument.split("\\x").skip(1).map(|digits| &digits[..2]);
    let byte = |digits| u8::from_str_radix(digits, 16).expect("hexadecimal");
    digits.map(byte).collect()
}
