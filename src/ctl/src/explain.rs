//! `totpctl explain`: what a login will be asked for, by the code that the module runs.

use serde_json::{Value, json};
use totp_core::address::{Address, Origin};
use totp_core::doors::{Account, Caller, Offers, Store, Subject};
use totp_core::flow::plan::{Next, Plan, Reason, plan};
use totp_core::flow::{Options, Request};
use totp_core::policy::{SecondFactor, Unenrolled};
use totp_core::throttle::{Codes, Standing};
use totp_core::time::{Span, Time};
use totp_host::enroll_stack;

use crate::cli::Explain;
use crate::context::Context;
use crate::doctor;
use crate::failure::Failure;
use crate::rollout;

pub(crate) fn run(context: &Context, arguments: &Explain) -> Result<(), Failure> {
    let (store, system) = (context.store(), context.system());
    let account = system
        .account(&arguments.user)
        .map_err(Failure::unreachable)?;
    let address = Address::of(&Origin {
        rhost: arguments.rhost.as_deref(),
        tty: arguments.tty.as_deref(),
        ruser_uid: caller(context, arguments, account.as_ref())?,
        ..Origin::default()
    });
    let request = Request {
        user: Some(&arguments.user),
        caller: Caller {
            service: arguments.service.clone(),
            is_sshd: Caller::is_sshd(&arguments.service, arguments.tty.as_deref()),
            address: address.clone(),
            ssh_keys: Vec::new(),
            place: None,
        },
        options: Options {
            nullok: arguments.nullok,
            ..Options::default()
        },
    };
    let config = &context.config;
    let plan = plan(&request, account.as_ref(), config, &store, system).map_err(|reason| {
        Failure::unreachable(format_args!("the login would be denied: {reason}"))
    })?;
    // A login reads them: what can't be read denies it.
    if let (Next::Ask, Some(account)) = (plan.next, &account) {
        context.records(account)?;
    }
    let subject = match (plan.next, &account) {
        (Next::Pass(_), _) => None,
        (Next::Ask, Some(account)) => Some(Subject::Enrolled(account)),
        (Next::Enroll { .. }, Some(account)) => Some(Subject::Invitee(account)),
        _ => Some(Subject::Stranger(&arguments.user)),
    };
    let standing = subject.map(|subject| store.standing(subject, &request.caller));
    let (standing, offers) = standing.transpose()?.unzip();
    let invited = match (plan.next, &account) {
        (Next::Enroll { .. }, Some(account)) => store.invite_of(account)?,
        (Next::Pass(Reason::NotEnrolled), Some(account))
            if config.policy.unenrolled == Unenrolled::Enroll =>
        {
            store.invite_of(account)?
        }
        _ => None,
    };
    let invited = invited.filter(|invite| system.now() < invite.expires);
    let no_password = why_no_password(plan.next, standing);
    let stack = arguments.service.to_ascii_lowercase();
    let explained = Explained {
        context,
        account: account.as_ref(),
        request: &request,
        plan,
        standing,
        offers: offers.unwrap_or_default(),
        no_password,
        invited_until: invited.map(|invite| invite.expires),
        place: doctor::place_in(&stack),
        stack,
    };
    let mut text = vec![
        format!(
            "{} by {}, from {address}",
            arguments.user, arguments.service
        ),
        format!("  {}", explained.rule()),
        format!("  {}", explained.person()),
        format!("  {}", explained.outcome()),
    ];
    text.extend(explained.sent());
    let no_password = explained.no_password.iter();
    text.extend(no_password.map(|reason| format!("  {reason}")));
    text.extend(explained.unasked());
    context.print(&text.join("\n"), &explained.document());
    Ok(())
}

