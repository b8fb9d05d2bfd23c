//! Who gets what, compared with what they have.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use totp_core::backup_code::{BackupSet, Count};
use totp_core::config::Window;
use totp_core::device::{Device, DeviceName};
use totp_core::doors::Account;
use totp_core::otp::MovingFactor;
use totp_core::record::Enrollment;
use totp_core::time::Time;
use totp_host::store::{Import, NewDevice};
use totp_import::{Person, Place, Token};

use super::Obstacle;
use super::source::Source;
use crate::cli::Import as Arguments;
use crate::context::Context;
use crate::failure::Failure;

/// An account with what it gets.
pub(super) struct Newcomer {
    pub(super) account: Account,
    pub(super) import: Import,
    /// Where each device comes from.
    origins: Vec<String>,
}

/// Everybody of all files; what keeps anybody from it is an obstacle.
pub(super) fn make(
    context: &Context,
    arguments: &Arguments,
    sources: &[Source],
    obstacles: &mut Vec<Obstacle>,
) -> Result<Vec<Newcomer>, Failure> {
    let mut newcomers = Vec::new();
    for (account, parts) in by_account(context, sources, obstacles)? {
        let enrolled = context.store().records(&account)?;
        let enrolled = enrolled.map(|(enrollment, _)| enrollment);
        if let Err(what) = check(&account, arguments, enrolled.as_ref(), &parts) {
            let at = parts.first().map_or_else(String::new, Part::place);
            obstacles.push(Obstacle { at, what });
            continue;
        }
        newcomers.push(newcomer(context, arguments, account, enrolled, &parts)?);
    }
    Ok(newcomers)
}

/// What one file says of somebody.
struct Part<'s> {
    source: &'s Source,
    person: &'s Person,
}

impl Part<'_> {
    fn place(&self) -> String {
        let first = self.person.tokens.first();
        let place = first.map_or(Place::File, |token| token.at.clone());
        format!("{}: {place}", self.source.name)
    }
}

type Parts<'s> = Vec<Part<'s>>;

