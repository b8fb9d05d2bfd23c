//! How much is logged: a burst of alike events is summed up, so that nobody can flood the log.
//!
//! Each kind of event of each user has a minute of ten lines. Within it further events leave a line when their number
//! doubles, with that number; the first one after it tells how many there were. The counters are words that all
//! processes change without a lock. Users may share one by a rare chance.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use totp_core::event::{Event, Severity};
use totp_core::time::Time;

use crate::folder::Folder;
use crate::shared::{PAGE_WORDS, Shared};

const NAME: &str = "log";
const PAGES: usize = 8;
const WINDOW_SECONDS: u32 = 60;
const LINES: u32 = 10;

/// The counters in one folder.
pub struct Meter {
    folder: PathBuf,
}

impl Meter {
    /// The counters in `folder`, which is made when the first event comes.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Passes on to `log` what is to be logged of an event. Where nothing can be counted, all of it is.
    pub fn pass(&self, event: &Event, clock: &dyn Fn() -> Time, log: &dyn Fn(&Event)) {
        let count = is_summed_up(event.name).then(|| self.count(event, clock));
        let Some(count) = count.flatten() else {
            return log(event);
        };
        if let Some(events) = count.before {
            log(&Event {
                user: event.user.clone(),
                count: Some(events),
                ..Event::new(Severity::Warning, "burst")
            }
            .because(format_args!(
                "so many events of the kind {} in the minute before",
                event.name
            )));
        }
        match count.number {
            ..=LINES => log(event),
            number if is_doubled(number) => log(&Event {
                count: Some(number),
                ..event.clone()
            }),
            _ => {}
        }
    }

    fn count(&self, event: &Event, clock: &dyn Fn() -> Time) -> Option<Count> {
        let shared = self.shared()?;
        let user = event.user.as_deref().unwrap_or_default();
        // A gateway that is down is not hidden by codes that are asked for too often.
        let is_error = event.severity == Severity::Error;
        let hash = shared.hash(format!("{}\0{is_error}\0{user}", event.name).as_bytes());
        let all = PAGES.saturating_sub(1).saturating_mul(PAGE_WORDS);
        let index = usize::try_from(hash).ok()?.checked_rem(all)?;
        let page = index.checked_div(PAGE_WORDS)?.saturating_add(1);
        let page = shared.map(page).ok()?;
        let word = page.get(index.checked_rem(PAGE_WORDS)?)?;
        let mut count = Count {
            before: None,
            number: 1,
        };
        let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let since = u32::try_from(word >> 32).unwrap_or(0);
            let number = u32::try_from(word & 0xFFFF_FFFF).unwrap_or(u32::MAX);
            // After the word: who was stopped in between would take what others count for the future.
            let now = u32::try_from(clock().unix().max(1)).unwrap_or(u32::MAX);
            let is_over = since > now || now.saturating_sub(since) >= WINDOW_SECONDS;
            count = Count {
                before: (is_over && number > LINES && !is_doubled(number)).then_some(number),
                number: if is_over { 1 } else { number.saturating_add(1) },
            };
            let since = if is_over { now } else { since };
            Some(u64::from(since) << 32 | u64::from(count.number))
        });
        Some(count)
    }

    fn shared(&self) -> Option<Shared> {
        let known = Folder::open(&self.folder);
        let known = known.and_then(|folder| Shared::open(&folder, NAME, PAGES));
        if let Ok(Some(shared)) = known {
            return Some(shared);
        }
        let folder = Folder::open_or_make(&self.folder).ok()?;
        Shared::open_or_make(&folder, NAME, PAGES).ok()
    }
}

/// Whether others can bring an event about as often as they like where nothing is out of order. What is out of order, and what
/// takes a code, is told each time.
fn is_summed_up(event: &str) -> bool {
    matches!(
        event,
        "aborted" | "locked" | "refused" | "uncounted" | "unsent" | "wrong"
    )
}

