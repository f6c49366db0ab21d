//! "From Capistrano in five commands", as the README and the page of adoption have them: played against a root that Capistrano
//! left, with what stands for a person's own server, repository and address put in its place.

use std::os::unix::fs::symlink;

use crate::support::web::Web;
use crate::support::world::World;

/// The five commands of a page, without what is said about them.
fn commands(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let part = text.split("\n## From Capistrano").nth(1).unwrap_or_else(|| panic!("{page} has no such part"));
    let block = part.split("```console\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    let lines = block.lines().map(|line| line.strip_prefix("$ ").unwrap());
    lines.map(|line| line.split(" #").next().unwrap().trim_end().to_owned()).collect()
}

#[test]
fn the_five_commands_of_the_pages_take_a_root_of_capistrano_over() {
    let commands = commands("README.md");
    assert_eq!(commands, self::commands("docs/adoption.md"), "the two pages say something else");
    assert_eq!(commands.len(), 5, "{commands:#?}");

    let w = World::new();
    w.write("app/index.html", "<h1>Shop</h1>");
    w.git(&["init", "-q", "-b", "main", w.path("app").to_str().unwrap()]);
    let runs = w.commit_in("app", "What runs");
    w.write("shop/shared/log/production.log", "a line\n");
    w.write("shop/revisions.log", "Branch main deployed as release 20250301120000 by ann\n");
    for time in ["20250101120000", "20250301120000"] {
        w.write(&format!("shop/releases/{time}/index.html"), "<h1>Shop</h1>");
        w.write(&format!("shop/releases/{time}/REVISION"), &format!("{runs}\n"));
        symlink(w.path("shop/shared/log"), w.path(&format!("shop/releases/{time}/log"))).unwrap();
    }
    symlink(w.path("shop/releases/20250301120000"), w.path("shop/current")).unwrap();
    let web = Web::start();
    web.set("/", 200, "<h1>Shop</h1>");

    let play = |command: &String| {
        let app = w.path("app").display().to_string();
        let root = w.path("shop").display().to_string();
        let instead = [
            // This machine stands for the server.
            ("--host web1.example.com ", ""),
            ("ssh web1.example.com ", ""),
            ("--recipe laravel", "--recipe static"),
            ("/var/www/shop", root.as_str()),
            ("git@git.example.com:acme/shop.git", app.as_str()),
            ("http://127.0.0.1/", &web.url("/")),
        ];
        let line = instead.into_iter().fold(command.clone(), |line, (said, here)| line.replace(said, here));
        std::fs::create_dir_all(w.path("five")).unwrap();
        let bin = std::path::Path::new(env!("CARGO_BIN_EXE_soll")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut shell = w.program("bash");
        shell.args(["-ec", &line]).current_dir(w.path("five")).env_remove("SOLL_REPO").env("PATH", path);
        let ran = shell.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{line}\n{said}");
        said
    };
    let said: Vec<_> = commands.iter().map(play).collect();
    assert!(said[1].contains("valid: 1 environment"), "{said:#?}");
    assert!(said[2].contains("current leads to 20250301120000"), "{said:#?}");
    assert!(said[4].contains("production: succeeded"), "{said:#?}");
    // Nothing was moved: what ran runs, and is what soll goes back to.
    assert_eq!(std::fs::read_link(w.path("shop/current")).unwrap(), w.path("shop/releases/20250301120000"));
    let mut plan = w.program(env!("CARGO_BIN_EXE_soll"));
    let plan = plan.arg("plan").current_dir(w.path("five")).env_remove("SOLL_REPO").output().unwrap();
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.contains("in sync"), "{plan}");
}
