//! The child that may die of a question.
//!
//! It shares our memory like the child of a spawn, so that its price does not grow with ours (before Linux 5.16 it has a copy), and works through the list of
//! checks, writing each answer into a page that is shared even where the kernel copies our memory against the flags. If a
//! filter kills it, the page says at which check; the next child goes on behind that one.

use crate::quiet;
use crate::raw;
use crate::stack::Stack;
use crate::wait::wait4_all;
use std::ffi::{c_int, c_void};
use std::os::unix::process::ExitStatusExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use steadfast_core::{Errno, Exit};

/// One question; `ask` runs in the child.
pub(super) struct Question {
    pub(super) name: &'static str,
    pub(super) since: &'static str,
    /// Whether the pidfd backend cannot do without it.
    pub(super) is_required: bool,
    pub(super) ask: fn(&Surroundings<'_>) -> Result<(), Errno>,
}

/// What a question may use.
pub(super) struct Surroundings<'a> {
    page: &'a Page,
    mark: &'a AtomicBool,
    /// The top of a stack for a child of the child.
    pub(super) stack_top: *mut c_void,
    pub(super) stack_bottom: *mut c_void,
}

impl Surroundings<'_> {
    /// Whether the question of this index has been answered with yes.
    pub(super) fn worked(&self, index: usize) -> bool {
        self.page.answers.get(index).is_some_and(|answer| answer.load(Ordering::Acquire) == WORKS)
    }

    /// Leaves a mark in memory that the parent can see only if it is shared.
    pub(super) fn leave_mark(&self) {
        self.mark.store(true, Ordering::Release);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Works,
    Failed(Errno),
    Killed(i32),
}

/// The question that leaves a mark in memory.
const MARKS: &str = "vfork";

const ROOM: usize = 64;
const UNASKED: i32 = 0;
const WORKS: i32 = -1;

/// Shared by `MAP_SHARED`, whatever becomes of `CLONE_VM`. All zero at first.
#[repr(C)]
struct Page {
    /// The question that is being asked.
    current: AtomicUsize,
    /// [`UNASKED`], [`WORKS`], or an errno.
    answers: [AtomicI32; ROOM],
}

struct Task<'a> {
    questions: &'a [Question],
    first: usize,
    surroundings: Surroundings<'a>,
}

