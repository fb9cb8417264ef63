//! The matrix: as a table, as JSON, and as the page `docs/environments.md`.

use super::Visit;
use super::places::Place;
use super::testimony::Testimony;
use comfy_table::{Table, presets::NOTHING};
use serde_json::{Value, json};
use std::fmt::Write;

type All<'a> = [(&'a Place, &'a Visit)];

const HEADER: [&str; 9] = [
    "place",
    "kernel",
    "chosen",
    "children by",
    "the spawner waits by",
    "promises on pidfd",
    "on pid-legacy",
    "had by a hostile user",
    "as expected",
];

fn row(place: &Place, visit: &Visit) -> [String; 9] {
    match visit {
        Visit::Skipped(_) => [&place.name, "", "", "", "", "", "", "", "skipped"].map(str::to_owned),
        Visit::Made(seen, differences) => [
            place.name.clone(),
            seen.kernel.clone(),
            seen.backend.clone(),
            seen.door.to_lowercase(),
            seen.waits.clone(),
            counts(seen, "pidfd"),
            counts(seen, "pid-legacy"),
            booty(seen),
            if differences.is_empty() { "yes".into() } else { "NO".into() },
        ],
    }
}

fn counts(seen: &Testimony, backend: &str) -> String {
    match seen.count(backend) {
        None => "–".into(),
        Some([kept, 0, skipped]) => format!("{kept} kept, {skipped} skipped"),
        Some([kept, broken, skipped]) => format!("{kept} kept, {broken} broken, {skipped} skipped"),
    }
}

/// Of all spawns as that user, with its processes about; nothing where nobody can be another user.
fn booty(seen: &Testimony) -> String {
    let spawns: u64 = seen.robberies.iter().map(|robbery| robbery.spawns).sum();
    let had: u64 = seen.robberies.iter().flat_map(|robbery| robbery.had).sum();
    if spawns == 0 { "–".into() } else { format!("{had} in {spawns}") }
}

pub(super) fn text(all: &All<'_>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(HEADER);
    for (place, visit) in all {
        table.add_row(row(place, visit));
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    for (place, visit) in all {
        let lines = match visit {
            Visit::Skipped(reason) => vec![format!("skipped: {}: {reason}", place.name)],
            Visit::Made(seen, differences) => {
                let again = seen.hung.iter().map(|promise| {
                    let why = place.expected.hangs.unwrap_or_default();
                    format!("visited again: {}: it hung at \"{promise}\" ({why})", place.name)
                });
                again.chain(differences.iter().map(|line| format!("FAILED: {}: {line}", place.name))).collect()
            }
        };
        text.extend(lines.into_iter().map(|line| format!("{line}\n")));
    }
    let count = |is_it: fn(&Visit) -> bool| all.iter().filter(|(_, visit)| is_it(visit)).count();
    let good = count(|visit| matches!(visit, Visit::Made(_, none) if none.is_empty()));
    let skipped = count(|visit| matches!(visit, Visit::Skipped(_)));
    // Writing into a string cannot fail.
    _ = writeln!(text, "{good} places as expected, {} not, {skipped} skipped", all.len() - good - skipped);
    text
}

pub(super) fn json(all: &All<'_>) -> Value {
    let place = |(place, visit): &(&Place, &Visit)| match visit {
        Visit::Skipped(reason) => json!({ "place": place.name, "skipped": reason }),
        Visit::Made(seen, differences) => json!({
            "place": place.name,
            "kernel": seen.kernel,
            "backend": seen.backend,
            "reason": seen.obstacle,
            "door": seen.door,
            "waits": seen.waits,
            "checks": seen.checks.iter().map(|(name, answer)| json!({ "name": name, "answer": answer })).collect::<Vec<_>>(),
            "features": seen.features.iter()
                .map(|(name, since, answer)| json!({ "name": name, "since": since, "answer": answer }))
                .collect::<Vec<_>>(),
            "promises": seen.promises.iter()
                .map(|p| json!({ "backend": p.backend, "name": p.name, "outcome": p.outcome, "why": p.why }))
                .collect::<Vec<_>>(),
            "robberies": seen.robberies.iter()
                .map(|r| json!({ "name": r.name, "spawns": r.spawns, "read": r.had[0], "written": r.had[1], "taken": r.had[2] }))
                .collect::<Vec<_>>(),
            "hung": seen.hung,
            "differences": differences,
        }),
    };
    Value::Array(all.iter().map(place).collect())
}

/// # Errors
/// If no date is available.
pub(super) fn markdown(all: &All<'_>) -> Result<String, String> {
    let date = std::process::Command::new("date").args(["-u", "+%F"]).output().map_err(|error| format!("date: {error}"))?;
    let cells = |row: &[String]| format!("| {} |\n", row.join(" | "));
    let table = |header: &[String], rows: &[Vec<String>]| {
        let line = cells(&header.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
        format!("{}{line}{}\n", cells(header), rows.iter().map(|row| cells(row)).collect::<String>())
    };
    let mut page = format!(
        "# Environments\n\nWhere both real backends have been held to the contract, on {}. Made by `cargo xtask environments --write \
         docs/environments.md`; a promise is skipped where it is of the other kind of backend, or cannot be arranged there.\n\n",
        String::from_utf8_lossy(&date.stdout).trim()
    );
    let rows: Vec<Vec<String>> = all.iter().map(|(place, visit)| row(place, visit).to_vec()).collect();
    page += &table(&HEADER.map(str::to_owned), &rows);
    for (place, visit) in all {
        if let Visit::Skipped(reason) = visit {
            _ = writeln!(page, "Skipped: {}: {reason}\n", place.name);
        }
    }
    let seen: Vec<(&Place, &Testimony)> = all
        .iter()
        .filter_map(|(place, visit)| match visit {
            Visit::Made(seen, _) if !place.name.starts_with("seccomp") => Some((*place, &**seen)),
            _ => None,
        })
        .collect();
    let Some((_, first)) = seen.first() else { return Ok(page) };
    page += "## What each kernel answers\n\n✓: it works. In user-mode emulators many of the answers are those of the kernel beneath.\n\n";
    let names: Vec<&String> = first.checks.iter().map(|c| &c.0).chain(first.features.iter().map(|f| &f.0)).collect();
    let header: Vec<String> = std::iter::once("place".to_owned()).chain(names.iter().map(|name| format!("`{name}`"))).collect();
    let answer = |seen: &Testimony, name: &str| {
        let feature = || seen.features.iter().find(|feature| feature.0 == name).map(|feature| feature.2.as_str());
        seen.check(name).or_else(feature).map_or("", |answer| if answer == "works" { "✓" } else { answer }).to_owned()
    };
    let row = |(place, seen): &(&Place, &Testimony)| {
        std::iter::once(place.name.clone()).chain(names.iter().map(|name| answer(seen, name))).collect()
    };
    page += &table(&header, &seen.iter().map(row).collect::<Vec<Vec<String>>>());
    Ok(page)
}
