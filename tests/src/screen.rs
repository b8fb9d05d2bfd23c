//! What stands on a terminal after so many bytes were written to it.

/// A terminal of a fixed size that knows no escape sequences.
pub struct Screen {
    columns: usize,
    lines: Vec<Vec<char>>,
    column: usize,
    rows: usize,
}

impl Screen {
    /// Shows what [`Terminal`](crate::terminal::Terminal) has read: a sign for each byte.
    ///
    /// # Panics
    /// For what is not UTF-8, and for control characters other than ends of lines.
    #[track_caller]
    pub fn of(seen: &str, rows: usize, columns: usize) -> Self {
        let bytes: Vec<u8> = seen.chars().map(|sign| sign as u8).collect();
        let mut screen = Self {
            columns,
            lines: vec![Vec::new()],
            column: 0,
            rows,
        };
        String::from_utf8(bytes)
            .expect("UTF-8")
            .chars()
            .for_each(|sign| screen.put(sign));
        screen
    }

    /// The rows from top to bottom.
    pub fn lines(&self) -> Vec<String> {
        let hidden = self.lines.len().saturating_sub(self.rows);
        self.lines[hidden..]
            .iter()
            .map(|line| line.iter().collect())
            .collect()
    }

    /// All in one piece.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    fn put(&mut self, sign: char) {
        match sign {
            '\r' => self.column = 0,
            '\n' => self.lines.push(Vec::new()),
            sign => {
                assert!(!sign.is_control(), "{sign:?} after:\n{}", self.text());
                // A sign in the last column leaves the cursor there until the next.
                if self.column == self.columns {
                    self.lines.push(Vec::new());
                    self.column = 0;
                }
                let line = self.lines.last_mut().expect("a line");
                line.resize(line.len().max(self.column + 1), ' ');
                line[self.column] = sign;
                self.column += 1;
            }
        }
    }
}
