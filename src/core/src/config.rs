//! The configuration: TOML in which every key is optional and an unknown one is an error.

use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::backup_code::Count;
use crate::bounded::bounded;
use crate::contact::{Channel, Recipient};
use crate::delivery::{Delivery, Gateway, Notify, PerHour};
use crate::document::{Document, Mistake, Section};
use crate::network::Network;
use crate::otp::Digits;
use crate::policy::{self, DisableConfirm, EnrollWith, Policy, Rule, SecondFactor, Unenrolled};
use crate::throttle::{AddressDeny, Daily, Deny, Limits, Source, UserLimit};
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
    /// Steps from the system's time within which two codes in a row set a device's drift, on each side.
    ResyncRange(u8), 0 to 100, default 20
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
    /// Networks that none of the limits holds for.
    pub exempt: Vec<Network>,
    /// Who must have a second factor.
    pub policy: Policy,
    /// How many backup codes a set has.
    pub backup_codes: Count,
    /// Whether new backup codes are sent by mail as well.
    pub mail_backup_codes: bool,
    /// How codes are sent by mail.
    pub mail: Delivery,
    /// How codes are sent by text message, where they are.
    pub text: Option<Delivery>,
    /// Who is told of changes, where anybody is.
    pub notify: Option<Notify>,
}

/// How codes are verified.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Verify {
    /// Steps accepted on each side of a device's own time.
    pub window: Window,
    /// Steps of drift that logins may teach, on each side.
    pub max_drift: MaxDrift,
    /// Steps from the system's time within which two codes in a row set a device's drift, on each side.
    pub resync_range: ResyncRange,
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
            exempt: Vec::new(),
            policy: Policy::default(),
            backup_codes: Count::default(),
            mail_backup_codes: false,
            mail: Delivery::by(Gateway::sendmail()),
            text: None,
            notify: None,
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
        let document = Document::parse(text)?;
        let mut root = document.root();
        let mut config = Self::default();
        for (key, folder) in [
            ("secret_dir", &mut config.secret_dir),
            ("state_dir", &mut config.state_dir),
            ("run_dir", &mut config.run_dir),
        ] {
            if let Some(path) = path(&mut root, key)? {
                *folder = path;
            }
        }
        config.issuer = root.string("issuer", Issuer::EXPECTED, Issuer::new)?;
        config.verify = verify(root.section("verify")?)?;
        (config.limits, config.exempt) = limits(root.section("limits")?)?;
        config.policy = policy(root.section("policy")?)?;
        (config.backup_codes, config.mail_backup_codes) =
            backup_codes(root.section("backup_codes")?)?;
        (config.mail, config.text) = delivery(root.section("delivery")?, config.mail)?;
        config.notify = notify(root.section("notify")?)?;
        if config.secret_dir == config.state_dir {
            return Err(root.unlike("state_dir", "expected another folder than secret_dir"));
        }
        if [&config.secret_dir, &config.state_dir].contains(&&config.run_dir) {
            // It may be the default that is the same.
            let expected = "expected run_dir to be another folder than secret_dir and state_dir";
            return Err(root.unlike("run_dir", expected));
        }
        root.finish()?;
        Ok(config)
    }

    /// How codes are sent by one way, where they are.
    #[must_use]
    pub fn delivery(&self, channel: Channel) -> Option<&Delivery> {
        match channel {
            Channel::Mail => Some(&self.mail),
            Channel::Text => self.text.as_ref(),
        }
    }

    /// Whether no limit holds for an address.
    #[must_use]
    pub fn exempts(&self, address: &Address) -> bool {
        self.exempt.iter().any(|network| network.contains(address))
    }

    /// An address as wrong answers are counted by it.
    #[must_use]
    pub fn source(&self, address: &Address) -> Source {
        Source {
            is_exempt: self.exempts(address),
            ..address.clone().into()
        }
    }
}

