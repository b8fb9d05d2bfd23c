//! What every command needs: the configuration, the machine, and who is asking.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use serde_json::{Value, json};
use totp_core::address::Address;
use totp_core::config::Config;
use totp_core::contact::Recipient;
use totp_core::device::{Device, DeviceId, DeviceName};
use totp_core::doors::{Account, Store as _, System};
use totp_core::event::{Change, Event, Severity};
use totp_core::record::{Enrollment, State};
use totp_host::store::FileStore;
use totp_host::system::Machine;

use crate::failure::{Failure, no_device, no_key, not_enrolled};
use crate::output;

pub(crate) struct Context {
    pub(crate) config: Config,
    /// One JSON document on stdout, people's text on stderr.
    pub(crate) json: bool,
    system: Machine<fn(&Event)>,
    /// The mail address that the account of this command had at its beginning.
    owner: RefCell<Option<Recipient>>,
}

impl Context {
    pub(crate) fn new(config: Option<&Path>, json: bool) -> Result<Self, Failure> {
        Ok(Self::of(totp_host::config::load(config)?, json))
    }

    /// With a configuration that was read already.
    pub(crate) fn of(config: Config, json: bool) -> Self {
        Self {
            config,
            json,
            system: Machine::new(totp_host::log::log),
            owner: RefCell::default(),
        }
    }

    /// The same with the usual settings where the configuration can't be read.
    pub(crate) fn new_or_default(config: Option<&Path>, json: bool) -> Self {
        Self::of(totp_host::config::load(config).unwrap_or_default(), json)
    }

    pub(crate) fn system(&self) -> &dyn System {
        &self.system
    }

