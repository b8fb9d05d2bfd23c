//! The login of `make demo`: one through the real module and libpam, then the same code once more.
//!
//! Takes the folder with a service file named `demo` in it and the user. Codes come from standard input.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use end_to_end::libpam::{Code, Login, Message};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [confdir, user] = arguments.as_slice() else {
        eprintln!("usage: demo-login CONFDIR USER");
        return ExitCode::from(2);
    };
    let mut typed = String::new();
    println!("== A login through pam_authenticate ==");
    let first = log_in(confdir, user, |_| {
        typed.clear();
        io::stdin().read_line(&mut typed).expect("standard input");
        typed.trim_end().to_owned()
    });
    println!("libpam says: {first:?}\n\n== The same code once more ==");
    let second = log_in(confdir, user, |_| {
        println!("{}", typed.trim_end());
        typed.trim_end().to_owned()
    });
    println!("libpam says: {second:?}\n");
    match (first, second) {
        (Code::SUCCESS, Code::AUTH_ERR) => {
            println!("The code let one login in, and no second one.");
            ExitCode::SUCCESS
        }
        (Code::SUCCESS, _) => {
            eprintln!("The same code was not refused: this must not be.");
            ExitCode::FAILURE
        }
        _ => {
            eprintln!(
                "The first code was not accepted. Wait for a new one and run make demo again."
            );
            ExitCode::FAILURE
        }
    }
}

fn log_in(confdir: &str, user: &str, mut code: impl FnMut(&Message) -> String) -> Code {
    let person = |message: &Message| {
        print!("{}", message.text);
        if !message.style.is_prompt() {
            println!();
        }
        io::stdout().flush().expect("standard output");
        if message.style.is_prompt() {
            code(message).as_str().into()
        } else {
            "".into()
        }
    };
    match Login::start(Path::new(confdir), "demo", user.as_bytes(), person) {
        Ok(mut login) => login.authenticate(0),
        Err(code) => code,
    }
}
