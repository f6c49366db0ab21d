//! Recipes at work: what a stranger gets who writes `recipe = "…"` and little else. Packages come from files of the test: no
//! index is asked.

mod packages;
mod python;

use soll::model::desired::recipe;

use crate::support::world::World;

/// What `soll init` writes is accepted as it is: whoever starts with it edits names, and no errors.
#[test]
fn a_first_state_file_of_every_recipe_is_accepted() {
    for (name, kind) in recipe::names().flat_map(|name| ["bundle", "git"].map(|kind| (name, kind))) {
        let w = World::new();
        if recipe::only_for(name).is_some() {
            w.soll(&format!("init $DIR/first.toml --recipe {name} --kind {kind}")).exits(64);
            continue;
        }
        w.soll(&format!("init $DIR/first.toml --recipe {name} --kind {kind}")).exits(0);
        w.soll("validate $DIR/first.toml").exits(0).says("valid: 1 environment").hides("⚠");
    }
    let w = World::new();
    w.soll("init $DIR/first.toml --recipe compose").exits(0).says("app/compose.yml");
    w.soll("validate $DIR/first.toml").exits(0).says("valid: 1 environment").hides("⚠");
}
