//! Tells what the loop finds: each change of state once, in the journal first and then to whoever runs the loop. Beside the
//! loop, which waits for no disk, and in its order.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use tokio::task::JoinHandle;

use crate::journal::notice::{Noted, Notice};
use crate::run::controller::{Controller, now};
use crate::run::pass::daemon::Report;

/// So many that could not be written yet are kept for later.
const OWED: usize = 1000;

/// Hands notices to the thread that journals and shows them.
pub struct Teller {
    words: mpsc::Sender<Word>,
    telling: JoinHandle<()>,
}

enum Word {
    Tell(Notice),
    Anew,
}

/// What was told.
struct Told<R> {
    controller: Arc<Controller>,
    report: Arc<R>,
    /// In the journal, by this life or an earlier one.
    journaled: BTreeMap<String, Notice>,
    /// By this life, as text: whoever starts the loop is told how things stand, and hears of other words for them.
    shown: BTreeMap<String, String>,
    /// What could not be journaled yet.
    owed: Vec<Noted>,
}

impl Teller {
    /// Starts that thread. Must be called within the runtime.
    pub fn begin<R: Report>(controller: Arc<Controller>, report: Arc<R>) -> Teller {
        let (words, heard) = mpsc::channel();
        let telling = tokio::task::spawn_blocking(move || {
            let standing = controller.store.standing().unwrap_or_else(|error| {
                tracing::warn!(%error, "what was told before is not known");
                Vec::new()
            });
            let journaled = standing.into_iter().map(|noted| (noted.notice.about(), noted.notice)).collect();
            let mut told = Told { controller, report, journaled, shown: BTreeMap::new(), owed: Vec::new() };
            while let Ok(first) = heard.recv() {
                told.all(std::iter::once(first).chain(heard.try_iter()).collect());
            }
        });
        Teller { words, telling }
    }

    /// Hands over a notice; it is journaled and shown where it is news.
    pub fn tell(&self, notice: Notice) {
        // The thread has ended by a panic: notices are lost from then on, and the loop goes on.
        let _ = self.words.send(Word::Tell(notice));
    }

    /// Where environments stand is shown once more: a commit came, and people look whether it was heard.
    pub fn anew(&self) {
        let _ = self.words.send(Word::Anew);
    }

    /// Waits until everything is told.
    pub async fn end(self) {
        drop(self.words);
        if let Err(error) = self.telling.await {
            tracing::warn!(%error, "what happened last was not told");
        }
    }
}

impl<R: Report> Told<R> {
    fn all(&mut self, words: Vec<Word>) {
        for word in &words {
            let Word::Tell(notice) = word else { continue };
            let about = notice.about();
            if notice.is_news_after(self.journaled.get(&about)) {
                self.journaled.insert(about, notice.clone());
                self.owed.push(Noted { at: now(), notice: notice.clone() });
            }
        }
        self.write();
        for word in words {
            match word {
                Word::Tell(notice) => self.show(&notice),
                Word::Anew => self.shown.retain(|about, _| !about.starts_with("environment:")),
            }
        }
    }

    fn write(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        match self.controller.store.note(&self.owed) {
            Ok(()) => self.owed.clear(),
            Err(error) => {
                tracing::warn!(%error, "what is told cannot be journaled yet");
                let over = self.owed.len().saturating_sub(OWED);
                self.owed.drain(..over);
            }
        }
    }

    fn show(&mut self, notice: &Notice) {
        let (about, text) = (notice.about(), notice.text());
        let is_news = match self.shown.get(&about) {
            Some(last) => *last != text || notice.is_moment(),
            None => !notice.is_well(),
        };
        if is_news {
            self.shown.insert(about, text);
            self.report.notice(notice);
        }
    }
}
