//! What each runtime's module has of its own: the names, and the traits that extend `Command` and `Process` for this runtime.

/// Defines them for the runtime `$runtime`.
macro_rules! extend_for {
    ($runtime:ident, $write:literal, $read:literal) => {
        /// A process that was spawned, for tasks.
        pub type Child = crate::asynchronous::Child<$runtime>;
        #[doc = concat!("The write end of a child's stdin: ", $write, ".")]
        pub type ChildStdin = crate::asynchronous::ChildStdin<$runtime>;
        #[doc = concat!("The read end of a child's stdout: ", $read, ".")]
        pub type ChildStdout = crate::asynchronous::ChildStdout<$runtime>;
        #[doc = concat!("The read end of a child's stderr: ", $read, ".")]
        pub type ChildStderr = crate::asynchronous::ChildStderr<$runtime>;
        /// The lines of both outputs of a child, as they come.
        pub type Lines = crate::asynchronous::Lines<$runtime>;

        /// What a call of [`AsyncCommand`] gives: it borrows nothing, of the command either, and a function may return it.
        pub type CommandFuture<T> = std::pin::Pin<Box<dyn Future<Output = crate::Result<T>> + Send>>;

        /// Starts all of them, as [`spawn_many`](crate::spawn_many): ready once each runs its program or has failed, with the results in the order of
        /// the commands. The executor's thread is not blocked, as for [`spawn_async`](AsyncCommand::spawn_async).
        ///
        /// The first ones are started now, and not when the future is polled. If it is dropped before it is ready, those that are on their way are
        /// killed, the others are not started, and those that run are dropped as each [`Child`] is: they go on, or are killed if their command
        /// says [`kill_on_drop`](crate::Command::kill_on_drop).
        ///
        /// It borrows nothing, of the commands either. Each result is as of [`Command::spawn`](crate::Command::spawn).
        pub fn spawn_many<'a>(
            commands: impl IntoIterator<Item = &'a crate::Command>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Vec<crate::Result<Child>>> + Send>> {
            crate::asynchronous::spawn_many::<$runtime>(commands)
        }

        mod sealed {
            pub trait Sealed {}
            impl Sealed for crate::Command {}
            impl Sealed for crate::Process {}
            impl Sealed for crate::Job {}
        }

        /// Waiting for all of a [`Job`](crate::Job) in a task.
        pub trait AsyncJob: sealed::Sealed {
            /// Waits until nothing lives in it, as [`Job::wait_empty`](crate::Job::wait_empty). Dropping the future changes nothing.
            ///
            /// # Errors
            /// As there.
            fn wait_empty_async(&self) -> impl Future<Output = crate::Result<()>> + Send;

            /// Stops it as the steps say, until nothing lives in it, as [`Job::stop`](crate::Job::stop). If the future is dropped, no further
            /// step is taken.
            ///
            /// # Errors
            /// As there.
            fn stop_async(&self, how: &crate::Teardown) -> impl Future<Output = crate::Result<crate::Stopped>> + Send;
        }

        impl AsyncJob for crate::Job {
            fn wait_empty_async(&self) -> impl Future<Output = crate::Result<()>> + Send {
                crate::asynchronous::Empty::<$runtime>::of(self)
            }

            fn stop_async(&self, how: &crate::Teardown) -> impl Future<Output = crate::Result<crate::Stopped>> + Send {
                crate::asynchronous::stop::<$runtime>(self.targets(), how.clone())
            }
        }

        /// Waiting for any [`Process`](crate::Process) in a task.
        pub trait AsyncProcess: sealed::Sealed {
            /// Waits until the process has exited: a child, which is reaped then, or another one, of which a zombie may be left. As
            /// [`wait_exited`](crate::backend::Process::wait_exited).
            ///
            /// # Errors
            /// [`Error::Released`](crate::Error::Released) after [`release`](crate::backend::Process::release), also by another task
            /// meanwhile; [`Error::System`](crate::Error::System) or [`Error::Unsupported`](crate::Error::Unsupported) if there is no
            /// runtime here, or it has no room for the pidfd.
            fn exited(&self) -> impl Future<Output = crate::Result<crate::Ended>> + Send;

            /// Waits until the process is gone: exited, and waited for by its parent. As
            /// [`wait_gone`](crate::backend::Process::wait_gone), which says when the status is known.
            ///
            /// # Errors
            /// As [`exited`](AsyncProcess::exited).
            fn gone(&self) -> impl Future<Output = crate::Result<crate::Ended>> + Send;

            /// Waits for a child, reaps it, and gives its status.
            ///
            /// # Errors
            /// As [`exited`](AsyncProcess::exited); [`Error::NoChild`](crate::Error::NoChild), at once, for a process that is not a
            /// child.
            fn wait_async(&self) -> impl Future<Output = crate::Result<crate::ExitStatus>> + Send;

            /// Waits until a child has stopped, goes on after a stop, or has exited, as
            /// [`wait_change`](crate::backend::Process::wait_change). If the future is dropped before it is ready, nothing is taken.
            ///
            /// # Errors
            /// As there.
            fn wait_change_async(&self) -> impl Future<Output = crate::Result<crate::Change>> + Send;
        }

        impl AsyncProcess for crate::Process {
            fn exited(&self) -> impl Future<Output = crate::Result<crate::Ended>> + Send {
                crate::asynchronous::over::<$runtime>(self, crate::backend::Until::Exited)
            }

            fn gone(&self) -> impl Future<Output = crate::Result<crate::Ended>> + Send {
                crate::asynchronous::over::<$runtime>(self, crate::backend::Until::Gone)
            }

            fn wait_async(&self) -> impl Future<Output = crate::Result<crate::ExitStatus>> + Send {
                crate::asynchronous::wait::<$runtime>(self)
            }

            fn wait_change_async(&self) -> impl Future<Output = crate::Result<crate::Change>> + Send {
                crate::asynchronous::NextChange::<$runtime>::of(self)
            }
        }

        /// Starting a [`Command`](crate::Command) in a task. The process is started when the method is called, and not first when the
        /// future is polled; so is the time of a call with a limit.
        pub trait AsyncCommand: sealed::Sealed {
            /// Starts it, now, and not when the future is polled; ready once the program runs. The executor's thread is not blocked until
            /// then, as it is by [`Command::spawn`](crate::Command::spawn), but where the kernel suspends whoever starts a child
            /// ([`SpawnWait::Suspended`](crate::SpawnWait::Suspended)). A start that takes its time has a small thread that waits for it. If the
            /// future is dropped before, the child is killed, and reaped in the background.
            ///
            /// For many at a time there is [`spawn_many`].
            ///
            /// # Errors
            /// As [`Command::spawn`](crate::Command::spawn).
            fn spawn_async(&self) -> CommandFuture<Child>;

            /// As [`spawn_async`](AsyncCommand::spawn_async), for at most `timeout` by the runtime's clock, from here on; as
            /// [`Command::spawn_timeout`](crate::Command::spawn_timeout).
            ///
            /// # Errors
            /// As [`Command::spawn_timeout`](crate::Command::spawn_timeout).
            fn spawn_timeout_async(&self, timeout: std::time::Duration) -> CommandFuture<Child>;

            /// Starts it, waits for it and gives its status.
            ///
            /// # Errors
            /// As [`Command::spawn`](crate::Command::spawn) and [`wait`](crate::asynchronous::Child::wait).
            fn status_async(&self) -> CommandFuture<crate::ExitStatus>;

            /// Starts it, reads its stdout and stderr to the end, and waits for it.
            ///
            /// # Errors
            /// As [`Command::spawn`](crate::Command::spawn) and
            /// [`wait_with_output`](crate::asynchronous::Child::wait_with_output).
            fn output_async(&self) -> CommandFuture<crate::Output>;

            /// Starts it and reads its stdout and stderr until it exits, for at most `timeout`: then it is killed, and what was read
            /// so far is returned all the same.
            ///
            /// # Errors
            /// As [`Command::spawn`](crate::Command::spawn) and [`capture`](crate::asynchronous::Child::capture).
            fn output_timeout_async(&self, timeout: std::time::Duration) -> CommandFuture<crate::Captured>;

            /// Starts it and reads its stdout and stderr as the options say.
            ///
            /// # Errors
            /// As [`Command::spawn`](crate::Command::spawn) and [`capture`](crate::asynchronous::Child::capture).
            fn capture_async(&self, options: crate::Capture) -> CommandFuture<crate::Captured>;

            /// Starts it, and returns its output line by line, as it comes; see [`Command::lines`](crate::Command::lines).
            ///
            /// # Errors
            /// As [`Command::spawn`](crate::Command::spawn).
            fn lines_async(&self, options: crate::Capture) -> CommandFuture<Lines>;
        }

        impl AsyncCommand for crate::Command {
            fn spawn_async(&self) -> CommandFuture<Child> {
                let launch = crate::asynchronous::Launch::<$runtime>::begin(self, Default::default(), None);
                Box::pin(async move { launch?.await.map(Child::from) })
            }

            fn spawn_timeout_async(&self, timeout: std::time::Duration) -> CommandFuture<Child> {
                let within = crate::asynchronous::within::<$runtime>(Some(timeout));
                let launch = crate::asynchronous::Launch::<$runtime>::begin(self, Default::default(), within);
                Box::pin(async move { launch?.await.map(Child::from) })
            }

            fn status_async(&self) -> CommandFuture<crate::ExitStatus> {
                let run = crate::asynchronous::Run::<$runtime>::status(self);
                Box::pin(async move { run?.wait().await })
            }

            fn output_async(&self) -> CommandFuture<crate::Output> {
                let run = crate::asynchronous::Run::<$runtime>::captured(self);
                Box::pin(async move { run?.output().await })
            }

            fn output_timeout_async(&self, timeout: std::time::Duration) -> CommandFuture<crate::Captured> {
                self.capture_async(crate::Capture::new().timeout(timeout).kill_on_timeout(true))
            }

            fn capture_async(&self, options: crate::Capture) -> CommandFuture<crate::Captured> {
                let run = crate::asynchronous::Run::<$runtime>::captured_as(self, &options);
                Box::pin(async move { run?.capture(&options).await })
            }

            fn lines_async(&self, options: crate::Capture) -> CommandFuture<Lines> {
                Box::pin(Lines::begin(self, options))
            }
        }
    };
}

pub(crate) use extend_for;
