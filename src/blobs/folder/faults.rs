//! Where tests cut the power or break the disk; nothing in the program itself.

use std::io;
use std::path::Path;

/// A kind of work on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    MakeDir,
    MakeFile,
    Write,
    Truncate,
    SyncFile,
    SyncDir,
    Rename,
    RenameNew,
    Remove,
    Read,
}

/// Lets everything pass.
#[cfg(not(test))]
#[derive(Debug, Default)]
pub(super) struct Faults(());

#[cfg(not(test))]
impl Faults {
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(super) fn pass(&self, _op: Op, _path: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(super) use planned::{Faults, Plan};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod planned {
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use super::{Op, Path, io};

    /// What goes wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(in super::super) enum Plan {
        /// Nothing.
        None,
        /// The power is cut instead of the change after so many more; all later ones fail.
        CutAfter(u64),
        /// Each change of a kind fails.
        Fail(Op, io::ErrorKind),
        /// The disk cannot give back what it took.
        BadSectors,
    }

    #[derive(Debug)]
    struct State {
        plan: Plan,
        failures: u64,
        log: Vec<(Op, PathBuf)>,
    }

    /// Follows a plan, and keeps a log of every change that was made.
    #[derive(Debug, Clone)]
    pub(in super::super) struct Faults(Arc<Mutex<State>>);

    impl Default for Faults {
        fn default() -> Self {
            Self(Arc::new(Mutex::new(State { plan: Plan::None, failures: 0, log: Vec::new() })))
        }
    }

    impl Faults {
        pub(in super::super) fn plan(&self, plan: Plan) {
            self.0.lock().unwrap().plan = plan;
        }

        /// Whether the power was cut.
        pub(in super::super) fn is_cut(&self) -> bool {
            self.0.lock().unwrap().plan == Plan::CutAfter(0)
        }

        /// How many changes failed by plan.
        pub(in super::super) fn failures(&self) -> u64 {
            self.0.lock().unwrap().failures
        }

        /// What was done since the last call.
        pub(in super::super) fn take_log(&self) -> Vec<(Op, PathBuf)> {
            std::mem::take(&mut self.0.lock().unwrap().log)
        }

        pub(in super::super) fn pass(&self, op: Op, path: &Path) -> io::Result<()> {
            let mut state = self.0.lock().unwrap();
            match state.plan {
                Plan::CutAfter(0) => return Err(io::Error::other("the power was cut")),
                Plan::CutAfter(more) => state.plan = Plan::CutAfter(more - 1),
                Plan::Fail(kind, error) if kind == op => {
                    state.failures += 1;
                    return Err(error.into());
                }
                Plan::BadSectors if op == Op::Read => return Err(rustix::io::Errno::IO.into()),
                Plan::Fail(..) | Plan::BadSectors | Plan::None => {}
            }
            state.log.push((op, path.to_owned()));
            Ok(())
        }
    }
}
