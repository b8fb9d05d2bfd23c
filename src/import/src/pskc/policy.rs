//! What a key may be used for, RFC 6030 section 5: a rule that is not understood forbids everything.

use roxmltree::Node;
use totp_core::time::Time;

use super::{child, children, text_of};
use crate::report::{Fault, Findings, Place, Remark};
use crate::when;

/// Each rule either holds here, or is noted, or is a problem.
pub(super) fn check(policy: Node<'_, '_>, at: &Place, now: Time, findings: &mut Findings) {
    let known = [
        "StartDate",
        "ExpiryDate",
        "PINPolicy",
        "KeyUsage",
        "NumberOfTransactions",
    ];
    let is_known = |rule: Node<'_, '_>| known.contains(&rule.tag_name().name());
    if policy
        .children()
        .any(|rule| rule.is_element() && !is_known(rule))
    {
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
    let mut uses = children(policy, "KeyUsage").peekable();
    if uses.peek().is_some() && !uses.any(|usage| usage.text().map(str::trim) == Some("OTP")) {
        let fault = Fault::Policy("the key is not for one-time codes");
        findings.problem(at.clone(), fault);
    }
    if child(policy, "NumberOfTransactions").is_some() {
        findings.note(at, Remark::Transactions);
    }
    // A local one is between its owner and the token.
    let pin = child(policy, "PINPolicy").and_then(|pin| pin.attribute("PINUsageMode"));
    match pin {
        None | Some("Local") => {}
        Some("Append" | "Prepend") => findings.note(at, Remark::Pin),
        Some(_) => {
            let fault = Fault::Policy("a PIN goes into its codes");
            findings.problem(at.clone(), fault);
        }
    }
}

fn date(
    policy: Node<'_, '_>,
    name: &'static str,
    at: &Place,
    findings: &mut Findings,
) -> Option<Time> {
    let expected = "a date and time such as 2027-01-31T12:00:00Z";
    let time = when::xml_time(text_of(policy, name)?);
    findings.take(at, time.ok_or(Fault::Form { name, expected }))
}
