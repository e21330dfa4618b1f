//! A command line that is being typed, as far as the cursor: its words, without expanding anything.

/// The words before the one at the cursor, and that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The program and what follows it.
    pub(crate) before: Vec<String>,
    /// What is there of the word being typed.
    pub(crate) current: String,
    /// How many bytes of it bash takes for a word before the one it completes.
    pub(crate) kept: usize,
}

impl Line {
    /// The words as zsh and fish split them, each ended by a NUL; the last is being typed.
    pub(crate) fn of_words(text: &str) -> Option<Self> {
        let mut before: Vec<String> = text.strip_suffix('\0')?.split('\0').map(str::to_owned).collect();
        let current = before.pop()?;
        Some(Self { before, current, kept: 0 })
    }

    /// A line for each of `names` that begins as `typed`, the end of the word being typed.
    pub(crate) fn completed(&self, typed: &str, names: &[String]) -> String {
        let (head, names) = (self.current.strip_suffix(typed).unwrap_or_default(), names.iter());
        let whole = names.filter(|name| name.starts_with(typed)).map(|name| format!("{head}{name}"));
        whole.map(|word| format!("{}\n", word.get(self.kept..).unwrap_or_default())).collect()
    }
}

#[derive(PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

/// Splits what was typed in bash, whose words also break at `breaks`. None where the shell would do more than remove quotes: expand a
/// variable, run a command, redirect.
pub(crate) fn parse(typed: &str, breaks: &str) -> Option<Line> {
    let mut words = Vec::new();
    // None between two words.
    let mut word: Option<String> = None;
    let (mut kept, mut quote) = (0, Quote::None);
    let mut chars = typed.chars();
    while let Some(c) = chars.next() {
        let length = word.as_ref().map_or(0, String::len);
        match (&quote, c) {
            (Quote::Single, '\'') | (Quote::Double, '"') => (quote, kept) = (Quote::None, length),
            (Quote::Single, c) => word.get_or_insert_default().push(c),
            (_, '$' | '`') => return None,
            (Quote::Double, '\\') => {
                let next = chars.next()?;
                let word = word.get_or_insert_default();
                if !['$', '`', '"', '\\'].contains(&next) {
                    word.push('\\');
                }
                word.push(next);
            }
            (Quote::Double, c) => word.get_or_insert_default().push(c),
            (Quote::None, ' ' | '\t') => {
                words.extend(word.take());
                kept = 0;
            }
            (Quote::None, '\'' | '"') => {
                word.get_or_insert_default();
                (quote, kept) = (if c == '"' { Quote::Double } else { Quote::Single }, length);
            }
            (Quote::None, '\\') => word.get_or_insert_default().push(chars.next()?),
            (Quote::None, ';' | '|' | '&' | '<' | '>' | '(' | ')' | '\n') => return None,
            (Quote::None, '#') if word.is_none() => return None,
            (Quote::None, c) => {
                let word = word.get_or_insert_default();
                word.push(c);
                if breaks.contains(c) {
                    kept = word.len();
                }
            }
        }
    }
    Some(Line { before: words, current: word.unwrap_or_default(), kept })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKS: &str = " \t\n\"'@><=;|&(:";

    fn words(typed: &str) -> Option<(Vec<String>, usize)> {
        parse(typed, BREAKS).map(|Line { mut before, current, kept }| {
            before.push(current);
            (before, kept)
        })
    }

    fn expect(typed: &str, split: &[&str], kept: usize) {
        assert_eq!(words(typed), Some((split.iter().map(|&word| word.to_owned()).collect(), kept)), "{typed}");
    }

    #[test]
    fn words_are_split_as_the_shell_does() {
        expect("qfs-client get ", &["qfs-client", "get", ""], 0);
        expect("qfs-client  get\tre", &["qfs-client", "get", "re"], 0);
        expect(r"q get my\ fi", &["q", "get", "my fi"], 0);
        expect("q get 'my fi", &["q", "get", "my fi"], 0);
        expect("q get \"a \\\"b\\x", &["q", "get", "a \"b\\x"], 0);
        expect("q --server=qfs://h:1 get ''", &["q", "--server=qfs://h:1", "get", ""], 0);
    }

    #[test]
    fn what_bash_takes_for_a_word_of_its_own_is_kept() {
        expect("q get 12:30", &["q", "get", "12:30"], 3);
        expect(r"q get 12\:30", &["q", "get", "12:30"], 0);
        expect("q get a=b@c", &["q", "get", "a=b@c"], 4);
        expect("q get ab'c d", &["q", "get", "abc d"], 2);
    }

    #[test]
    fn nothing_is_expanded() {
        for typed in ["q get $HOME/", "q get \"$(id)", "q get `id`", "q get > ", "q get a; q", "q get #x", "q get a\\"]
        {
            assert_eq!(words(typed), None, "{typed}");
        }
        expect("q get '$HOME`", &["q", "get", "$HOME`"], 0);
    }

    #[test]
    fn split_words() {
        let line = Line { before: vec!["q".into(), "get".into()], current: "a b".into(), kept: 0 };
        assert_eq!(Line::of_words("q\0get\0a b\0"), Some(line));
        assert_eq!(Line::of_words(""), None);
        assert_eq!(Line::of_words("q"), None);
    }
}
