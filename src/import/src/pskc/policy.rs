//! What a key may be used for, RFC 6030 section 5: a rule that is not understood forbids everything.

use totp_core::time::Time;

use super::xml::Element;
use crate::report::{Fault, Findings, Place, Remark};
use crate::when;

/// Each rule either holds here, or is noted, or is a problem.
pub(super) fn check(policy: &Element, at: &Place, now: Time, findings: &mut Findings) {
    let known = [
        "StartDate",
        "ExpiryDate",
        "PINPolicy",
        "KeyUsage",
        "NumberOfTransactions",
    ];
    let is_known = |rule: &Element| known.contains(&rule.name());
    if policy.children().iter().any(|rule| !is_known(rule)) {
        let fault = Fault::Policy("its policy has a rule that is not known");
        findings.problem(at.clone(), fault);
    }
    if let Some(start) = date(policy, "StartDate", at, findings) {
        if start > now {
            findings.problem(at.clone(), Fault::Policy("the key is not to be used yet"));
        }
    }
    if let Some(end) = date(policy, "ExpiryDate", at, findings) {
        match end > now {
            true => findings.note(at, Remark::Expiry(end)),
            false => findings.problem(at.clone(), Fault::Expired(end)),
        }
    }
    let mut uses = policy.named("KeyUsage").peekable();
    if uses.peek().is_some() && !uses.any(|usage| usage.text() == "OTP") {
        let fault = Fault::Policy("the key is not for one-time codes");
        findings.problem(at.clone(), fault);
    }
    if policy.child("NumberOfTransactions").is_some() {
        findings.note(at, Remark::Transactions);
    }
    // A local one is between its owner and the token.
    let pin = policy
        .child("PINPolicy")
        .and_then(|pin| pin.attribute("PINUsageMode"));
    match pin {
        None | Some("Local") => {}
        Some("Append" | "Prepend") => findings.note(at, Remark::Pin),
        Some(_) => {
            let fault = Fault::Policy("a PIN goes into its codes");
            findings.problem(at.clone(), fault);
        }
    }
}

fn date(policy: &Element, name: &'static str, at: &Place, findings: &mut Findings) -> Option<Time> {
    let expected = "a date and time such as 2027-01-31T12:00:00Z";
    let time = when::xml_time(policy.text_of(name)?);
    findings.take(at, time.ok_or(Fault::Form { name, expected }))
}
