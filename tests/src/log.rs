//! The machine's /dev/log, heard by the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Every line that any program of the machine has logged, and the words that must not be among them.
pub struct Log {
    heard: Arc<Heard>,
    listener: Option<JoinHandle<()>>,
    own_voice: UnixDatagram,
    confidential: Mutex<Vec<String>>,
}

impl Log {
    /// Listens at `path`, open to everybody as /dev/log is.
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("the log socket");
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))
            .expect("the log socket's mode");
        let own_voice = UnixDatagram::unbound().expect("a socket");
        own_voice.connect(path).expect("the log socket");
        let heard = Arc::new(Heard::default());
        let listener = {
            let heard = Arc::clone(&heard);
            thread::spawn(move || heard.listen(&socket))
        };
        Self {
            heard,
            listener: Some(listener),
            own_voice,
            confidential: Mutex::default(),
        }
    }

    /// All lines sent before this call. What a program sent before it ended is among them: the socket keeps
    /// the order, so a mark sent now arrives after them.
    pub fn lines(&self) -> Vec<String> {
        let mark = format!("mark {}", self.heard.lines().len());
        self.own_voice
            .send(mark.as_bytes())
            .expect("the log socket");
        self.wait_for(&[&mark]);
        let mut lines = self.heard.lines().clone();
        lines.retain(|line| !line.starts_with("mark "));
        lines
    }

    /// Fails unless a line sent before this call contains all of `parts`.
    #[track_caller]
    pub fn assert_has(&self, parts: &[&str]) {
        self.assert_has_after(0, parts);
    }

    /// The same of the lines behind the first `count`.
    #[track_caller]
    pub fn assert_has_after(&self, count: usize, parts: &[&str]) {
        let lines = self.lines().split_off(count);
        assert!(
            lines.iter().any(|line| has_all(line, parts)),
            "nobody logged {parts:?}, but:\n{}",
            lines.join("\n")
        );
    }

    /// Waits for a line that contains all of `parts`.
    pub fn wait_for(&self, parts: &[&str]) {
        let absent = |lines: &mut Vec<String>| !lines.iter().any(|line| has_all(line, parts));
        let (lines, waited) = self
            .heard
            .grew
            .wait_timeout_while(self.heard.lines(), DEADLINE, absent)
            .expect("the listener");
        assert!(
            !waited.timed_out(),
            "nobody logged {parts:?}, but:\n{}",
            lines.join("\n")
        );
    }

    /// From now on no line, past or future, may contain `word`.
    pub fn keep_secret(&self, word: &str) {
        assert!(!word.is_empty(), "nothing to keep secret");
        self.confidential
            .lock()
            .expect("the words")
            .push(word.to_owned());
    }

    /// Fails if a line contains a word that was to be kept secret.
    pub fn assert_discreet(&self) {
        let confidential = self.confidential.lock().expect("the words");
        for line in self.lines() {
            for word in confidential.iter() {
                assert!(!line.contains(word), "the log gives {word:?} away: {line}");
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let ended = self
            .own_voice
            .send(END)
            .map(|_| self.listener.take().map(JoinHandle::join));
        if !thread::panicking() {
            ended.expect("the log socket");
        }
    }
}

#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
    grew: Condvar,
}

impl Heard {
    fn listen(&self, socket: &UnixDatagram) {
        let mut datagram = vec![0; 1 << 16];
        while let Ok(size) = socket.recv(&mut datagram) {
            if datagram[..size] == *END {
                break;
            }
            let line = String::from_utf8_lossy(&datagram[..size]);
            self.lines()
                .push(line.trim_end_matches(['\n', '\0']).to_owned());
            self.grew.notify_all();
        }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("the lines")
    }
}

fn has_all(line: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| line.contains(part))
}

const END: &[u8] = b"end of log";
const DEADLINE: Duration = Duration::from_secs(20);
