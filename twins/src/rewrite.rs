//! The rule by which a program moves: where a path begins with `std::process`, `std::os::unix::process` or `std::os::unix::prelude`, it
//! begins with `steadfast` in the place of `std`.

use proc_macro2::LineColumn;
use std::collections::HashSet;
use std::fmt::Write;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{ItemUse, UseTree};

const MOVED: [(&str, &str); 3] = [
    ("std::process", "steadfast::process"),
    ("std::os::unix::process", "steadfast::os::unix::process"),
    ("std::os::unix::prelude", "steadfast::os::unix::prelude"),
];

type Moves<'a> = &'a [(&'a str, &'a str)];

/// The text by the rule, and by another one of its kind, and how many lines of it are others.
pub(crate) fn rewrite(text: &str, more: Option<(&str, &str)>) -> (String, usize) {
    let moves: Vec<(&str, &str)> = MOVED.into_iter().chain(more).collect();
    let flat = flatten_examples(&flatten(text, &moves), &moves);
    let moved = moves.iter().fold(flat, |text, (from, to)| replace(&text, from, to));
    let before: HashSet<&str> = text.lines().collect();
    let changed = moved.lines().filter(|line| !before.contains(line)).count();
    (moved, changed)
}

/// Wherever the whole path stands in the text, macros and examples included.
fn replace(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, found) = rest.split_at(at);
        let after = &found[from.len()..];
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        // `::std::process` is the same path.
        let before = before.strip_suffix("::").filter(|before| !before.ends_with(is_part)).unwrap_or(before);
        let is_whole = !before.ends_with(is_part) && !before.ends_with("::") && !after.starts_with(is_part);
        out.push_str(before);
        out.push_str(if is_whole { to } else { from });
        rest = after;
    }
    out + rest
}

/// Takes those `use std::{…}` apart that name `process` somewhere inside, each on its own line.
fn flatten(text: &str, moves: Moves<'_>) -> String {
    let Ok(file) = syn::parse_file(text) else { return text.to_owned() };
    let mut uses = Uses { moves, found: Vec::new() };
    uses.visit_file(&file);
    let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    // Columns are characters.
    let offset = |at: LineColumn| {
        let start = starts[at.line - 1];
        start + text[start..].chars().take(at.column).map(char::len_utf8).sum::<usize>()
    };
    let mut out = text.to_owned();
    for item in uses.found.iter().rev() {
        let mut paths = Vec::new();
        collect(&item.tree, String::new(), &mut paths);
        let from = offset(item.use_token.span().start());
        let to = offset(item.semi_token.span().end());
        // The `pub` before it, and its attributes, are each one's.
        let start = offset(item.span().start());
        let before = text[start..from].to_owned();
        let mut flat = String::new();
        for (number, path) in paths.iter().enumerate() {
            // Writing to a string cannot fail.
            _ = write!(flat, "{}use {path};", if number == 0 { "" } else { &before });
        }
        out.replace_range(from..to, &flat);
    }
    out
}

/// The same in documentation, whose examples are comments to the parser.
fn flatten_examples(text: &str, moves: Moves<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let Some((before, code)) = comment(line).filter(|(_, code)| code.starts_with("use std::{")) else {
            out.push_str(line);
            continue;
        };
        let mut item = code.to_owned();
        let mut original = line.to_owned();
        while !item.contains(';') {
            let Some(next) = lines.next() else { break };
            original.push_str(next);
            item.push_str(comment(next).map_or(next, |(_, code)| code));
        }
        let mut paths = Vec::new();
        if let Ok(item) = syn::parse_str::<ItemUse>(item.trim()) {
            collect(&item.tree, String::new(), &mut paths);
        }
        if paths.iter().any(|path| is_moved(path, moves)) {
            // Writing to a string cannot fail.
            paths.iter().for_each(|path| _ = writeln!(out, "{before}use {path};"));
        } else {
            out.push_str(&original);
        }
    }
    out
}

/// A line of documentation: what is before the code, the sign for a hidden line too, and the code.
fn comment(line: &str) -> Option<(&str, &str)> {
    let start = line.len() - line.trim_start().len();
    let marked = line[start..].strip_prefix("///").or_else(|| line[start..].strip_prefix("//!"))?;
    let code = marked.trim_start();
    let code = code.strip_prefix("# ").unwrap_or(code);
    Some((&line[..line.len() - code.len()], code))
}

fn is_moved(path: &str, moves: Moves<'_>) -> bool {
    moves.iter().any(|(from, _)| path.starts_with(from))
}

struct Uses<'a, 'ast> {
    moves: Moves<'a>,
    found: Vec<&'ast ItemUse>,
}

impl<'ast> Visit<'ast> for Uses<'_, 'ast> {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut paths = Vec::new();
        collect(&item.tree, String::new(), &mut paths);
        if paths.len() > 1 && paths.iter().any(|path| is_moved(path, self.moves)) {
            self.found.push(item);
        }
        visit::visit_item_use(self, item);
    }
}

/// The paths of a tree. `std::io::{self}` is `std::io`.
fn collect(tree: &UseTree, before: String, paths: &mut Vec<String>) {
    let joined = |name: String| if before.is_empty() { name } else { format!("{before}::{name}") };
    match tree {
        UseTree::Path(path) => collect(&path.tree, joined(path.ident.to_string()), paths),
        UseTree::Name(name) if name.ident == "self" => paths.push(before),
        UseTree::Name(name) => paths.push(joined(name.ident.to_string())),
        UseTree::Rename(name) if name.ident == "self" => paths.push(format!("{before} as {}", name.rename)),
        UseTree::Rename(name) => paths.push(joined(format!("{} as {}", name.ident, name.rename))),
        UseTree::Glob(_) => paths.push(joined("*".into())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| collect(tree, before.clone(), paths)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_taken_apart_and_only_whole_paths_move() {
        let text = "#[doc(hidden)]\npub use std::{io, process::{self, Command as C}, os::unix::process::CommandExt};\nuse std::processor;\n";
        let (moved, _) = rewrite(text, None);
        let all = [
            "use std::io;",
            "use steadfast::process;",
            "use steadfast::process::Command as C;",
            "use steadfast::os::unix::process::CommandExt;",
            "use std::processor;",
        ];
        all.iter().for_each(|line| assert!(moved.contains(line), "{moved}"));
        assert_eq!(moved.matches("#[doc(hidden)]\npub use").count(), 4);
    }

    #[test]
    fn an_example_moves_too() {
        let (moved, _) = rewrite("    /// # use std::{\n    /// #     io, process::Command,\n    /// # };\nstruct S;\n", None);
        assert_eq!(moved, "    /// # use std::io;\n    /// # use steadfast::process::Command;\nstruct S;\n");
    }

    #[test]
    fn a_path_moves_wherever_it_stands() {
        let (moved, changed) =
            rewrite("fn f() { ::std::process::exit(1); my::std::process::f(); }\n/// [`std::process::Child`]\nstruct S;\n", None);
        assert_eq!(
            moved,
            "fn f() { steadfast::process::exit(1); my::std::process::f(); }\n/// [`steadfast::process::Child`]\nstruct S;\n"
        );
        assert_eq!(changed, 2);
    }
}
