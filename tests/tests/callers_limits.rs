//! What limits, environment, folder and files a caller leaves to the real su and sudo that ask for a code on
//! their behalf. Numbers are those of the threats it is about.

use end_to_end::hostile::{Hostile, may_raise_limits};
use end_to_end::machine::output;
use end_to_end::owners::{self, PASSWORD, attempt, counted, owner_gets_in, unlock};
use end_to_end::said::Said;
use end_to_end::thief::{assert_none_is_free, assert_none_is_free_in};

#[test]
fn t27_whatever_limits_the_caller_sets_no_guess_is_free_through_real_su() {
    let mut cases = vec![Hostile::PLAIN];
    for bytes in [0, 1, 4096] {
        for kind in ["", ":"] {
            let limit = format!("prlimit --fsize={bytes}{kind}");
            let harmless = kind == ":" || may_raise_limits();
            cases.push(Hostile::su("", &limit, harmless));
            cases.push(Hostile::su("trap '' XFSZ", &limit, harmless));
        }
    }
    for files in 3..=16 {
        cases.push(Hostile::su("", &format!("prlimit --nofile={files}"), false));
    }
    cases.push(Hostile::su("", "prlimit --nofile=4:", false));
    for limit in [
        "nproc=0",
        "cpu=1",
        "cpu=1:",
        "core=unlimited",
        "memlock=0",
        "sigpending=0",
        "msgqueue=0",
        "locks=0",
        "nice=0",
        "rtprio=0",
    ] {
        cases.push(Hostile::su(
            "",
            &format!("prlimit --{limit}"),
            limit != "nproc=0",
        ));
    }
    for kilobytes in [64, 128, 256, 1024] {
        cases.push(Hostile::su(
            "",
            &format!("prlimit --stack={}", kilobytes << 10),
            false,
        ));
    }
    for kilobytes in [0, 128, 512, 1024] {
        cases.push(Hostile::su(
            "",
            &format!("prlimit --data={}", kilobytes << 10),
            false,
        ));
    }
    let all = "prlimit --fsize=0 --nofile=8 --nproc=0 --cpu=1 --stack=131072 --core=0";
    cases.push(Hostile::su("trap '' XFSZ XCPU CHLD", all, false));
    assert_none_is_free(&cases);
}

#[test]
fn t27_however_little_memory_the_caller_leaves_no_guess_is_free_through_real_su() {
    let steps = [
        0, 128, 256, 384, 512, 640, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16_384,
    ];
    let owners = owners::names(steps.len());
    let machine = owners::machine(&owners);
    // The least with which su and the password alone do.
    machine.run("grep -v pam_totp /etc/pam.d/su >/etc/pam.d/su-l");
    let does = |kilobytes: usize| {
        let limit = format!("ulimit -v {kilobytes}; exec su - {} -c true", owners[0]);
        let command = machine.command_as("alice", &["sh", "-c", &limit]);
        output(command, format!("{PASSWORD}\n").as_bytes())
            .status
            .success()
    };
    let (mut too_little, mut enough) = (1 << 10, 64 << 10);
    assert!(does(enough));
    while enough - too_little > 128 {
        let middle = (enough + too_little) / 2;
        if does(middle) {
            enough = middle;
        } else {
            too_little = middle;
        }
    }
    println!("the password alone does with {enough} kB");
    let cases: Vec<_> = steps
        .iter()
        .map(|more| {
            Hostile::su(
                "",
                &format!("prlimit --as={}", (enough + more) << 10),
                *more == 16_384,
            )
        })
        .collect();
    assert_none_is_free_in(&machine, &owners, &cases);
}

#[test]
fn t27_whatever_limits_the_caller_sets_no_guess_is_free_through_real_sudo() {
    let limits = [
        "fsize=0",
        "fsize=1:",
        "nofile=4",
        "nofile=6",
        "nproc=0",
        "cpu=1",
        "stack=131072",
        "as=12000000",
        "as=16000000",
        "core=unlimited",
    ];
    let cases: Vec<_> = limits
        .iter()
        .map(|limit| Hostile::sudo(&format!("prlimit --{limit}")))
        .collect();
    assert_none_is_free(&cases);
}

