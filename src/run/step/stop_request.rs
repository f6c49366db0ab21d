//! What a run is asked from outside while it is under way: to stop, and how soon.

use tokio::sync::watch;

use crate::run::step::world::Interruption;

/// A wish that a run should stop. The first one stays, but for a person's that everything be taken back.
#[derive(Debug, Default)]
pub struct StopRequest(watch::Sender<Wish>);

#[derive(Debug, Clone, Default)]
struct Wish {
    why: Option<Interruption>,
    /// What runs is not waited for.
    now: bool,
}

impl StopRequest {
    /// Asks for it.
    pub fn say(&self, wish: Interruption) {
        let cancels = |why: &Interruption| matches!(why, Interruption::Cancelled(_));
        self.0.send_if_modified(|said| {
            let counts = said.why.as_ref().is_none_or(|before| cancels(&wish) && !cancels(before));
            if counts {
                said.why = Some(wish);
            }
            counts
        });
    }

    /// Asks for it at once: what runs on a host is stopped there.
    pub fn stop_now(&self, by: &str) {
        self.say(Interruption::Cancelled(by.to_owned()));
        self.0.send_modify(|said| said.now = true);
    }

    /// What was asked for.
    pub fn get(&self) -> Option<Interruption> {
        self.0.borrow().why.clone()
    }

    /// Waits until something else is asked for than this.
    pub async fn differs_from(&self, heard: Option<&Interruption>) {
        // Never closed while somebody has it.
        let _ = self.0.subscribe().wait_for(|said| said.why.as_ref() != heard).await;
    }

    /// Waits until it is asked for at once, and says by whom.
    pub(super) async fn at_once(&self) -> String {
        let _ = self.0.subscribe().wait_for(|said| said.now).await;
        match self.get() {
            Some(Interruption::Cancelled(by)) => by,
            _ => "a person".to_owned(),
        }
    }
}