struct Count {
    /// Events of the window before, where they were more than their lines tell.
    before: Option<u32>,
    /// Which one of this window's it is.
    number: u32,
}

/// Whether a number is the lines of a window times a power of two.
fn is_doubled(number: u32) -> bool {
    number.checked_rem(LINES) == Some(0)
        && number.checked_div(LINES).is_some_and(u32::is_power_of_two)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn lines(meter: &Meter, events: u32, user: &str, at: i64) -> Vec<Option<u32>> {
        lines_of("wrong", meter, events, user, at)
    }

    fn lines_of(
        name: &'static str,
        meter: &Meter,
        events: u32,
        user: &str,
        at: i64,
    ) -> Vec<Option<u32>> {
        let lines = RefCell::new(Vec::new());
        let event = Event {
            user: Some(user.to_owned()),
            ..Event::new(Severity::Warning, name)
        };
        for _ in 0..events {
            let log = |event: &Event| lines.borrow_mut().push(event.count);
            meter.pass(&event, &|| Time::from_unix(at), &log);
        }
        lines.into_inner()
    }

    #[test]
    fn a_burst_leaves_few_lines_and_its_number() {
        let place = tempfile::tempdir().unwrap();
        let meter = Meter::new(&place.path().join("run"));
        let few = vec![None; 10];
        assert_eq!(lines(&meter, 10, "alice", 1_800_000_000), few);
        let burst = lines(&meter, 9_990, "alice", 1_800_000_030);
        let doubled = [20, 40, 80, 160, 320, 640, 1280, 2560, 5120].map(Some);
        assert_eq!(burst, doubled);
        assert_eq!(lines(&meter, 10, "bob", 1_800_000_030), few);
        let after = lines(&meter, 1, "alice", 1_800_000_060);
        assert_eq!(
            after,
            [Some(10_000), None],
            "how many there were, and the new one"
        );
        assert_eq!(lines(&meter, 1, "alice", 1_800_000_130), [None]);
    }

    #[test]
    fn whatever_others_can_bring_about_is_summed_up() {
        let place = tempfile::tempdir().unwrap();
        let meter = Meter::new(&place.path().join("run"));
        for name in ["aborted", "locked", "refused", "unsent"] {
            let lines = lines_of(name, &meter, 100, "alice", 1_800_000_000);
            assert_eq!(lines.len(), 10 + 3, "{name}");
        }
        for name in ["accepted", "enrolled", "failed", "killed"] {
            let lines = lines_of(name, &meter, 100, "alice", 1_800_000_000);
            assert_eq!(lines, vec![None; 100], "{name}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_hides_nothing() {
        let place = tempfile::tempdir().unwrap();
        let meter = Meter::new(place.path());
        lines(&meter, 15, "alice", 1_800_000_000);
        assert_eq!(lines(&meter, 1, "alice", 1_700_000_000), [Some(15), None]);
    }

    #[test]
    fn a_caller_that_was_stopped_begins_no_new_minute() {
        let place = tempfile::tempdir().unwrap();
        let meter = Meter::new(place.path());
        let event = Event {
            user: Some("alice".to_owned()),
            ..Event::new(Severity::Warning, "wrong")
        };
        let is_stopped = Cell::new(true);
        let clock = || {
            if is_stopped.take() {
                lines(&meter, 15, "alice", 1_800_001_200);
                return Time::from_unix(1_800_000_000);
            }
            Time::from_unix(1_800_001_200)
        };
        meter.pass(&event, &clock, &|event| panic!("{event:?}"));
        assert_eq!(lines(&meter, 4, "alice", 1_800_001_200), [Some(20)]);
    }

    #[test]
    fn where_nothing_can_be_counted_everything_is_logged() {
        let place = tempfile::NamedTempFile::new().unwrap();
        let meter = Meter::new(place.path());
        assert_eq!(lines(&meter, 30, "alice", 1_800_000_000), vec![None; 30]);
    }
}
