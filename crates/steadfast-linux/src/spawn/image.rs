//! [`Image`]: program, arguments and environment as `execve` wants them, made while allocating is still allowed.
//!
//! All strings lie in one buffer and all pointers to them in another, which a thread keeps for its next spawn: what a spawn costs
//! beyond the kernel's part is mostly the allocator's work.

use super::environ::Inherited;
use std::cell::Cell;
use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::ptr;
use steadfast_core::Plan;

/// What execvp(3) searches when there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A buffer that has grown beyond this is not kept.
const KEEP: usize = 64 * 1024;

thread_local! {
    static KEPT: Cell<Option<Buffers>> = const { Cell::new(None) };
}

#[derive(Default)]
struct Buffers {
    /// The strings, each with its NUL.
    strings: Vec<u8>,
    /// Where each begins.
    starts: Vec<usize>,
    /// The files to try and null; a free slot; argv and null; envp and null.
    pointers: Vec<*const c_char>,
}

impl Buffers {
    fn push(&mut self, parts: [&[u8]; 3]) {
        self.starts.push(self.strings.len());
        for part in parts {
            self.strings.extend_from_slice(part);
        }
        self.strings.push(0);
    }

    /// The address of the string of this index. To be asked for when no string is added any more.
    fn address(&self, index: usize) -> *const c_char {
        self.strings.as_ptr().wrapping_add(self.starts[index]).cast()
    }
}

pub(super) struct Image {
    buffers: Buffers,
    candidates: usize,
    args: usize,
    search_path: Option<OsString>,
    /// Instead of an environment among the strings.
    inherited: Option<&'static Inherited>,
    /// Where the child writes its PID, among the strings.
    pid_at: Option<usize>,
}

/// The program and its surroundings as `execve` wants them; valid as long as the image.
pub(super) struct Pointers {
    /// The files to try, in order; null ends it.
    pub(super) candidates: *const *const c_char,
    /// A free slot, then `argv` with its null: the slot is for running a script without `#!`.
    pub(super) argv_after_slot: *mut *const c_char,
    pub(super) envp: *const *const c_char,
    /// [`PID_ROOM`] bytes for the child's PID, or null.
    pub(super) pid: *mut u8,
}

/// What a PID takes, with its NUL; the kernel's largest has seven digits.
pub(super) const PID_ROOM: usize = 11;

impl Image {
    pub(super) fn new(plan: &Plan) -> Image {
        let pid_variable = plan.attributes().pid_variable.as_deref();
        let inherited = if plan.env().is_none() && pid_variable.is_none() { Inherited::unchanged() } else { None };
        let copied;
        let env = match (plan.env(), inherited) {
            (Some(env), _) => env,
            (None, Some(_)) => &[],
            (None, None) => {
                copied = std::env::vars_os().collect::<Vec<_>>();
                &copied
            }
        };
        let program = plan.program().as_bytes();
        let search_path = (!program.contains(&b'/')).then(|| {
            let copied = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
            copied.or_else(|| inherited?.path()).unwrap_or(DEFAULT_PATH.as_ref()).to_owned()
        });

        let mut buffers = KEPT.try_with(Cell::take).ok().flatten().unwrap_or_default();
        buffers.strings.clear();
        buffers.starts.clear();
        match &search_path {
            // An empty directory in `PATH` is the current one.
            Some(path) => path.as_bytes().split(|b| *b == b':').for_each(|dir| match dir {
                [] => buffers.push([b"", b"", program]),
                dir => buffers.push([dir, b"/", program]),
            }),
            None => buffers.push([program, b"", b""]),
        }
        let candidates = buffers.starts.len();
        buffers.push([plan.arg0().as_bytes(), b"", b""]);
        plan.args().iter().for_each(|arg| buffers.push([arg.as_bytes(), b"", b""]));
        let args = buffers.starts.len() - candidates;
        let env = env.iter().filter(|(name, _)| pid_variable != Some(name));
        env.for_each(|(name, value)| buffers.push([name.as_bytes(), b"=", value.as_bytes()]));
        let pid_at = pid_variable.map(|name| {
            let at = buffers.strings.len() + name.len() + 1;
            buffers.push([name.as_bytes(), b"=", &[b'0'; PID_ROOM - 1]]);
            at
        });
        Image { buffers, candidates, args, search_path, inherited, pid_at }
    }