fn path(section: &mut Section<'_>, key: &'static str) -> Result<Option<PathBuf>, Box<Mistake>> {
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
        resync_range: ResyncRange::read(&mut section, "resync_range")?.unwrap_or_default(),
        tries: Tries::read(&mut section, "tries")?.unwrap_or_default(),
    };
    section.finish()?;
    Ok(verify)
}

fn limits(mut section: Section<'_>) -> Result<(Limits, Vec<Network>), Box<Mistake>> {
    let default = Limits::default();
    let limits = Limits {
        deny: Deny::read(&mut section, "deny")?.unwrap_or_default(),
        interval: some_span(&mut section, "interval")?.unwrap_or(default.interval),
        lock_time: some_span(&mut section, "lock_time")?.unwrap_or(default.lock_time),
        address_deny: AddressDeny::read(&mut section, "address_deny")?.unwrap_or_default(),
        daily: Daily::read(&mut section, "daily")?.unwrap_or_default(),
        user_limit: UserLimit::read(&mut section, "user_limit")?.unwrap_or_default(),
        familiar_for: span(&mut section, "familiar_for")?.unwrap_or(default.familiar_for),
    };
    let exempt = section.networks("exempt")?;
    section.finish()?;
    Ok((limits, exempt))
}

/// A span of which no time at all would turn a limit off that is on.
fn some_span(section: &mut Section<'_>, key: &'static str) -> Result<Option<Span>, Box<Mistake>> {
    let expected = "expected at least \"1s\": a limit is turned off by its own number";
    match span(section, key)? {
        Some(Span::ZERO) => Err(section.unlike(key, expected)),
        span => Ok(span),
    }
}

fn backup_codes(mut section: Section<'_>) -> Result<(Count, bool), Box<Mistake>> {
    let count = Count::read(&mut section, "count")?;
    let sent = section.string("send", "expected \"mail\"", |way| {
        (way == Channel::Mail.key()).then_some(())
    })?;
    section.finish()?;
    Ok((count.unwrap_or_default(), sent.is_some()))
}

fn delivery(
    mut section: Section<'_>,
    default: Delivery,
) -> Result<(Delivery, Option<Delivery>), Box<Mistake>> {
    let mail = section.section(Channel::Mail.key())?;
    let mail = delivery_by(mail, Some(default.gateway), Channel::Mail)?;
    let text = section.section(Channel::Text.key())?;
    let text = match text.is_there() {
        false => None,
        true => Some(delivery_by(text, None, Channel::Text)?),
    };
    section.finish()?;
    Ok((mail, text))
}

fn delivery_by(
    mut section: Section<'_>,
    default: Option<Gateway>,
    channel: Channel,
) -> Result<Delivery, Box<Mistake>> {
    let gateway = gateway(&mut section, default)?;
    if channel == Channel::Text && !gateway.command.iter().any(|word| word == Gateway::ADDRESS) {
        return Err(section.unlike("command", "expected {address} as one of the arguments"));
    }
    let usual = Delivery::by(gateway);
    let delivery = Delivery {
        from: match channel {
            Channel::Mail => mail_address(&mut section, "from")?,
            Channel::Text => None,
        },
        template: path(&mut section, "template")?,
        digits: Digits::read(&mut section, "digits")?.unwrap_or(usual.digits),
        lifetime: short_span(&mut section, "lifetime")?.unwrap_or(usual.lifetime),
        resend_after: short_span(&mut section, "resend_after")?.unwrap_or(usual.resend_after),
        per_hour: PerHour::read(&mut section, "per_hour")?.unwrap_or_default(),
        ..usual
    };
    section.finish()?;
    Ok(delivery)
}

fn notify(mut section: Section<'_>) -> Result<Option<Notify>, Box<Mistake>> {
    if !section.is_there() {
        return Ok(None);
    }
    let notify = Notify {
        gateway: gateway(&mut section, None)?,
        from: mail_address(&mut section, "from")?,
        copy_to: mail_address(&mut section, "copy_to")?,
    };
    section.finish()?;
    Ok(Some(notify))
}

