//! Our ends of a child's pipes, which have a descriptor, as std's have.

use crate::Stdio;
use crate::pipe::{End, SIMULATED};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};

macro_rules! pipe {
    ($name:ident, $what:literal) => {
        #[doc = concat!("`std::process::", stringify!($name), "`: ", $what)]
        ///
        /// # Panics
        /// Where its descriptor is asked for, and it is a simulated process's.
        pub struct $name(End);

        // Bytes that were read, or written, are; nothing of ours is half done.
        impl UnwindSafe for $name {}
        impl RefUnwindSafe for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.fd().expect(SIMULATED)
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl IntoRawFd for $name {
            fn into_raw_fd(self) -> RawFd {
                OwnedFd::from(self).into_raw_fd()
            }
        }

        impl From<$name> for OwnedFd {
            fn from(pipe: $name) -> OwnedFd {
                pipe.0.into_fd().expect(SIMULATED)
            }
        }

        impl From<OwnedFd> for $name {
            fn from(fd: OwnedFd) -> $name {
                $name(End::File(fd.into()))
            }
        }

        impl From<std::process::$name> for $name {
            fn from(pipe: std::process::$name) -> $name {
                OwnedFd::from(pipe).into()
            }
        }

        impl From<$name> for std::process::$name {
            fn from(pipe: $name) -> std::process::$name {
                OwnedFd::from(pipe).into()
            }
        }

        impl From<crate::$name> for $name {
            fn from(pipe: crate::$name) -> $name {
                $name(pipe.into_end())
            }
        }

        impl From<$name> for crate::$name {
            fn from(pipe: $name) -> crate::$name {
                crate::$name::new(pipe.0)
            }
        }

        impl From<$name> for Stdio {
            fn from(pipe: $name) -> Stdio {
                pipe.0.into_stdio().map_or_else(Stdio::closed, Stdio::from)
            }
        }
    };
}

macro_rules! read {
    ($name:ident) => {
        impl Read for $name {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.0.read_vectored(buffers)
            }
        }
    };
}

pipe!(ChildStdin, "the write end of a child's stdin, which ends when this is dropped.");
pipe!(ChildStdout, "the read end of a child's stdout.");
pipe!(ChildStderr, "the read end of a child's stderr.");
read!(ChildStdout);
read!(ChildStderr);

impl Write for ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for &ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
