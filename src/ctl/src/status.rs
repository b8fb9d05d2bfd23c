//! `totpctl status`: where people stand.

use std::fmt::Write as _;

use serde_json::{Value, json};
use totp_core::device::Device;
use totp_core::record::{Enrollment, State};
use totp_core::throttle::{Place, Standing};
use totp_core::time::Time;

use crate::context::Context;
use crate::failure::Failure;

pub(crate) fn run(context: &Context, user: Option<&str>) -> Result<(), Failure> {
    let names = match user {
        Some(user) => vec![context.account(user)?.name],
        None => context.store().enrolled_names()?,
    };
    let reports: Vec<Report> = names.iter().map(|name| report(context, name)).collect();
    let failed = reports.iter().filter(|report| report.failed).count();

    let mut text: Vec<&str> = reports.iter().map(|report| report.text.as_str()).collect();
    if text.is_empty() {
        text.push("Nobody is enrolled. Begin with: totpctl enroll USER");
    }
    let users: Vec<&Value> = reports.iter().map(|report| &report.document).collect();
    context.print(
        &text.join("\n"),
        &json!({ "users": users, "failed": failed }),
    );
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::reported())
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
        Ok(Some((enrollment, state))) => enrolled(context, name, &enrollment, &state),
        Ok(None) => Report {
            text: format!("{name}: not enrolled"),
            document: json!({ "user": name, "enrolled": false }),
            failed: false,
        },
        Err(failure) => Report {
            text: format!("{name}: {}", failure.message()),
            document: json!({ "user": name, "error": failure.message() }),
            failed: true,
        },
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
    let mut places = Vec::new();
    for place in &state.tally.places {
        if let Some((line, document)) = describe_place(context, place, state) {
            let _ = write!(text, "\n  {line}");
            places.push(document);
        }
    }
    if !places.is_empty() {
        let _ = write!(
            text,
            "\n  to let every address in again: totpctl unlock {name}"
        );
    }
    Report {
        text,
        document: json!({
            "user": name,
            "enrolled": true,
            "uid": enrollment.uid,
            "devices": devices,
            "addresses": places,
        }),
        failed: false,
    }
}

fn describe_device(device: &Device, state: &State) -> (String, Value) {
    let known = state.device(device.id);
    let last_used = known.and_then(|known| known.last_used);
    let drift = known.map_or(0, |known| known.drift);
    let totp = device.totp;
    let used = match (known, last_used) {
        (None, _) => "not known to the state, refused".to_owned(),
        (_, None) => "never used".to_owned(),
        (_, Some(time)) => format!("last used {time}"),
    };
    let line = format!(
        "{}: {} digits, {} s, {}, {used}, drift {drift:+} steps",
        device.name, totp.digits, totp.period, totp.algorithm
    );
    let document = json!({
        "name": device.name.as_str(),
        "type": "totp",
        "algorithm": totp.algorithm.to_string(),
        "digits": totp.digits.get(),
        "period": totp.period.get(),
        "enrolled": device.enrolled.to_string(),
        "active": known.is_some(),
        "last_used": last_used.map(|time| time.to_string()),
        "drift": drift,
    });
    (line, document)
}

/// A place that wrong answers count from; `None` where they no longer do.
fn describe_place(context: &Context, place: &Place, state: &State) -> Option<(String, Value)> {
    let limits = &context.config.limits;
    let now: Time = context.system().now();
    let address = &place.address;
    match state.tally.standing(address, limits, now) {
        Standing::Open { left } if left == Some(limits.deny.get()) || left.is_none() => None,
        Standing::Open { left } => Some((
            format!("{address}: attempts left: {}", left.unwrap_or(0)),
            json!({ "address": address.to_string(), "locked": false, "attempts_left": left }),
        )),
        Standing::Refused { until } => Some((
            format!(
                "{address}: refused until {until}, {} minutes from now",
                until.since(now).minutes_rounded_up()
            ),
            json!({ "address": address.to_string(), "locked": true, "until": until.to_string() }),
        )),
    }
}
