//! The lines of a stack's file and their words, as libpam takes them.

/// The longest line of libpam before 1.6, in bytes.
const LONGEST: usize = 1023;

/// What libpam takes for something else than people do, or one libpam than another: line numbers, and what is there.
pub(super) fn unlike_what_it_seems(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<(usize, &str)> = (1..).zip(text.split('\n')).collect();
    let long = lines.iter().filter(|(_, line)| line.len() > LONGEST);
    let long = long.map(|(number, _)| {
        let what = format!(
            "the line has more than {LONGEST} bytes, and libpam before 1.6 takes the rest for another"
        );
        (*number, what)
    });
    let mut dos = lines
        .iter()
        .filter(|(_, line)| line.ends_with('\r') && !is_nothing(line));
    let dos = dos.next().map(|(number, _)| {
        let what = "lines end in carriage returns, as on DOS, which libpam takes for a part of the last word";
        (*number, what.to_owned())
    });
    let interrupted = lines.windows(2).filter_map(|pair| match pair {
        // What comes after the last newline is no line.
        [(_, line), (number, next)]
            if !line.contains('#')
                && before_backslash(line).is_some()
                && is_nothing(next)
                && *number < lines.len() =>
        {
            let what = "nothing stands here, or a comment, and the line before goes on: libpam before 1.6.1 skips this, \
                        later ones end the line";
            Some((*number, what.to_owned()))
        }
        _ => None,
    });
    long.chain(dos).chain(interrupted).collect()
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Whether a line is empty or a comment.
fn is_nothing(line: &str) -> bool {
    let line = line.trim_start_matches(BLANKS);
    line.is_empty() || line.starts_with('#')
}

/// What the next line continues.
fn before_backslash(line: &str) -> Option<&str> {
    line.trim_end_matches(BLANKS).strip_suffix('\\')
}

/// The lines as libpam sees them, with the number of the first of each: without comments and empty ones, and with what
/// a backslash continues. `false` where the file ends in the middle of one.
pub(super) fn assembled(text: &str) -> (Vec<(usize, String)>, bool) {
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (raw, number) in text.split('\n').zip(1..) {
        if is_nothing(raw) {
            continue;
        }
        let trimmed = raw.trim_start_matches(BLANKS);
        let (start, mut line) = begun.take().unwrap_or((number, String::new()));
        // What stands before a comment is never continued.
        let (part, is_continued) = match trimmed.split_once('#') {
            Some((part, _)) => (part, false),
            None => match before_backslash(trimmed) {
                Some(part) => (part, true),
                None => (trimmed, false),
            },
        };
        line.push_str(part);
        match is_continued {
            true => {
                line.push(' ');
                begun = Some((start, line));
            }
            false => lines.push((start, line)),
        }
    }
    (lines, begun.is_none())
}

/// Words between blanks; what is in brackets is one word, without them, and `\]` in it is a bracket.
pub(super) fn tokens(line: &str) -> impl Iterator<Item = String> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\n']);
        if rest.is_empty() {
            return None;
        }
        let Some(inner) = rest.strip_prefix('[') else {
            let end = rest.find([' ', '\t', '\n']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            return Some(word.to_owned());
        };
        let (mut word, mut left) = (String::new(), inner.chars());
        while let Some(letter) = left.next() {
            match letter {
                ']' => break,
                '\\' if left.as_str().starts_with(']') => {
                    word.push(']');
                    left.next();
                }
                letter => word.push(letter),
            }
        }
        rest = left.as_str();
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_comments_dropped() {
        let text = "# a \\\nauth required \\\n  # between\n x.so y # z \\\n\n  -auth a b";
        let (lines, is_whole) = assembled(text);
        assert!(is_whole);
        assert_eq!(
            lines,
            [
                (2, "auth required  x.so y ".to_owned()),
                (6, "-auth a b".to_owned())
            ]
        );
        assert!(!assembled("auth required x.so \\").1);
    }

    #[test]
    fn brackets_hold_a_word() {
        let words: Vec<String> = tokens("a [b=c d\\]]  [prompt=x y] z").collect();
        assert_eq!(words, ["a", "b=c d]", "prompt=x y", "z"]);
    }
}
