//! What the demo says of itself: where everything is, and what a person may try. Every command that it prints works as it
//! stands there.

use std::path::Path;
use std::time::Duration;

use crate::model::shown::shell_word;

use super::world::{ENVIRONMENTS, World};

/// Before the loop begins.
pub fn welcome(world: &World, once: bool) -> String {
    let mut text = format!("A demo of soll in {}\n\n", world.dir().display());
    let fact = |text: &mut String, name: &str, value: &str| text.push_str(&format!("  {name:<11} {value}\n"));
    for name in ENVIRONMENTS {
        fact(&mut text, name, &format!("{}   from {}", world.url(name), world.root(name).join("current").display()));
    }
    fact(&mut text, "state", &world.state().display().to_string());
    fact(&mut text, "application", &world.app().display().to_string());
    for version in world.versions() {
        let good = if version.name == "v3" { "   bad: its /health answers 503" } else { "" };
        fact(&mut text, &version.name, &format!("{}{good}", version.sha));
    }
    text.push('\n');
    if !once {
        text.push_str(&to_try(world));
        text.push_str(if world.continued { "Going on from where it was left. " } else { "" });
        text.push_str("Ctrl-C ends the demo. What happens:\n\n");
    }
    text
}

/// At the end.
pub fn farewell(world: &World, once: bool, took: Duration) -> String {
    let done = match once {
        true => format!(
            "\nDeployed, promoted, rolled back, refused, reverted, backed up and restored: each of them seen, in {:.1} s.\n",
            took.as_secs_f64()
        ),
        false => "\nThe demo has ended.\n".to_owned(),
    };
    let folder = match world.is_temporary() {
        true => "Its folder is gone with it; --dir DIR keeps one.\n".to_owned(),
        false => format!("Go on with it: soll demo --dir {}\n", quoted(world.dir())),
    };
    format!("{done}{folder}")
}

fn to_try(world: &World) -> String {
    let (state, controller) = (quoted(&world.state()), quoted(&world.controller()));
    let path = std::env::current_exe().ok().and_then(|exe| exe.parent().map(quoted)).unwrap_or_default();
    let sha = |name: &str| world.versions().iter().find(|v| v.name == name).map_or("", |v| v.sha.as_str()).to_owned();
    let (good, bad) = (sha("v2"), sha("v3"));
    format!(
        "Try, in another terminal:\n\
         \x20 cd {state}\n\
         \x20 export SOLL_STATE_DIR={controller} PATH={path}:\"$PATH\"\n\n\
         \x20 soll status\n\
         \x20 soll release staging {good}       # v2: one line, one commit\n\
         \x20 soll promote staging production\n\
         \x20 soll release staging {bad}       # v3: watch it go back\n\
         \x20 git revert --no-edit HEAD && soll history\n\
         \x20 soll rollback staging\n\
         \x20 $EDITOR desired-state.toml && git commit -am \"by hand\"\n\
         \x20 soll backup now && soll backup list   # the database of production\n\
         \x20 soll restore-test                      # is it worth anything?\n\n"
    )
}

fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_the_shell() {
        assert_eq!(quoted(Path::new("/tmp/soll-demo-Ab1")), "/tmp/soll-demo-Ab1");
        assert_eq!(quoted(Path::new("/tmp/it's a demo")), r"'/tmp/it'\''s a demo'");
    }
}