/// Why the password entitles nobody to enroll, though the policy says so.
fn why_no_password(next: Next, standing: Option<Standing>) -> Option<String> {
    match (next, standing) {
        (Next::Enroll { by_password: true }, Some(standing)) if !standing.takes_one_code() => {
            Some("somebody has been guessing, so the password entitles to nothing".to_owned())
        }
        (Next::Enroll { by_password: true }, _) => enroll_stack::check().err(),
        _ => None,
    }
}

/// The user who calls su or sudo, where nobody says another: that of sudo asks for itself.
fn caller(
    context: &Context,
    arguments: &Explain,
    account: Option<&Account>,
) -> Result<Option<u32>, Failure> {
    match &arguments.ruser {
        Some(ruser) => Ok(Some(context.account(ruser)?.uid)),
        None if arguments.service.starts_with("sudo") => Ok(account.map(|account| account.uid)),
        None => Ok(None),
    }
}

struct Explained<'a> {
    context: &'a Context,
    account: Option<&'a Account>,
    request: &'a Request<'a>,
    plan: Plan<'a>,
    standing: Option<Standing>,
    offers: Offers,
    no_password: Option<String>,
    invited_until: Option<Time>,
    /// The name of the service's stack, as libpam has it.
    stack: String,
    /// Where the module is in that stack of this machine.
    place: Option<String>,
}

