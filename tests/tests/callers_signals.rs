//! A caller who signals, stops, kills, freezes or slows down what asks for a code on their behalf. Numbers are
//! those of the threats it is about.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use end_to_end::case::{Case, ELSEWHERE};
use end_to_end::cgroup::Group;
use end_to_end::clock::{self, EPOCH};
use end_to_end::crowd::Crowd;
use end_to_end::enrolled::Enrolled;
use end_to_end::held::{Held, Stop, holder};
use end_to_end::libpam::Code;
use end_to_end::machine::Machine;
use end_to_end::owners::{self, PASSWORD, counted, owner_gets_in};
use end_to_end::patience::{AT_ONCE, PATIENCE, wait_for};
use end_to_end::product::{ACCOUNT, HOME, PROMPT};
use end_to_end::skipped::skip;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn contender() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_contender"))
}

fn held(case: &Case, stop: Stop, address: &str, answer: &str) -> Held {
    Held::new(contender(), &case.scratch, stop, address, answer)
}

#[test]
fn t20_t28_whatever_the_caller_does_to_its_own_prompt_the_owner_gets_in_at_once() {
    let keys = [('c', true), ('\\', true), ('z', true), ('c', false)];
    let signals = [
        "STOP", "KILL", "TERM", "HUP", "ALRM", "PIPE", "XFSZ", "USR1",
    ];
    let owners = owners::names(keys.len() + signals.len());
    let machine = owners::machine(&owners);
    let mut owners = owners.iter();

    for (key, is_typed) in keys {
        let owner = owners.next().expect("enough");
        let mut phone = machine.enroll(owner);
        let mut held = machine.terminal_as("alice", &["su", owner, "-c", "id -un"]);
        held.answer("Password: ", PASSWORD).see(PROMPT);
        if is_typed {
            held.press(key);
        }
        assert_in_at_once(&machine, owner, &mut phone);
        let before = counted(&machine, owner);
        assert_eq!(before, 0, "ctrl-{key}");
        if !is_typed {
            // Hangs up.
            drop(held);
            assert_in_at_once(&machine, owner, &mut phone);
            assert_eq!(counted(&machine, owner), 0);
            continue;
        }
        let wrong = phone.wrong_code();
        machine.log().keep_secret(&wrong);
        // One that has ended reads nothing.
        held.enter(&wrong);
        let end = held.end();
        let judged = end.said.contains("Invalid One Time Password!");
        assert_eq!(
            u64::from(judged),
            counted(&machine, owner),
            "ctrl-{key}: {end:?}"
        );
        assert_ne!(end.status, 0, "ctrl-{key}: {end:?}");
    }

    for signal in signals {
        let owner = owners.next().expect("enough");
        let mut phone = machine.enroll(owner);
        let mut held = machine.terminal_as("alice", &["su", owner, "-c", "id -un"]);
        held.answer("Password: ", PASSWORD).see(PROMPT);
        let id = machine.run(&format!("pgrep -x -f 'su {owner} -c id -un'"));
        let alice = |signal: &str| {
            let mut command = machine.command_as("alice", &["kill", "-s", signal, id.trim()]);
            let sent = command.status().expect("kill starts").success();
            assert!(sent, "alice can't send {signal} to her own su");
        };
        alice(signal);
        assert_in_at_once(&machine, owner, &mut phone);
        assert_eq!(counted(&machine, owner), 0, "{signal}");
        if signal == "STOP" {
            alice("CONT");
            held.wake();
            held.enter(&phone.wrong_code())
                .see("Invalid One Time Password!");
            assert_eq!(counted(&machine, owner), 1);
        }
        assert_ne!(held.end().status, 0, "{signal}");
        machine
            .log()
            .assert_has(&["event=accepted", &format!("user={owner}")]);
    }
    let lines = machine.log().lines();
    assert!(!lines.iter().any(|line| line.contains("event=killed")));
}

