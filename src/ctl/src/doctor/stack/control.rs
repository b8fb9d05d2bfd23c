//! What a line does with what its module says: libpam's codes, and the actions for them.

/// What a line does with one code of its module.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    Bad,
    Die,
    Done,
    Ignore,
    Jump(usize),
    Ok,
    Reset,
}

/// libpam's codes, by their numbers.
pub(crate) const CODES: [&str; 32] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

/// A code of libpam's, by its place in [`CODES`].
pub(crate) type Code = usize;

pub(crate) const SUCCESS: Code = 0;
pub(crate) const SERVICE_ERR: Code = 3;
pub(crate) const PERM_DENIED: Code = 6;
pub(crate) const AUTH_ERR: Code = 7;
pub(crate) const NEW_AUTHTOK_REQD: Code = 12;
pub(crate) const IGNORE: Code = 25;
pub(crate) const ABORT: Code = 26;
pub(crate) const MODULE_UNKNOWN: Code = 28;

/// What a line does, by the code of its module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Control([Option<Action>; 32]);

impl Control {
    /// The action for a code.
    pub(crate) fn on(&self, code: Code) -> Action {
        self.0.get(code).copied().flatten().unwrap_or(Action::Bad)
    }

    const fn unset() -> Self {
        Self([None; 32])
    }

    /// Everything is a failure: what libpam makes of a control that it does not understand.
    pub(crate) const fn bad() -> Self {
        Self([Some(Action::Bad); 32])
    }

    fn set(&mut self, code: Code, action: Action) {
        if let Some(place) = self.0.get_mut(code) {
            *place = Some(action);
        }
    }

    fn set_rest(&mut self, action: Action) {
        for place in &mut self.0 {
            place.get_or_insert(action);
        }
    }

    pub(super) fn word(word: &str) -> Option<Self> {
        let (on_success, otherwise) = match word.to_ascii_lowercase().as_str() {
            "required" => (Action::Ok, Action::Bad),
            "requisite" => (Action::Ok, Action::Die),
            "optional" => (Action::Ok, Action::Ignore),
            "sufficient" => (Action::Done, Action::Ignore),
            _ => return None,
        };
        let mut control = Self::unset();
        control.set(SUCCESS, on_success);
        control.set(NEW_AUTHTOK_REQD, on_success);
        control.set(IGNORE, Action::Ignore);
        control.set_rest(otherwise);
        Some(control)
    }

    /// Pairs of a code and an action. `None` where libpam gives up on them, and has the line fail.
    pub(super) fn pairs(text: &str) -> Option<Self> {
        let mut control = Self::unset();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (code, after) = match CODES.iter().position(|code| rest.starts_with(code)) {
                Some(code) => (Some(code), rest.get(CODES.get(code)?.len()..)?),
                None => (None, rest.strip_prefix("default")?),
            };
            let after = after.trim_start().strip_prefix('=')?.trim_start();
            let (action, after) = action(after)?;
            match code {
                Some(code) => control.set(code, action),
                None => control.set_rest(action),
            }
            rest = after.trim_start();
        }
        control.set_rest(Action::Bad);
        Some(control)
    }
}

fn action(text: &str) -> Option<(Action, &str)> {
    for (word, action) in [
        ("ignore", Action::Ignore),
        ("ok", Action::Ok),
        ("done", Action::Done),
        ("bad", Action::Bad),
        ("die", Action::Die),
        ("reset", Action::Reset),
    ] {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((action, rest));
        }
    }
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    let lines = number.parse().ok().filter(|lines| *lines != 0)?;
    Some((Action::Jump(lines), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(text: &str) -> Control {
        Control::word(text)
            .or_else(|| Control::pairs(text))
            .unwrap()
    }

    #[test]
    fn controls_are_words_or_pairs() {
        for (text, code, action) in [
            ("required", "success", Action::Ok),
            ("REQUIRED", "ignore", Action::Ignore),
            ("required", "auth_err", Action::Bad),
            ("requisite", "auth_err", Action::Die),
            ("sufficient", "success", Action::Done),
            ("sufficient", "new_authtok_reqd", Action::Done),
            ("optional", "abort", Action::Ignore),
            ("success=2 default=ignore", "success", Action::Jump(2)),
            ("success=2 default=ignore", "maxtries", Action::Ignore),
            ("success = ok", "auth_err", Action::Bad),
            ("default=die success=ok", "success", Action::Ok),
            ("success=okignore=reset", "ignore", Action::Reset),
        ] {
            let code = CODES.iter().position(|name| *name == code).unwrap();
            assert_eq!(control(text).on(code), action, "{text}");
        }
        for wrong in [
            "sucess=ok",
            "success",
            "success=0",
            "success=-1",
            "success=yes",
        ] {
            assert_eq!(Control::pairs(wrong), None, "{wrong}");
        }
    }
}
