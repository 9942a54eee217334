//! Where the cloud keeps what it knows: copies, moves, keys, and a database that is away.

use std::fs;
use std::time::{Duration, Instant};

use crate::box_and_node::{SiteBox, script_url};
use crate::program::Cloud;

#[test]
fn a_backup_while_serving_is_restored_and_what_was_there_is_kept() {
    let mut cloud = Cloud::with_site("backup");
    let backup = cloud.folder().join("backup.db").display().to_string();
    let said = cloud.run(&["backup", &backup]).success();
    assert!(said.contains("store key"), "{said}");
    cloud.run(&["site", "add", "later", "--cluster", "prod"]).success();
    let refused = cloud.run(&["restore", &backup]).failure();
    assert!(refused.contains("another program has the database") && refused.contains("fairlead-cloud serve"), "{refused}");
    cloud.stop();

    let broken = cloud.folder().join("broken.db").display().to_string();
    let mut bytes = fs::read(&backup).expect("the backup");
    bytes[4096..12288].fill(b'x');
    fs::write(&broken, bytes).expect("written");
    let refused = cloud.run(&["restore", &broken]).failure();
    assert!(refused.contains("damaged") && refused.contains("nothing was changed"), "{refused}");
    assert!(cloud.run(&["site", "list"]).success().contains("later"));

    let said = cloud.run(&["restore", &backup]).success();
    assert!(said.contains("cloud.db.replaced"), "{said}");
    let sites = cloud.run(&["site", "list"]).success();
    assert!(sites.contains("plant-1") && !sites.contains("later"), "{sites}");
    cloud.start();
    SiteBox::join(&cloud);
}

#[test]
fn a_cloud_moves_from_sqlite_to_postgresql_with_all_that_it_knows() {
    let mut cloud = Cloud::with_site("move");
    let site = SiteBox::join(&cloud);
    let ticket = site.ticket(1);
    assert_eq!(cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {ticket}")]).status, 200);
    cloud.stop();
    let export = cloud.folder().join("export.jsonl").display().to_string();
    cloud.run(&["export", &export]).success();
    let not_empty = cloud.run(&["import", &export]).failure();
    assert!(not_empty.contains("the store is not empty") && not_empty.contains("no Fairlead store yet"), "{not_empty}");

    // Another cloud's database is made with that cloud's folder: the keys are the first one's.
    let other = Cloud::with_site_on_postgresql("moved");
    let url = other.server().create_database("fresh").expect("a database");
    cloud.write_config(&format!("[store]\nurl = \"{url}\"\n"));
    let missing = cloud.run(&["serve"]).failure();
    assert!(missing.contains("there is no Fairlead database at") && missing.contains("hint:"), "{missing}");
    cloud.run(&["import", &export]).success();
    cloud.start();
    let replay = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {ticket}")]);
    assert_eq!((replay.status, replay.body.trim()), (403, "ticket already used"));
    assert_eq!(site.settings(&cloud).status, 200);
}

#[test]
fn a_store_key_rotates_under_a_running_cloud() {
    Cloud::on_both("rotate", |cloud| {
        let site = SiteBox::join(&cloud);
        let before = fs::read(cloud.state().join("store.key")).expect("the key");
        let said = cloud.run(&["store", "rotate-key"]).success();
        assert!(said.contains("sealed 2 secrets"), "{said}");
        let after = fs::read(cloud.state().join("store.key")).expect("the key");
        assert!(after.len() == 32 && after != before);
        let script = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {}", site.ticket(1))]);
        let config = script.body.split_whitespace().find_map(|word| word.strip_prefix("talos.config=")).expect("a config URL");
        let path = config.split_once("/boot/").map(|(_, path)| format!("/boot/{path}")).expect("a path");
        assert!(cloud.curl_boot(&path, &[]).body.contains(crate::program::MACHINE_TOKEN));
        fs::write(cloud.state().join("store.key"), before).expect("written");
        let refused = cloud.run(&["cluster", "list"]).failure();
        assert!(refused.contains("sealed with the store key") && refused.contains("store.key"), "{refused}");
    });
}

#[test]
fn a_key_from_a_command_or_the_environment_is_never_in_the_state_folder() {
    let cloud = Cloud::without_anything("key");
    cloud.write_config(
        "[store]\nkey_command = [\"sh\", \"-c\", \"echo 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]\n",
    );
    cloud.run(&["init"]).success();
    assert!(!cloud.state().join("store.key").exists());
    cloud.run(&["check"]).failure();
    cloud.run(&["cluster", "list"]).success();
    let rotate = cloud.run(&["store", "rotate-key"]).failure();
    assert!(rotate.contains("no new store key"), "{rotate}");
    cloud.write_config("[store]\nkey_env = \"FAIRLEAD_NO_SUCH_KEY\"\n");
    let unset = cloud.run(&["cluster", "list"]).failure();
    assert!(unset.contains("FAIRLEAD_NO_SUCH_KEY") && unset.contains("hint:"), "{unset}");
    cloud.write_config("[store]\nkey_env = \"A\"\nkey_file = \"b\"\n");
    let both = cloud.run(&["cluster", "list"]).failure();
    assert!(both.contains("cloud.toml:") && both.contains("two places"), "{both}");
}

#[test]
fn a_database_that_is_away_is_named_and_waited_for() {
    let mut cloud = Cloud::with_site_on_postgresql("away");
    let site = SiteBox::join(&cloud);
    cloud.server().stop_at_once().expect("it stops");
    let since = Instant::now();
    let answer = site.settings(&cloud);
    assert!(answer.status == 503 && since.elapsed() < Duration::from_secs(10), "{} {}", answer.status, answer.body);
    let refused = cloud.run(&["node", "list"]).failure();
    assert!(refused.contains("does not answer") && refused.contains("store.url"), "{refused}");
    cloud.stop();
    cloud.begin();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(cloud.log()).expect("the log").contains("waiting for the database") {
        assert!(Instant::now() < deadline, "it does not say what it waits for");
        std::thread::sleep(Duration::from_millis(50));
    }
    cloud.server().start_again().expect("it starts");
    cloud.wait_until_it_serves();
    assert_eq!(site.settings(&cloud).status, 200);
}

#[test]
fn the_audit_log_is_verified_and_its_readers_are_in_it() {
    Cloud::on_both("audit", |cloud| {
        let said = cloud.run(&["audit", "verify"]).success();
        assert!(said.contains("ok: 2 lines"), "{said}");
        let noted = said.lines().last().and_then(|line| line.rsplit(' ').next()).expect("the end").to_owned();
        let listed = cloud.run(&["audit", "list", "--action", "audit."]).success();
        assert!(listed.contains("audit.verify") && listed.contains("up to line 2"), "{listed}");
        cloud.run(&["audit", "verify", "--noted", &noted]).success();
        let other = noted.replace(':', ":0").chars().take(noted.len()).collect::<String>();
        let refused = cloud.run(&["audit", "verify", "--noted", &other]).failure();
        assert!(refused.contains("line 2 has the hash") && refused.contains("hint:"), "{refused}");
        let nonsense = cloud.run(&["audit", "verify", "--noted", "2"]).failure();
        assert!(nonsense.contains("line and hash"), "{nonsense}");
    });
}
