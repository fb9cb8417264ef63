//! [`Image`]: program, arguments and environment as `execve` wants them, made while allocating is still allowed.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::ptr;
use steadfast_core::Plan;

/// What execvp(3) searches when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

pub(super) struct Image {
    candidates: Vec<CString>,
    candidate_pointers: Vec<*const c_char>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    search_path: Option<OsString>,
    /// What `argv` and `envp` point into.
    _strings: Vec<CString>,
}

/// The program and its surroundings as `execve` wants them; valid as long as the image.
pub(super) struct Pointers {
    /// The files to try, in order; null ends it.
    pub(super) candidates: *const *const c_char,
    /// A free slot, then `argv` with its null: the slot is for running a script without `#!`.
    pub(super) argv_after_slot: *mut *const c_char,
    pub(super) envp: *const *const c_char,
}

impl Image {
    pub(super) fn new(plan: &Plan) -> Image {
        let inherited;
        let env = match plan.env() {
            Some(env) => env,
            None => {
                inherited = std::env::vars_os().collect::<Vec<_>>();
                &inherited
            }
        };
        let search_path = (!plan.program().as_bytes().contains(&b'/')).then(|| {
            let path = env.iter().find(|(name, _)| name == "PATH");
            path.map_or_else(|| DEFAULT_PATH.into(), |(_, value)| value.clone())
        });
        let candidates = match &search_path {
            Some(path) => path.as_bytes().split(|b| *b == b':').map(|dir| join(dir, plan.program())).collect(),
            None => vec![c_string(plan.program())],
        };

        let mut strings = Vec::with_capacity(1 + plan.args().len() + env.len());
        let mut keep = |string: CString| {
            let pointer = string.as_ptr();
            strings.push(string);
            pointer
        };
        let mut argv = vec![ptr::null(), keep(c_string(plan.arg0()))];
        argv.extend(plan.args().iter().map(|arg| keep(c_string(arg))));
        argv.push(ptr::null());
        let mut envp = Vec::with_capacity(env.len() + 1);
        envp.extend(env.iter().map(|(name, value)| keep(variable(name, value))));
        envp.push(ptr::null());

        let mut candidate_pointers: Vec<_> = candidates.iter().map(|path| path.as_ptr()).collect();
        candidate_pointers.push(ptr::null());
        Image { candidates, candidate_pointers, argv, envp, search_path, _strings: strings }
    }

    pub(super) fn pointers(&mut self) -> Pointers {
        Pointers {
            candidates: self.candidate_pointers.as_ptr(),
            argv_after_slot: self.argv.as_mut_ptr().wrapping_add(1),
            envp: self.envp.as_ptr(),
        }
    }

    pub(super) fn candidate(&self, index: usize) -> Option<PathBuf> {
        let path = self.candidates.get(index)?;
        Some(OsString::from_vec(path.as_bytes().to_vec()).into())
    }

    /// The directories searched, if the program has no slash.
    pub(super) fn search_path(&self) -> Option<&OsStr> {
        self.search_path.as_deref()
    }
}

/// An empty directory in `PATH` is the current one.
fn join(dir: &[u8], program: &OsStr) -> CString {
    let mut path = dir.to_vec();
    if !dir.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(program.as_bytes());
    terminated(path)
}

fn variable(name: &OsStr, value: &OsStr) -> CString {
    let mut text = name.as_bytes().to_vec();
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    terminated(text)
}

pub(super) fn c_string(text: &OsStr) -> CString {
    terminated(text.as_bytes().to_vec())
}

/// A plan has no NUL byte; an inherited `PATH` or environment cannot have one.
fn terminated(bytes: Vec<u8>) -> CString {
    CString::new(bytes).unwrap_or_default()
}