/// In the order of the names.
fn by_account<'s>(
    context: &Context,
    sources: &'s [Source],
    obstacles: &mut Vec<Obstacle>,
) -> Result<Vec<(Account, Parts<'s>)>, Failure> {
    let mut accounts: BTreeMap<String, (Account, Parts<'s>)> = BTreeMap::new();
    for source in sources {
        for person in &source.import.people {
            let part = Part { source, person };
            let account = match (&source.owner, &person.user) {
                (Some(owner), _) => Some(owner.clone()),
                (None, Some(user)) => {
                    let found = context.system().account(user);
                    found.map_err(Failure::unreachable)?
                }
                (None, None) => {
                    let what = "nothing says whose it is: name the account by --user".to_owned();
                    let at = part.place();
                    obstacles.push(Obstacle { at, what });
                    continue;
                }
            };
            match account {
                Some(account) => {
                    let entry = accounts.entry(account.name.clone());
                    entry.or_insert((account, Vec::new())).1.push(part);
                }
                None => obstacles.push(Obstacle {
                    at: part.place(),
                    what: format!(
                        "there is no account named {:?}",
                        person.user.as_deref().unwrap_or("")
                    ),
                }),
            }
        }
    }
    Ok(accounts.into_values().collect())
}

/// Whether an account can get all of it.
fn check(
    account: &Account,
    arguments: &Arguments,
    enrolled: Option<&Enrollment>,
    parts: &[Part<'_>],
) -> Result<(), String> {
    let name = &account.name;
    let (devices, codes) = parts
        .iter()
        .fold((0_usize, 0_usize), |(devices, codes), part| {
            let Person {
                tokens,
                scratch_codes,
                ..
            } = part.person;
            (
                devices.saturating_add(tokens.len()),
                codes.saturating_add(scratch_codes.len()),
            )
        });
    let before = enrolled.filter(|enrollment| !enrollment.is_empty());
    match before.filter(|_| !arguments.add) {
        None => {}
        // What an import leaves that was cut short.
        Some(enrollment) if has_all(enrollment, parts) => {
            return Err(format!(
                "{name} has these devices already: leave {name} out of the import"
            ));
        }
        Some(_) => {
            return Err(format!(
                "{name} is enrolled already: --add gives the account these devices too"
            ));
        }
    }
    let has = enrolled.map_or(0, |enrollment| enrollment.devices.len());
    if devices.saturating_add(has) > Enrollment::MAX_DEVICES {
        let max = Enrollment::MAX_DEVICES;
        return Err(format!("{name} would have more than {max} devices"));
    }
    let has_codes = enrolled.is_some_and(|enrollment| enrollment.backup_codes.is_some());
    if codes > 0 && has_codes {
        return Err(format!(
            "{name} has backup codes: leave the scratch codes out of the file"
        ));
    }
    if codes > usize::from(Count::MAX) {
        return Err(format!(
            "{name} would have more than {} backup codes",
            Count::MAX
        ));
    }
    Ok(())
}

/// Whether all keys that somebody would get are theirs.
fn has_all(enrollment: &Enrollment, parts: &[Part<'_>]) -> bool {
    let mut tokens = parts.iter().flat_map(|part| &part.person.tokens);
    tokens.all(|token| {
        let mut devices = enrollment.devices.iter();
        devices.any(|device| device.secret.is(&token.secret))
    })
}

fn newcomer(
    context: &Context,
    arguments: &Arguments,
    account: Account,
    enrolled: Option<Enrollment>,
    parts: &[Part<'_>],
) -> Result<Newcomer, Failure> {
    let now = context.system().now();
    let mut taken: Vec<DeviceName> = enrolled
        .iter()
        .flat_map(|enrollment| enrollment.names().cloned())
        .collect();
    let (mut devices, mut origins) = (Vec::new(), Vec::new());
    for Part { source, person } in parts {
        for token in &person.tokens {
            let wanted = arguments.device.clone().unwrap_or_else(|| name_of(token));
            let name = free(&wanted, &taken);
            taken.push(name.clone());
            devices.push(NewDevice {
                device: Device {
                    id: context.new_id()?,
                    name,
                    otp: token.otp,
                    secret: token.secret.clone(),
                    enrolled: now,
                    ssh_key: None,
                    window: token.window,
                },
                used: token.used,
                drift: token.drift,
            });
            origins.push(format!("{}: {}", source.name, token.at));
        }
    }
    let codes: Vec<_> = parts
        .iter()
        .flat_map(|part| part.person.scratch_codes.iter().cloned())
        .collect();
    let backup_codes = (!codes.is_empty()).then(|| BackupSet::keep(&codes, context.system()));
    let import = Import {
        devices,
        backup_codes: backup_codes.transpose().map_err(Failure::unreachable)?,
        joins: arguments.add,
    };
    Ok(Newcomer {
        account,
        import,
        origins,
    })
}

/// A name out of what the file calls a token.
fn name_of(token: &Token) -> DeviceName {
    let label = token.label.as_deref().unwrap_or(DeviceName::DEFAULT);
    // `Issuer:account`: the account says nothing, all of them are one's.
    let label = label.split_once(':').map_or(label, |(issuer, _)| issuer);
    let plain = label.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c,
        '.' | '_' => c,
        _ => '-',
    });
    let plain: String = plain.collect();
    let plain = plain.trim_matches(['-', '.', '_']);
    let plain = plain.get(..plain.len().min(DeviceName::MAX_BYTES));
    plain.and_then(DeviceName::parse).unwrap_or_default()
}

/// The name, or the first of `name-2`, `name-3`, … that nothing has.
fn free(wanted: &DeviceName, taken: &[DeviceName]) -> DeviceName {
    let numbered = (2_u32..).map_while(|number| {
        let suffix = format!("-{number}");
        let kept = DeviceName::MAX_BYTES.checked_sub(suffix.len())?;
        let start = wanted.as_str().get(..wanted.as_str().len().min(kept))?;
        DeviceName::parse(&format!("{start}{suffix}"))
    });
    let mut names = std::iter::once(wanted.clone()).chain(numbered);
    let free = names.find(|name| !taken.contains(name));
    free.unwrap_or_else(|| wanted.clone())
}

impl Newcomer {
    /// What a person reads of it.
    pub(super) fn lines(&self) -> Vec<String> {
        let added = self.import.devices.iter().zip(&self.origins);
        let mut lines: Vec<_> = added
            .map(|(added, origin)| {
                let Device {
                    name, otp, window, ..
                } = &added.device;
                let window = window.map_or_else(String::new, |own| format!(", window {own}"));
                format!("{name} ({origin}): {otp}; {}{window}", past(added))
            })
            .collect();
        if let Some(set) = &self.import.backup_codes {
            lines.push(format!("{} backup codes", set.hashes.len()));
        }
        lines
    }

    pub(super) fn document(&self) -> Value {
        let added = self.import.devices.iter().zip(&self.origins);
        let devices = added.map(|(added, origin)| {
            let Device {
                name, otp, window, ..
            } = &added.device;
            json!({
                "name": name.as_str(),
                "origin": origin,
                "type": otp.factor.name(),
                "algorithm": otp.algorithm.to_string(),
                "digits": otp.digits.get(),
                "period": otp.period().map(|period| period.get()),
                "used": added.used.map(|step| step.0),
                "drift": added.drift,
                "window": window.map(Window::get),
            })
        });
        let codes = self.import.backup_codes.as_ref();
        json!({
            "user": self.account.name,
            "devices": devices.collect::<Vec<_>>(),
            "backup_codes": codes.map_or(0, |set| set.hashes.len()),
        })
    }
}

/// What is known of a device's past.
fn past(added: &NewDevice) -> String {
    match (added.device.otp.factor, added.used) {
        (MovingFactor::Counter, used) => {
            let next = used.map_or(0, |used| used.0.saturating_add(1));
            format!("next counter {next}")
        }
        (MovingFactor::Time(_), None) => format!("drift {:+}, never used", added.drift),
        (MovingFactor::Time(period), Some(used)) => {
            let end = used.0.saturating_add(1).saturating_mul(period.get().into());
            let end = Time::from_unix(i64::try_from(end).unwrap_or(i64::MAX));
            format!("drift {:+}, codes until {end} are used up", added.drift)
        }
    }
}
