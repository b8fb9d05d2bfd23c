//! What every command needs: the configuration, the machine, and who is asking.

use std::io::{self, Write};
use std::path::Path;

use totp_core::address::Address;
use totp_core::config::Config;
use totp_core::device::{Device, DeviceName};
use totp_core::doors::{Account, System};
use totp_core::event::{Change, Event, Severity};
use totp_core::record::{Enrollment, State};
use totp_host::store::FileStore;
use totp_host::system::Machine;

use crate::failure::{Failure, not_enrolled};

pub(crate) struct Context {
    pub(crate) config: Config,
    /// One JSON document on stdout, people's text on stderr.
    pub(crate) json: bool,
    system: Machine<fn(&Event)>,
}

impl Context {
    pub(crate) fn new(config: Option<&Path>, json: bool) -> Result<Self, Failure> {
        Ok(Self {
            config: totp_host::config::load(config)?,
            json,
            system: Machine::new(totp_host::log::log),
        })
    }

    pub(crate) fn system(&self) -> &dyn System {
        &self.system
    }

    pub(crate) fn store(&self) -> FileStore<'_> {
        FileStore::new(&self.config, &self.system)
    }

    pub(crate) fn account(&self, user: &str) -> Result<Account, Failure> {
        let account = self.system.account(user).map_err(Failure::unreachable)?;
        account.ok_or_else(|| Failure::refused(format_args!("there is no account named {user:?}")))
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
        let user = &account.name;
        enrollment.device(name).cloned().ok_or_else(|| {
            Failure::refused(format_args!(
                "{user} has no device named {name}: totpctl device list {user} shows which there are"
            ))
        })
    }

    /// Tells the log of each change of somebody's factors. Whoever else is to hear of them is told here.
    pub(crate) fn changed(&self, change: Change, account: &Account, device: Option<&DeviceName>) {
        self.system.log(&Event {
            user: Some(account.name.clone()),
            device: device.map(DeviceName::to_string),
            ..self.event(change.name())
        });
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
        let actor = match std::env::var("SUDO_USER") {
            Ok(caller) => format!("uid:{uid} sudo:{caller}"),
            Err(_) => format!("uid:{uid}"),
        };
        Event {
            service: Some("totpctl".to_owned()),
            actor: Some(actor),
            ..Event::new(Severity::Notice, name)
        }
    }

    /// Prints the outcome: text for a person, or the one document.
    pub(crate) fn print(&self, text: &str, document: &serde_json::Value) {
        // What was done is done, whether or not anybody reads of it.
        let _ = if self.json {
            writeln!(io::stdout(), "{document:#}")
        } else {
            writeln!(io::stdout(), "{text}")
        };
    }
}
