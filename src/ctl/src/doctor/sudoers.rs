//! What sudoers says about being asked.

use std::fs;
use std::path::PathBuf;

use super::Tree;
use super::finding::{Finding, Findings};
use super::services::Services;

/// What sudo lets people do without its stack; whether it lets somebody do something.
pub(super) fn look(tree: &Tree<'_>, services: &Services, findings: &mut Findings) -> bool {
    if services
        .named("sudo")
        .or(services.named("sudo-i"))
        .is_none()
    {
        return false;
    }
    let mut files = vec![tree.path("/etc/sudoers")];
    let inner = fs::read_dir(tree.path("/etc/sudoers.d"));
    let mut drop_ins: Vec<PathBuf> = inner
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| !path.to_string_lossy().ends_with('~'))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| !name.to_string_lossy().contains('.'))
        })
        .collect();
    drop_ins.sort();
    files.extend(drop_ins);
    let (mut is_off, mut is_free) = (false, false);
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            let number = Some(index.saturating_add(1));
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            if line.contains("NOPASSWD") || line.contains("!authenticate") {
                is_free = true;
                findings.add(
                    Finding::new(
                        "sudo-no-password",
                        format!("sudoers says `{line}`."),
                        "sudo asks for neither password nor code there.",
                        "Take NOPASSWD or !authenticate away where a code is wanted.",
                    )
                    .at(&file, number)
                    .of("sudo"),
                );
            }
            let timeout = line
                .strip_prefix("Defaults")
                .and_then(|rest| rest.split_once("timestamp_timeout"))
                .map(|(_, value)| value.trim_start_matches([' ', '\t', '=']));
            let Some(timeout) = timeout else {
                continue;
            };
            let minutes = timeout.split([',', ' ', '\t']).next().unwrap_or_default();
            is_off |= minutes.parse::<f64>().is_ok_and(|minutes| minutes == 0.0);
            if minutes.starts_with('-') {
                findings.add(
                    Finding::new(
                        "sudo-timestamp-never-ends",
                        format!("sudoers says timestamp_timeout={minutes}."),
                        "Whoever used sudo once is never asked again until the next boot.",
                        "Defaults timestamp_timeout=15",
                    )
                    .at(&file, number)
                    .of("sudo"),
                );
            }
        }
    }
    if !is_off {
        findings.add(
            Finding::new(
                "sudo-timestamp",
                "sudo asks neither for the password nor for a code again for some minutes (15 unless sudoers says other).",
                "Whoever takes over that terminal meanwhile is root without a code.",
                "Defaults timestamp_timeout=0        # by visudo, where each command is to be asked for",
            )
            .of("sudo"),
        );
    }
    is_free
}
