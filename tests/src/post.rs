//! A mail server on loopback, and a sendmail that hands over to it.

use crate::machine::Machine;
use crate::patience::wait_for;

/// A machine's mail server: what it takes is kept in a Maildir. It ends when this is dropped, before its machine does.
pub struct Post<'a> {
    machine: &'a Machine,
    server: String,
}

/// A mail that was received.
#[derive(Clone, Debug)]
pub struct Mail(String);

impl<'a> Post<'a> {
    /// Starts the server, and makes msmtp the machine's sendmail.
    pub fn of(machine: &'a Machine) -> Self {
        machine.feed("install -m 644 /dev/fd/0 /etc/msmtprc", MSMTPRC);
        machine.run("ln -sf /usr/bin/msmtp /usr/sbin/sendmail");
        let server = machine.run(&format!(
            "python3 -m aiosmtpd -n -c aiosmtpd.handlers.Mailbox {BOX} -l 127.0.0.1:2525 >/dev/null 2>&1 </dev/null & echo $!"
        ));
        let post = Self {
            machine,
            server: server.trim().to_owned(),
        };
        wait_for("the mail server", || {
            let open = "bash -c ': </dev/tcp/127.0.0.1/2525' 2>/dev/null && echo open || true";
            machine.run(open).contains("open")
        });
        post
    }

    /// The mails that were received, once there are so many.
    pub fn mails(&self, count: usize) -> Vec<Mail> {
        let list = || {
            self.machine
                .run(&format!("ls -tr {BOX}/new 2>/dev/null || true"))
        };
        wait_for("mail", || list().lines().count() >= count);
        let names = list();
        let mails: Vec<Mail> = names
            .lines()
            .map(|name| Mail(self.machine.run(&format!("cat '{BOX}/new/{name}'"))))
            .collect();
        assert_eq!(mails.len(), count, "{mails:?}");
        mails
    }

    /// The last of so many mails.
    pub fn last(&self, count: usize) -> Mail {
        self.mails(count).pop().expect("a mail")
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        self.machine.run(&format!("kill {}", self.server));
    }
}

impl Mail {
    /// A header, where there is exactly one of that name.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let (headers, _) = self.parts();
        let mut values = headers.lines().filter_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values
            .next()
            .unwrap_or_else(|| panic!("no {name} in {headers}"));
        assert_eq!(values.next(), None, "{name} stands there twice");
        value
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once("\n\n").expect("headers and a text")
    }
}

const BOX: &str = "/var/mail/received";
const MSMTPRC: &str = "account default\nhost 127.0.0.1\nport 2525\nfrom root@machine.example\n";
