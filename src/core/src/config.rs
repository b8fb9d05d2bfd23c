//! The configuration: TOML in which every key is optional and an unknown one is an error.

use std::path::{Path, PathBuf};

use crate::bounded::bounded;
use crate::document::{Document, Mistake, Section};
use crate::policy::{Policy, Unenrolled};
use crate::throttle::{Deny, Limits};
use crate::time::Span;

bounded! {
    /// Steps accepted on each side of a device's own time.
    Window(u8), 0 to 10, default 1
}

bounded! {
    /// Steps of drift that logins may teach, on each side.
    MaxDrift(u8), 0 to 100, default 10
}

bounded! {
    /// Prompts in one call of the module, for services that don't repeat the stack themselves.
    Tries(u8), 1 to 10, default 1
}

/// Where the records are by default. `PAM_TOTP_STATEDIR` sets another when this is built.
const STATE_DIR: &str = match option_env!("PAM_TOTP_STATEDIR") {
    Some(path) => path,
    None => "/var/lib/pam_totp",
};

/// All that an administrator can set.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Folder of the secret files.
    pub secret_dir: PathBuf,
    /// Folder of the states.
    pub state_dir: PathBuf,
    /// Folder of what may be lost at a reboot.
    pub run_dir: PathBuf,
    /// Name of this site in authenticator apps; the host's name where it is not set.
    pub issuer: Option<Issuer>,
    /// How codes are verified.
    pub verify: Verify,
    /// How many wrong answers are borne.
    pub limits: Limits,
    /// Who must have a second factor.
    pub policy: Policy,
}

/// How codes are verified.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Verify {
    /// Steps accepted on each side of a device's own time.
    pub window: Window,
    /// Steps of drift that logins may teach, on each side.
    pub max_drift: MaxDrift,
    /// Prompts in one call.
    pub tries: Tries,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            secret_dir: Path::new(STATE_DIR).join("secrets"),
            state_dir: Path::new(STATE_DIR).join("state"),
            run_dir: PathBuf::from("/run/pam_totp"),
            issuer: None,
            verify: Verify::default(),
            limits: Limits::default(),
            policy: Policy::default(),
        }
    }
}

impl Config {
    /// The file that is read where none is named. `PAM_TOTP_CONFIG` sets another when this is built.
    pub const DEFAULT_PATH: &str = match option_env!("PAM_TOTP_CONFIG") {
        Some(path) => path,
        None => "/etc/security/pam_totp.toml",
    };

    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// The first [`Mistake`]. A configuration is taken whole or not at all.
    pub fn parse(text: &str) -> Result<Self, Box<Mistake>> {
        let default = Self::default();
        let document = Document::parse(text)?;
        let mut root = document.root();
        let config = Self {
            secret_dir: folder(&mut root, "secret_dir")?.unwrap_or(default.secret_dir),
            state_dir: folder(&mut root, "state_dir")?.unwrap_or(default.state_dir),
            run_dir: folder(&mut root, "run_dir")?.unwrap_or(default.run_dir),
            issuer: root.string("issuer", Issuer::EXPECTED, Issuer::new)?,
            verify: verify(root.section("verify")?)?,
            limits: limits(root.section("limits")?)?,
            policy: policy(root.section("policy")?)?,
        };
        if config.secret_dir == config.state_dir {
            return Err(root.unlike("state_dir", "expected another folder than secret_dir"));
        }
        root.finish()?;
        Ok(config)
    }
}

fn folder(section: &mut Section<'_>, key: &'static str) -> Result<Option<PathBuf>, Box<Mistake>> {
    section.string(
        key,
        "expected an absolute path, one that starts with /",
        |path| Path::new(path).is_absolute().then(|| PathBuf::from(path)),
    )
}

fn verify(mut section: Section<'_>) -> Result<Verify, Box<Mistake>> {
    let verify = Verify {
        window: Window::read(&mut section, "window")?.unwrap_or_default(),
        max_drift: MaxDrift::read(&mut section, "max_drift")?.unwrap_or_default(),
        tries: Tries::read(&mut section, "tries")?.unwrap_or_default(),
    };
    section.finish()?;
    Ok(verify)
}

fn limits(mut section: Section<'_>) -> Result<Limits, Box<Mistake>> {
    let default = Limits::default();
    let limits = Limits {
        deny: Deny::read(&mut section, "deny")?.unwrap_or_default(),
        interval: span(&mut section, "interval")?.unwrap_or(default.interval),
        lock_time: span(&mut section, "lock_time")?.unwrap_or(default.lock_time),
    };
    section.finish()?;
    Ok(limits)
}

fn span(section: &mut Section<'_>, key: &'static str) -> Result<Option<Span>, Box<Mistake>> {
    section.string(key, Span::EXPECTED, Span::parse)
}

