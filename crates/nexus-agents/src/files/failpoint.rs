//! Where a test may end the process: before every step on the disk. Outside tests there is nothing here.

#[cfg(not(test))]
pub(crate) use real::Failpoint;
#[cfg(test)]
pub(crate) use tested::{Failing, Failpoint};

#[cfg(not(test))]
mod real {
    use std::{
        fs::File,
        io::{self, Write},
    };

    /// Lets everything pass.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Failpoint;

    impl Failpoint {
        pub(crate) fn pass(&self) -> io::Result<()> {
            Ok(())
        }

        pub(crate) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
            file.write_all(bytes)
        }
    }
}

#[cfg(test)]
mod tested {
    use std::{
        fs::File,
        io::{self, Write},
        sync::Arc,
    };

    use parking_lot::Mutex;

    /// How a step fails.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Failing {
        /// The process is ended: nothing after it happens.
        Kill,
        /// The step alone goes wrong, as on a full disk.
        Once,
    }

    #[derive(Debug, Default)]
    struct Plan {
        /// So many steps still succeed.
        left: Option<(u64, Option<Failing>)>,
        is_dead: bool,
    }

    /// Counts steps, and lets one of them fail.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Failpoint(Arc<Mutex<Plan>>);

    impl Failpoint {
        /// Lets the step after so many fail.
        pub(crate) fn after(steps: u64, failing: Failing) -> Self {
            let plan = Plan {
                left: Some((steps, Some(failing))),
                ..Plan::default()
            };
            Self(Arc::new(Mutex::new(plan)))
        }

        /// Whether the step that had to fail did.
        pub(crate) fn has_failed(&self) -> bool {
            matches!(self.0.lock().left, Some((_, None)))
        }

        pub(crate) fn pass(&self) -> io::Result<()> {
            let mut plan = self.0.lock();
            if plan.is_dead {
                return Err(io::Error::other("the process is dead"));
            }
            match &mut plan.left {
                Some((0, failing)) => {
                    if let Some(failing) = failing.take() {
                        plan.is_dead = failing == Failing::Kill;
                        return Err(io::Error::other("as the test says"));
                    }
                }
                Some((steps, _)) => *steps -= 1,
                None => {}
            }
            Ok(())
        }

        /// A write that fails leaves half behind.
        pub(crate) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
            match self.pass() {
                Ok(()) => file.write_all(bytes),
                Err(error) => {
                    file.write_all(&bytes[..bytes.len() / 2])?;
                    Err(error)
                }
            }
        }
    }
}