fn gateway(section: &mut Section<'_>, default: Option<Gateway>) -> Result<Gateway, Box<Mistake>> {
    const COMMAND: &str =
        "expected a program's absolute path and its arguments, {address} only as a whole one";
    const USER: &str = "expected the name of an account other than root";
    let command = section.some_strings("command", COMMAND, |word| {
        let is_whole = word == Gateway::ADDRESS || !word.contains(Gateway::ADDRESS);
        (is_whole && !word.contains('\0')).then(|| word.to_owned())
    })?;
    let user = section.string("user", USER, |name| {
        (!name.is_empty() && name != "root").then(|| name.to_owned())
    })?;
    let command = match (command, default) {
        (Some(command), _) => command,
        (None, Some(default)) => default.command,
        (None, None) => return Err(section.missing("command")),
    };
    if !command
        .first()
        .is_some_and(|path| Path::new(path).is_absolute())
    {
        return Err(section.unlike("command", COMMAND));
    }
    Ok(Gateway {
        command,
        user: user.unwrap_or_else(|| Gateway::USER.to_owned()),
    })
}

fn mail_address(
    section: &mut Section<'_>,
    key: &'static str,
) -> Result<Option<Recipient>, Box<Mistake>> {
    section.string(key, Recipient::MAIL, |address| {
        Recipient::new(Channel::Mail, address)
    })
}

/// A span that people wait for at a prompt.
fn short_span(section: &mut Section<'_>, key: &'static str) -> Result<Option<Span>, Box<Mistake>> {
    const EXPECTED: &str = "expected a whole number and one of s, m, h, d, from \"10s\" to \"15m\"";
    section.string(key, EXPECTED, |text| {
        let span = Span::parse(text)?;
        (Span::from_seconds(10)..=Span::from_minutes(15))
            .contains(&span)
            .then_some(span)
    })
}

fn span(section: &mut Section<'_>, key: &'static str) -> Result<Option<Span>, Box<Mistake>> {
    section.string(key, Span::EXPECTED, Span::parse)
}

fn policy(mut section: Section<'_>) -> Result<Policy, Box<Mistake>> {
    let unenrolled = section.string("unenrolled", Unenrolled::EXPECTED, Unenrolled::named)?;
    let enroll_with = section.string("enroll_with", EnrollWith::EXPECTED, EnrollWith::named)?;
    let mut policy = Policy {
        unenrolled: unenrolled.unwrap_or_default(),
        local_users_only: section.boolean("local_users_only")?.unwrap_or_default(),
        enroll_with: enroll_with.unwrap_or_default(),
        enroll_until: section.date("enroll_until")?,
        enroll_from: section.networks("enroll_from")?,
        trust: span(&mut section, "trust")?.unwrap_or(Span::ZERO),
        disable_confirm: section
            .string(
                "disable_confirm",
                DisableConfirm::EXPECTED,
                DisableConfirm::named,
            )?
            .unwrap_or_default(),
        rules: Vec::new(),
    };
    for rule in section.sections("rule")? {
        policy.rules.push(policy_rule(rule)?);
    }
    section.finish()?;
    Ok(policy)
}

fn policy_rule(mut section: Section<'_>) -> Result<Rule, Box<Mistake>> {
    const NAMES: &str =
        "expected names between quotes, at least one, such as [\"sshd\", \"login\"]";
    const FACTOR: &str = "second_factor";
    let factor = section.string(FACTOR, SecondFactor::EXPECTED, SecondFactor::named)?;
    let rule = Rule {
        line: section.line(),
        service: section.some_strings("service", NAMES, |name| {
            policy::name(&name.to_ascii_lowercase())
        })?,
        user: section.some_strings("user", NAMES, policy::name)?,
        group: section.some_strings("group", NAMES, policy::name)?,
        network: section.some_networks("network")?,
        second_factor: factor.ok_or_else(|| section.missing(FACTOR))?,
        from: section.date("from")?,
    };
    if rule.from.is_some() && rule.second_factor != SecondFactor::Required {
        return Err(section.unlike(
            "from",
            "expected it beside second_factor = \"required\" only",
        ));
    }
    section.finish()?;
    Ok(rule)
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
mod tests;
