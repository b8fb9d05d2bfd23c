//! `totpctl status`: where people stand.

use std::fmt::Write as _;

use serde_json::{Value, json};
use totp_core::address::Address;
use totp_core::device::Device;
use totp_core::otp::{MovingFactor, Period};
use totp_core::record::{Enrollment, State};
use totp_core::throttle::{Codes, Source, Standing};

use crate::backup;
use crate::contact;
use crate::context::Context;
use crate::failure::Failure;

/// Of one user, or of all and the addresses beside them.
pub(crate) fn of_users(context: &Context, user: Option<&str>) -> Result<(), Failure> {
    let names = match user {
        Some(user) => match context.account(user) {
            Ok(account) => vec![account.name],
            // What it left is told of as among all.
            Err(_)
                if context
                    .store()
                    .enrolled_names()?
                    .iter()
                    .any(|name| name == user) =>
            {
                vec![user.to_owned()]
            }
            Err(failure) => return Err(failure),
        },
        None => {
            let mut names = context.store().enrolled_names()?;
            let invited = context.store().invited_names()?;
            names.extend(
                invited
                    .into_iter()
                    .filter(|name| !names.contains(name))
                    .collect::<Vec<_>>(),
            );
            names
        }
    };
    let reports: Vec<Report> = names.iter().map(|name| report(context, name)).collect();
    let failed = reports.iter().filter(|report| report.failed).count();

    let mut text: Vec<String> = reports.iter().map(|report| report.text.clone()).collect();
    if text.is_empty() {
        context.store().check_folders()?;
        text.push("Nobody is enrolled. Begin with: totpctl enroll USER".to_owned());
    }
    let users: Vec<&Value> = reports.iter().map(|report| &report.document).collect();
    let mut document = json!({ "users": users, "failed": failed });
    if user.is_none() {
        let counted = context.store().addresses()?;
        let addresses = counted
            .iter()
            .map(|(address, standing)| address_report(context, address, *standing));
        let addresses: Vec<(String, Value)> = addresses.collect();
        text.extend(addresses.iter().map(|(line, _)| line.clone()));
        set(
            &mut document,
            "addresses",
            addresses
                .into_iter()
                .map(|(_, document)| document)
                .collect(),
        );
    }
    finish(context, &text.join("\n"), &document, failed)
}

/// Of one address with all users, or of all addresses.
pub(crate) fn of_addresses(context: &Context, address: Option<&Address>) -> Result<(), Failure> {
    let store = context.store();
    let Some(address) = address else {
        let counted = store.addresses()?;
        let reports = counted
            .iter()
            .map(|(address, standing)| address_report(context, address, *standing));
        let (mut text, documents): (Vec<String>, Vec<Value>) = reports.unzip();
        if text.is_empty() {
            text.push("No wrong answers are counted against an unfamiliar address.".to_owned());
        }
        return finish(
            context,
            &text.join("\n"),
            &json!({ "addresses": documents }),
            0,
        );
    };
    let standing = store.address_standing(address)?;
    let (mut text, mut document) = address_report(context, &address.to_string(), standing);
    let (mut users, mut failed) = (Vec::new(), 0_usize);
    for name in store.enrolled_names()? {
        let records = context
            .account(&name)
            .and_then(|account| Ok(store.records(&account)?));
        let (line, user) = match records {
            Ok(None) => continue,
            Ok(Some((_, state))) => {
                let shared = address.crowd();
                let mut places = state.tally.places.iter().map(|place| &place.address);
                if !places.any(|place| place == address || *place == shared) {
                    continue;
                }
                place_report(context, &state, address)
            }
            Err(failure) => {
                failed = failed.saturating_add(1);
                (
                    failure.message().to_owned(),
                    json!({ "error": failure.message() }),
                )
            }
        };
        let _ = write!(text, "\n  {name}: {line}");
        let mut user = user;
        set(&mut user, "user", json!(name));
        users.push(user);
    }
    set(&mut document, "users", json!(users));
    finish(context, &text, &document, failed)
}

fn finish(context: &Context, text: &str, document: &Value, failed: usize) -> Result<(), Failure> {
    context.print(text, document);
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::reported())
}

fn set(document: &mut Value, key: &str, value: Value) {
    if let Some(fields) = document.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}

/// What `address_deny` has against an address.
fn address_report(context: &Context, address: &str, standing: Standing) -> (String, Value) {
    let (line, mut document) = standing_report(context, standing);
    set(&mut document, "address", json!(address));
    let line = match standing {
        Standing::Open {
            left: None,
            codes: Codes::One,
        } => "no limit".to_owned(),
        _ => line,
    };
    (format!("address {address}, all users: {line}"), document)
}