#[test]
fn t10_t37_t39_t40_neither_environment_nor_umask_nor_folder_nor_handlers_change_anything() {
    let variables = [
        "TZ=:/etc/shadow",
        "TZ=../../../dev/tty",
        "LANG=xx_YY.UTF-8 LC_ALL=tr_TR.UTF-8 LANGUAGE=tlh",
        "LD_PRELOAD=/lib/x86_64-linux-gnu/libm.so.6 LD_LIBRARY_PATH=/tmp LD_AUDIT=/tmp/audit.so LD_BIND_NOW=1",
        "HOME=/tmp/evil TMPDIR=/nowhere",
        "RUST_BACKTRACE=full RUST_LOG=trace RUST_MIN_STACK=0 RUST_LIB_BACKTRACE=1",
        "PAM_TOTP_CONFIG=/tmp/evil/pam_totp.toml PAM_TOTP_STATEDIR=/tmp/evil PAM_TOTP=off TOTP_CONFIG=/tmp/evil",
        "XDG_CONFIG_HOME=/tmp/evil XDG_DATA_HOME=/tmp/evil XDG_STATE_HOME=/tmp/evil XDG_RUNTIME_DIR=/tmp/evil",
        "GLIBC_TUNABLES=glibc.malloc.check=3 MALLOC_PERTURB_=90 MALLOC_CHECK_=3 LIBC_FATAL_STDERR_=1",
        "SSH_CONNECTION='192.0.2.1 1 192.0.2.2 22' SUDO_USER=root SUDO_UID=0 LOGNAME=root USER=root",
        "PATH=/nowhere IFS=x HOSTALIASES=/etc/shadow LOCALDOMAIN=x NLSPATH=/tmp/%N GCONV_PATH=/tmp",
    ];
    let mut cases: Vec<_> = variables
        .iter()
        .map(|variables| Hostile::su("", &format!("/usr/bin/env {variables}"), true))
        .collect();
    let gone = "mkdir /tmp/gone$$; cd /tmp/gone$$; rmdir /tmp/gone$$";
    for (prelude, wrapper) in [
        ("umask 000", ""),
        ("umask 777", ""),
        (gone, ""),
        ("cd /proc/self/fdinfo", ""),
        ("trap '' CHLD", ""),
        (
            "trap '' INT QUIT TERM HUP PIPE ALRM USR1 USR2 TSTP TTIN TTOU CONT",
            "",
        ),
        ("", "env --block-signal"),
        ("", "nice -n 19"),
    ] {
        cases.push(Hostile::su(prelude, wrapper, true));
    }
    let owners = owners::names(cases.len());
    let machine = owners::machine(&owners);
    // Under it nobody is enrolled and nobody needs to be.
    machine.run("install -d -m 700 /tmp/evil /tmp/evil/secrets /tmp/evil/state");
    let config = "secret_dir = \"/tmp/evil/secrets\"\nstate_dir = \"/tmp/evil/state\"\n\
                  [policy]\nunenrolled = \"skip\"\n";
    machine.feed("cat >/tmp/evil/pam_totp.toml", config);
    machine.run("chmod -R go+rX /tmp/evil; cp /tmp/evil/pam_totp.toml /tmp/evil/.pam_totp.toml");
    let before = machine.run("find /tmp/evil");
    assert_none_is_free_in(&machine, &owners, &cases);
    assert_eq!(machine.run("find /tmp/evil"), before);
}