    pub(crate) fn store(&self) -> FileStore<'_> {
        FileStore::new(&self.config, &self.system)
    }

    pub(crate) fn account(&self, user: &str) -> Result<Account, Failure> {
        let account = self.system.account(user).map_err(Failure::unreachable)?;
        let account = account
            .ok_or_else(|| Failure::refused(format_args!("there is no account named {user:?}")))?;
        self.remember_owner(&account);
        Ok(account)
    }

    /// Notes who is told of changes: afterwards no record may say so any more.
    pub(crate) fn remember_owner(&self, account: &Account) {
        if self.config.notify.is_some() {
            self.owner.replace(self.store().owner_of(account));
        }
    }

    /// The host's name, as people's apps show it.
    pub(crate) fn host_name(&self) -> String {
        let name = self.system.host_name();
        name.unwrap_or_else(|| "localhost".to_owned())
    }

    /// An id that no other device has.
    pub(crate) fn new_id(&self) -> Result<DeviceId, Failure> {
        DeviceId::random(&self.system).map_err(Failure::unreachable)
    }

    /// The records of an account that is enrolled.
    pub(crate) fn records(&self, account: &Account) -> Result<(Enrollment, State), Failure> {
        let name = &account.name;
        let records = self.store().records(account)?;
        records.ok_or_else(|| not_enrolled(name))
    }

    /// A device of an account.
    pub(crate) fn device(&self, account: &Account, name: &DeviceName) -> Result<Device, Failure> {
        let (enrollment, _) = self.records(account)?;
        if let Some(device) = enrollment.device(name) {
            return Ok(device.clone());
        }
        let contact = enrollment.contacts.iter().find(|one| one.name == *name);
        Err(contact.map_or_else(
            || no_device(account, name),
            |contact| no_key(account, contact),
        ))
    }

    /// Tells the log of a change of somebody's factors.
    pub(crate) fn changed(&self, change: Change, account: &Account, device: Option<&DeviceName>) {
        self.tell_of(change, account, &self.change(change, account, device));
    }

    /// The same, with more to say.
    pub(crate) fn changed_because(
        &self,
        change: Change,
        account: &Account,
        device: Option<&DeviceName>,
        what: impl fmt::Display,
    ) {
        let event = self.change(change, account, device).because(what);
        self.tell_of(change, account, &event);
    }

    /// Each change of somebody's factors goes through here: whoever else is to hear of it is told here.
    fn tell_of(&self, change: Change, account: &Account, event: &Event) {
        self.system.log(event);
        if change.is_told() {
            self.store()
                .notify(account, event, self.owner.borrow().as_ref());
        }
    }

    fn change(&self, change: Change, account: &Account, device: Option<&DeviceName>) -> Event {
        Event {
            user: Some(account.name.clone()),
            device: device.map(DeviceName::to_string),
            ..self.event(change.name())
        }
    }

    /// Logs something else that was done, with who did it.
    pub(crate) fn log_as_actor(&self, event: Event) {
        let Event { service, actor, .. } = self.event(event.name);
        self.system.log(&Event {
            service,
            actor,
            ..event
        });
    }

    /// Logs that somebody had no code of the user's where one was asked for.
    pub(crate) fn log_wrong_proof(&self, account: &Account) {
        let event = Event {
            severity: Severity::Warning,
            user: Some(account.name.clone()),
            ..self.event("wrong")
        };
        self.system.log(&event.because("no code of the user's"));
    }

    /// Logs that somebody's wrong answers are forgotten, or everybody's.
    pub(crate) fn log_unlocked(&self, user: Option<&str>) {
        self.system.log(&Event {
            user: user.map(str::to_owned),
            ..self.event("unlocked")
        });
    }

    /// Logs that somebody changed what is counted against an address.
    pub(crate) fn log_address(&self, name: &'static str, address: &Address) {
        self.system.log(&Event {
            address: Some(address.clone()),
            ..self.event(name)
        });
    }

    fn event(&self, name: &'static str) -> Event {
        let uid = totp_host::account::real_uid();
        let mut actor = format!("uid:{uid}");
        if let Some(login) = totp_host::account::login_uid().filter(|login| *login != uid) {
            actor.push_str(&format!(" login:{login}"));
        }
        // What sudo says, and whoever ran su without a login shell may say as well.
        if let Ok(caller) = std::env::var("SUDO_USER") {
            actor.push_str(&format!(" sudo:{caller}"));
        }
        Event {
            service: Some("totpctl".to_owned()),
            actor: Some(actor),
            ..Event::new(Severity::Notice, name)
        }
    }

    /// Does something for everybody who is enrolled, and goes on after one whose records don't let it.
    pub(crate) fn for_everybody(
        &self,
        each: impl Fn(&str) -> Result<(String, Value), Failure>,
    ) -> Result<(), Failure> {
        let (mut lines, mut users, mut failed) = (Vec::new(), Vec::new(), 0_usize);
        for name in self.store().enrolled_names()? {
            let (line, document) = each(&name).unwrap_or_else(|failure| {
                failed = failed.saturating_add(1);
                let error = failure.message().to_owned();
                let document = json!({ "user": name, "error": error });
                (format!("{name}: {error}"), document)
            });
            lines.push(line);
            users.push(document);
        }
        if lines.is_empty() {
            lines.push("Nobody is enrolled.".to_owned());
        }
        let document = json!({ "users": users, "failed": failed });
        self.print(&lines.join("\n"), &document);
        match failed {
            0 => Ok(()),
            _ => Err(Failure::reported()),
        }
    }

    /// Prints what is never shown again.
    ///
    /// # Errors
    /// Where it can't be printed: whoever asked has nothing of it.
    pub(crate) fn print_once(&self, text: &str, document: &Value) -> Result<(), Failure> {
        let printed = match self.json {
            true => output::try_print(format_args!("{document:#}")),
            false => output::try_print(text),
        };
        printed.map_err(|error| {
            Failure::unreachable(format_args!(
                "what was made could not be shown, and it can't be shown again: {error}. Run this once more"
            ))
        })
    }

    /// Prints the outcome: text for a person, or the one document.
    pub(crate) fn print(&self, text: &str, document: &Value) {
        match self.json {
            true => output::print(format_args!("{document:#}")),
            false => output::print(text),
        }
    }
}