impl Explained<'_> {
    /// Which rule holds.
    fn rule(&self) -> String {
        let decision = &self.plan.decision;
        let policy = &self.context.config.policy;
        let Some(rule) = decision.rule else {
            return format!(
                "no rule matches, so [policy] holds: unenrolled = \"{}\"{}",
                policy.unenrolled,
                match self.request.options.nullok {
                    true => ", but nullok stands in the line: \"skip\"",
                    false => "",
                }
            );
        };
        let line = format!(
            "the rule at line {} holds: second_factor = \"{}\"\n    for {rule}",
            rule.line, rule.second_factor
        );
        match decision.announced {
            None => line,
            Some(from) => format!(
                "{line},\n    from {} on; \"if-enrolled\" until then",
                from.date()
            ),
        }
    }

    /// Who that is to us.
    fn person(&self) -> String {
        let user = self.request.user.unwrap_or_default();
        match (self.account, self.plan.next) {
            (None, _) => format!("there is no account named {user:?}"),
            (_, Next::Pass(Reason::Never)) => {
                "whether there is a device does not matter".to_owned()
            }
            (_, Next::Pass(Reason::NotLocal)) => {
                "the password is kept elsewhere, and local_users_only = true".to_owned()
            }
            (_, Next::Ask) => format!("{user} is enrolled"),
            _ => format!("{user} is not enrolled"),
        }
    }

    /// What will happen.
    fn outcome(&self) -> String {
        let user = self.request.user.unwrap_or_default();
        match (self.plan.next, self.standing) {
            (_, Some(Standing::Refused(refusal))) => format!(
                "REFUSED until {}: too many wrong codes (totpctl unlock {user})",
                refusal.until
            ),
            (
                Next::Ask,
                Some(Standing::Open {
                    codes: Codes::Two, ..
                }),
            ) => "ASKED for two codes in a row, since somebody has been guessing".to_owned(),
            (Next::Ask, _) if self.context.config.policy.trust != Span::ZERO => {
                "ASKED for a code, unless a login at the same place is trusted (totpctl status)"
                    .to_owned()
            }
            (Next::Ask, _) => "ASKED for a code".to_owned(),
            (Next::Deny, _) => {
                "DENIED: asked for a code like everybody, but there is none that gets in".to_owned()
            }
            (Next::Enroll { .. }, _) if self.enrolls_by_password() => {
                "ENROLLED at this login, after the password, or with an invitation".to_owned()
            }
            (Next::Enroll { .. }, _) => match self.invited_until {
                Some(until) => {
                    format!("ENROLLED at this login, with the invitation that lasts until {until}")
                }
                None => format!("DENIED, for want of an invitation: totpctl invite {user}"),
            },
            (Next::Pass(Reason::NotEnrolled), _) if self.invited_until.is_some() => {
                "ASKED for the invitation, and let go on without it".to_owned()
            }
            (Next::Pass(Reason::NotEnrolled), _) if self.plan.decision.announced.is_some() => {
                "ASKED for nothing, and told of the date".to_owned()
            }
            (Next::Pass(_), _) => "ASKED for nothing".to_owned(),
        }
    }

    fn enrolls_by_password(&self) -> bool {
        self.plan.next == Next::Enroll { by_password: true } && self.no_password.is_none()
    }

    /// Why nothing of that happens on this machine.
    fn unasked(&self) -> Option<String> {
        if self.place.is_some() || matches!(self.plan.next, Next::Pass(_)) {
            return None;
        }
        let service = &self.stack;
        if let Some(file) = doctor::missing_stack(service) {
            return Some(format!(
                "  BUT there is no stack of {service} here ({}): libpam goes by that of other, which asks for no code",
                file.display()
            ));
        }
        let advice = match rollout::takes(service) {
            Ok(()) => format!(": totpctl rollout {service}"),
            Err(failure) => format!("; it can't be rolled out: {}", failure.message()),
        };
        Some(format!(
            "  BUT pam_totp.so is not in the stack of {service} here, which asks for no code{advice}"
        ))
    }

    /// Where codes are sent, a line each.
    fn sent(&self) -> impl Iterator<Item = String> {
        let contacts = self.offers.contacts.iter().enumerate();
        contacts.map(|(index, offer)| {
            let (words, to) = (offer.channel.words(), &offer.to);
            match self.offers.is_only_way && index == 0 {
                true => format!("  a code is sent {words} to {to} before the prompt"),
                false => {
                    let letter = char::from(offer.channel.letter());
                    format!("  {letter} has a code sent {words} to {to}")
                }
            }
        })
    }

    fn document(&self) -> Value {
        let Plan { decision, next } = self.plan;
        let outcome = match (next, self.standing) {
            (_, Some(Standing::Refused(_))) => "refused",
            (Next::Ask, _) => "asked",
            (Next::Deny, _) => "denied",
            (Next::Enroll { .. }, _) => {
                match self.enrolls_by_password() || self.invited_until.is_some() {
                    true => "enrolled",
                    false => "denied",
                }
            }
            (Next::Pass(_), _) => "ignored",
        };
        let codes = match self.standing {
            Some(Standing::Open { codes, .. }) => Some(match codes {
                Codes::One => 1,
                Codes::Two => 2,
            }),
            _ => None,
        };
        let enroll_with = match next {
            Next::Enroll { .. } => Some(match self.enrolls_by_password() {
                true => json!(["password", "invite"]),
                false => json!(["invite"]),
            }),
            _ => None,
        };
        json!({
            "user": self.request.user,
            "account": self.account.map(|account| &account.name),
            "service": self.request.caller.service,
            "address": self.request.caller.address.to_string(),
            "rule": decision.rule.map(|rule| json!({
                "line": rule.line,
                "conditions": rule.to_string(),
                "second_factor": rule.second_factor.to_string(),
                "from": rule.from.map(|from| from.date()),
            })),
            "second_factor": decision.second_factor.to_string(),
            "is_required_by_rule": decision.rule.is_some()
                && decision.second_factor == SecondFactor::Required,
            "unenrolled": self.context.config.policy.unenrolled.to_string(),
            "outcome": outcome,
            "codes": codes,
            "sent": self.offers.contacts.iter().map(|offer| json!({
                "type": offer.channel.key(),
                "address": offer.to,
                "by_letter": !self.offers.is_only_way,
            })).collect::<Vec<_>>(),
            "enroll_with": enroll_with,
            "no_password": self.no_password,
            "in_stack": self.place,
            "invited_until": self.invited_until.map(|until| until.to_string()),
            "why": match next {
                Next::Pass(reason) => Some(reason.words()),
                _ => None,
            },
        })
    }
}
