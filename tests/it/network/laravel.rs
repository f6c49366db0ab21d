//! A Laravel API on a whole Debian machine: what somebody has who follows `docs/laravel.md`, block by block.

use std::fs;

use super::machine::{ADDRESS, Machine};
use super::net::Net;
use super::tree::{layer, tree};
use crate::laravel::stack::application;
use crate::support::world::{World, until};

const PACKAGES: &str = "nginx-light php8.2-fpm php8.2-cli php8.2-mysql php-redis mariadb-server redis-server";

const ENVIRONMENT: &str = "APP_KEY=base64:c29tZSBrZXk=\nDB_SOCKET=/run/mysqld/mysqld.sock\nDB_DATABASE=api\n\
    DB_USERNAME=api\nDB_PASSWORD=correct-horse-battery\nREDIS_SOCKET=127.0.0.1\n";

const SLOW: (&str, Option<&str>) =
    ("database/migrations/2025_03_01_000000_slow.php", Some("<?php\nreturn 'SELECT SLEEP(2)';\n"));
const WRONG: (&str, Option<&str>) =
    ("database/migrations/2025_04_01_000000_wrong.php", Some("<?php\nreturn 'ALTER TABLE nowhere ADD x INT';\n"));

/// The blocks of the page, without the word that says what they are.
fn blocks(page: &str) -> Vec<&str> {
    let parts = page.split("\n```").skip(1).step_by(2);
    parts.filter_map(|part| part.split_once('\n').map(|(_, block)| block)).collect()
}

/// Sets the machine up as the page says.
fn follow(machine: &Machine<'_>, page: &str) {
    let mut files = 0;
    for block in blocks(page) {
        let (first, _) = block.split_once('\n').unwrap();
        let Some(path) = first.strip_prefix("# ").or(first.strip_prefix("; ")).filter(|path| path.starts_with("/etc/"))
        else {
            continue;
        };
        fs::create_dir_all(machine.path(path).parent().unwrap()).unwrap();
        fs::write(machine.path(path), block).unwrap();
        files += 1;
    }
    assert_eq!(files, 5, "files of the page");
    machine.run("chmod 440 /etc/sudoers.d/api && visudo -cq");
    let script = blocks(page).into_iter().find(|block| block.starts_with("apt-get ")).unwrap();
    machine.run(script);
    machine.run(
        "mariadb -e \"CREATE DATABASE api; CREATE USER api@localhost IDENTIFIED BY 'correct-horse-battery'; \
         GRANT ALL ON api.* TO api@localhost\"",
    );
}

/// A release of the application; gives its commit.
fn release(world: &World, n: u32, files: &[(&str, Option<&str>)]) -> String {
    let sha = format!("{n:08x}").repeat(5);
    application(&world.path(&format!("build/{n}")), &sha, files);
    world.soll(&format!("bundle $DIR/build/{n} --sha {sha} --out $DIR/state/bundles")).exits(0);
    sha
}

/// What the public address says.
fn shows(machine: &Machine<'_>) -> String {
    let ask = "import urllib.request as u; print(u.urlopen(\"http://127.0.0.1/\").read().decode())";
    machine.run(&format!("python3 -c '{ask}' 2>&1 || true")).split(' ').next().unwrap_or_default().to_owned()
}

/// Both workers run, out of the release of this commit.
fn work(machine: &Machine<'_>, sha: &str) {
    for n in [1, 2] {
        until("a worker runs the release", || {
            let ask = format!(
                "readlink /proc/$(systemctl show -p MainPID --value api-worker@{n}.service)/cwd 2>/dev/null || true"
            );
            machine.run(&ask).trim().ends_with(&sha[..8]).then_some(())
        });
    }
}

