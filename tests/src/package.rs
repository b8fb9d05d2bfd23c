//! The Debian packages, as `make deb` leaves them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::machine::Machine;
use crate::product;

/// The two, in the order in which they are installed.
pub const NAMES: [&str; 2] = ["totpctl", "libpam-totp"];

/// A version that no release has reached.
pub const NEXT: &str = "99.0";

/// Where they are. They are built where they are missing or older than their sources.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let mut make = Command::new("make");
        make.args(["--silent", "deb"])
            .current_dir(product::workspace());
        run(make.env_remove("MAKEFLAGS"));
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
        product::workspace().join(target).join("debian")
    })
}

/// The file of a package.
pub fn file(name: &str) -> PathBuf {
    let wanted = format!("{name}_");
    let files = fs::read_dir(folder()).expect("make deb leaves a folder");
    let mut files = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let file = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            file.starts_with(&wanted) && file.ends_with(".deb")
        });
    files.next().expect("make deb builds it")
}

/// What is in a package, below `folder`, with its control files in DEBIAN.
pub fn unpack(name: &str, folder: &Path) {
    run(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .arg(file(name))
        .arg(folder));
}

/// The same package of the version [`NEXT`].
pub fn next(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (tree, package) = (folder.path().join("tree"), folder.path().join("deb"));
    unpack(name, &tree);
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("a control file");
    let old = text
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))
        .expect("a version");
    let new = text
        .replace(&format!("Version: {old}"), &format!("Version: {NEXT}"))
        .replace(&format!("(= {old})"), &format!("(= {NEXT})"));
    fs::write(control, new).expect("writes");
    run(Command::new("dpkg-deb")
        .args(["--build", "-Znone"])
        .args([&tree, &package]));
    fs::read(package).expect("the new package")
}

impl Machine {
    /// Installs the packages.
    pub fn install_packages(&self) {
        let files = NAMES.map(|name| fs::read(file(name)).expect("a package"));
        self.dpkg_install(files);
    }

    /// Installs the same packages of a higher version.
    pub fn upgrade_packages(&self) {
        self.dpkg_install(NAMES.map(next));
    }

    /// Runs dpkg as who asks nobody anything.
    #[track_caller]
    pub fn dpkg(&self, words: &str) -> String {
        self.run(&format!(
            "DEBIAN_FRONTEND=noninteractive dpkg {words} 2>&1 || {{ echo failed >&2; exit 1; }}"
        ))
    }

    fn dpkg_install(&self, files: [Vec<u8>; 2]) {
        for (name, package) in NAMES.iter().zip(files) {
            self.feed(&format!("cat >/tmp/{name}.deb"), package);
        }
        self.dpkg("--install /tmp/totpctl.deb /tmp/libpam-totp.deb");
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
