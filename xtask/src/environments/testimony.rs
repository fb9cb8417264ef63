//! What the witness says.

use serde_json::Value;
use std::time::Duration;

/// Before each line of the witness's: a console may carry other people's lines too.
pub const MARK: &str = "witness: ";

/// All that it has said of a place.
#[derive(Default)]
pub(crate) struct Testimony {
    /// It has begun to look.
    pub(crate) has_come: bool,
    pub(crate) kernel: String,
    pub(crate) backend: String,
    /// Why it is not pidfd.
    pub(crate) obstacle: Option<String>,
    pub(crate) door: String,
    /// By what its spawns heard of an exec.
    pub(crate) waits: String,
    /// Name and answer.
    pub(crate) checks: Vec<(String, String)>,
    /// Name, version and answer.
    pub(crate) features: Vec<(String, String, String)>,
    pub(crate) promises: Vec<Promise>,
    /// Descriptors, threads and children, before and after.
    pub(crate) belongings: Option<(String, String)>,
    pub(crate) robberies: Vec<Robbery>,
    pub(crate) errors: Vec<String>,
    /// It did not come to its end in this time.
    pub(crate) killed_after: Option<Duration>,
    /// The last promise that was tried, on each visit before this one that hung.
    pub(crate) hung: Vec<String>,
}

/// What a hostile user's processes tried, and what they had.
pub(crate) struct Robbery {
    pub(crate) name: String,
    pub(crate) spawns: u64,
    /// Reads, writes and descriptors.
    pub(crate) had: [u64; 3],
}

pub(crate) struct Promise {
    pub(crate) backend: String,
    pub(crate) name: String,
    /// `begun`, `kept`, `broken`, `skipped`.
    pub(crate) outcome: String,
    pub(crate) why: String,
}

impl Testimony {
    pub(crate) fn hear(said: &str) -> Testimony {
        let mut all = Testimony::default();
        for line in said.lines().filter_map(|line| line.split_once(MARK)) {
            match serde_json::from_str::<Value>(line.1.trim_end()) {
                Ok(event) => all.note(&event),
                Err(error) => all.errors.push(format!("a line that is not whole ({error}): {}", line.1)),
            }
        }
        all
    }

    fn note(&mut self, event: &Value) {
        let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
        let rows = |name: &str| event[name].as_array().cloned().unwrap_or_default();
        match event["event"].as_str() {
            Some("kernel") => (self.has_come, self.kernel) = (true, text(event, "release")),
            Some("probe") => {
                (self.backend, self.door) = (text(event, "backend"), text(event, "door"));
                self.obstacle = event["obstacle"].as_str().map(str::to_owned);
                self.checks = rows("checks").iter().map(|row| (text(row, "name"), text(row, "answer"))).collect();
                let feature = |row: &Value| (text(row, "name"), text(row, "since"), text(row, "answer"));
                self.features = rows("features").iter().map(feature).collect();
            }
            Some("promise") => {
                let [backend, name, outcome, why] = ["backend", "name", "outcome", "why"].map(|key| text(event, key));
                match self.promises.last_mut() {
                    Some(last) if last.outcome == "begun" && last.name == name => (last.outcome, last.why) = (outcome, why),
                    _ => self.promises.push(Promise { backend, name, outcome, why }),
                }
            }
            Some("waits") => self.waits = text(event, "by"),
            Some("robbery") => {
                let number = |name: &str| event[name].as_u64().unwrap_or_default();
                let had = ["read", "written", "taken"].map(number);
                self.robberies.push(Robbery { name: text(event, "name"), spawns: number("spawns"), had });
            }
            Some("end") => self.belongings = Some((event["before"].to_string(), event["after"].to_string())),
            Some("error") => self.errors.push(text(event, "what")),
            _ => {}
        }
    }

    /// The promise that it was last heard of with, if it hung there and all was well before.
    pub(crate) fn hung_at(&self) -> Option<&str> {
        let [before @ .., last] = &self.promises[..] else { return None };
        let is_well = self.errors.is_empty() && before.iter().all(|promise| promise.outcome != "broken");
        (self.killed_after.is_some() && is_well && last.outcome == "begun").then_some(&*last.name)
    }

    pub(crate) fn check(&self, name: &str) -> Option<&str> {
        self.checks.iter().find(|check| check.0 == name).map(|check| check.1.as_str())
    }

    /// How many promises this backend has kept, broken and not been asked; `None` if it cannot work there.
    pub(crate) fn count(&self, backend: &str) -> Option<[usize; 3]> {
        let of = |outcome: &str| self.promises.iter().filter(|p| p.backend == backend && p.outcome == outcome).count();
        let all = [of("kept"), of("broken") + of("begun"), of("skipped")];
        (all.iter().sum::<usize>() > 0).then_some(all)
    }
}