#[track_caller]
fn assert_in_at_once(machine: &Machine, owner: &str, phone: &mut Enrolled) {
    let code = phone.code();
    let began = Instant::now();
    assert!(owner_gets_in(machine, owner, &code), "{owner}");
    let took = began.elapsed();
    // Far below the five seconds that a holder of the lock gets.
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn t20_t21_t28_a_login_stopped_in_the_lock_delays_nobody_for_long_and_no_guess_is_free() {
    let stops = [Stop::BeforeRead, Stop::AfterSave];
    let stopped = |stop: Stop| {
        let case = Case::new();
        let held = held(&case, stop, HOME, &case.wrong());
        let took = case.owner_takes("bin", 0);
        assert!(took < AT_ONCE, "another user waited {took:?}, {stop:?}");
        let took = case.owner_takes(ACCOUNT, 0);
        assert!(took < PATIENCE, "{took:?}, {stop:?}");
        // Nobody heard what became of its guess.
        assert_eq!(held.ended(), Some(Signal::SIGKILL as i32), "{stop:?}");
        let took = case.owner_takes(ACCOUNT, 1);
        assert!(took < AT_ONCE, "{took:?}, {stop:?}");
        let saved = u64::from(stop != Stop::BeforeRead);
        assert_eq!(case.counted(), saved, "{stop:?}");
    };
    thread::scope(|threads| {
        for stop in stops {
            threads.spawn(move || stopped(stop));
        }
    });
}

#[test]
fn t28_a_right_code_of_a_login_stopped_in_the_lock_gets_nobody_in_twice() {
    let case = Case::new();
    let right = case.phone.code_at(EPOCH);
    let held = held(&case, Stop::AfterSave, HOME, &right);
    clock::set(EPOCH);
    let began = Instant::now();
    let code = case
        .scratch
        .login_from(ELSEWHERE, ACCOUNT, right.as_str())
        .code;
    assert_eq!(code, Code::AUTH_ERR, "the save was made");
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(held.ended(), Some(Signal::SIGKILL as i32));
    assert!(case.owner_takes(ACCOUNT, 1) < AT_ONCE);
}

#[test]
fn t26_t28_a_login_killed_in_the_lock_delays_nobody() {
    for stop in [Stop::BeforeRead, Stop::AfterSave] {
        let case = Case::new();
        let held = held(&case, stop, HOME, &case.wrong());
        kill(held.pid, Signal::SIGKILL).expect("it lives");
        assert_eq!(held.ended(), Some(Signal::SIGKILL as i32));
        let took = case.owner_takes(ACCOUNT, 0);
        assert!(took < AT_ONCE, "{took:?}, {stop:?}");
        assert_eq!(
            case.counted(),
            u64::from(stop != Stop::BeforeRead),
            "{stop:?}"
        );
    }
}

#[test]
fn t28_signals_from_the_terminal_wait_until_the_lock_is_free() {
    for signal in [
        "INT", "QUIT", "HUP", "TERM", "TSTP", "TTIN", "XFSZ", "XCPU", "ALRM",
    ] {
        let case = Case::new();
        let inject = format!("pwrite64:signal={signal}");
        let held = Held::traced(contender(), &case.scratch, &inject, HOME, &case.wrong());
        held.wait_for(&format!("SIG{signal}"));
        assert_eq!(holder(&case.scratch), None, "it came in the lock: {signal}");
        assert!(case.owner_takes(ACCOUNT, 0) < AT_ONCE, "{signal}");
        drop(held);
        assert_eq!(case.counted(), 1, "{signal}");
    }
}

#[test]
fn t28_a_real_su_that_its_caller_stops_in_the_lock_is_killed_and_this_is_logged() {
    let owners = owners::names(2);
    let machine = owners::machine(&owners);
    let mut phones: Vec<_> = owners.iter().map(|owner| machine.enroll(owner)).collect();
    let wrong = phones[0].wrong_code();
    machine.log().keep_secret(&wrong);
    let owner = &owners[0];
    // root's strace gives alice the one moment that she would have to hit.
    let attack = format!(
        "strace -u alice -o /tmp/trace -P /var/lib/pam_totp/state/{owner} -e trace=pwrite64 \
         -e inject=pwrite64:signal=STOP su {owner} -c 'id -un'"
    );
    let mut su = machine.terminal(&["sh", "-c", &attack]);
    su.answer("Password: ", PASSWORD).answer(PROMPT, &wrong);
    machine.run("until grep -q 'stopped by SIGSTOP' /tmp/trace; do sleep 0.02; done");
    assert!(owner_gets_in(&machine, &owners[1], &phones[1].code()));
    let lines = machine.log().lines();
    assert!(!lines.iter().any(|line| line.contains("event=killed")));

    let mut carol = machine.terminal_as("carol", &["su", owner, "-c", "id -un"]);
    let began = Instant::now();
    carol
        .answer("Password: ", PASSWORD)
        .answer(PROMPT, &phones[0].code());
    carol.assert_ends_well(owner);
    let took = began.elapsed();
    assert!(took < PATIENCE + AT_ONCE, "{took:?}");
    machine
        .log()
        .assert_has(&["event=killed", "without moving"]);
    let end = su.end();
    assert!(!end.said.contains("Invalid"), "{end:?}");
    assert_ne!(end.status, 0);
    // carol's login has cleared the pool of strangers, but not what alice has left.
    let status = machine.run(&format!("totpctl status {owner} --json"));
    let status: Value = serde_json::from_str(&status).expect("a document");
    let places = status["users"][0]["addresses"].as_array().expect("places");
    let of_alice = places.iter().find(|place| place["familiar"] == false);
    assert_eq!(of_alice.expect("a place")["attempts_left"], 2, "{status}");
}

#[test]
fn t20_t21_t28_a_login_frozen_in_the_lock_delays_nobody_for_long() {
    let Some(group) = Group::new("cgroup2", "frozen", "cgroup.freeze") else {
        return skip("no writable cgroup v2 to freeze in; tested with SIGSTOP");
    };
    let case = Case::new();
    let mut held = held(&case, Stop::AfterSave, HOME, &case.wrong());
    group.add(u32::try_from(held.pid.as_raw()).expect("an id"));
    group.set("cgroup.freeze", "1");
    // Without its tracer and continued, only the group holds it.
    held.strace.kill().expect("it runs");
    held.strace.wait().expect("a child");
    kill(held.pid, Signal::SIGCONT).expect("it lives");
    wait_for("the frost", || {
        fs::read_to_string(group.path().join("cgroup.events"))
            .is_ok_and(|text| text.contains("frozen 1"))
    });
    assert_eq!(holder(&case.scratch), Some(held.pid));
    let took = case.owner_takes("bin", 0);
    assert!(took < AT_ONCE, "another user waited {took:?}");
    let took = case.owner_takes(ACCOUNT, 0);
    assert!(took < PATIENCE, "{took:?}");
    wait_for("the end", || {
        kill(held.pid, None) == Err(Errno::ESRCH) || is_dead(held.pid)
    });
    assert!(case.owner_takes(ACCOUNT, 1) < AT_ONCE);
    assert_eq!(case.counted(), 1);
    drop(held);
}

fn is_dead(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z"))
}

#[test]
fn t20_a_hundred_throttled_logins_do_not_queue_the_owner_out() {
    let v1 = Group::new("cgroup", "slow", "cpu.cfs_quota_us");
    let v2 = || Group::new("cgroup2", "slow", "cpu.max");
    let Some(group) = v1.or_else(v2) else {
        return skip("no writable group with a limit on processors");
    };
    let throttle = |percent: Option<u32>| {
        if group.path().join("cpu.max").exists() {
            let quota = percent.map_or("max".to_owned(), |percent| (percent * 1000).to_string());
            group.set("cpu.max", &format!("{quota} 100000"));
        } else {
            let quota = percent.map_or("-1".to_owned(), |percent| (percent * 1000).to_string());
            group.set("cpu.cfs_quota_us", &quota);
        }
    };
    let case = Case::new();
    let wrong: Vec<_> = case.phone.wrong_codes_at(EPOCH).take(100).collect();
    let mut crowd = Crowd::new(contender(), &case.scratch, [ACCOUNT; 100]);
    for pid in crowd.ids() {
        group.add(pid);
    }
    let state = || fs::read(case.scratch.state(ACCOUNT)).expect("a state");
    let before = state();
    thread::scope(|threads| {
        let rush = threads.spawn(|| {
            let answers = wrong.iter().map(String::as_str);
            crowd.rush_after("inside", EPOCH, HOME, answers, || throttle(Some(1)))
        });
        wait_for("the first of them", || {
            state() != before || holder(&case.scratch).is_some()
        });
        let took: Vec<_> = (0..3).map(|step| case.owner_takes(ACCOUNT, step)).collect();
        println!("the owner took {took:?}");
        throttle(None);
        // They move, if slowly: each of the three that are judged may hold the lock for seconds.
        assert!(took[0] < 3 * PATIENCE, "{took:?}");
        assert!(took[1..].iter().all(|took| *took < AT_ONCE), "{took:?}");
        let ended = rush.join().expect("the crowd");
        let judged = ended.iter().filter(|one| one.is_wrong()).count();
        assert!(judged <= 3, "{ended:?}");
    });
}
