//! What the built module shows to the dynamic linker.

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::product::module;

fn output(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(file)
        .output()
        .expect(program);
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("binutils write ASCII")
}

#[test]
fn only_the_six_service_functions_are_exported() {
    let listing = output(
        "nm",
        &["--dynamic", "--defined-only", "--format=just-symbols"],
        &module(),
    );
    let mut names: Vec<_> = listing.lines().collect();
    names.sort_unstable();
    let expected = [
        "acct_mgmt",
        "authenticate",
        "chauthtok",
        "close_session",
        "open_session",
        "setcred",
    ];
    assert_eq!(names, expected.map(|name| format!("pam_sm_{name}")));
}

#[test]
fn it_stays_loaded_and_its_tables_are_read_only() {
    let dynamic = output("readelf", &["--dynamic", "--wide"], &module());
    for flag in ["NODELETE", "NOW"] {
        assert!(dynamic.contains(flag), "{flag}:\n{dynamic}");
    }
    let segments = output("readelf", &["--program-headers", "--wide"], &module());
    assert!(segments.contains("GNU_RELRO"), "{segments}");
    let stack = segments
        .lines()
        .find(|line| line.contains("GNU_STACK"))
        .expect("a stack segment");
    assert!(!stack.contains("RWE"), "{stack}");
}

#[test]
fn it_needs_libpam_and_the_c_library_and_nothing_else() {
    let dynamic = output("readelf", &["--dynamic", "--wide"], &module());
    for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
        let known = ["libpam.so", "libc.so", "ld-linux"];
        assert!(known.iter().any(|name| line.contains(name)), "{line}");
    }
}

#[test]
fn it_stays_small_once_stripped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("pam_totp.so");
    fs::copy(module(), &copy).expect("a copy");
    output("strip", &[], &copy);
    let size = fs::metadata(&copy).expect("the copy").len();
    // 230 KB of it are std's reader of debug symbols, which can't be left out.
    assert!(size < 850_000, "{size} bytes");
}
