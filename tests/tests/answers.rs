//! Everything a person, or a program in its place, can answer to the prompt.

use end_to_end::clock::{self, EPOCH};
use end_to_end::libpam::{Code, Message, Reply};
use end_to_end::phone::Phone;
use end_to_end::product::{ACCOUNT, BY_PLACE, NO_LIMITS, PROMPT, Scratch, attempts_left};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Accepted,
    /// Refused and counted as a guess.
    Wrong,
    /// Refused and not counted.
    NoGuess,
}
use Verdict::{Accepted, NoGuess, Wrong};

/// The answers to try where `code` is right.
fn answers(code: &str) -> Vec<(&'static str, Reply, Verdict)> {
    let (left, right) = code.split_at(3);
    let text = |text: String| Reply::Text(text.into_bytes());
    let digits = |first: char| {
        let digit = |byte| char::from_u32(first as u32 + u32::from(byte - b'0'));
        text(
            code.bytes()
                .map(|byte| digit(byte).expect("a digit"))
                .collect(),
        )
    };
    let bytes =
        |before: &[u8], after: &[u8]| Reply::Text([before, code.as_bytes(), after].concat());
    vec![
        ("the code", text(code.into()), Accepted),
        (
            "with a blank inside",
            text(format!("{left} {right}")),
            Accepted,
        ),
        (
            "with a dash inside",
            text(format!("{left}-{right}")),
            Accepted,
        ),
        ("with blanks around", text(format!("  {code} ")), Accepted),
        (
            "with blanks everywhere",
            text(code.chars().map(|c| format!("{c} ")).collect()),
            Accepted,
        ),
        ("with bytes after a NUL", bytes(b"", b"\0\xff7"), Accepted),
        ("the last five digits", text(code[1..].into()), Wrong),
        ("the first five digits", text(code[..5].into()), Wrong),
        ("one digit more", text(format!("{code}0")), Wrong),
        ("one zero before", text(format!("0{code}")), Wrong),
        ("two digits more", text(format!("{code}00")), Wrong),
        ("the code twice", text(format!("{code}{code}")), Wrong),
        (
            "the code twice, apart",
            text(format!("{code} {code}")),
            Wrong,
        ),
        ("letters", text("abcdef".into()), Wrong),
        ("a letter after the code", text(format!("{code}a")), Wrong),
        ("a letter before the code", text(format!("a{code}")), Wrong),
        ("a sign", text(format!("+{code}")), Wrong),
        ("a point inside", text(format!("{left}.{right}")), Wrong),
        ("full-width digits", digits('０'), Wrong),
        ("arabic digits", digits('٠'), Wrong),
        (
            "a byte that is no UTF-8 after it",
            bytes(b"", b"\xff"),
            Wrong,
        ),
        (
            "a byte that is no UTF-8 before it",
            bytes(b"\xc3", b""),
            Wrong,
        ),
        (
            "nothing but bad UTF-8",
            Reply::Text(vec![0xfe, 0xff, 0x80]),
            Wrong,
        ),
        ("ten kilobytes of digits", text("7".repeat(10_240)), Wrong),
        ("a megabyte of digits", text("7".repeat(1 << 20)), Wrong),
        (
            "the code behind too many blanks",
            text(format!("{}{code}", " ".repeat(600))),
            Wrong,
        ),
        (
            "the code before too many digits",
            text(format!("{code}{}", "0".repeat(600))),
            Wrong,
        ),
        (
            "half the code before a NUL",
            text(format!("{left}\0{right}")),
            Wrong,
        ),
        ("an empty text", text(String::new()), NoGuess),
        ("a text empty to C", text(format!("\0{code}")), NoGuess),
        ("no text", Reply::Null, NoGuess),
        ("no responses", Reply::NoArray, NoGuess),
        (
            "a failed conversation",
            Reply::Fail(Code::CONV_ERR),
            NoGuess,
        ),
        ("come again", Reply::Fail(Code::CONV_AGAIN), NoGuess),
        ("an abort", Reply::Fail(Code::ABORT), NoGuess),
        (
            "a code libpam doesn't know",
            Reply::Fail(Code(4711)),
            NoGuess,
        ),
    ]
}

#[test]
fn t11_t16_only_the_right_digits_are_accepted_and_only_guesses_count() {
    let phone = Phone::new(Phone::SECRET);
    let scratch = Scratch::new(BY_PLACE);
    scratch.enroll(ACCOUNT, &phone);
    let wrong = phone.wrong_code_at(EPOCH);
    clock::set(EPOCH);
    let cases = answers(&phone.code_at(EPOCH)).len();
    for case in 0..cases {
        // A fresh code and an address without a past for each.
        let now = EPOCH + case as i64 * 7200;
        let address = format!("198.51.100.{case}");
        clock::set(now);
        let (name, reply, verdict) = answers(&phone.code_at(now)).swap_remove(case);

        let outcome = scratch.login_from(&address, ACCOUNT, reply);
        let expected = if verdict == Accepted {
            Code::SUCCESS
        } else {
            Code::AUTH_ERR
        };
        assert_eq!(outcome.code, expected, "{name}");
        assert_eq!(outcome.asked(), [PROMPT], "{name}");
        if verdict == Wrong {
            assert_eq!(outcome.told(), [attempts_left(2)], "{name}");
        }

        let after = scratch.login_from(&address, ACCOUNT, wrong.as_str());
        let left = if verdict == Wrong { 1 } else { 2 };
        assert_eq!(
            after.told(),
            [attempts_left(left)],
            "a wrong code after {name}"
        );
    }
}

#[test]
fn answers_of_an_eight_digit_phone_are_not_cut() {
    let phone = Phone {
        digits: 8,
        ..Phone::new(Phone::SECRET)
    };
    let scratch = Scratch::unlimited(ACCOUNT, &phone);
    clock::set(EPOCH);
    let code = phone.code_at(EPOCH);
    for part in [&code[..6], &code[2..], &code[..7]] {
        assert_eq!(
            scratch.login(ACCOUNT, part).code,
            Code::AUTH_ERR,
            "{part} of {code}"
        );
    }
    let spelled = format!("{} {}", &code[..4], &code[4..]);
    assert_eq!(scratch.login(ACCOUNT, spelled.as_str()).code, Code::SUCCESS);
}

#[test]
fn so_many_prompts_come_in_one_call_as_the_configuration_says() {
    for (settings, prompts) in [("", 1), ("[verify]\ntries = 3\n", 3)] {
        let scratch = Scratch::new(&format!("{NO_LIMITS}{settings}"));
        let phone = Phone::new(Phone::SECRET);
        scratch.enroll(ACCOUNT, &phone);
        clock::set(EPOCH);
        let wrong = phone.wrong_code_at(EPOCH);
        let outcome = scratch.login(ACCOUNT, wrong.as_str());
        assert_eq!(outcome.code, Code::AUTH_ERR);
        assert_eq!(outcome.asked().len(), prompts, "{settings}");

        let mut answers = vec![wrong; prompts - 1];
        answers.push(phone.code_at(EPOCH));
        let mut answers = answers.into_iter();
        let mut login = scratch.start(ACCOUNT, |_: &Message| {
            answers.next().expect("no further prompt").as_str().into()
        });
        assert_eq!(login.authenticate(0), Code::SUCCESS, "{settings}");
        drop(login);
        assert_eq!(answers.next(), None, "{settings}");
    }
}
