//! Arrows between the files of a crate, by their `use` lines: which form circles, and which of them run up between floors.
//!
//! A name that is re-exported (`pub use`) counts for the file that has it: a list of what a crate or a folder offers ties nothing together.

use std::collections::{BTreeMap, BTreeSet};

/// The mock's floors, from the ground up: a file uses those of its own and of lower ones.
const FLOORS: (&str, [&str; 5]) = ("crates/steadfast-mock/src/", ["model/", "play/", "order/", "face/", "search/"]);

/// Files by their path from the root, with their text.
pub type Files<'a> = BTreeMap<&'a str, &'a str>;

/// Where a name comes from: the crate's root for `crate`, the file's own place for `self`.
type Path = Vec<String>;

#[derive(Default)]
struct Crate<'a> {
    /// Files by their module's place in the tree.
    modules: BTreeMap<Path, &'a str>,
    /// What a module takes from others, and under which name it passes it on.
    uses: BTreeMap<&'a str, Vec<Use>>,
}

struct Use {
    path: Path,
    name: String,
    is_passed_on: bool,
}

/// Files that use each other in a circle: the members of each.
pub fn circles(files: &Files<'_>) -> Vec<Vec<String>> {
    let arrows = arrows(files);
    let reach = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = next.pop() {
            for to in arrows.get(&file).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = arrows.keys().map(|file| (file, reach(file))).collect();
    let mut circles = BTreeSet::new();
    for (file, to) in &reached {
        if to.contains(*file) {
            let back = |other: &&String| reached.get(*other).is_some_and(|back| back.contains(*file));
            circles.insert(to.iter().filter(back).cloned().collect::<Vec<_>>());
        }
    }
    circles.into_iter().collect()
}

/// Arrows that run up between floors: from which file to which.
pub fn upwards(files: &Files<'_>) -> Vec<String> {
    let (house, floors) = FLOORS;
    let floor = |file: &str| floors.iter().position(|floor| file.strip_prefix(house).is_some_and(|rest| rest.starts_with(floor)));
    let mut found = Vec::new();
    for (from, to) in arrows(files) {
        found.extend(
            to.into_iter()
                .filter(|to| floor(&from).zip(floor(to)).is_some_and(|(from, to)| to > from))
                .map(|to| format!("{from} uses {to}")),
        );
    }
    found
}

/// Which files each uses.
fn arrows(files: &Files<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut crates: BTreeMap<&str, Crate<'_>> = BTreeMap::new();
    for (path, text) in files {
        let Some((house, inside)) = path.split_once("/src/") else { continue };
        let place = place(inside);
        let one = crates.entry(house).or_default();
        one.uses.insert(path, uses(text, &place));
        one.modules.insert(place, path);
    }
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in crates.values() {
        for (from, uses) in &one.uses {
            let to = uses.iter().filter(|used| !used.is_passed_on).filter_map(|used| one.file_of(&used.path, 0));
            let to = to.filter(|to| to != from).map(str::to_owned).collect();
            arrows.insert((*from).to_owned(), to);
        }
    }
    arrows
}

/// The place in the tree of modules of a file below `src`.
fn place(inside: &str) -> Path {
    let name = inside.strip_suffix(".rs").unwrap_or(inside);
    let mut place: Path = name.split('/').map(str::to_owned).collect();
    if place.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str())) {
        place.pop();
    }
    place
}

impl Crate<'_> {
    /// The file that has what a path names; `None` if that is none of this crate's.
    fn file_of(&self, path: &[String], depth: u32) -> Option<&str> {
        // A circle of re-exports would not compile; a path that is passed on more often than this is not followed.
        if depth > 8 {
            return None;
        }
        let known = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let file = *self.modules.get(&path[..known])?;
        let passed = path.get(known).and_then(|name| self.passed_on(file, name));
        match passed {
            Some(passed) => self.file_of(&passed.path, depth + 1),
            None => Some(file),
        }
    }

    fn passed_on(&self, file: &str, name: &str) -> Option<&Use> {
        self.uses.get(file)?.iter().find(|used| used.is_passed_on && used.name == name)
    }
}

