//! Commands on a simulated host: what is noted before one runs, how one is stopped, and what it leaves.

use jiff::Timestamp;
use soll::host::wire::{CommandResult, CommandRole, Cwd, Exit, HostError};
use soll::model::activation::Activation;
use soll::model::ids::Epoch;
use soll::model::record::{Closed, Command, Migration, Quarantine};

use super::host::gone;
use super::scenario::Say;
use super::sim::{Mutation, Sim};

impl Sim {
    /// Before a command runs: its directory, and the note that a migration was begun.
    pub fn hook_begins(&mut self, i: usize, epoch: Epoch, cwd: &Cwd, means: &CommandRole) -> Result<(), HostError> {
        if let Cwd::Release(name) = cwd
            && !self.hosts[i].dirs.contains_key(name)
        {
            return Err(gone(name));
        }
        if let CommandRole::Close { open, lease } = means {
            let (open, lease, at) = (open.clone(), *lease, self.now());
            self.effect(i, "closing", |h| {
                let start = Activation::default();
                h.record.close(Closed { epoch, at, lease, open, start })
            })?;
        }
        let CommandRole::Migration { key, .. } = means else { return Ok(()) };
        if self.hosts[i].record.migrations.get(key) == Some(&Migration::Begun) {
            return Err(HostError::Precondition("the migration was begun here and not seen to finish".to_owned()));
        }
        if !self.has(Mutation::MigrationForgotten) {
            self.effect(i, "migration begun", |h| {
                h.record.migration(key, Migration::Begun);
                Ok(())
            })?;
        }
        self.laws.migration_runs(key);
        self.saw("migrations");
        Ok(())
    }

    /// A person wants what this controller has begun to be stopped at once.
    pub fn stop_commands(&mut self, controller: usize) {
        let now = self.now();
        for host in &mut self.hosts {
            if let Some(session) = host.session.as_ref().filter(|session| session.controller == controller) {
                host.record.cancel("a person".to_owned(), now, true, Some(session.epoch));
            }
        }
    }

    /// Whether a command that began then was stopped in its middle: it says nothing, and what it did is anybody's guess.
    pub fn hook_is_stopped(&mut self, i: usize, epoch: Epoch, began: Timestamp, means: &CommandRole) -> bool {
        let yields = !matches!(means, CommandRole::Open | CommandRole::Back);
        let stopped = yields && self.hosts[i].record.stops(epoch, began).is_some();
        if stopped {
            self.saw("stopped in a hook");
            self.hosts[i].closed |= matches!(means, CommandRole::Close { .. });
        }
        stopped
    }

    /// After it ran: what it said, and what it did.
    pub fn hook_ends(
        &mut self,
        i: usize,
        controller: usize,
        command: &Command,
        means: &CommandRole,
    ) -> Result<CommandResult, HostError> {
        let say = self.run_command(i, command);
        if say != Say::Yes {
            self.laws.said_no(controller);
        }
        let (exit, verdict) = match say {
            Say::Yes => (Exit::Code(0), Migration::Done),
            Say::No => (Exit::Code(1), Migration::Failed),
            Say::Hangs => (Exit::TimedOut, Migration::Begun),
        };
        if *means == CommandRole::Open && say == Say::Yes {
            self.effect(i, "open", |h| {
                h.record.opened(&command.name);
                Ok(())
            })?;
        }
        if let CommandRole::Migration { key, case } = means {
            let (condemned, at) = (case.clone().filter(|_| verdict == Migration::Failed), self.now());
            if !self.has(Mutation::MigrationForgotten) {
                self.effect(i, &format!("migration {verdict:?}"), |h| {
                    h.record.migration(key, verdict);
                    if let Some(key) = condemned.clone() {
                        let reason = "the migration says no".to_owned();
                        h.record.quarantine(Quarantine { key, reason, at, verdict: true, alone: false });
                    }
                    Ok(())
                })?;
                if let Some(key) = condemned {
                    self.laws.condemned(i, key);
                }
            }
            self.laws.migration_ran(key, verdict);
        }
        Ok(CommandResult { exit, output: String::new(), left: Vec::new(), millis: 1 })
    }

    /// A configured command: the commit that it runs for decides what it says.
    pub fn run_command(&mut self, i: usize, command: &Command) -> Say {
        let sha = command.env.get("SOLL_SHA").and_then(|s| s.parse().ok());
        let conduct = self.conduct_of(sha.as_ref());
        let say = conduct.hooks.iter().find(|(phase, _)| phase.as_str() == command.name).map_or(Say::Yes, |(_, s)| *s);
        match command.name.as_str() {
            "maintenance-on" => self.hosts[i].closed = true,
            "maintenance-off" => self.hosts[i].closed = false,
            _ => {}
        }
        self.say(|| format!("  web{}: {} says {say:?}", i + 1, command.name));
        say
    }
}
