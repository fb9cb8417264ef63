//! A birth that ends between a wait's look and its answer: a killed job is not called empty while somebody lives in it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use steadfast_core::sync::Scheduler;
use steadfast_core::{
    Attributes, BackendInfo, BackendJob, BackendProcess, BackendStart, Clock, Containment, Error, FoundByFd, Identity, Job,
    JobPlan, JobUsage, OnBirth, OnExit, Pid, Plan, ProcessBackend, Reopened, Result, Signal,
};

/// Who is just being born is so behind each look, at the worst moment.
#[derive(Default)]
struct Place {
    being_born: Mutex<Option<OnBirth>>,
    lives: AtomicBool,
    looks: AtomicUsize,
    kills: AtomicUsize,
}

impl Place {
    fn give_birth(&self) {
        let tell = self.being_born.lock().unwrap().take();
        if let Some(tell) = tell {
            self.lives.store(true, Ordering::SeqCst);
            tell(Some(Pid::MAX));
        }
    }
}

impl BackendJob for Place {
    fn containment(&self) -> Containment {
        Containment::Cgroup
    }
    fn lives_on(&self) -> Option<Error> {
        None
    }
    fn detach(&self) -> Result<()> {
        Ok(())
    }
    fn join(&self, _: &mut Attributes) -> Result<(), String> {
        Ok(())
    }
    fn born(&self, _: Pid) {}
    fn adopt(&self, _: Pid) -> Result<()> {
        Ok(())
    }
    fn signal(&self, signal: Signal) -> Result<bool> {
        self.kills.fetch_add(usize::from(signal == Signal::KILL), Ordering::SeqCst);
        Ok(true)
    }
    fn freeze(&self, _: Option<Instant>) -> Result<bool> {
        Ok(true)
    }
    fn thaw(&self) -> Result<()> {
        Ok(())
    }
    fn members(&self) -> Result<Vec<Pid>> {
        Ok(Vec::new())
    }
    fn wait_empty(&self, _: Option<Instant>) -> Result<bool> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let is_empty = !self.lives.load(Ordering::SeqCst);
        self.give_birth();
        Ok(is_empty)
    }
    fn on_empty(self: Arc<Self>, tell: OnExit) -> Result<()> {
        tell();
        Ok(())
    }
    fn usage(&self) -> Result<JobUsage> {
        Ok(JobUsage::default())
    }
}

struct Backend(Arc<Place>);

impl Clock for Backend {
    fn now(&self) -> Instant {
        #[allow(clippy::disallowed_methods, reason = "this is a clock")]
        Instant::now()
    }
    fn sleep_until(&self, _: Instant) {}
    fn scheduler(&self) -> Option<Arc<dyn Scheduler>> {
        None
    }
}

impl ProcessBackend for Backend {
    fn info(&self) -> BackendInfo {
        BackendInfo::new("births")
    }
    fn clock(&self) -> &dyn Clock {
        self
    }
    fn generation(&self) -> u32 {
        0
    }
    fn start(&self, _: &Plan) -> Result<Box<dyn BackendStart>> {
        unreachable!("births are told by hand here")
    }
    fn find(&self, pid: Pid) -> Result<Arc<dyn BackendProcess>> {
        Err(Error::ProcessDone { pid })
    }
    fn list(&self) -> Result<Vec<Pid>> {
        unreachable!("nobody lists")
    }

    fn find_by_fd(&self, _: OwnedFd) -> Result<FoundByFd> {
        Err(Error::Unsupported { backend: self.info().name, what: "no descriptors".into() })
    }

    fn reopen(&self, identity: &Identity) -> Reopened<Arc<dyn BackendProcess>> {
        identity.unknown("nobody is named here")
    }
    fn job(&self, _: &JobPlan) -> Result<Arc<dyn BackendJob>> {
        Ok(Arc::clone(&self.0) as Arc<dyn BackendJob>)
    }
}

/// A job that was killed while somebody is being born in it.
fn killed() -> (Arc<Place>, Arc<dyn ProcessBackend>, Job) {
    let place = Arc::new(Place::default());
    let backend: Arc<dyn ProcessBackend> = Arc::new(Backend(Arc::clone(&place)));
    let job = Job::new(&backend, &JobPlan::new(Containment::Cgroup)).unwrap();
    let (_, tell) = job.membership().admit(&Plan::builder("x").build().unwrap()).unwrap();
    *place.being_born.lock().unwrap() = Some(tell);
    job.kill().unwrap();
    (place, backend, job)
}

#[test]
fn nobody_is_born_behind_the_look() {
    let (place, backend, job) = killed();
    assert!(!job.wait_empty(Some(backend.clock().now())).unwrap(), "somebody is being born");
    place.give_birth();
    assert_eq!(place.kills.load(Ordering::SeqCst), 2, "once more, after the birth");
    assert!(!job.wait_empty(Some(backend.clock().now())).unwrap(), "it lives");
    place.lives.store(false, Ordering::SeqCst);
    assert!(job.wait_empty(None).unwrap());
    // From here on it is known.
    let looks = place.looks.load(Ordering::SeqCst);
    assert!(job.wait_empty(None).unwrap() && place.looks.load(Ordering::SeqCst) == looks);
}

#[test]
fn a_wait_goes_on_when_the_birth_is_over() {
    let (place, backend, job) = killed();
    let mother = Arc::clone(&place);
    let births = std::thread::spawn(move || {
        mother.give_birth();
        mother.lives.store(false, Ordering::SeqCst);
    });
    while !job.wait_empty(Some(backend.clock().now() + Duration::from_secs(60))).unwrap() {}
    births.join().unwrap();
    assert!(!place.lives.load(Ordering::SeqCst));
}
