//! What a login will be asked for, decided before anybody is asked.

use crate::config::Config;
use crate::doors::{Account, Store, System};
use crate::flow::Request;
use crate::policy::{Decision, Login, SecondFactor, Unenrolled};

/// What a login will be asked for, and why.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'c> {
    /// What the policy says.
    pub decision: Decision<'c>,
    /// What comes of it.
    pub next: Next,
}

/// What happens next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// A code is asked for.
    Ask,
    /// A code is asked for that the person can't have.
    Deny,
    /// The person may enroll.
    Enroll {
        /// With the password; else with an invite only.
        by_password: bool,
    },
    /// Nothing is asked for (PAM_IGNORE).
    Pass(Reason),
}

/// Why nothing is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// A rule says `never`.
    Never,
    /// The password is kept elsewhere, and `local_users_only` is set.
    NotLocal,
    /// Not enrolled, and that is allowed.
    NotEnrolled,
}

impl Reason {
    /// The words for it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Never => "exempt by a rule",
            Self::NotLocal => "not a local user",
            Self::NotEnrolled => "not enrolled",
        }
    }
}

/// Decides. `account` is that of the name which the request has, where there is one. What a rule exempts is decided
/// before any record is looked at.
///
/// # Errors
/// A sentence, where accounts, groups or records can't be asked.
pub fn plan<'c, S: Store>(
    request: &Request<'_>,
    account: Option<&Account>,
    config: &'c Config,
    store: &S,
    system: &dyn System,
) -> Result<Plan<'c>, String> {
    let (policy, now) = (&config.policy, system.now());
    let address = &request.caller.address;
    let given = request.user.unwrap_or_default();
    let login = Login {
        user: account.map_or(given, |account| &account.name),
        is_known: account.is_some(),
        service: &request.caller.service,
        address,
    };
    let decision = policy.decide(&login, now, |group| match account {
        Some(account) => system.is_member(account, group),
        None => Ok(false),
    })?;
    let plan = |next| Ok(Plan { decision, next });
    if decision.second_factor == SecondFactor::Never {
        return plan(Next::Pass(Reason::Never));
    }
    let Some(account) = account else {
        return plan(Next::Deny);
    };
    if policy.local_users_only && !system.is_local(account)? {
        return plan(Next::Pass(Reason::NotLocal));
    }
    if store
        .is_enrolled(account)
        .map_err(|error| error.to_string())?
    {
        return plan(Next::Ask);
    }
    plan(match unenrolled(&decision, request, config) {
        Unenrolled::Skip => Next::Pass(Reason::NotEnrolled),
        Unenrolled::Deny => Next::Deny,
        Unenrolled::Enroll => Next::Enroll {
            by_password: policy.enrolls_by_password(address, now),
        },
    })
}

/// What becomes of somebody who is not enrolled. A rule that requires a second factor is stricter than whatever says
/// that people without one may pass.
pub(crate) fn unenrolled(
    decision: &Decision<'_>,
    request: &Request<'_>,
    config: &Config,
) -> Unenrolled {
    let policy = config.policy.unenrolled;
    match decision.second_factor {
        SecondFactor::IfEnrolled | SecondFactor::Never => Unenrolled::Skip,
        SecondFactor::Required => match (decision.rule, policy) {
            (None, _) if request.options.nullok => Unenrolled::Skip,
            (Some(_), Unenrolled::Skip) => Unenrolled::Deny,
            (_, policy) => policy,
        },
    }
}
