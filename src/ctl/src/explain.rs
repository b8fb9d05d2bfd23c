//! `totpctl explain`: what a login will be asked for, by the code that the module runs.

use serde_json::{Value, json};
use totp_core::address::{Address, Origin};
use totp_core::doors::{Account, Caller, Store, Subject};
use totp_core::flow::plan::{Next, Plan, Reason, plan};
use totp_core::flow::{Options, Request};
use totp_core::policy::SecondFactor;
use totp_core::throttle::{Codes, Standing};

use crate::cli::Explain;
use crate::context::Context;
use crate::failure::Failure;

pub(crate) fn run(context: &Context, arguments: &Explain) -> Result<(), Failure> {
    let address = Address::of(&Origin {
        rhost: arguments.rhost.as_deref(),
        tty: arguments.tty.as_deref(),
        ..Origin::default()
    });
    let request = Request {
        user: Some(&arguments.user),
        service: &arguments.service,
        caller: Caller {
            address: address.clone(),
            ssh_keys: Vec::new(),
            place: None,
        },
        options: Options {
            nullok: arguments.nullok,
            ..Options::default()
        },
    };
    let (store, system) = (context.store(), context.system());
    let account = system
        .account(&arguments.user)
        .map_err(Failure::unreachable)?;
    let config = &context.config;
    let plan = plan(&request, account.as_ref(), config, &store, system).map_err(|reason| {
        Failure::unreachable(format_args!("the login would be denied: {reason}"))
    })?;
    let standing = match (plan.next, &account) {
        (Next::Ask, Some(account)) => {
            Some(store.standing(Subject::Enrolled(account), &request.caller)?)
        }
        _ => None,
    };
    let explained = Explained {
        context,
        account: account.as_ref(),
        request: &request,
        plan,
        standing,
    };
    let text = [
        format!(
            "{} by {}, from {address}",
            arguments.user, arguments.service
        ),
        format!("  {}", explained.rule()),
        format!("  {}", explained.person()),
        format!("  {}", explained.outcome()),
    ];
    context.print(&text.join("\n"), &explained.document());
    Ok(())
}

struct Explained<'a> {
    context: &'a Context,
    account: Option<&'a Account>,
    request: &'a Request<'a>,
    plan: Plan<'a>,
    standing: Option<Standing>,
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
            "the rule at line {} holds ({rule}): second_factor = \"{}\"",
            rule.line, rule.second_factor
        );
        match decision.announced {
            None => line,
            Some(from) => format!("{line} from {} on, \"if-enrolled\" until then", from.date()),
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
            (Next::Ask, Some(Standing::Refused(refusal))) => format!(
                "REFUSED until {}: too many wrong codes (totpctl unlock {user})",
                refusal.until
            ),
            (
                Next::Ask,
                Some(Standing::Open {
                    codes: Codes::Two, ..
                }),
            ) => "ASKED for two codes in a row, since somebody has been guessing".to_owned(),
            (Next::Ask, _) => "ASKED for a code".to_owned(),
            (Next::Deny, _) => {
                "DENIED: asked for a code like everybody, but there is none that gets in".to_owned()
            }
            (Next::Enroll { by_password: true }, _) => {
                "ENROLLED at this login, after the password, or with an invitation".to_owned()
            }
            (Next::Enroll { by_password: false }, _) => format!(
                "ENROLLED at this login with an invitation (totpctl invite {user}); denied without"
            ),
            (Next::Pass(_), _) if self.plan.decision.announced.is_some() => {
                "ASKED for nothing, and told of the date".to_owned()
            }
            (Next::Pass(_), _) => "ASKED for nothing".to_owned(),
        }
    }

    fn document(&self) -> Value {
        let Plan { decision, next } = self.plan;
        let outcome = match (next, self.standing) {
            (Next::Ask, Some(Standing::Refused(_))) => "refused",
            (Next::Ask, _) => "asked",
            (Next::Deny, _) => "denied",
            (Next::Enroll { .. }, _) => "enrolled",
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
            Next::Enroll { by_password } => Some(match by_password {
                true => json!(["password", "invite"]),
                false => json!(["invite"]),
            }),
            _ => None,
        };
        json!({
            "user": self.request.user,
            "account": self.account.map(|account| &account.name),
            "service": self.request.service,
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
            "enroll_with": enroll_with,
            "why": match next {
                Next::Pass(reason) => Some(reason.words()),
                _ => None,
            },
        })
    }
}