/// Asks all questions. The one named `vfork` also learns here whether the child's mark is seen.
pub(super) fn ask(questions: &[Question]) -> Result<Vec<Verdict>, Errno> {
    assert!(questions.len() <= ROOM, "the page has no room for more questions");
    let page = SharedPage::map()?;
    let page = page.page();
    let mark = AtomicBool::new(false);
    // Not one of those that are kept: its child ends in the middle of things, and leaves them there, for a sanitizer too.
    let stack = Stack::own()?;
    let memory = memory_for_a_child_that_may_be_killed();
    if memory == Memory::Copied && questions.iter().any(|question| question.name == MARKS) {
        // Whether memory can be shared is a question by itself; none that is fatal is asked there.
        let surroundings = Surroundings { page, mark: &mark, stack_top: stack.middle(), stack_bottom: stack.bottom() };
        let mut task = Task { questions: &[], first: 0, surroundings };
        match run_child(&stack, &mut task, leave_mark, Memory::Shared) {
            Ok(_) | Err(Errno::CHILD) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mut killed = [0; ROOM];
    let mut first = 0;
    let outcome = loop {
        let surroundings = Surroundings { page, mark: &mark, stack_top: stack.middle(), stack_bottom: stack.bottom() };
        let mut task = Task { questions, first, surroundings };
        match run_child(&stack, &mut task, run, memory) {
            Ok(Some(exit)) => match exit.status.signal() {
                None => break Ok(()),
                Some(signal) => {
                    let asked = page.current.load(Ordering::Acquire);
                    let Some(slot) = killed.get_mut(asked) else { break Err(Errno::IO) };
                    *slot = signal;
                    first = asked + 1;
                }
            },
            // Somebody else (SIGCHLD ignored under QEMU, a waitpid(-1) with __WALL) reaped it: the page tells how far it came.
            Ok(None) | Err(Errno::CHILD) => break Ok(()),
            Err(errno) => break Err(errno),
        }
    };
    drop(stack);
    outcome?;
    let verdict = |(index, question): (usize, &Question)| match page.answers[index].load(Ordering::Acquire) {
        WORKS if question.name == MARKS && !mark.load(Ordering::Acquire) => Verdict::Failed(Errno::OPNOTSUPP),
        WORKS => Verdict::Works,
        UNASKED => Verdict::Killed(killed[index]),
        errno => Verdict::Failed(Errno::from_raw(errno)),
    };
    Ok(questions.iter().enumerate().map(verdict).collect())
}

/// What a child has of our memory.
#[derive(Clone, Copy, PartialEq)]
enum Memory {
    Shared,
    Copied,
}

/// Before Linux 5.16 a core dump ended every process that shared the memory: a filter that kills the child would kill us. (To forbid the
/// dump for the time, by `PR_SET_DUMPABLE`, is no way: to allow it again may undo what the program has asked for meanwhile.)
fn memory_for_a_child_that_may_be_killed() -> Memory {
    if raw::kernel_version() < (5, 16) { Memory::Copied } else { Memory::Shared }
}

/// Makes a child that runs `what`, and waits for its end. `None`, or `ECHILD`: somebody else has reaped it.
fn run_child(
    stack: &Stack,
    task: &mut Task<'_>,
    what: extern "C" fn(*mut c_void) -> c_int,
    memory: Memory,
) -> Result<Option<Exit>, Errno> {
    let mask = raw::set_signal_mask(raw::ALL_BUT_SIGSYS);
    let flags = if memory == Memory::Shared { libc::CLONE_VM | libc::CLONE_VFORK } else { 0 };
    // SAFETY: the stack is ours alone and large enough for `what`, which keeps to what is allowed after a vfork; `task` lives in our caller
    // until we go on.
    let made = unsafe { quiet::child(flags, stack.top(), what, ptr::from_mut(task).cast()) };
    let exit = made.and_then(wait4_all);
    raw::set_signal_mask(mask);
    exit
}

extern "C" fn leave_mark(task: *mut c_void) -> c_int {
    // SAFETY: as in `run`.
    unsafe { &*task.cast::<Task<'_>>() }.surroundings.leave_mark();
    raw::exit_now(0)
}

extern "C" fn run(task: *mut c_void) -> c_int {
    // SAFETY: `ask` passes its task and waits until this process has ended.
    let task = unsafe { &*task.cast::<Task<'_>>() };
    // The program may have a handler, and the memory is shared; to be killed is what we are here for.
    raw::reset_signal(libc::SIGSYS);
    let page = task.surroundings.page;
    for (index, question) in task.questions.iter().enumerate().skip(task.first) {
        page.current.store(index, Ordering::Release);
        let answer = match (question.ask)(&task.surroundings) {
            Ok(()) => WORKS,
            Err(errno) => errno.as_raw(),
        };
        if let Some(slot) = page.answers.get(index) {
            slot.store(answer, Ordering::Release);
        }
    }
    raw::exit_now(0)
}

struct SharedPage(*mut Page);

impl SharedPage {
    fn map() -> Result<SharedPage, Errno> {
        let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let page = unsafe { libc::mmap(ptr::null_mut(), size_of::<Page>(), prot, flags, -1, 0) };
        if page == libc::MAP_FAILED { Err(raw::errno()) } else { Ok(SharedPage(page.cast())) }
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped, aligned to a page, all zero, which is a value of every field; unmapped when `self` is dropped.
        unsafe { &*self.0 }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`; nobody borrows from `self` any more, and the child has ended.
        unsafe { libc::munmap(self.0.cast(), size_of::<Page>()) };
    }
}