    pub(super) fn pointers(&mut self) -> Pointers {
        let mut pointers = std::mem::take(&mut self.buffers.pointers);
        pointers.clear();
        let behind_args = self.candidates + self.args;
        pointers.extend((0..self.candidates).map(|index| self.buffers.address(index)));
        pointers.extend([ptr::null(), ptr::null()]);
        pointers.extend((self.candidates..behind_args).map(|index| self.buffers.address(index)));
        pointers.push(ptr::null());
        pointers.extend((behind_args..self.buffers.starts.len()).map(|index| self.buffers.address(index)));
        pointers.push(ptr::null());
        self.buffers.pointers = pointers;
        let candidates = self.buffers.pointers.as_mut_ptr();
        let argv_after_slot = candidates.wrapping_add(self.candidates + 2);
        let own = argv_after_slot.wrapping_add(self.args + 1).cast_const();
        let strings = self.buffers.strings.as_mut_ptr();
        let pid = self.pid_at.map_or(ptr::null_mut(), |at| strings.wrapping_add(at));
        Pointers { candidates, argv_after_slot, envp: self.inherited.map_or(own, Inherited::pointers), pid }
    }

    pub(super) fn candidate(&self, index: usize) -> Option<PathBuf> {
        let start = *self.buffers.starts.get(index).filter(|_| index < self.candidates)?;
        let path = self.buffers.strings[start..].split(|byte| *byte == 0).next()?;
        Some(OsString::from_vec(path.to_vec()).into())
    }

    /// The directories searched, if the program has no slash.
    pub(super) fn search_path(&self) -> Option<&OsStr> {
        self.search_path.as_deref()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.buffers.strings.capacity() <= KEEP {
            let buffers = std::mem::take(&mut self.buffers);
            // A thread that is ending has no room for it any more.
            _ = KEPT.try_with(|kept| kept.set(Some(buffers)));
        }
    }
}

/// A plan has no NUL byte.
pub(super) fn c_string(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;
    use std::sync::Arc;
    use steadfast_core::Attributes;

    /// A null-terminated list, as the kernel reads it.
    fn read(mut list: *const *const c_char) -> Vec<String> {
        let mut read = Vec::new();
        loop {
            // SAFETY: the lists of an image end with null.
            let string = unsafe { *list };
            if string.is_null() {
                return read;
            }
            // SAFETY: the strings of an image end with NUL.
            read.push(unsafe { CStr::from_ptr(string) }.to_str().unwrap().to_owned());
            list = list.wrapping_add(1);
        }
    }

    #[test]
    fn the_lists_are_what_execve_wants() {
        let env = vec![("PATH".into(), "/a::/b/".into()), ("X".into(), "".into())];
        let plan = Plan::builder("p").arg0("zero").args(["one", ""]).env(env).build().unwrap();
        // The second one has the buffers of the first.
        for _ in 0..2 {
            let mut image = Image::new(&plan);
            let pointers = image.pointers();
            assert_eq!(read(pointers.candidates), ["/a/p", "p", "/b//p"]);
            assert_eq!(read(pointers.argv_after_slot), ["zero", "one", ""]);
            assert_eq!(read(pointers.envp), ["PATH=/a::/b/", "X="]);
            assert_eq!(image.candidate(1), Some("p".into()));
            assert_eq!((image.candidate(3), image.search_path()), (None, Some("/a::/b/".as_ref())));
        }
        let attributes = Attributes { pid_variable: Some("P".into()), ..Attributes::default() };
        let env = vec![("P".into(), "another's".into()), ("X".into(), "".into())];
        let mut image = Image::new(&Plan::builder("p").env(env).attributes(Arc::new(attributes)).build().unwrap());
        assert_eq!(read(image.pointers().envp), ["X=", "P=0000000000"]);
        let mut image = Image::new(&Plan::builder("./p").env(Vec::new()).build().unwrap());
        assert_eq!(read(image.pointers().candidates), ["./p"]);
        assert_eq!(image.search_path(), None);
    }
}
