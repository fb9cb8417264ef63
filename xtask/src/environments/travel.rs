//! The witness, and how it gets to each kind of place.

use super::ALONE;
use super::packages::Packages;
use super::places::{Place, Way};
use super::testimony::Testimony;
use cpio::newc::{Builder, ModeFileType, trailer};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use steadfast::{Capture, Command, Stdio};

/// No place takes longer; one that hangs by itself now and then takes a third of it.
const PATIENCE: Duration = Duration::from_secs(300);
const TARGET: &str = "x86_64-unknown-linux-gnu";

pub(crate) struct Traveller {
    witness: PathBuf,
    cases: String,
    spawns: String,
    /// Asked for by the first who needs them.
    packages: OnceLock<Result<Packages, String>>,
}

impl Traveller {
    /// Builds the witness and its actor, as static programs.
    pub(crate) fn new(cases: u32, spawns: u32) -> Result<Traveller, String> {
        if std::env::consts::ARCH != "x86_64" {
            return Err(format!("the emulators and kernels are for x86_64, and this machine is {}", std::env::consts::ARCH));
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the workspace has no directory")?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", "steadfast-tests", "--bins", "--target", TARGET])
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .current_dir(root)
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("the witness cannot be built: {status}")),
            Err(error) => return Err(format!("the witness cannot be built: {error}")),
        }
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let witness = target.join(TARGET).join("debug/witness");
        Ok(Traveller { witness, cases: cases.to_string(), spawns: spawns.to_string(), packages: OnceLock::new() })
    }

    /// Goes there, and listens.
    ///
    /// # Errors
    /// The reason why it cannot be done on this machine.
    pub(crate) fn visit(&self, place: &Place) -> Result<Testimony, String> {
        let mut command = match &place.way {
            Way::Here => self.in_namespace(&[], &["examine"]),
            Way::Filtered(name) => self.in_namespace(&[], &["filtered", name]),
            Way::QemuUser(package, program) => {
                self.in_namespace(&[self.program(&self.packages()?.unpacked(*package)?, program)?], &["examine"])
            }
            Way::Valgrind(package) => {
                let dir = self.packages()?.unpacked(*package)?;
                // Fair: or else threads that wait for each other by looking get no turn.
                let words = [self.program(&dir, "valgrind")?, "--tool=none".into(), "--quiet".into(), "--fair-sched=yes".into()];
                let mut command = self.in_namespace(&words, &["examine"]);
                command.env("VALGRIND_LIB", dir.join("usr/libexec/valgrind"));
                command
            }
            Way::Gvisor(package, platform) => {
                let runsc = self.program(&self.packages()?.unpacked(*package)?, "runsc")?;
                let mut command = Command::new(runsc);
                command.args(["--network=none", &format!("--platform={platform}"), "do"]).arg(&self.witness).arg("examine");
                command
            }
            Way::Kernel(series) => self.kernel(&self.packages()?.kernel(series)?)?,
        };
        command
            .env("STEADFAST_CASES", &self.cases)
            .env("STEADFAST_SPAWNS", &self.spawns)
            .env_remove("STEADFAST_BACKEND")
            .stdin(Stdio::null());
        let patience = if place.expected.hangs.is_some() { PATIENCE / 3 } else { PATIENCE };
        let options = Capture::new().timeout(patience).kill_on_timeout(true);
        let captured = command.capture(&options).map_err(|error| error.to_string())?;
        let mut testimony = Testimony::hear(&captured.stdout.to_string());
        testimony.killed_after = captured.timed_out.then_some(patience);
        if !testimony.has_come && !captured.timed_out {
            let said = captured.stderr.to_string();
            let first = testimony.errors.first().cloned();
            let reason = first.unwrap_or_else(|| said.lines().last().unwrap_or("the witness said nothing").to_owned());
            // Whoever may not make a namespace, a sandbox or a tracer cannot get there. A kernel that does not start is another matter.
            match place.way {
                Way::Kernel(_) => testimony.errors.push(format!("the witness said nothing: {reason}")),
                _ => return Err(format!("it cannot be entered: {reason}")),
            }
        }
        Ok(testimony)
    }

    fn packages(&self) -> Result<&Packages, String> {
        self.packages.get_or_init(Packages::new).as_ref().map_err(Clone::clone)
    }

    fn program(&self, dir: &Path, name: &str) -> Result<PathBuf, String> {
        Some(dir.join("usr/bin").join(name)).filter(|path| path.exists()).ok_or_else(|| format!("the package holds no {name}"))
    }

    /// As process 1 of a PID namespace, in which it may choose PIDs; through this program, if there is one.
    fn in_namespace(&self, through: &[PathBuf], args: &[&str]) -> Command {
        let mut command = Command::new(&self.witness);
        command.arg("in-namespace").args(through).arg(&self.witness).args(args);
        command
    }

    fn kernel(&self, image: &Path) -> Result<Command, String> {
        let is_there = Command::new("qemu-system-x86_64").arg("--version").stdin(Stdio::null()).output();
        is_there.map_err(|_| "qemu-system-x86_64 is not here: install qemu-system-x86".to_owned())?;
        let initrd = self.initrd().map_err(|error| format!("the initial file system: {error}"))?;
        let line =
            format!("console=ttyS0 quiet panic=-1 {ALONE}=1 STEADFAST_CASES={} STEADFAST_SPAWNS={}", self.cases, self.spawns);
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-cpu", "max", "-smp", "2", "-m", "512", "-nographic", "-no-reboot", "-append", &line]);
        command.arg("-kernel").arg(image).arg("-initrd").arg(initrd);
        Ok(command)
    }

    /// A file system with nothing but the witness, as the first process and under its own name, and the actor.
    fn initrd(&self) -> std::io::Result<PathBuf> {
        let mut archive = Vec::new();
        for name in ["proc", "dev", "tmp", "sys"] {
            archive = Builder::new(name).mode(0o755).set_mode_file_type(ModeFileType::Directory).write(archive, 0).finish()?;
        }
        for (name, from) in [("init", "witness"), ("witness", "witness"), ("actor", "actor")] {
            let bytes = fs::read(self.witness.with_file_name(from))?;
            let entry = Builder::new(name).mode(0o755).set_mode_file_type(ModeFileType::Regular);
            let mut writer = entry.write(archive, bytes.len() as u32);
            std::io::Write::write_all(&mut writer, &bytes)?;
            archive = writer.finish()?;
        }
        let path = self.witness.with_extension("cpio");
        fs::write(&path, trailer(archive)?)?;
        Ok(path)
    }
}