#[test]
fn the_server_of_the_page() {
    let page = fs::read_to_string("docs/laravel.md").unwrap();
    let net = Net::new();
    let machine = Machine::boot_of(&net, &[layer("laravel", PACKAGES), tree()]);
    follow(&machine, &page);
    let world = machine.world("");
    let state = blocks(&page).into_iter().find(|block| block.starts_with("schema = 1")).unwrap();
    let state = |sha: &str, more: &str| {
        let state = state
            .replace(
                "https://artifacts.example.com/api/deployment-bundle-{sha}.tar.gz",
                "bundles/deployment-bundle-{sha}.tar.gz",
            )
            .replace("api.example.com", ADDRESS)
            .replace("f0959bafdeadbeeff0959bafdeadbeeff0959baf", sha)
            .replace(
                "[apps.api.health]\n",
                "[apps.api.health]\ngrace = \"500ms\"\nattempts = 20\ninterval = \"300ms\"\n",
            )
            .replace("root = \"/var/www/api\"\n", &format!("root = \"/var/www/api\"\nsettle = \"1s\"\n{more}\n"));
        world.commit(&state);
    };
    let deploy = |sha: &str| {
        state(sha, "");
        world.soll("apply production")
    };

    let one = release(&world, 1, &[]);
    state(&one, "");
    world.write("production.env", ENVIRONMENT);
    world.soll("provision production --env-file $DIR/production.env").exits(0);
    machine.run("chgrp www-data /var/www/api/shared/.env/production.env");
    world.soll("doctor production").exits(0).says("api-worker@2.service").says("systemctl stop api-worker@1.service");
    world.soll("apply production").exits(0);
    assert_eq!(shows(&machine), one);
    work(&machine, &one);
    world
        .soll("doctor production")
        .exits(0)
        .says("a reload of php8.2-fpm lets requests under way end")
        .hides("unknown");

    // A job is under way: it is finished before the migration begins, by the release that took it.
    machine.run("redis-cli rpush queue '7 3000'");
    until("a worker is at it", || machine.run("redis-cli lrange begun 0 -1").contains("7 ").then_some(()));
    let two = release(&world, 2, &[SLOW]);
    deploy(&two)
        .exits(0)
        .says("api-worker@2.service is stopped; api-worker@1.service is stopped")
        .hides("not as it should");
    assert_eq!(machine.run("redis-cli lrange done 0 -1").trim().rsplit_once('-').unwrap().1, &one[..8]);
    assert_eq!(shows(&machine), two);
    work(&machine, &two);
    world.soll("plan --detailed-exitcode").exits(0);

    // Its workers cannot start.
    let three = release(&world, 3, &[SLOW, ("crash", Some(""))]);
    deploy(&three).exits(3).says("api-worker@").says("the worker of this release cannot start");
    work(&machine, &two);
    assert_eq!(shows(&machine), two);

    // Its migration says no: the workers run again, with what runs.
    let four = release(&world, 4, &[SLOW, WRONG]);
    deploy(&four).exits(1).says("api.nowhere").says("activate:web1:drained");
    work(&machine, &two);

    // PHP-FPM cannot be reloaded: it goes on with what it has.
    machine.run("echo '[broken' > /etc/php/8.2/fpm/pool.d/broken.conf");
    let five = release(&world, 5, &[SLOW]);
    deploy(&five).exits(3).says("reload-php-fpm");
    machine.run("rm /etc/php/8.2/fpm/pool.d/broken.conf");
    assert_eq!(shows(&machine), two);
    work(&machine, &two);

    // The controller is killed while the database changes: the host lets the workers work again, alone.
    let six = release(&world, 6, &[("database/migrations/2025_05_01_000000_slower.php", SLOW.1), SLOW]);
    state(&six, "deadline = \"3s\"");
    let run = world.start("apply production", "log");
    let record = || {
        let text = fs::read_to_string(machine.path("/var/www/api/.soll/record.json")).unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default()
    };
    until("the workers rest", || (!record()["closed"]["start"].is_null()).then_some(()));
    until("the migration runs", || record()["migrations"].to_string().contains("begun").then_some(()));
    drop(run);
    until("the host starts them", || record()["closed"].is_null().then_some(()));
    work(&machine, &two);
    assert_eq!(shows(&machine), two);
    world.soll("apply production").exits(0);
    assert_eq!(shows(&machine), six);
    work(&machine, &six);

    // Back to what was before: nothing is built and nothing migrated.
    deploy(&two).exits(0).hides("migrate").hides("drain");
    assert_eq!(shows(&machine), two);
    work(&machine, &two);
}