/// All that a file uses, outside of its tests, as paths from the crate's root.
fn uses(text: &str, place: &Path) -> Vec<Use> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some((before, first)) = line.split_once("use ").filter(|(before, _)| is_visibility(before)) else { continue };
        let mut tree = first.to_owned();
        while !tree.contains(';') {
            let Some(line) = lines.next() else { break };
            tree.push_str(line);
        }
        let tree: String = tree.split(';').next().unwrap_or_default().replace(" as ", "@").split_whitespace().collect();
        let is_passed_on = !before.is_empty();
        branch("", &tree, &mut |leaf| {
            let (path, name) = leaf.split_once('@').map_or((leaf, None), |(path, name)| (path, Some(name)));
            let mut path: Path = path.split("::").map(str::to_owned).collect();
            if path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let name = name.map(str::to_owned).or(path.last().cloned()).unwrap_or_default();
            found.push(Use { path: from_root(&path, place), name, is_passed_on });
        });
    }
    // What is named where it is used, by its whole path.
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        for (at, _) in line.match_indices("crate::").filter(|(at, _)| !line[..*at].ends_with("use ")) {
            let is_path = |c: &char| c.is_alphanumeric() || matches!(c, '_' | ':');
            let path: String = line[at..].chars().take_while(is_path).collect();
            let path: Path = path.split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect();
            found.push(Use { path: from_root(&path, place), name: String::new(), is_passed_on: false });
        }
    }
    found
}

fn is_visibility(word: &str) -> bool {
    word.is_empty() || (word.starts_with("pub") && word.ends_with(' '))
}

/// Each leaf of `a::{b, c::d}`.
fn branch(stem: &str, tree: &str, leaf: &mut impl FnMut(&str)) {
    let Some((before, inside)) = tree.split_once('{') else { return leaf(&format!("{stem}{tree}")) };
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if begin < at {
                    branch(&format!("{stem}{before}"), &inside[begin..at], leaf);
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
}

/// `crate::a`, `super::a`, `self::a`, or `a` beside the file, from the root of the crate.
fn from_root(path: &[String], place: &Path) -> Path {
    let ups = path.iter().take_while(|word| *word == "super").count();
    match path.first().map(String::as_str) {
        Some("crate") => path[1..].to_vec(),
        Some("super") => place[..place.len().saturating_sub(ups)].iter().chain(&path[ups..]).cloned().collect(),
        Some("self") => place.iter().chain(&path[1..]).cloned().collect(),
        _ => place.iter().chain(path).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files<'a>(list: &[(&'a str, &'a str)]) -> Files<'a> {
        list.iter().copied().collect()
    }

    #[test]
    fn a_circle_is_found_through_braces_and_what_is_passed_on() {
        let one = ("crates/x/src/one.rs", "use crate::{\n    deep::Two,\n    other::Three,\n};\n");
        let deep = ("crates/x/src/deep/mod.rs", "mod two;\npub(crate) use two::Two;\n");
        let two = (
            "crates/x/src/deep/two.rs",
            "use super::super::one::One;\n#[cfg(test)]\nmod tests {\n    use crate::other::Three;\n}\n",
        );
        let other = ("crates/x/src/other.rs", "use std::fmt;\n");
        let found = circles(&files(&[one, deep, two, other]));
        assert_eq!(found, [["crates/x/src/deep/two.rs", "crates/x/src/one.rs"]]);
        assert_eq!(circles(&files(&[one, deep, other, ("crates/x/src/deep/two.rs", "")])), Vec::<Vec<String>>::new());
    }

    #[test]
    fn an_arrow_that_runs_up_is_found() {
        let up = ("crates/steadfast-mock/src/model/pipe.rs", "use crate::play::script::Script;");
        let down = ("crates/steadfast-mock/src/play/script.rs", "use crate::model::pipe::Pipe;");
        assert_eq!(
            upwards(&files(&[up, down])),
            ["crates/steadfast-mock/src/model/pipe.rs uses crates/steadfast-mock/src/play/script.rs"]
        );
        assert_eq!(upwards(&files(&[down, ("crates/steadfast-mock/src/model/pipe.rs", "")])), Vec::<String>::new());
    }
}
