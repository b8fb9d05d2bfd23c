//! A text gateway: a script that keeps what it is handed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A script of root's that anybody may run, and what it was handed.
pub struct Gateway {
    folder: TempDir,
}

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Handed {
    /// The program's arguments, one a line.
    pub arguments: String,
    /// What it read.
    pub input: String,
    /// Its environment, its ids, its folder and its descriptors, as it printed them.
    pub surroundings: String,
}

impl Gateway {
    /// One that takes each message.
    pub fn new() -> Self {
        Self::that("exit 0")
    }

    /// One that does something after it has read the message.
    pub fn that(then: &str) -> Self {
        let folder = tempfile::tempdir_in("/tmp").expect("a temporary folder");
        let gateway = Self { folder };
        gateway.allow(gateway.folder.path(), 0o755);
        let box_ = gateway.path("box");
        fs::create_dir(&box_).expect("a new folder");
        gateway.allow(&box_, 0o777);
        gateway.does(then);
        gateway
    }

    /// Has it do something else from now on.
    pub fn does(&self, then: &str) {
        let script = format!(
            "#!/bin/sh\nset -e\nd=$(mktemp -d {0}/box/.XXXXXX)\nprintf '%s\\n' \"$@\" >$d/arguments\n\
             cat >$d/input\n{{ env; id; pwd; umask; ls -l /proc/self/fd; cat /proc/*/cmdline /proc/*/environ; }} \
             >$d/surroundings 2>/dev/null || true\nchmod -R a+rwX $d\nmv $d {0}/box/$(date +%s%N)-$$\n{then}\n",
            self.folder.path().display()
        );
        fs::write(self.program(), script).expect("writes the script");
        self.allow(&self.program(), 0o755);
    }

    /// The script.
    pub fn program(&self) -> PathBuf {
        self.path("send")
    }

    /// The settings that have text messages handed to it.
    pub fn settings(&self) -> String {
        format!(
            "[delivery.text]\ncommand = [{:?}, \"--to\", \"{{address}}\"]\n",
            self.program().display().to_string()
        )
    }

    /// What it was handed, in order.
    pub fn handed(&self) -> Vec<Handed> {
        let folders = fs::read_dir(self.path("box")).expect("a folder");
        let mut folders: Vec<PathBuf> = folders
            .map(|entry| entry.expect("an entry").path())
            .collect();
        folders.retain(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        });
        folders.sort();
        let read = |folder: &Path, name: &str| {
            let bytes = fs::read(folder.join(name)).expect("a file");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let handed = folders.iter().map(|folder| Handed {
            arguments: read(folder, "arguments"),
            input: read(folder, "input"),
            surroundings: read(folder, "surroundings"),
        });
        handed.collect()
    }

    /// The last code that it was handed.
    #[track_caller]
    pub fn code(&self) -> String {
        let handed = self.handed();
        code_in(&handed.last().expect("a message").input)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn allow(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("owns it");
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}

/// The one run of 6 to 8 digits in a text.
#[track_caller]
pub fn code_in(text: &str) -> String {
    let runs = text.split(|c: char| !c.is_ascii_digit());
    let codes: Vec<&str> = runs.filter(|run| (6..=8).contains(&run.len())).collect();
    match codes[..] {
        [code] => code.to_owned(),
        _ => panic!("one code in {text:?}"),
    }
}