struct Report {
    text: String,
    document: Value,
    failed: bool,
}

fn report(context: &Context, name: &str) -> Report {
    if matches!(context.system().account(name), Ok(None)) {
        let error =
            format!("this account is gone: totpctl reset {name} --force removes what it left");
        return Report {
            text: format!("{name}: {error}"),
            document: json!({ "user": name, "error": error }),
            failed: true,
        };
    }
    let records = context
        .account(name)
        .and_then(|account| Ok(context.store().records(&account)?));
    match records {
        Ok(Some((enrollment, mut state))) => {
            let now = context.system().now();
            state.tally.forget_old(&context.config.limits, now);
            enrolled(context, name, &enrollment, &state)
        }
        Ok(None) => not_enrolled(context, name),
        Err(failure) => Report {
            text: format!("{name}: {}", failure.message()),
            document: json!({ "user": name, "error": failure.message() }),
            failed: true,
        },
    }
}

fn not_enrolled(context: &Context, name: &str) -> Report {
    let invite = context
        .account(name)
        .and_then(|account| Ok(context.store().invite_of(&account)?));
    let (invited, failed) = match invite {
        Err(failure) => (failure.message().to_owned(), true),
        Ok(None) => (String::new(), false),
        Ok(Some(invite)) if invite.expires <= context.system().now() => {
            (format!("an invitation ran out {}", invite.expires), false)
        }
        Ok(Some(invite)) => (format!("invited until {}", invite.expires), false),
    };
    let comma = if invited.is_empty() { "" } else { ", " };
    Report {
        text: format!("{name}: not enrolled{comma}{invited}"),
        document: json!({
            "user": name,
            "enrolled": false,
            "invitation": Some(&invited).filter(|invited| !invited.is_empty()),
        }),
        failed,
    }
}

fn enrolled(context: &Context, name: &str, enrollment: &Enrollment, state: &State) -> Report {
    let mut text = format!("{name}: enrolled");
    let mut devices = Vec::new();
    for device in &enrollment.devices {
        let (line, document) = describe_device(device, state);
        let _ = write!(text, "\n  {line}");
        devices.push(document);
    }
    for contact in &enrollment.contacts {
        let (line, document) = contact::describe(contact, state);
        let _ = write!(text, "\n  {line}");
        devices.push(document);
    }
    let backup_codes = backup::codes_left(enrollment, state);
    if enrollment.backup_codes.is_some() {
        let left = backup_codes.map_or("void".to_owned(), |left| format!("{left} left"));
        let _ = write!(text, "\n  backup codes: {left}");
    }
    let backup_key = backup::has_key(enrollment, state);
    if enrollment.backup_key.is_some() {
        let known = if backup_key { "there is one" } else { "void" };
        let _ = write!(text, "\n  backup key: {known}");
    }
    let (now, allowed) = (context.system().now(), context.config.policy.trust);
    let trusts = state.trusts.all().iter();
    let trusted = trusts.filter_map(|trust| state.trusts.of(trust.place, allowed, now));
    let trusted: Vec<String> = trusted.map(|trusted| trusted.until().to_string()).collect();
    for until in &trusted {
        let _ = write!(text, "\n  not asked again at one place until {until}");
    }
    let mut places = Vec::new();
    for place in &state.tally.places {
        let (line, mut document) = place_report(context, state, &place.address);
        set(&mut document, "address", json!(place.address.to_string()));
        let _ = write!(text, "\n  {}: {line}", place.address);
        places.push(document);
    }
    let (line, elsewhere) = elsewhere_report(context, state);
    if let Some(line) = line {
        let _ = write!(text, "\n  {line}");
    }
    if state.tally.counts_any() {
        let _ = write!(
            text,
            "\n  to forget all wrong answers: totpctl unlock {name}"
        );
    }
    Report {
        text,
        document: json!({
            "user": name,
            "enrolled": true,
            "uid": enrollment.uid,
            "devices": devices,
            "backup_codes": backup_codes,
            "backup_key": backup_key,
            "trusted_until": trusted,
            "addresses": places,
            "unfamiliar": elsewhere,
        }),
        failed: false,
    }
}

