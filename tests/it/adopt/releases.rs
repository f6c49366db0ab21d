//! Roots with releases of other tools are taken over as they are.

use std::os::unix::fs::symlink;

use crate::support::world::{World, env, sha};

/// A root as another tool leaves it, with `current` made by this text.
fn world(name: &str, absolute: bool) -> World {
    let w = World::with(&env("staging", 'a', ""));
    w.write(&format!("staging/releases/{name}/index.html"), "live");
    w.write("staging/shared/x", "x");
    let relative = format!("releases/{name}");
    let text = if absolute { w.path("staging").join(relative) } else { relative.into() };
    symlink(text, w.path("staging/current")).unwrap();
    w
}

#[test]
fn names_and_links_of_every_style_are_understood_and_nothing_is_changed() {
    for (name, absolute) in [("20251102154900", false), ("12", true), ("20251028_150000-abc123", true)] {
        let w = world(name, absolute);
        let before = w.tree("staging");
        w.soll("adopt staging")
            .exits(0)
            .says(&format!("current leads to {name}"))
            .says("as the way back, then deploys aaaaaaaa");
        assert_eq!(w.tree("staging"), before, "{name}");
        w.soll("apply").exits(0);
        assert_eq!(w.runs("staging"), "a");
        assert_eq!(w.read(&format!("staging/releases/{name}/index.html")), "live", "{name}");
    }
}

#[test]
fn the_desired_release_is_taken_over_without_a_switch() {
    let name = format!("20251102_154900-{}", &sha('a')[..8]);
    let w = world(&name, false);
    w.soll("adopt staging --dry-run").exits(0).says("takes it over as it is");
    w.soll("apply").exits(0);
    assert_eq!((w.release("staging"), w.runs("staging").as_str()), (name, "live"));
}

#[test]
fn what_is_not_understood_is_said() {
    let w = world("12", false);
    std::fs::create_dir(w.path("staging/releases/old one")).unwrap();
    w.soll("adopt staging").exits(0).says("releases/old one (0 B) has no name that a release can have");
    std::fs::remove_file(w.path("staging/current")).unwrap();
    w.soll("adopt staging").exits(0).says("there are releases, and no `current`");
    symlink("/tmp", w.path("staging/current")).unwrap();
    w.soll("adopt staging").exits(1).says("leads to /tmp");
}
