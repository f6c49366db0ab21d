//! Addresses of bundles, and of what lies beside them.

use crate::support::site::{Site, sha};
use crate::support::web::Web;

fn state(site: &Site, url: &str, rest: &str) {
    site.commit(&format!(
        "schema = 1\n[apps.api]\nkind = \"bundle\"\nbundle = {{ url = \"{url}\" }}\n{rest}\n[environments.staging]\n\
         release = \"{}\"\nroot = \"{}\"\n[environments.staging.health]\n",
        sha(1),
        site.at("root"),
    ));
}

/// `….tar.gz?sig=abc` asked for `….tar.gz?sig=abc.sha256`, which no server has.
#[test]
fn the_query_of_a_bundle_stays_behind_the_name_of_its_checksum_and_of_its_record() {
    let (site, web) = (Site::new(), Web::start());
    site.bundle(&sha(1), &[("index.html", "one")]);
    let name = format!("deployment-bundle-{}.tar.gz", sha(1));
    let read = |suffix: &str| std::fs::read(site.path(&format!("bundles/{name}{suffix}"))).unwrap();
    web.set_bytes(&format!("/b/{name}"), 200, read(""));
    web.set_bytes(&format!("/b/{name}.sha256"), 200, read(".sha256"));
    let record =
        format!(r#"{{"sha":"{}","status":"completed","conclusion":"success","checks":{{"tests":"success"}}}}"#, sha(1));
    web.set(&format!("/b/{name}.checks.json"), 200, &record);
    let url = web.url("/b/deployment-bundle-{sha}.tar.gz?sig=hunter2/x&v=17");
    state(&site, &url, "checks = [\"tests\"]");

    site.soll(&["apply"]).expect(0);
    assert_eq!(site.live("root"), "one");
    let seen: Vec<String> = web.seen().iter().map(|head| head.lines().next().unwrap_or_default().to_owned()).collect();
    for suffix in ["", ".sha256", ".checks.json"] {
        let asked = format!("GET /b/{name}{suffix}?sig=hunter2/x&v=17 HTTP/1.1");
        assert!(seen.contains(&asked), "{asked} in {seen:#?}");
    }

    // What is not there is named as it was asked for, and the secrets of the query are masked.
    web.set(&format!("/b/{name}.sha256"), 404, "");
    site.commit(&site.read("state/desired-state.toml").replace("17", "18"));
    web.set(&format!("/b/{name}"), 404, "");
    let place = format!("{}?sig=***&v=***", web.url(&format!("/b/{name}.sha256")));
    site.commit(&site.read("state/desired-state.toml").replace("/root\"", "/other\""));
    let said = site.soll(&["plan"]);
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains(&format!("there is no bundle of {}: nothing is at {place}", &sha(1)[..8])), "{all}");
    assert!(!all.contains("hunter2"), "{all}");
}

/// A place that was given by hand with `{url}` in it is the same place.
#[test]
fn a_suffix_of_ones_own_goes_before_the_query_too() {
    let (site, web) = (Site::new(), Web::start());
    site.bundle(&sha(1), &[("index.html", "one")]);
    let name = format!("deployment-bundle-{}.tar.gz", sha(1));
    let read = |suffix: &str| std::fs::read(site.path(&format!("bundles/{name}{suffix}"))).unwrap();
    web.set_bytes(&format!("/{name}"), 200, read(""));
    web.set_bytes(&format!("/{name}.sum"), 200, read(".sha256"));
    let url = web.url("/deployment-bundle-{sha}.tar.gz?X-Amz-Signature=hunter2");
    state(&site, &format!("{url}\", sha256 = \"{{url}}.sum"), "");
    site.soll(&["apply"]).expect(0);
    assert_eq!(site.live("root"), "one");
    assert!(web.seen().iter().any(|head| head.starts_with(&format!("GET /{name}.sum?X-Amz-Signature=hunter2 "))));
}
