//! A terminal of so many columns, as much of one as the client needs: what a person would see, and which lines did not fit.

use unicode_width::UnicodeWidthChar as _;

/// Rows and the cursor. It does not scroll: a run writes fewer lines than anybody minds.
#[derive(Debug)]
pub(crate) struct Emulator {
    columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// What has arrived of an escape sequence or of a character.
    pending: Vec<u8>,
    /// Rows that went on in the next one.
    wrapped: Vec<String>,
}

impl Emulator {
    pub(crate) fn new(columns: usize) -> Self {
        Self { columns, rows: vec![Vec::new()], row: 0, column: 0, pending: Vec::new(), wrapped: Vec::new() }
    }

    /// From now on the terminal is this wide. What is on it stays, as in a terminal that does not wrap anew.
    pub(crate) fn resize(&mut self, columns: usize) {
        self.columns = columns;
    }

    /// The rows from the top, spaces at their ends left out.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.rows.iter().map(|row| text(row)).collect()
    }

    /// Rows that were too wide since this was last asked.
    pub(crate) fn take_wrapped(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrapped)
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.pending.push(*byte);
            self.step();
        }
    }

    fn step(&mut self) {
        if self.pending[0] == 0x1b {
            // CSI parameters end with a letter.
            if let [0x1b, b'[', parameters @ .., last] = &self.pending[..]
                && last.is_ascii_alphabetic()
            {
                let parameter = std::str::from_utf8(parameters).unwrap().parse().ok();
                let last = *last;
                self.pending.clear();
                self.control(last, parameter);
            }
            return;
        }
        let Ok(text) = std::str::from_utf8(&self.pending) else { return };
        let c = text.chars().next().unwrap();
        self.pending.clear();
        match c {
            '\r' => self.column = 0,
            '\n' => self.down(),
            '\x07' => {}
            c if c.is_control() => panic!("a control character acted on the terminal: {c:?}"),
            c => self.show(c),
        }
    }

    fn control(&mut self, last: u8, parameter: Option<usize>) {
        match last {
            b'A' => self.row = self.row.saturating_sub(parameter.unwrap_or(1)),
            b'B' => (0..parameter.unwrap_or(1)).for_each(|_| self.down()),
            b'K' if parameter == Some(2) => self.rows[self.row].clear(),
            b'K' => self.rows[self.row].truncate(self.column),
            b'J' => {
                self.rows[self.row].truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            b'm' => {}
            other => panic!("an escape sequence that ends in {:?}", char::from(other)),
        }
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    fn show(&mut self, c: char) {
        let width = c.width().unwrap_or_default();
        if self.column + width > self.columns {
            self.wrapped.push(text(&self.rows[self.row]));
            self.down();
            self.column = 0;
        }
        let row = &mut self.rows[self.row];
        row.resize(row.len().max(self.column + width), ' ');
        if width > 0 {
            row[self.column] = c;
            // The second column of a wide character shows nothing of its own.
            row[self.column + 1..self.column + width].fill('\0');
        }
        self.column += width;
    }
}

fn text(row: &[char]) -> String {
    row.iter().filter(|c| **c != '\0').collect::<String>().trim_end().to_owned()
}
