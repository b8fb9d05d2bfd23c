use super::*;
use crate::policy::Unenrolled;
use crate::time::{Span, Time};

#[test]
fn no_key_is_needed() {
    let config = Config::parse("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.state_dir, Path::new("/var/lib/pam_totp/state"));
    assert_eq!(
        (config.verify.window.get(), config.verify.max_drift.get()),
        (1, 10)
    );
    assert_eq!(config.limits.deny.get(), 3);
    assert_eq!(config.limits.interval, Span::from_minutes(15));
    assert_eq!(config.limits.lock_time, Span::from_minutes(10));
    assert_eq!(config.policy.unenrolled, Unenrolled::Deny);
}

#[test]
fn every_key_is_taken() {
    let config = Config::parse(
        "secret_dir = '/s'\nstate_dir = '/t'\nrun_dir = '/r'\nissuer = 'Bank of Examples'\n\
         [verify]\nwindow = 0\nmax_drift = 3\nresync_range = 0\ntries = 3\n\
         [limits]\ndeny = 5\ninterval = '1h'\nlock_time = '90s'\naddress_deny = 0\ndaily = 32\n\
         user_limit = 1_000_000\nfamiliar_for = '0s'\nexempt = ['10.0.0.0/8', \"2001:db8::/32\"]\n\
         [policy]\nunenrolled = 'skip'\nlocal_users_only = true\nenroll_with = 'password'\n\
         enroll_until = 2027-01-31\nenroll_from = ['10.0.0.0/8']\ntrust = '12h'\ndisable_confirm = 'both'\n\
         [[policy.rule]]\nservice = ['sshd', 'login']\nuser = ['alice']\ngroup = ['wheel']\n\
         network = ['10.0.0.0/8']\nsecond_factor = 'required'\nfrom = 2027-02-28\n\
         [[policy.rule]]\nsecond_factor = 'never'\n\
         [backup_codes]\ncount = 16\nsend = 'mail'\n\
         [delivery.mail]\ncommand = ['/usr/bin/msmtp', '-t']\nuser = 'mail'\nfrom = 'totp@b.c'\n\
         template = '/etc/mail.txt'\ndigits = 8\nlifetime = '5m'\nresend_after = '10s'\nper_hour = 8\n\
         [delivery.text]\ncommand = ['/usr/local/bin/sms', '{address}']\nlifetime = '90s'\n\
         [notify]\ncommand = ['/usr/sbin/sendmail', '-t']\nuser = 'mail'\nfrom = 'totp@b.c'\ncopy_to = 'soc@b.c'\n",
    )
    .unwrap();
    assert_eq!(config.secret_dir, Path::new("/s"));
    assert_eq!(
        config.issuer.as_ref().map(Issuer::as_str),
        Some("Bank of Examples")
    );
    assert_eq!(config.limits.lock_time, Span::from_seconds(90));
    assert_eq!(config.limits.address_deny.get(), 0);
    assert_eq!(config.limits.user_limit.get(), 1_000_000);
    let exempt = |address| config.exempts(&Address::named(address).unwrap());
    assert!(exempt("10.1.2.3") && exempt("2001:db8:9::1"));
    assert!(!exempt("11.1.2.3") && !exempt("2001:db9::1") && !exempt("local"));
    let policy = &config.policy;
    assert_eq!(policy.unenrolled, Unenrolled::Skip);
    assert!(policy.local_users_only && policy.enroll_with == EnrollWith::Password);
    assert_eq!(policy.enroll_until, Time::of_date("2027-01-31"));
    assert_eq!(policy.trust, Span::from_minutes(12 * 60));
    let lines: Vec<_> = policy.rules.iter().map(|rule| rule.line).collect();
    assert_eq!(lines, [27, 34]);
    let shown = policy.rules[0].to_string();
    assert_eq!(
        shown,
        "service sshd or login, user alice, group wheel, network 10.0.0.0/8"
    );
    assert_eq!(policy.rules[1].to_string(), "every login");
    assert_eq!(policy.rules[0].from, Time::of_date("2027-02-28"));
    assert!(config.mail_backup_codes);
    let mail = &config.mail;
    assert_eq!(
        (mail.gateway.command.len(), mail.gateway.user.as_str()),
        (2, "mail")
    );
    assert_eq!((mail.digits.get(), mail.per_hour.get()), (8, 8));
    assert_eq!(mail.lifetime, Span::from_minutes(5));
    let text = config.text.unwrap();
    assert_eq!(text.lifetime, Span::from_seconds(90));
    assert_eq!(text.gateway.user, "nobody");
    let copy_to = config.notify.unwrap().copy_to.unwrap();
    assert_eq!(copy_to.address(), "soc@b.c");
}

#[test]
fn t36_every_mistake_is_refused_with_its_place() {
    for (text, line, words) in [
        ("secret_dir = 'relative'", 1, "absolute path"),
        (
            "secret_dir = '/a'\nstate_dir = '/a'",
            2,
            "another folder than secret_dir",
        ),
        (
            "state_dir = '/a'\nrun_dir = '/a'",
            2,
            "run_dir to be another folder",
        ),
        (
            "secret_dir = '/run/pam_totp'",
            1,
            "run_dir to be another folder",
        ),
        (
            "\n\ncolour = 1",
            3,
            "unknown key \"colour\", expected one of secret_dir",
        ),
        (
            "[limits]\ndenny = 3",
            2,
            "unknown key \"denny\", expected one of deny, interval, lock_time, address_deny, \
             daily, user_limit, familiar_for, exempt",
        ),
        ("[limit]\ndeny = 3", 1, "unknown key \"limit\""),
        ("[limits]\ndeny = 33", 2, "a whole number from 0 to 32"),
        ("[limits]\ndeny = -1", 2, "a whole number from 0 to 32"),
        ("[limits]\ndeny = '3'", 2, "a whole number from 0 to 32"),
        ("[limits]\ndeny = 3\ndeny = 4", 3, "duplicate key"),
        (
            "[limits]\ninterval = 15",
            2,
            "a whole number and one of s, m, h, d",
        ),
        (
            "[limits]\ninterval = '15'",
            2,
            "a whole number and one of s, m, h, d",
        ),
        ("[backup_codes]\ncount = 17", 2, "from 1 to 16"),
        ("[backup_codes]\nsend = 'text'", 2, "expected \"mail\""),
        ("[delivery]\nfax = 1", 2, "unknown key \"fax\""),
        ("[delivery.text]\nlifetime = '60s'", 1, "command is missing"),
        ("[delivery.text]\ncommand = ['/bin/sms']", 2, "{address}"),
        (
            "[delivery.mail]\ncommand = ['sendmail']",
            2,
            "absolute path",
        ),
        (
            "[delivery.mail]\ncommand = '/bin/sendmail -t'",
            2,
            "absolute path",
        ),
        (
            "[delivery.mail]\ncommand = ['/bin/m', '--to={address}']",
            2,
            "whole one",
        ),
        ("[delivery.mail]\nuser = 'root'", 2, "other than root"),
        (
            "[delivery.mail]\nfrom = 'a@b.c, d@e.f'",
            2,
            "one mail address",
        ),
        (
            "[delivery.mail]\nlifetime = '1h'",
            2,
            "from \"10s\" to \"15m\"",
        ),
        ("[delivery.mail]\nper_hour = 9", 2, "from 1 to 8"),
        ("[notify]\ncopy_to = 'a@b.c'", 1, "command is missing"),
        ("[verify]\nwindow = 11", 2, "from 0 to 10"),
        ("[verify]\nmax_drift = 101", 2, "from 0 to 100"),
        ("[verify]\ntries = 0", 2, "from 1 to 10"),
        (
            "[policy]\nunenrolled = 'allow'",
            2,
            "expected \"deny\", \"skip\" or \"enroll\"",
        ),
        ("[policy]\nlocal_users_only = 1", 2, "true or false"),
        ("[policy]\nenroll_until = '2027-01-31'", 2, "without quotes"),
        ("[policy]\nenroll_until = 2027-01-31T10:00:00Z", 2, "a date"),
        (
            "[[policy.rule]]\n\nservice = ['sshd']",
            1,
            "second_factor is missing",
        ),
        (
            "[[policy.rule]]\nsecond_factor = 'always'",
            2,
            "\"required\", \"if-enrolled\" or \"never\"",
        ),
        (
            "[[policy.rule]]\nsecond_factor = 'never'\nservice = []",
            3,
            "at least one",
        ),
        (
            "[[policy.rule]]\nsecond_factor = 'never'\nservice = 'sshd'",
            3,
            "between quotes",
        ),
        (
            "[[policy.rule]]\nsecond_factor = 'never'\ngroup = ['a', '']",
            3,
            "between quotes",
        ),
        (
            "[[policy.rule]]\nsecond_factor = 'never'\nfrom = 2027-01-31",
            3,
            "\"required\" only",
        ),
        (
            "[[policy.rule]]\nsecond_factor = 'never'\n[[policy.rule]]\ncolour = 1\nsecond_factor = 'never'",
            4,
            "unknown key \"colour\"",
        ),
        ("[policy.rule]\nsecond_factor = 'never'", 1, "[[name]]"),
        ("[limits]\naddress_deny = 29", 2, "from 0 to 28"),
        ("[limits]\ninterval = '0s'", 2, "at least"),
        ("[limits]\nlock_time = '0m'", 2, "at least"),
        ("[limits]\ndaily = 33", 2, "from 0 to 32"),
        ("[limits]\nexempt = '10.0.0.0/8'", 2, "expected networks"),
        ("[limits]\nexempt = ['10.0.0.1/8']", 2, "10.0.0.0/8"),
        (
            "[limits]\n[verify]\n[limits]",
            3,
            "[limits] stands at line 1",
        ),
        (
            "[delivery.mail]\n[delivery.mail]",
            2,
            "[delivery.mail] stands at line 1",
        ),
        ("limits.deny = 3\n[limits]", 2, "stands at line 1"),
        ("limits = 3\n[limits]", 2, "duplicate table"),
        (
            "[limits]\nexempt = ['10.0.0.0/8', 1]",
            2,
            "expected networks",
        ),
        (
            "[limits]\nexempt = [['10.0.0.0/8']]",
            2,
            "expected networks",
        ),
        (
            "[limits]\nexempt = [{a = '10.0.0.0/8'}]",
            2,
            "expected networks",
        ),
        ("issuer = 'a:b'", 1, "without a colon"),
        ("issuer = ''", 1, "1 to 64 printable"),
        ("issuer = \"a\\u001bb\"", 1, "printable"),
        ("limits = 3", 1, "expected a table"),
        ("verify = []", 1, "expected a table"),
        ("limits = { deny = 1 }", 1, "written [name]"),
        ("[[limits]]\ndeny = 1", 1, "expected one table"),
        ("[limits.deny]\nx = 1", 1, "expected a value, found a table"),
        (
            "[limits]\ndeny.max = 1",
            2,
            "expected a value, found a table",
        ),
        ("[[verify]]\nwindow = 0", 1, "expected one table"),
        ("[secret_dir]", 1, "expected a value, found a table"),
        ("[secret_dir.a]", 1, "expected a value, found a table"),
        ("[limits.a.b]", 1, "unknown key"),
        ("[notify.x]", 1, "command is missing"),
        ("[[notify.hook]]", 1, "command is missing"),
        (
            "[delivery.text.sms]\ncommand = ['/bin/sms', '{address}']",
            1,
            "command is missing",
        ),
        (
            "[delivery.text.x]\n[delivery]\ntext.command = '/a'",
            3,
            "absolute path",
        ),
        ("[x.y]\n[z]\n[x]", 1, "unknown key \"x\""),
        ("[policy.rule.x]", 1, "[[name]]"),
        (
            "[[policy.rule]]\nsecond_factor = 'never'\n[policy]\nrule.user = ['a']",
            4,
            "several of [[policy.rule]]",
        ),
        (
            "secret_dir = '/a'\n[secret_dir.b]",
            2,
            "a value and no table",
        ),
        (
            "secret_dir = '/a'\nsecret_dir.b = 1",
            2,
            "a value and no table",
        ),
        ("x", 1, ""),
        ("secret_dir = '/a'\n=", 2, ""),
    ] {
        let error = Config::parse(text).expect_err(text);
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}
