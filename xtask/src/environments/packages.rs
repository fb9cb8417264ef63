//! Debian's packages, of other releases too: found in the index, downloaded, checked against it, and unpacked into a cache. Nothing is
//! installed, and nothing of the machine's own apt is changed.

use super::places::{Package, numbers};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const SUITES: [&str; 5] = ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The index is not asked for again before this.
const FRESH: Duration = Duration::from_secs(24 * 3600);

pub(crate) struct Packages {
    cache: PathBuf,
    /// The directory of the cache that apt has for itself: an index for each set of releases and architectures.
    apt: &'static str,
}

/// Outside of the repository: `STEADFAST_CACHE`, or where the user's caches are.
fn cache() -> Result<PathBuf, String> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("STEADFAST_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("steadfast")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache/steadfast")))
        .ok_or_else(|| "there is no place for a cache: set STEADFAST_CACHE".into())
}

fn output(program: &str, args: &[&str], set: impl FnOnce(&mut Command) -> &mut Command) -> Result<String, String> {
    let mut command = Command::new(program);
    let output = set(command.args(args)).output().map_err(|error| format!("{program} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.starts_with("E:")).or(said.lines().last()).unwrap_or_default();
    Err(format!("{program} {}: {line}", args.join(" ")))
}

/// Where this machine has its own packages from.
fn mirror() -> Result<String, String> {
    let sites = output("apt-get", &["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], |command| command)?;
    let is_debian = |site: &&str| site.trim_end_matches('/').ends_with("/debian");
    sites.lines().find(is_debian).map(str::to_owned).ok_or_else(|| "this machine's apt knows no Debian mirror".into())
}

impl Packages {
    /// With an index of all releases that are needed.
    ///
    /// # Errors
    /// Where there is no apt, no mirror of Debian, or no network.
    pub(crate) fn new() -> Result<Packages, String> {
        Packages::indexed("apt", &SUITES, "")
    }

    /// With an index of one release, for other architectures than this machine's.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn foreign(suite: &str, architectures: &[&str]) -> Result<Packages, String> {
        Packages::indexed("apt-foreign", &[suite], &architectures.join(","))
    }

    fn indexed(apt: &'static str, suites: &[&str], architectures: &str) -> Result<Packages, String> {
        let packages = Packages { cache: cache()?, apt };
        let dir =
            |name: &str| fs::create_dir_all(packages.cache.join(name)).map_err(|e| format!("{}: {e}", packages.cache.display()));
        for name in [&format!("{apt}/lists/partial"), &format!("{apt}/archives/partial"), "packages", "unpacked"] {
            dir(name)?;
        }
        let site = mirror()?;
        let (of, all) = match architectures {
            "" => (String::new(), String::new()),
            some => {
                let list: String = some.split(',').map(|one| format!("\"{one}\"; ")).collect();
                (format!("arch={some} "), format!("APT::Architectures {{ {list}}};\n"))
            }
        };
        let line = |suite: &&str| format!("deb [{of}signed-by={KEYRING}] {site} {suite} main\n");
        let root = packages.cache.join(apt);
        let config = format!(
            "{all}Dir::Etc::sourcelist \"{root}/sources.list\";\nDir::Etc::sourceparts \"-\";\nDir::State::lists \"{root}/lists\";\n\
             Dir::State::status \"{root}/status\";\nDir::Cache \"{root}\";\nAcquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n",
            root = root.display()
        );
        let write = |name: &str, text: &str| fs::write(root.join(name), text).map_err(|e| format!("{}: {e}", root.display()));
        let sources: String = suites.iter().map(line).collect();
        let is_as_before = fs::read_to_string(root.join("sources.list")).is_ok_and(|before| before == sources);
        write("sources.list", &sources)?;
        write("apt.conf", &config)?;
        write("status", "")?;
        let stamp = root.join("updated");
        let is_fresh = fs::metadata(&stamp)
            .and_then(|data| data.modified())
            .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < FRESH));
        if !(is_fresh && is_as_before) {
            packages.apt("apt-get", &["-qq", "update"])?;
            write("updated", "")?;
        }
        Ok(packages)
    }

    fn apt(&self, program: &str, args: &[&str]) -> Result<String, String> {
        self.apt_in(self.apt, program, args)
    }

    /// In this directory of the cache.
    fn apt_in(&self, dir: &str, program: &str, args: &[&str]) -> Result<String, String> {
        let config = self.cache.join(self.apt).join("apt.conf");
        output(program, args, |command| command.env("APT_CONFIG", config).current_dir(self.cache.join(dir)))
    }

    /// Where the package of this release is unpacked.
    pub(crate) fn unpacked(&self, package: Package) -> Result<PathBuf, String> {
        self.fetch(&format!("{}/{}", package.name, package.suite))
    }

    /// The newest kernel of a series, `6.12`: its image.
    pub(crate) fn kernel(&self, series: &str) -> Result<PathBuf, String> {
        let names = self.apt("apt-cache", &["pkgnames", "linux-"])?;
        let newest = |kind: &str| {
            let begin = format!("linux-{kind}-{series}.");
            let of_it = names.lines().filter(|name| name.starts_with(&begin) && name.ends_with("-cloud-amd64"));
            of_it.max_by_key(|name| numbers(name)).map(str::to_owned)
        };
        // From 7.0 on the image is in a package of its own.
        let name = newest("binary").or_else(|| newest("image")).ok_or_else(|| format!("the index has no kernel {series}"))?;
        let dir = self.fetch(&name)?;
        find(&dir, &|name| name.as_encoded_bytes().starts_with(b"vmlinuz")).ok_or_else(|| format!("{name} holds no vmlinuz"))
    }

    /// Where a package is unpacked, by its name, `name/release` or `name:architecture`.
    pub(crate) fn fetch(&self, what: &str) -> Result<PathBuf, String> {
        // 'URI' FILE SIZE SHA256:SUM; nothing, where the file is already.
        let uris = self.apt("apt-get", &["-qq", "download", "--print-uris", what])?;
        let words: Vec<&str> = uris.split_ascii_whitespace().collect();
        let [_, file, _, sum] = words[..] else { return Err(format!("apt-get says of {what}: {uris:?}")) };
        let sum = sum.strip_prefix("SHA256:").ok_or_else(|| format!("the index has no SHA-256 for {what}"))?;
        let (path, dir) =
            (self.cache.join("packages").join(file), self.cache.join("unpacked").join(file.trim_end_matches(".deb")));
        if !is_it(&path, sum) {
            self.apt_in("packages", "apt-get", &["-qq", "download", what])?;
            if !is_it(&path, sum) {
                return Err(format!("{} is not what the index says: its checksum differs", path.display()));
            }
        }
        if !dir.exists() {
            let partial = dir.with_extension("partial");
            let text = |path: &Path| path.display().to_string();
            output("dpkg-deb", &["-x", &text(&path), &text(&partial)], |command| command)?;
            fs::rename(&partial, &dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        Ok(dir)
    }
}

fn is_it(path: &Path, sum: &str) -> bool {
    let seen = path.exists().then(|| output("sha256sum", &[&path.display().to_string()], |command| command));
    matches!(seen, Some(Ok(line)) if line.split_ascii_whitespace().next() == Some(sum))
}

/// A file below this directory.
fn find(dir: &Path, is_it: &dyn Fn(&OsStr) -> bool) -> Option<PathBuf> {
    let entries: Vec<_> = fs::read_dir(dir).ok()?.flatten().collect();
    let here = entries.iter().find(|entry| is_it(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file()));
    here.map(|entry| entry.path()).or_else(|| {
        let dirs = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.into_iter().find_map(|entry| find(&entry.path(), is_it))
    })
}
