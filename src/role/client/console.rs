//! What a command says: answers on stdout, everything else on stderr.

use std::io::{IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ClientError;
use super::error::printable;

/// Where a command writes.
pub struct Console {
    out: Mutex<Box<dyn Write + Send>>,
    notes: Notes,
}

enum Notes {
    /// Bars on a terminal.
    Bars(MultiProgress),
    /// Plain lines elsewhere.
    Lines(Mutex<Box<dyn Write + Send>>),
}

impl Console {
    /// The process's own stdout and stderr.
    #[must_use]
    pub fn standard() -> Self {
        let notes = if std::io::stderr().is_terminal() {
            Notes::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
        } else {
            Notes::Lines(Mutex::new(Box::new(std::io::stderr())))
        };
        Self { out: Mutex::new(Box::new(std::io::stdout())), notes }
    }

    /// Into these, without bars.
    #[must_use]
    pub fn plain(out: Box<dyn Write + Send>, notes: Box<dyn Write + Send>) -> Self {
        Self { out: Mutex::new(out), notes: Notes::Lines(Mutex::new(notes)) }
    }

    /// A line of the answer, on stdout.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn answer(&self, line: &str) -> Result<(), ClientError> {
        let write = || {
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            writeln!(out, "{line}").and_then(|()| out.flush())
        };
        match &self.notes {
            Notes::Bars(bars) => bars.suspend(write),
            Notes::Lines(_) => write(),
        }
        .map_err(ClientError::Output)
    }

    /// A remark, on stderr.
    pub fn note(&self, text: &str) {
        let line = printable(text);
        // Nobody can be told that stderr is gone.
        match &self.notes {
            Notes::Bars(bars) => bars.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{line}");
            }),
            Notes::Lines(notes) => {
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = writeln!(notes, "{line}");
            }
        }
    }

    /// Progress of one thing of so many bytes. Elsewhere than on a terminal, a line says that
    /// it begins; small things pass without.
    pub(super) fn progress(&self, verb: &'static str, what: &str, bytes: u64) -> Progress {
        const WORTH_A_LINE: u64 = 16 << 20;
        let what = printable(what);
        match &self.notes {
            Notes::Bars(bars) => {
                let style = ProgressStyle::with_template(
                    "{prefix} {wide_msg} {bytes}/{total_bytes} {bytes_per_sec} {eta} [{bar:20}]",
                );
                let bar = ProgressBar::new(bytes).with_prefix(verb).with_message(what);
                if let Ok(style) = style {
                    bar.set_style(style.progress_chars("=> "));
                }
                Progress(Some(Arc::new(Bar(bars.add(bar)))))
            }
            Notes::Lines(_) => {
                if bytes >= WORTH_A_LINE {
                    self.note(&format!("{verb} {what} ({})", HumanBytes(bytes)));
                }
                Progress(None)
            }
        }
    }
}

/// How far one thing is; its bar goes when the last of its holders does.
#[derive(Clone)]
pub(super) struct Progress(Option<Arc<Bar>>);

struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Progress {
    /// So many bytes more are done.
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.0.inc(bytes);
        }
    }

    /// What is being done now.
    pub fn verb(&self, verb: &'static str) {
        if let Some(bar) = &self.0 {
            bar.0.set_prefix(verb);
            bar.0.tick();
        }
    }

    /// It goes on from here: what lies before says nothing of the speed.
    pub fn go_on_at(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.0.set_position(bytes);
            bar.0.reset_eta();
        }
    }

    /// So many bytes are done in all.
    pub fn set(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.0.set_position(bytes);
        }
    }
}
