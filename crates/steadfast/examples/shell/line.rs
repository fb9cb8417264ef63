//! What a line says: commands with their words, in a pipeline, in the background or not. No quotes and no variables: words are between spaces.

/// A pipeline, as it was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// The words of each command, at least one.
    pub(crate) commands: Vec<Vec<String>>,
    pub(crate) in_background: bool,
}

impl Line {
    /// `None` if there is nothing in it; or what is wrong with it.
    pub(crate) fn parse(typed: &str) -> Result<Option<Line>, String> {
        let (text, in_background) = match typed.trim().strip_suffix('&') {
            Some(before) => (before.trim(), true),
            None => (typed.trim(), false),
        };
        if text.is_empty() {
            return if in_background { Err("nothing before &".into()) } else { Ok(None) };
        }
        let commands: Vec<Vec<String>> =
            text.split('|').map(|part| part.split_whitespace().map(str::to_owned).collect()).collect();
        if commands.iter().any(Vec::is_empty) {
            return Err("a command is missing beside |".into());
        }
        Ok(Some(Line { text: text.to_owned(), commands, in_background }))
    }
}