pub(crate) fn describe_device(device: &Device, state: &State) -> (String, Value) {
    let known = state.device(device.id);
    let last_used = known.and_then(|known| known.last_used);
    let awaits_resync = known.is_some_and(|known| known.awaits_resync);
    let otp = device.otp;
    let used = match (known, last_used) {
        (None, _) => "not known to the state, refused".to_owned(),
        (_, None) => "never used".to_owned(),
        (_, Some(time)) => format!("last used {time}"),
    };
    let kind = match otp.factor {
        MovingFactor::Counter => "HOTP".to_owned(),
        MovingFactor::Time(period) => format!("{period} s"),
    };
    let mut line = format!(
        "{}: {} digits, {kind}, {}, {used}",
        device.name, otp.digits, otp.algorithm
    );
    let (mut drift, mut next) = (None, None);
    match otp.factor {
        MovingFactor::Counter => {
            let counter = known.map_or(0, |known| known.next().0);
            let _ = write!(line, ", next counter {counter}");
            next = Some(counter);
        }
        MovingFactor::Time(_) => {
            let steps = known.map_or(0, |known| known.drift);
            let _ = write!(line, ", drift {steps:+} steps");
            drift = Some(steps);
        }
    }
    if awaits_resync {
        line.push_str(", two codes in a row are needed");
    }
    if let Some(key) = device.ssh_key {
        let _ = write!(line, ",\n    only with the ssh key {key}");
    }
    let document = json!({
        "name": device.name.as_str(),
        "type": otp.factor.name(),
        "algorithm": otp.algorithm.to_string(),
        "digits": otp.digits.get(),
        "period": otp.period().map(Period::get),
        "enrolled": device.enrolled.to_string(),
        "active": known.is_some(),
        "last_used": last_used.map(|time| time.to_string()),
        "drift": drift,
        "next_counter": next,
        "awaits_resync": awaits_resync,
        "ssh_key": device.ssh_key.map(|key| key.to_string()),
    });
    (line, document)
}

/// Where a user stands with one address.
fn place_report(context: &Context, state: &State, address: &Address) -> (String, Value) {
    let (limits, now) = (&context.config.limits, context.system().now());
    let source = context.config.source(address);
    let standing = state.standing(&source, limits, now);
    let (mut line, mut document) = standing_report(context, standing);
    let is_familiar = state.tally.is_familiar(&source, limits, now);
    let until = state.tally.familiar_until(&source, limits, now);
    if let Some(until) = until {
        line = format!("familiar until {until}, {line}");
    }
    set(&mut document, "familiar", json!(is_familiar));
    set(
        &mut document,
        "familiar_until",
        json!(until.map(|until| until.to_string())),
    );
    if is_familiar {
        let today = state.tally.today(&source, limits, now);
        set(&mut document, "wrong_in_24_hours", json!(today));
    }
    (line, document)
}

/// Where a user stands with all addresses that are not familiar.
fn elsewhere_report(context: &Context, state: &State) -> (Option<String>, Value) {
    let (limits, now) = (&context.config.limits, context.system().now());
    let source = Source::from(Address::Elsewhere);
    let today = state.tally.today(&source, limits, now);
    let total = state.tally.pool(&Address::Elsewhere);
    let total = total.map_or(0, |pool| pool.total);
    let needs_two = matches!(
        state.standing(&source, limits, now),
        Standing::Open {
            codes: Codes::Two,
            ..
        }
    );
    // A login from one ends the count without end, but not that of the day.
    let line = (today != 0 || total != 0).then(|| {
        let allowed = limits.daily_for(state.worth_in_phones());
        let two = if needs_two {
            ": two codes in a row are needed"
        } else {
            ""
        };
        format!(
            "wrong answers from unfamiliar addresses: {today} in 24 hours ({allowed} allowed), {total} since \
             a login from one ({} allowed){two}",
            limits.user_limit
        )
    });
    let document = json!({
        "wrong_in_24_hours": today,
        "total": total,
        "two_codes": needs_two,
    });
    (line, document)
}

fn standing_report(context: &Context, standing: Standing) -> (String, Value) {
    match standing {
        Standing::Open { left, codes } => {
            let left_text = left.map_or("no limit".to_owned(), |left| {
                format!("attempts left: {left}")
            });
            let text = match codes {
                Codes::One => left_text,
                Codes::Two => format!("{left_text}, two codes in a row are needed"),
            };
            let two = codes == Codes::Two;
            let document = json!({ "locked": false, "attempts_left": left, "two_codes": two });
            (text, document)
        }
        Standing::Refused(refusal) => {
            let until = refusal.until;
            let minutes = until.since(context.system().now()).minutes_rounded_up();
            (
                format!("refused until {until}, {minutes} minutes from now"),
                json!({ "locked": true, "until": until.to_string() }),
            )
        }
    }
}
