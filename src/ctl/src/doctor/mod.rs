//! `totpctl doctor`: what is wrong, or will be, found by reading alone.
//!
//! MUST: nothing is written, locked, logged or asked of a person here. Whoever is afraid of the next step runs this first.

mod clock;
mod files;
mod finding;
mod people;
mod reach;
mod services;
mod settings;
mod sshd;
mod stack;

use std::path::{Path, PathBuf};

use serde_json::json;
use totp_core::config::Config;

use self::finding::{Finding, Findings};
use self::people::Accounts;
pub(crate) use self::sshd::permits_empty_passwords;
use crate::cli::Doctor;
use crate::context::Context;
use crate::failure::Failure;

/// Where the system's files are: of this machine, or of one whose disk is mounted somewhere.
struct Tree<'a> {
    root: &'a Path,
}

impl Tree<'_> {
    /// Where a file is that has this path in the tree.
    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether it is the tree that this process runs in.
    fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A configuration that was found in the tree, with its folders where they are now.
    fn moved(&self, config: Config) -> Config {
        Config {
            secret_dir: self.path(&config.secret_dir),
            state_dir: self.path(&config.state_dir),
            run_dir: self.path(&config.run_dir),
            ..config
        }
    }
}

/// Exit status: 0 where nothing has to be mended, 1 where something has, 3 where it can't be told.
pub(crate) fn run(named: Option<&Path>, json: bool, arguments: &Doctor) -> Result<(), Failure> {
    if !arguments.root.is_absolute() || !arguments.root.is_dir() {
        return Err(Failure::unreachable(format_args!(
            "{} is no folder: --root takes an absolute path, such as /mnt",
            arguments.root.display()
        )));
    }
    let tree = Tree {
        root: &arguments.root,
    };
    let mut findings = Findings::default();
    let config = config(&tree, named, &mut findings)?;
    let context = Context::of(config.clone().unwrap_or_default(), json);
    let accounts = Accounts::of(&tree, context.system());

    let services = services::look(&tree, config.as_ref(), &mut findings)?;
    let is_used = !services.asking.is_empty();
    let mut configs: Vec<&Config> = config.iter().collect();
    for other in services
        .asking
        .iter()
        .filter_map(|service| service.config.as_ref())
    {
        if !configs.contains(&other) {
            configs.push(other);
        }
    }
    for config in &configs {
        files::look(config, &accounts, is_used, &mut findings)?;
    }
    if let Some(config) = &config {
        settings::look(config, &config_path(&tree, named), &mut findings);
    }
    let people = people::people(&accounts)?;
    let root_by_ssh = sshd::look(&tree, &services, &people, &mut findings);
    people::look(
        &tree,
        &accounts,
        &people,
        &services,
        root_by_ssh,
        &mut findings,
    );
    if tree.is_this_machine() {
        clock::look(&mut findings);
    }

    findings.sort();
    let asking: Vec<&String> = services
        .asking
        .iter()
        .map(|service| &service.name)
        .collect();
    let document = json!({ "findings": findings.document(), "services": asking });
    context.print(&findings.to_string(), &document);
    match findings.need_mending() {
        true => Err(Failure::answered_no()),
        false => Ok(()),
    }
}

fn config_path(tree: &Tree<'_>, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| tree.path(Config::DEFAULT_PATH), Path::to_owned)
}

/// The configuration; `None`, and a finding, where it can't be used.
fn config(
    tree: &Tree<'_>,
    named: Option<&Path>,
    findings: &mut Findings,
) -> Result<Option<Config>, Failure> {
    let path = config_path(tree, named);
    // The default one may be missing.
    if named.is_none() && std::fs::symlink_metadata(&path).is_err() {
        return Ok(Some(tree.moved(Config::default())));
    }
    match totp_host::config::load(Some(&path)) {
        Ok(config) if named.is_some() => Ok(Some(config)),
        Ok(config) => Ok(Some(tree.moved(config))),
        Err(error) if error.is_denied() => Err(Failure::unreachable(format_args!(
            "{error}: run totpctl as root"
        ))),
        Err(error) => {
            let line = error.line();
            findings.add(
                Finding::new(
                    "config",
                    format!("The configuration can't be used: {error}."),
                    "A configuration is taken whole or not at all: every login that has no config= of its own is denied.",
                    "Correct that line; `totpctl doctor` tells when it is right.",
                )
                .at(path, line),
            );
            Ok(None)
        }
    }
}