fn policy(mut section: Section<'_>) -> Result<Policy, Box<Mistake>> {
    let unenrolled = section.string("unenrolled", Unenrolled::EXPECTED, Unenrolled::named)?;
    section.finish()?;
    Ok(Policy {
        unenrolled: unenrolled.unwrap_or_default(),
    })
}

/// The name of a site in authenticator apps: 1 to 64 printable characters, no colon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issuer(String);

impl Issuer {
    /// What is expected where an issuer is read.
    pub const EXPECTED: &str = "expected 1 to 64 printable characters without a colon";

    /// The name, where it is one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        // The Key URI format splits its label at a colon.
        let printable = !name.chars().any(|c| c.is_control() || c == ':');
        let fits = (1..=64).contains(&name.chars().count()) && name.trim() == name;
        (printable && fits).then(|| Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Unenrolled;
    use crate::time::Span;

    #[test]
    fn no_key_is_needed() {
        let config = Config::parse("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.state_dir, Path::new("/var/lib/pam_totp/state"));
        assert_eq!(
            (config.verify.window.get(), config.verify.max_drift.get()),
            (1, 10)
        );
        assert_eq!(config.limits.deny.get(), 3);
        assert_eq!(config.limits.interval, Span::from_minutes(15));
        assert_eq!(config.limits.lock_time, Span::from_minutes(10));
        assert_eq!(config.policy.unenrolled, Unenrolled::Deny);
    }

    #[test]
    fn every_key_is_taken() {
        let config = Config::parse(
            "secret_dir = '/s'\nstate_dir = '/t'\nrun_dir = '/r'\nissuer = 'Bank of Examples'\n\
             [verify]\nwindow = 0\nmax_drift = 3\ntries = 3\n\
             [limits]\ndeny = 5\ninterval = '1h'\nlock_time = '90s'\n\
             [policy]\nunenrolled = 'skip'\n",
        )
        .unwrap();
        assert_eq!(config.secret_dir, Path::new("/s"));
        assert_eq!(
            config.issuer.as_ref().map(Issuer::as_str),
            Some("Bank of Examples")
        );
        assert_eq!(config.limits.lock_time, Span::from_seconds(90));
        assert_eq!(config.policy.unenrolled, Unenrolled::Skip);
    }

    #[test]
    fn every_mistake_is_refused_with_its_place() {
        for (text, line, words) in [
            ("secret_dir = 'relative'", 1, "absolute path"),
            (
                "\n\ncolour = 1",
                3,
                "unknown key \"colour\", expected one of secret_dir",
            ),
            (
                "[limits]\ndenny = 3",
                2,
                "unknown key \"denny\", expected one of deny, interval, lock_time",
            ),
            ("[limit]\ndeny = 3", 1, "unknown key \"limit\""),
            ("[limits]\ndeny = 33", 2, "a whole number from 0 to 32"),
            ("[limits]\ndeny = -1", 2, "a whole number from 0 to 32"),
            ("[limits]\ndeny = '3'", 2, "a whole number from 0 to 32"),
            ("[limits]\ndeny = 3\ndeny = 4", 3, "duplicate key"),
            (
                "[limits]\ninterval = 15",
                2,
                "a whole number and one of s, m, h, d",
            ),
            (
                "[limits]\ninterval = '15'",
                2,
                "a whole number and one of s, m, h, d",
            ),
            ("[verify]\nwindow = 11", 2, "from 0 to 10"),
            ("[verify]\nmax_drift = 101", 2, "from 0 to 100"),
            ("[verify]\ntries = 0", 2, "from 1 to 10"),
            (
                "[policy]\nunenrolled = 'allow'",
                2,
                "expected \"deny\" or \"skip\"",
            ),
            ("issuer = 'a:b'", 1, "without a colon"),
            ("issuer = ''", 1, "1 to 64 printable"),
            ("issuer = \"a\\u001bb\"", 1, "printable"),
            ("limits = 3", 1, "expected a table"),
            ("verify = []", 1, "expected a table"),
            ("limits = { deny = 1 }", 1, "written [name]"),
            ("[[limits]]\ndeny = 1", 1, "expected one table"),
            ("[limits.deny]\nx = 1", 1, "expected a value, found a table"),
            (
                "[limits]\ndeny.max = 1",
                2,
                "expected a value, found a table",
            ),
            ("[[verify]]\nwindow = 0", 1, "expected one table"),
            ("[secret_dir]", 1, "expected a value, found a table"),
            ("[secret_dir.a]", 1, "expected a value, found a table"),
            ("[limits.a.b]", 1, "unknown key"),
            ("x", 1, ""),
            ("secret_dir = '/a'\n=", 2, ""),
        ] {
            let error = Config::parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }
}