#[test]
fn t38_t39_closed_and_inherited_files_and_the_first_use_of_run_dir() {
    let owners = owners::names(7);
    let machine = owners::machine(&owners);
    let mut phones: Vec<_> = owners.iter().map(|owner| machine.enroll(owner)).collect();

    // su has nothing to read then: nobody answered, which is no guess.
    let run = |redirections: &str, user: &str, code: &str| {
        machine.log().keep_secret(code);
        let script = format!("exec \"$@\" {redirections}");
        let words = [
            "sh",
            "-c",
            &script,
            "sh",
            "su",
            user,
            "-c",
            "id -un >/tmp/who",
        ];
        let command = machine.command_as("alice", &words);
        Said::new(&output(command, format!("{PASSWORD}\n{code}\n").as_bytes()))
    };
    for redirections in ["<&-", "<&- >&- 2>&-"] {
        let said = run(redirections, &owners[0], &phones[0].wrong_code());
        assert_ne!(said.code, Some(0));
        assert_eq!(said.is_judged() as u64, counted(&machine, &owners[0]));
    }
    assert!(owner_gets_in(&machine, &owners[0], &phones[0].code()));

    // It reads, and nothing shows what it says.
    let said = run(">&- 2>&-", &owners[1], &phones[1].wrong_code());
    assert_eq!((said.out, said.err), (String::new(), String::new()));
    let wrong = format!("event=wrong user={} ", owners[1]);
    machine.log().assert_has(&[&wrong]);
    assert_eq!(counted(&machine, &owners[1]), 1);
    run(">&- 2>&-", &owners[1], &phones[1].code());
    assert_eq!(machine.run("cat /tmp/who"), format!("{}\n", owners[1]));
    assert!(owner_gets_in(&machine, &owners[1], &phones[1].code()));

    let perl = "use POSIX; for (1..10000) { POSIX::dup(0) // die $! } exec @ARGV or die";
    for (limit, has_room, user) in [(16_384, true, 2), (10_010, false, 3)] {
        let owner = &owners[user];
        let limited = |code: &str| {
            machine.log().keep_secret(code);
            let command = format!(
                "ulimit -n {limit}; exec setpriv --reuid alice --regid alice --init-groups \
                 perl -e '{perl}' su {owner} -c 'id -un'"
            );
            let command = machine.command(&["sh", "-c", &command]);
            Said::new(&output(command, format!("{PASSWORD}\n{code}\n").as_bytes()))
        };
        let said = limited(&phones[user].wrong_code());
        assert!(said.is_judged() || !has_room, "{said:?}");
        assert_eq!(u64::from(said.is_judged()), counted(&machine, owner));
        let right = phones[user].code();
        // The session fails after it: it is given 1024 files at most.
        limited(&right);
        let line = format!("event=accepted user={owner} ");
        let lines = machine.log().lines();
        let accepted = lines.iter().any(|logged| logged.contains(&line));
        assert_eq!(accepted, said.is_judged(), "{said:?}");
        assert_eq!(owner_gets_in(&machine, owner, &right), !accepted);
        unlock(&machine, owner);
        assert!(owner_gets_in(&machine, owner, &phones[user].code()));
    }

    let first_uses = [
        ("umask 000", "", 4),
        ("umask 777", "", 5),
        ("", "prlimit --fsize=0:", 6),
    ];
    for (umask, limit, user) in first_uses {
        machine.run("rm -rf /run/pam_totp");
        let hostile = Hostile::su(umask, limit, true);
        let said = attempt(
            &machine,
            "alice",
            &hostile,
            &owners[user],
            &phones[user].wrong_code(),
        );
        assert!(said.is_judged(), "{said:?}");
        let made = machine.run("find /run/pam_totp -printf '%y %m %u %f\\n' | sort");
        let lines: Vec<_> = made.lines().collect();
        assert_eq!(lines[0], "d 700 root pam_totp", "{hostile:?}:\n{made}");
        assert!(lines.len() > 1, "{hostile:?}:\n{made}");
        for file in &lines[1..] {
            assert!(
                file.starts_with("f 600 root ") && !file.contains(".new"),
                "{hostile:?}:\n{made}"
            );
        }
        assert!(owner_gets_in(&machine, &owners[user], &phones[user].code()));
    }
}
